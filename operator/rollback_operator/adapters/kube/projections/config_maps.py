"""ConfigMaps: a flag in a ConfigMap, and how the pods of a template read ConfigMaps."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rollback_operator.adapters.kube.projections.fields import entries_of, seconds_of
from rollback_operator.adapters.kube.projections.owners import DATA, changed_by, owner_of
from rollback_operator.model.workload import ConfigRead, ConfigState, FlagState

_HASH_LETTERS = frozenset("2456789bcdfghkmt")
_HASH_LENGTH = 10
"""Of the end of a name that kubectl or kustomize makes from the content."""
_MANAGED_BY = "app.kubernetes.io/managed-by"


def config_state_of(raw: Mapping[str, Any]) -> ConfigState:
    """Project a ConfigMap with its content."""
    metadata = raw["metadata"]
    content = {key: raw[key] for key in ("data", "binaryData") if raw.get(key)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    times = [seconds_of(entry.get("time")) or 0.0 for entry in entries_of(metadata, *DATA)]
    return ConfigState(
        digest=content_digest(text),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        text=text,
        obstacle=_restore_obstacle(raw),
        changed_by=changed_by(metadata, DATA),
        changed=max(times, default=None),
    )


def content_digest(text: str) -> str:
    """Make the digest of a content, long enough that nobody finds another with the same."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _restore_obstacle(raw: Mapping[str, Any]) -> str:
    """Explain why the operator never restores a ConfigMap; empty: it may."""
    metadata = raw["metadata"]
    if metadata.get("deletionTimestamp"):
        return "it is being deleted"
    if raw.get("immutable"):
        return "it is immutable: release a ConfigMap with another name"
    end = str(metadata["name"]).rpartition("-")[2]
    if len(end) == _HASH_LENGTH and set(end) <= _HASH_LETTERS:
        return "its name is made from its content: a change is another ConfigMap"
    return _other_owner(metadata)


def _other_owner(metadata: Mapping[str, Any]) -> str:
    """Name the owner of a ConfigMap, of any kind; empty: none is observed."""
    for reference in metadata.get("ownerReferences") or []:
        return f"{reference.get('kind')} {reference.get('name')} owns it: restore it there"
    owner = owner_of(metadata, DATA)
    if owner is not None:
        return f"{owner.kind} manages it ({owner.evidence}): {owner.remedy}"
    manager = (metadata.get("labels") or {}).get(_MANAGED_BY)
    return f"{str(manager)[:64]} manages it (label {_MANAGED_BY})" if manager else ""


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
