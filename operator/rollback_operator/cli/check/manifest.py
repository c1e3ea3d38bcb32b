"""The manifest of a deploy: its Deployments, its policies, and the objects that it brings along."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rollback_operator.api.user_text.documents import UnparsableError
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.cli.documents import Document, document_of, objects_in, wrong_names

_KEYED, _LISTED = ("ConfigMap", "Secret"), ("ServiceAccount", "PersistentVolumeClaim")
_KEYS = ("data", "binaryData", "stringData")

# What is read of a Deployment, by type; the API server checks the rest.
_PROBE = {"httpGet": {"path": str}, "periodSeconds": int}
_OBJECT = {"name": str, "key": str, "optional": bool}
_FILES = {"name": str, "secretName": str, "optional": bool, "items": [{"key": str}]}
_CONTAINER = {
    "name": str,
    "image": str,
    "env": [{"name": str, "valueFrom": {"configMapKeyRef": _OBJECT, "secretKeyRef": _OBJECT}}],
    "envFrom": [{"prefix": str, "configMapRef": _OBJECT, "secretRef": _OBJECT}],
    "volumeMounts": [{"name": str}],
    "ports": [{"name": str}],
    "resources": {"limits": {}, "requests": {}},
    **dict.fromkeys(("readinessProbe", "livenessProbe", "startupProbe"), _PROBE),
}
_SOURCES = {"configMap": _FILES, "secret": _FILES}
_DEPLOYMENT = {
    "metadata": {"name": str, "namespace": str, "labels": {}, "annotations": {}},
    "spec": {
        "replicas": int,
        "revisionHistoryLimit": int,
        "progressDeadlineSeconds": int,
        "minReadySeconds": int,
        "paused": bool,
        "strategy": {"type": str, "rollingUpdate": {}},
        "template": {
            "metadata": {"labels": {}, "annotations": {}},
            "spec": {
                "serviceAccountName": str,
                "imagePullSecrets": [{"name": str}],
                "initContainers": [_CONTAINER],
                "containers": [_CONTAINER],
                "overhead": {},
                "volumes": [
                    {
                        "name": str,
                        **_SOURCES,
                        "projected": {"sources": [_SOURCES]},
                        "persistentVolumeClaim": {"claimName": str},
                    }
                ],
            },
        },
    },
}
_TYPES = {str: "a string", int: "a whole number", bool: "true or false"}

ObjectKey = tuple[str, str, str]
"""Kind, namespace and name."""


class ManifestError(Exception):
    """A manifest cannot be checked; the message names the field."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of a file that bear on a rollback."""

    deployments: Mapping[tuple[str, str], Mapping[str, Any]]
    """By namespace and name."""
    policies: tuple[Document, ...] = ()
    brought: Mapping[ObjectKey, frozenset[str]] | None = None
    """Objects that come with the deploy, with their keys."""

    def brings(self, key: ObjectKey) -> frozenset[str] | None:
        """Return the keys of an object of the manifest; None: it has no such object."""
        return (self.brought or {}).get(key)


def read_manifest(path: Path, namespace: str, standard_input: TextIO = sys.stdin) -> Manifest:
    """Read a file of manifests, as kustomize and Helm print them.

    Args:
        path: of a YAML stream or a JSON document; `-` is the standard input.
        namespace: of an object that names none.
        standard_input: what `-` stands for.

    Raises:
        ManifestError: it cannot be read, holds no Deployment and no policy, or an invalid policy.
    """
    try:
        objects = objects_in(path, standard_input)
    except UnparsableError as error:
        raise ManifestError(str(error)) from None
    deployments: dict[tuple[str, str], Mapping[str, Any]] = {}
    policies: list[Document] = []
    brought: dict[ObjectKey, frozenset[str]] = {}
    for raw in objects:
        kind = raw.get("kind")
        if kind == RollbackPolicy.KIND:
            policies.append(document_of(raw, namespace))
        elif kind == "Deployment":
            key = _checked(raw, namespace)
            if key in deployments:
                raise ManifestError(f"{path} holds Deployment {'/'.join(key)} twice")
            deployments[key] = raw
        elif kind in (*_KEYED, *_LISTED) and isinstance(raw.get("metadata"), Mapping):
            metadata = raw["metadata"]
            place = str(metadata.get("namespace") or namespace), str(metadata.get("name"))
            brought[str(kind), *place] = _keys(raw) if kind in _KEYED else frozenset()
    if not deployments and not policies:
        kinds = ", ".join(sorted({str(raw.get("kind"))[:100] for raw in objects})) or "nothing"
        raise ManifestError(
            f"{path} holds no Deployment and no {RollbackPolicy.KIND}, but {kinds[:300]}: the "
            "operator rolls back Deployments of apps/v1 only"
        )
    return Manifest(deployments, tuple(policies), brought)


def _keys(raw: Mapping[str, Any]) -> frozenset[str]:
    parts = (raw.get(part) for part in _KEYS)
    return frozenset(str(key) for part in parts if isinstance(part, Mapping) for key in part)


def _checked(raw: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    """Check what is read of a Deployment; returns namespace and name."""
    metadata = raw.get("metadata")
    name = str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""
    where = f"Deployment {name[:100]}" if name else "a Deployment"
    if raw.get("apiVersion") != "apps/v1":
        raise ManifestError(f"{where}: apiVersion must be apps/v1, not {raw.get('apiVersion')!r}")
    if fault := _fault(raw, _DEPLOYMENT, ""):
        raise ManifestError(f"{where}: {fault}")
    assert isinstance(metadata, Mapping | None)
    place = str((metadata or {}).get("namespace") or namespace)
    for wrong in wrong_names(place, name):
        raise ManifestError(f"{where}: {wrong.path} {wrong.message}")
    pod = ((raw.get("spec") or {}).get("template") or {}).get("spec") or {}
    if not pod.get("containers"):
        raise ManifestError(f"{where}: spec.template.spec.containers is missing or empty")
    for number, container in enumerate(pod["containers"]):
        for field in ("name", "image"):
            if not container.get(field):
                path = f"spec.template.spec.containers[{number}].{field}"
                raise ManifestError(f"{where}: {path} is missing")
    return place, name


def _fault(value: Any, shape: Any, path: str) -> str:
    """Name the first field of another type; empty: there is none."""
    if value is None:
        return ""
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            return f"{path or 'it'} must be an object"
        parts = ((f"{path}.{key}".lstrip("."), value.get(key), each) for key, each in shape.items())
        return next((fault for at, part, each in parts if (fault := _fault(part, each, at))), "")
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{path} must be a list"
        items = ((f"{path}[{number}]", part) for number, part in enumerate(value))
        return next(
            (
                fault or f"{at} must be an object"
                for at, part in items
                if (fault := _fault(part, shape[0], at)) or part is None
            ),
            "",
        )
    is_right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return "" if is_right else f"{path} must be {_TYPES[shape]} (it is {str(value)[:100]!r})"
