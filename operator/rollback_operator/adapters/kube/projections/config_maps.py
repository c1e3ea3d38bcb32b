"""ConfigMaps: a flag in a ConfigMap, and how the pods of a template read ConfigMaps."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rollback_operator.adapters.kube.projections.owners import DATA, changed_by, owner_of
from rollback_operator.model.workload import ConfigRead, FlagState


def flag_of(raw: Mapping[str, Any], key: str) -> FlagState:
    """Project one key of a ConfigMap; a ConfigMap that is being deleted has no keys."""
    metadata = raw["metadata"]
    data = {} if metadata.get("deletionTimestamp") else raw.get("data") or {}
    value = data.get(key)
    return FlagState(
        uid=metadata["uid"],
        value=None if value is None else str(value),
        is_immutable=bool(raw.get("immutable")),
        owner=owner_of(metadata, DATA),
        changed_by=changed_by(metadata, DATA),
    )


def reads_of(template: Mapping[str, Any]) -> tuple[ConfigRead, ...]:
    """List how the pods of a template read ConfigMaps."""
    spec = template.get("spec") or {}
    reads: list[ConfigRead] = []
    mounted: dict[str, bool] = {}
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or []:
            reads += _variables(container)
            for mount in container.get("volumeMounts") or []:
                # The kubelet does not update a subPath mount while the container runs.
                is_renewed = not (mount.get("subPath") or mount.get("subPathExpr"))
                name = str(mount.get("name"))
                mounted[name] = mounted.get(name, True) and is_renewed
    for volume in spec.get("volumes") or []:
        name = str(volume.get("name"))
        if name in mounted:
            reads += [replace(read, is_mounted=mounted[name]) for read in _files(volume)]
    return tuple(reads)


def _variables(container: Mapping[str, Any]) -> Iterator[ConfigRead]:
    own = container.get("env") or []
    for variable in own:
        source = (variable.get("valueFrom") or {}).get("configMapKeyRef")
        if source:
            yield ConfigRead(str(source.get("name") or ""), (str(source.get("key") or ""),))
    for group in container.get("envFrom") or []:
        source, prefix = group.get("configMapRef"), str(group.get("prefix") or "")
        if source:
            names = [str(each.get("name")) for each in own]
            hidden = tuple(each.removeprefix(prefix) for each in names if each.startswith(prefix))
            yield ConfigRead(str(source.get("name") or ""), hidden=hidden)


def _files(volume: Mapping[str, Any]) -> Iterator[ConfigRead]:
    for source in (volume, *((volume.get("projected") or {}).get("sources") or [])):
        config_map = source.get("configMap")
        if config_map:
            items = config_map.get("items")
            keys = tuple(str(each.get("key")) for each in items) if items else None
            yield ConfigRead(str(config_map.get("name") or ""), keys)
