"""Pod templates: their digests, and what a person compares of two of them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rollback_operator.adapters.kube.projections.needs import quantity
from rollback_operator.model.workload import Template

POD_HASH_LABEL = "pod-template-hash"
DIGEST_LENGTH = 16
COMMIT = "org.opencontainers.image.revision"


def template_of(template: Mapping[str, Any]) -> Template:
    """Make a template's digests; the label that the controller adds to ReplicaSets is left out."""
    metadata = template.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    spec = template.get("spec") or {}
    containers, first = spec.get("containers") or [], spec.get("initContainers") or []
    bare = {"labels": labels_of(template), "spec": spec}
    return Template(
        digest=_digest({**bare, "annotations": annotations}),
        release=_digest(bare),
        images=tuple(str(one.get("image", "")) for one in containers),
        containers=tuple(str(one.get("name", "")) for one in containers),
        init_images=tuple(str(one.get("image", "")) for one in first),
        init_containers=tuple(str(one.get("name", "")) for one in first),
        memory_limit=_memory_limit(containers),
        commit=commit_of(metadata),
    )


def _memory_limit(containers: Iterable[Mapping[str, Any]]) -> float | None:
    """Give the limit that a pod's memory is measured against: that of its first container with one.

    Sidecars have theirs; the process whose memory is read is as a rule the first container's.
    """
    for one in containers:
        limit = quantity(((one.get("resources") or {}).get("limits") or {}).get("memory"))
        if limit:
            return limit
    return None


def without_pod_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a ReplicaSet's template as a Deployment may carry it."""
    return {
        **template,
        "metadata": {**(template.get("metadata") or {}), "labels": labels_of(template)},
    }


def labels_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Give a template's labels without the one that the controller adds."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {str(key): str(one) for key, one in labels.items() if key != POD_HASH_LABEL}


def facts_of(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List what a person compares of two templates."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    for key, value in (metadata.get("annotations") or {}).items():
        yield f"annotation {key}", f"#{_digest(value)}"
    for kind in ("initContainers", "containers"):
        for one in spec.get(kind) or []:
            yield from _facts_of_container(f"container {one.get('name')}", one)
    for volume in spec.get("volumes") or []:
        source = {key: value for key, value in volume.items() if key != "name"}
        yield f"volume {volume.get('name')}", f"#{_digest(source)}"
    known = {"initContainers", "containers", "volumes"}
    for key, value in spec.items():
        if key not in known:
            yield f"spec.{key}", f"#{_digest(value)}"


def _facts_of_container(where: str, one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield f"{where} image", str(one.get("image"))
    for kind, amounts in (one.get("resources") or {}).items():
        for resource, amount in amounts.items() if isinstance(amounts, Mapping) else ():
            yield f"{where} {kind} {resource}", str(amount)
    for variable in one.get("env") or []:
        source = variable.get("valueFrom") or variable.get("value") or ""
        yield f"{where} env {variable.get('name')}", f"#{_digest(source)}"
    known = {"name", "image", "resources", "env"}
    for key, value in one.items():
        if key not in known:
            yield f"{where} {key}", f"#{_digest(value)}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def commit_of(metadata: Mapping[str, Any]) -> str:
    """Find the commit that a template's images were built from, if the template says it."""
    places = (metadata.get("annotations") or {}, metadata.get("labels") or {})
    return next((str(one[COMMIT])[:64] for one in places if one.get(COMMIT)), "")
