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
    spec = template.get("spec") or {}
    content = set(_content_references(spec))
    named = {(kind, name) for kind, name, _ in content}
    optional: dict[tuple[str, str], bool] = {}
    for kind, name, is_optional in (*_other_references(spec), *content):
        if name:
            optional[kind, name] = optional.get((kind, name), True) and is_optional
    return tuple(
        sorted(
            Reference(*key, is_optional, is_configuration=key in named)
            for key, is_optional in optional.items()
        )
    )


def _other_references(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    account = spec.get("serviceAccountName") or ""
    if account != "default":
        yield "ServiceAccount", account, False
    for secret in spec.get("imagePullSecrets") or []:
        yield "Secret", str(secret.get("name") or ""), True  # the kubelet continues without it
    for volume in spec.get("volumes") or []:
        claim = volume.get("persistentVolumeClaim")
        if claim:
            yield "PersistentVolumeClaim", str(claim.get("claimName") or ""), False
        published = ((volume.get("csi") or {}).get("nodePublishSecretRef")) or {}
        yield "Secret", str(published.get("name") or ""), False


def _content_references(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or []:
            yield from _environment_references(container)
    for volume in spec.get("volumes") or []:
        yield from _volume_references(volume)


def _environment_references(container: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    sources: Iterable[Any] = [
        *(container.get("envFrom") or []),
        *((variable.get("valueFrom") or {}) for variable in container.get("env") or []),
    ]
    for source in sources:
        for field, kind in (
            ("configMapRef", "ConfigMap"),
            ("configMapKeyRef", "ConfigMap"),
            ("secretRef", "Secret"),
            ("secretKeyRef", "Secret"),
        ):
            reference = source.get(field)
            if reference:
                yield kind, str(reference.get("name") or ""), bool(reference.get("optional"))


def _volume_references(volume: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    projected = (volume.get("projected") or {}).get("sources") or []
    for source in (volume, *projected):
        for field, kind, name in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName" if source is volume else "name"),
        ):
            reference = source.get(field)
            if reference:
                yield kind, str(reference.get(name) or ""), bool(reference.get("optional"))
