"""Manifests of a deploy: what is read of them, and what is refused with its field."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollback_operator.adapters.kube.projections.mentions import mentions_of
from rollback_operator.adapters.kube.projections.needs import references_of
from rollback_operator.cli import documents
from rollback_operator.cli.check.manifest import ManifestError, read_manifest
from rollback_operator.model.surroundings import Reference

CONTAINER = {"name": "shop", "image": "registry.example.com/shop:v2"}


def deployment(**pod: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "production"},
        "spec": {"template": {"spec": {"containers": [CONTAINER], **pod}}},
    }


def read(*objects: Any) -> Any:
    text = objects[0] if isinstance(objects[0], str) else yaml.safe_dump_all(objects)
    return read_manifest(Path("-"), "default", io.StringIO(text))


def with_container(**fields: Any) -> dict[str, Any]:
    return deployment(containers=[{**CONTAINER, **fields}])


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
REFUSED: dict[str, tuple[Any, str]] = {
    "no YAML": ("a: [", "- is neither YAML nor JSON|neither YAML nor JSON"),
    "a bomb": (BOMB, "its aliases expand to more than"),
    "a text": ("hello", "holds str where an object is expected"),
    "nothing": ("", "holds no Deployment and no RollbackPolicy, but nothing"),
    "another kind": (
        {"apiVersion": "apps/v1", "kind": "StatefulSet"},
        "holds no Deployment and no RollbackPolicy, but StatefulSet",
    ),
    "another API": ({**deployment(), "apiVersion": "apps/v1beta1"}, "apiVersion must be apps/v1"),
    "no name": ({**deployment(), "metadata": {}}, "a Deployment: metadata.name must be the name"),
    "a path for a name": (
        {**deployment(), "metadata": {"name": "../secrets"}},
        "metadata.name must be the name of a Kubernetes object",
    ),
    "no template": ({**deployment(), "spec": {}}, "spec.template.spec.containers is missing"),
    "no containers": (deployment(containers=[]), "spec.template.spec.containers is missing"),
    "a container that is text": (
        deployment(containers=["shop"]),
        r"spec.template.spec.containers\[0\] must be an object",
    ),
    "a container that is nothing": (
        deployment(containers=[None]),
        r"spec.template.spec.containers\[0\] must be an object",
    ),
    "no image": (
        deployment(containers=[{"name": "shop"}]),
        r"spec.template.spec.containers\[0\].image is missing",
    ),
    "a number for an image": (
        with_container(image=2),
        r"spec.template.spec.containers\[0\].image must be a string \(it is '2'\)",
    ),
    "an object for a list": (
        with_container(env={"A": "b"}),
        r"spec.template.spec.containers\[0\].env must be a list",
    ),
    "a text for a number": (
        {**deployment(), "spec": {**deployment()["spec"], "replicas": "4"}},
        "spec.replicas must be a whole number",
    ),
    "true for a number": (
        {**deployment(), "spec": {**deployment()["spec"], "revisionHistoryLimit": True}},
        "spec.revisionHistoryLimit must be a whole number",
    ),
    "a text for metadata": ({**deployment(), "metadata": "shop"}, "metadata must be an object"),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_manifest_is_refused_with_its_field(given: Any, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        read(given)


def test_a_deployment_that_stands_twice_is_refused() -> None:
    with pytest.raises(ManifestError, match="holds Deployment production/shop twice"):
        read(deployment(), deployment())


def test_a_giant_file_is_not_taken_into_memory(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="/dev/zero: is longer than 8 MiB"):
        read_manifest(Path("/dev/zero"), "default")
    path = tmp_path / "large.yaml"
    text = yaml.safe_dump(deployment()) + "#" * documents.MOST_FILE_BYTES
    path.write_text(text)
    with pytest.raises(ManifestError, match=r"large\.yaml: is longer than"):
        read_manifest(path, "default")
    with pytest.raises(ManifestError, match="-: is longer than"):
        read(text)


def test_what_a_manifest_brings_is_there_with_its_keys() -> None:
    found = read(
        {"kind": "List", "items": [deployment()]},
        {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}},
        {
            "kind": "Secret",
            "metadata": {"name": "b", "namespace": "production"},
            "stringData": {"y": "2"},
        },
        {"kind": "ServiceAccount", "metadata": {"name": "c"}},
        None,
    )

    assert list(found.deployments) == [("production", "shop")]
    assert found.brings(("ConfigMap", "default", "a")) == {"x"}
    assert found.brings(("Secret", "production", "b")) == {"y"}
    assert found.brings(("ServiceAccount", "default", "c")) == frozenset()
    assert found.brings(("Secret", "default", "b")) is None


def test_each_place_that_names_an_object_is_found() -> None:
    spec = {
        "serviceAccountName": "shop",
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "s1"}}]}],
        "containers": [
            {
                "envFrom": [{"configMapRef": {"name": "c1", "optional": True}}],
                "env": [
                    {"name": "A", "value": "plain"},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "b"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "c"}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
            }
        ],
        "volumes": [
            {"configMap": {"name": "c2", "items": [{"key": "k1"}, {"key": "k2"}]}},
            {"secret": {"secretName": "s3"}},
            {"projected": {"sources": [{"secret": {"name": "s4", "items": [{"key": "k"}]}}]}},
            {"persistentVolumeClaim": {"claimName": "disk"}},
            {"emptyDir": {}},
        ],
    }
    at = "spec.template.spec"
    found = {each.path: (each.kind, each.name, each.key) for each in mentions_of({"spec": spec})}

    assert found == {
        f"{at}.serviceAccountName": ("ServiceAccount", "shop", ""),
        f"{at}.imagePullSecrets[0].name": ("Secret", "pull", ""),
        f"{at}.initContainers[0].envFrom[0].secretRef": ("Secret", "s1", ""),
        f"{at}.containers[0].envFrom[0].configMapRef": ("ConfigMap", "c1", ""),
        f"{at}.containers[0].env[1].valueFrom.configMapKeyRef": ("ConfigMap", "c1", "b"),
        f"{at}.containers[0].env[2].valueFrom.secretKeyRef": ("Secret", "s2", "c"),
        f"{at}.volumes[0].configMap.items[0].key": ("ConfigMap", "c2", "k1"),
        f"{at}.volumes[0].configMap.items[1].key": ("ConfigMap", "c2", "k2"),
        f"{at}.volumes[1].secret": ("Secret", "s3", ""),
        f"{at}.volumes[2].projected.sources[0].secret.items[0].key": ("Secret", "s4", "k"),
        f"{at}.volumes[3].persistentVolumeClaim.claimName": ("PersistentVolumeClaim", "disk", ""),
    }
    # An object is optional only if it is optional wherever it is named.
    assert Reference("ConfigMap", "c1", is_optional=False) in references_of({"spec": spec})
