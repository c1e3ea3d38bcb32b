"""Each place in a pod template that names another object of the namespace, or a key of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rollback_operator.model.surroundings import Mention

_POD = "spec.template.spec"
_OF_VARIABLES = (
    ("configMapKeyRef", "ConfigMap"),
    ("secretKeyRef", "Secret"),
    ("configMapRef", "ConfigMap"),
    ("secretRef", "Secret"),
)


def mentions_of(template: Mapping[str, Any]) -> Iterator[Mention]:
    """Yield the places of a template, with their paths in a Deployment."""
    for mention in _all_of(template.get("spec") or {}):
        if mention.name:
            yield mention


def _all_of(spec: Mapping[str, Any]) -> Iterator[Mention]:
    account = str(spec.get("serviceAccountName") or "")
    if account != "default":
        yield Mention("ServiceAccount", account, f"{_POD}.serviceAccountName")
    for number, secret in enumerate(spec.get("imagePullSecrets") or []):
        # Optional: the kubelet continues without it.
        path = f"{_POD}.imagePullSecrets[{number}].name"
        yield Mention("Secret", str(secret.get("name") or ""), path, is_optional=True)
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(kind) or []):
            yield from _of_container(container, f"{_POD}.{kind}[{number}]")
    for number, volume in enumerate(spec.get("volumes") or []):
        yield from _of_volume(volume, f"{_POD}.volumes[{number}]")


def _of_container(container: Mapping[str, Any], path: str) -> Iterator[Mention]:
    for number, group in enumerate(container.get("envFrom") or []):
        yield from _of_source(group, f"{path}.envFrom[{number}]")
    for number, variable in enumerate(container.get("env") or []):
        yield from _of_source(variable.get("valueFrom") or {}, f"{path}.env[{number}].valueFrom")


def _of_source(source: Mapping[str, Any], path: str) -> Iterator[Mention]:
    for field, kind in _OF_VARIABLES:
        reference = source.get(field)
        if reference:
            yield Mention(
                kind,
                str(reference.get("name") or ""),
                f"{path}.{field}",
                key=str(reference.get("key") or ""),
                is_optional=bool(reference.get("optional")),
                is_configuration=True,
            )


def _of_volume(volume: Mapping[str, Any], path: str) -> Iterator[Mention]:
    yield from _of_files(volume, path, "secretName")
    sources = (volume.get("projected") or {}).get("sources") or []
    for number, source in enumerate(sources):
        yield from _of_files(source, f"{path}.projected.sources[{number}]", "name")
    published = ((volume.get("csi") or {}).get("nodePublishSecretRef")) or {}
    yield Mention("Secret", str(published.get("name") or ""), f"{path}.csi.nodePublishSecretRef")
    claim = volume.get("persistentVolumeClaim")
    if claim:
        place = f"{path}.persistentVolumeClaim.claimName"
        yield Mention("PersistentVolumeClaim", str(claim.get("claimName") or ""), place)


def _of_files(source: Mapping[str, Any], path: str, secret_name: str) -> Iterator[Mention]:
    for field, kind, name in (
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", secret_name),
    ):
        reference = source.get(field)
        if not reference:
            continue
        whole = Mention(
            kind,
            str(reference.get(name) or ""),
            f"{path}.{field}",
            is_optional=bool(reference.get("optional")),
            is_configuration=True,
        )
        items = reference.get("items") or []
        for number, item in enumerate(items):
            place = f"{path}.{field}.items[{number}].key"
            yield replace(whole, path=place, key=str(item.get("key") or ""))
        if not items:
            yield whole
