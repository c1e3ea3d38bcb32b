"""Pod templates: their digests, and the facts that people compare."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rollback_operator.adapters.kube.projections.needs import quantity
from rollback_operator.evidence.retention import LABEL_BYTES, shortened, weight
from rollback_operator.model.workload import Template, digest_of
from rollback_operator.remedies.database.declared_schema import (
    HEAD_ANNOTATION,
    MOST_DECLARED_CHARACTERS,
    RANGE_ANNOTATION,
)

POD_HASH_LABEL = "pod-template-hash"
MOST_CONTAINER_BYTES = 32 * 1024
"""Of memory for names and images of a template's containers, and as much for init containers: more
than a hundred of each at the usual length. Every Deployment and ReplicaSet of a target has them."""
COMMIT = "org.opencontainers.image.revision"


def template_of(template: Mapping[str, Any]) -> Template:
    """Project a template; its digests leave out the label that the controller adds."""
    metadata = template.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    spec = template.get("spec") or {}
    containers, first = spec.get("containers") or [], spec.get("initContainers") or []
    kept, kept_first = _fitting(containers), _fitting(first)
    bare = {"labels": labels_of(template), "spec": spec}
    return Template(
        digest=digest_of({**bare, "annotations": annotations}),
        release=digest_of(bare),
        images=tuple(image for _, image in kept),
        containers=tuple(name for name, _ in kept),
        init_images=tuple(image for _, image in kept_first),
        init_containers=tuple(name for name, _ in kept_first),
        memory_limit=_memory_limit(containers),
        commit=commit_of(metadata),
        schema_head=_declared(annotations, HEAD_ANNOTATION),
        schema_range=_declared(annotations, RANGE_ANNOTATION),
    )


def _declared(annotations: Mapping[str, Any], name: str) -> str:
    """Keep a declaration, or enough of it to be refused later if it is too long."""
    return str(annotations.get(name) or "")[: MOST_DECLARED_CHARACTERS + 1]


def _fitting(containers: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """List name and image of the containers that fit in the memory limit of a template.

    The digests cover all of them; those beyond the limit are not compared by image.
    """
    kept, left = list[tuple[str, str]](), MOST_CONTAINER_BYTES
    for container in containers:
        name, image = (shortened(str(container.get(part, ""))) for part in ("name", "image"))
        left -= LABEL_BYTES + weight(name) + weight(image)
        if left < 0:
            break
        kept.append((name, image))
    return kept


def _memory_limit(containers: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the memory limit of the first container with a limit.

    The measured process is usually that of the first container; sidecars have their own limits.
    """
    for container in containers:
        limit = quantity(((container.get("resources") or {}).get("limits") or {}).get("memory"))
        if limit:
            return limit
    return None


def without_pod_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a ReplicaSet's template for a Deployment."""
    return {
        **template,
        "metadata": {**(template.get("metadata") or {}), "labels": labels_of(template)},
    }


def labels_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Return a template's labels without the label that the controller adds."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {str(key): str(value) for key, value in labels.items() if key != POD_HASH_LABEL}


def facts_of(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List the facts of a template that people compare."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    for key, value in (metadata.get("annotations") or {}).items():
        yield f"annotation {key}", f"#{digest_of(value)}"
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or []:
            yield from _facts_of_container(f"container {container.get('name')}", container)
    for volume in spec.get("volumes") or []:
        source = {key: value for key, value in volume.items() if key != "name"}
        yield f"volume {volume.get('name')}", f"#{digest_of(source)}"
    known = {"initContainers", "containers", "volumes"}
    for key, value in spec.items():
        if key not in known:
            yield f"spec.{key}", f"#{digest_of(value)}"


def _facts_of_container(where: str, container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield f"{where} image", str(container.get("image"))
    for kind, amounts in (container.get("resources") or {}).items():
        for resource, amount in amounts.items() if isinstance(amounts, Mapping) else ():
            yield f"{where} {kind} {resource}", str(amount)
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or variable.get("value") or ""
        yield f"{where} env {variable.get('name')}", f"#{digest_of(source)}"
    known = {"name", "image", "resources", "env"}
    for key, value in container.items():
        if key not in known:
            yield f"{where} {key}", f"#{digest_of(value)}"


def commit_of(metadata: Mapping[str, Any]) -> str:
    """Return the commit of a template's images, if the template names it."""
    places = (metadata.get("annotations") or {}, metadata.get("labels") or {})
    return next((str(texts[COMMIT])[:64] for texts in places if texts.get(COMMIT)), "")
