"""Requirements of a pod template: referenced objects, resources of a node, ports."""

import re
from collections.abc import Mapping
from typing import Any

from rollback_operator.adapters.kube.projections.mentions import mentions_of
from rollback_operator.model.surroundings import Amounts, Reference

_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?")
_LONGEST_QUANTITY = 64
"""Limit of characters; a longer text is no quantity."""
MOST = 2.0**63
"""The maximum of Kubernetes."""
_UNITS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    **{unit: 1e3**power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)},
}


def quantity(value: Any) -> float:
    """Parse a quantity of Kubernetes; an invalid one counts as 0."""
    text = str(value or "0")
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_QUANTITY else None
    return min(float(match[1]) * _UNITS[match[2] or ""], MOST) if match else 0.0


def requests_of(spec: Mapping[str, Any]) -> Amounts:
    """Sum the requests of a pod like the scheduler: of init containers the largest counts."""
    running = [_requests(container) for container in spec.get("containers") or []]
    init = spec.get("initContainers") or []
    running += [
        _requests(container) for container in init if container.get("restartPolicy") == "Always"
    ]
    starting = [
        _requests(container) for container in init if container.get("restartPolicy") != "Always"
    ]
    overhead = spec.get("overhead") or {}
    cpu, memory = (
        max([sum(amounts[at] for amounts in running), *(amounts[at] for amounts in starting)])
        + quantity(overhead.get(name))
        for at, name in enumerate(("cpu", "memory"))
    )
    return Amounts(cpu, memory)


def port_names_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """List the port names of containers and sidecars."""
    init = spec.get("initContainers") or []
    sidecars = [container for container in init if container.get("restartPolicy") == "Always"]
    return frozenset(
        str(port["name"])
        for container in [*(spec.get("containers") or []), *sidecars]
        for port in container.get("ports") or []
        if port.get("name")
    )


def _requests(container: Mapping[str, Any]) -> tuple[float, float]:
    resources = container.get("resources") or {}
    # A container with a limit and no request requests its limit.
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return quantity(asked.get("cpu")), quantity(asked.get("memory"))


def references_of(template: Mapping[str, Any]) -> tuple[Reference, ...]:
    """List the objects that the pods of a template need, and which of them are optional."""
    optional: dict[tuple[str, str], bool] = {}
    configuration = set()
    for mention in mentions_of(template):
        key = mention.kind, mention.name
        optional[key] = optional.get(key, True) and mention.is_optional
        if mention.is_configuration:
            configuration.add(key)
    return tuple(
        sorted(
            Reference(*key, is_optional, is_configuration=key in configuration)
            for key, is_optional in optional.items()
        )
    )
