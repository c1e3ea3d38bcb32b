"""Requirements of a pod template: referenced objects, resources of a node, ports."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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
    running = [_asked(one) for one in spec.get("containers") or []]
    init = spec.get("initContainers") or []
    running += [_asked(one) for one in init if one.get("restartPolicy") == "Always"]
    starting = [_asked(one) for one in init if one.get("restartPolicy") != "Always"]
    overhead = spec.get("overhead") or {}
    cpu, memory = (
        max([sum(one[at] for one in running), *(one[at] for one in starting)])
        + quantity(overhead.get(name))
        for at, name in enumerate(("cpu", "memory"))
    )
    return Amounts(cpu, memory)


def port_names_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """List the port names of containers and sidecars."""
    init = spec.get("initContainers") or []
    sidecars = [one for one in init if one.get("restartPolicy") == "Always"]
    return frozenset(
        str(port["name"])
        for one in [*(spec.get("containers") or []), *sidecars]
        for port in one.get("ports") or []
        if port.get("name")
    )


def _asked(container: Mapping[str, Any]) -> tuple[float, float]:
    resources = container.get("resources") or {}
    # A container with a limit and no request requests its limit.
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return quantity(asked.get("cpu")), quantity(asked.get("memory"))


def references_of(template: Mapping[str, Any]) -> tuple[Reference, ...]:
    """List the objects that the pods of a template need, and which of them are optional."""
    spec = template.get("spec") or {}
    optional: dict[tuple[str, str], bool] = {}
    for kind, name, is_optional in _named(spec):
        if name:
            optional[kind, name] = optional.get((kind, name), True) and is_optional
    return tuple(sorted(Reference(kind, name, opt) for (kind, name), opt in optional.items()))


def _named(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    account = spec.get("serviceAccountName") or ""
    if account != "default":
        yield "ServiceAccount", account, False
    for one in spec.get("imagePullSecrets") or []:
        yield "Secret", str(one.get("name") or ""), True  # the kubelet continues without it
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or []:
            yield from _of_environment(container)
    for volume in spec.get("volumes") or []:
        yield from _of_volume(volume)


def _of_environment(container: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    sources: Iterable[Any] = [
        *(container.get("envFrom") or []),
        *((one.get("valueFrom") or {}) for one in container.get("env") or []),
    ]
    for source in sources:
        for field, kind in (
            ("configMapRef", "ConfigMap"),
            ("configMapKeyRef", "ConfigMap"),
            ("secretRef", "Secret"),
            ("secretKeyRef", "Secret"),
        ):
            one = source.get(field)
            if one:
                yield kind, str(one.get("name") or ""), bool(one.get("optional"))


def _of_volume(volume: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    projected = (volume.get("projected") or {}).get("sources") or []
    for source in (volume, *projected):
        for field, kind, name in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName" if source is volume else "name"),
        ):
            one = source.get(field)
            if one:
                yield kind, str(one.get(name) or ""), bool(one.get("optional"))
    claim = volume.get("persistentVolumeClaim")
    if claim:
        yield "PersistentVolumeClaim", str(claim.get("claimName") or ""), False
    secret = ((volume.get("csi") or {}).get("nodePublishSecretRef")) or {}
    yield "Secret", str(secret.get("name") or ""), False
