"""What is made of the API server's objects: whose a pause is, how pods read ConfigMaps."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.config_maps import flag_of, reads_of
from rollback_operator.adapters.kube.projections.deployments import (
    LONGEST_FAILURE,
    deployment_of,
    is_held,
    replica_set_of,
)
from rollback_operator.adapters.kube.projections.pods import pod_of
from rollback_operator.adapters.kube.projections.templates import MOST_CONTAINER_BYTES, template_of
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.evidence.retention import LONGEST_ROUTE
from rollback_operator.model.workload import ConfigRead
from rollback_operator.remedies.database.declared_schema import MOST_DECLARED_CHARACTERS


def owner(manager: str, *fields: str, operation: str = "Update") -> dict[str, Any]:
    owned = {f"f:{field}": {} for field in fields}
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": owned}}


OURS = owner(FIELD_MANAGER, "paused", "template")


@pytest.mark.parametrize(
    ("spec", "owners", "expected"),
    [
        ({"paused": True}, [OURS, owner("kubectl", "replicas")], True),
        ({"paused": True}, [owner("kubectl-rollout", "paused"), owner(FIELD_MANAGER)], False),
        ({"paused": True}, [OURS, owner("helm", "paused", operation="Apply")], False),
        ({"paused": True}, [{"manager": FIELD_MANAGER, "fieldsV1": {"f:status": {}}}], False),
        ({"paused": True}, [], False),
        ({"paused": True}, None, False),
        ({}, [OURS], False),
    ],
    ids=[
        "ours",
        "a person's",
        "ours and somebody else's",
        "of another field",
        "nobody's",
        "unknown",
        "not paused",
    ],
)
def test_a_pause_is_ours_alone(
    spec: dict[str, Any], owners: list[dict[str, Any]] | None, expected: bool
) -> None:
    metadata = {} if owners is None else {"managedFields": owners}

    assert is_held({"metadata": metadata, "spec": spec}) is expected


def test_images_of_init_containers_are_kept_beside_the_others() -> None:
    raw = {
        "spec": {
            "initContainers": [{"name": "migrate", "image": "migrate:v2"}],
            "containers": [{"name": "shop", "image": "shop:v2"}],
        }
    }
    statuses = {
        "initContainerStatuses": [{"name": "migrate", "imageID": "r/migrate@sha256:aa"}],
        "containerStatuses": [{"name": "shop", "imageID": "r/shop@sha256:bb"}],
    }

    found = template_of(raw)

    assert (found.images, found.init_images) == (("shop:v2",), ("migrate:v2",))
    assert found.image_by_name == {"shop": "shop:v2", "migrate": "migrate:v2"}
    assert found.image_of("migrate") is None
    pod = pod_of({"metadata": {"name": "shop-1"}, "status": statuses})
    assert sorted(pod.image_digests) == [("migrate", "sha256:aa"), ("shop", "sha256:bb")]


@pytest.mark.parametrize(
    ("status", "expected"),
    [({"replicas": 3, "readyReplicas": 2}, 2), ({"replicas": 3}, 0), ({}, 0)],
)
def test_a_replica_set_tells_how_many_of_its_pods_serve(
    status: dict[str, Any], expected: int
) -> None:
    raw = {"metadata": {"name": "shop-abc", "uid": "u"}, "spec": {"replicas": 3}, "status": status}

    assert replica_set_of(raw).ready == expected


CREATED, CHANGED = "2027-01-15T08:00:00Z", "2027-01-15T08:00:30Z"
T0 = 1_800_000_000.0


@pytest.mark.parametrize(
    ("condition", "ready", "unready"),
    [
        ({"status": "True", "lastTransitionTime": CHANGED}, T0 + 30, None),
        ({"status": "False", "lastTransitionTime": CHANGED}, None, T0 + 30),
        ({"status": "False"}, None, T0),
        (None, None, T0),
    ],
    ids=["ready", "not any more", "undated", "never"],
)
def test_a_pod_tells_since_when_it_is_ready_or_not(
    condition: dict[str, str] | None, ready: float | None, unready: float | None
) -> None:
    conditions = [{"type": "Ready", **condition}] if condition is not None else []
    metadata = {"name": "pod", "creationTimestamp": CREATED}
    found = pod_of({"metadata": metadata, "status": {"conditions": conditions}})
    assert (found.ready_since, found.unready_since) == (ready, unready)


@pytest.mark.parametrize(("status", "expected"), [("False", T0 + 30), ("True", None)])
def test_a_deployment_tells_since_when_too_few_pods_serve(
    status: str, expected: float | None
) -> None:
    served = {"type": "Available", "status": status, "lastTransitionTime": CHANGED}
    metadata = {"namespace": "production", "name": "shop", "uid": "a"}
    raw = {"metadata": metadata, "spec": {}, "status": {"conditions": [served]}}
    assert deployment_of(raw).unavailable_since == expected


def http_get(**fields: Any) -> dict[str, Any]:
    return {"httpGet": {"path": "/health", "port": 8080, **fields}}


PROBED = {
    "name": "shop",
    "ports": [{"name": "http", "containerPort": 8080}],
    "startupProbe": http_get(),
    "readinessProbe": http_get(path="/health/ready", port="http"),
    "livenessProbe": http_get(path="live", port="http", scheme="HTTPS"),
}
TWICE = {"name": "shop", "readinessProbe": http_get(), "livenessProbe": http_get()}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (PROBED, ["http 8080 /health", "http 8080 /health/ready", "https 8080 /live"]),
        ({"name": "shop", "readinessProbe": {"tcpSocket": {"port": 1}}}, []),
        ({"name": "shop", "readinessProbe": http_get(host="elsewhere")}, []),
        ({"name": "shop", "readinessProbe": http_get(port="unnamed")}, []),
        (TWICE, ["http 8080 /health"]),
    ],
    ids=["all three", "no httpGet", "another host", "no such port", "the same twice"],
)
def test_the_endpoints_of_a_pod(container: dict[str, Any], expected: list[str]) -> None:
    found = pod_of({"metadata": {"name": "pod"}, "spec": {"containers": [container]}}).endpoints
    assert [f"{one.scheme} {one.port} {one.path}" for one in found] == expected


def test_a_probes_headers_are_kept() -> None:
    probe = http_get(httpHeaders=[{"name": "X-Probe", "value": "yes"}])
    containers = [{"name": "shop", "readinessProbe": probe}]
    found = pod_of({"metadata": {"name": "pod"}, "spec": {"containers": containers}})
    assert found.endpoints[0].headers == (("X-Probe", "yes"),)


def variable(**source: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"configMapKeyRef": source}}


def pod_with(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


FILES = {"name": "files", "configMap": {"name": "shop"}}
PROJECTED = {
    "name": "files",
    "projected": {
        "sources": [{"configMap": {"name": "shop", "items": [{"key": "A", "path": "a"}]}}]
    },
}


@pytest.mark.parametrize(
    ("template", "reads"),
    [
        (
            pod_with({"env": [variable(name="shop", key="A")]}),
            [ConfigRead("shop", ("A",))],
        ),
        (
            pod_with({"envFrom": [{"configMapRef": {"name": "shop"}}], "env": [{"name": "A"}]}),
            [ConfigRead("shop", hidden=("A",))],
        ),
        (
            pod_with(
                {
                    "envFrom": [{"prefix": "SHOP_", "configMapRef": {"name": "shop"}}],
                    "env": [{"name": "SHOP_A"}, {"name": "A"}],
                }
            ),
            [ConfigRead("shop", hidden=("A",))],
        ),
        (
            pod_with({"volumeMounts": [{"name": "files"}]}, volumes=[FILES]),
            [ConfigRead("shop", is_mounted=True)],
        ),
        (
            pod_with({"volumeMounts": [{"name": "files", "subPath": "a"}]}, volumes=[FILES]),
            [ConfigRead("shop")],
        ),
        (
            pod_with({"volumeMounts": [{"name": "files"}]}, volumes=[PROJECTED]),
            [ConfigRead("shop", ("A",), is_mounted=True)],
        ),
        (pod_with({}, volumes=[FILES]), []),
        (
            pod_with({}, initContainers=[{"env": [variable(name="shop", key="A")]}]),
            [ConfigRead("shop", ("A",))],
        ),
        ({}, []),
    ],
    ids=[
        "variable",
        "all variables, one of them set otherwise",
        "all variables with a prefix",
        "file",
        "file below a path, never renewed",
        "one key as a file",
        "a volume that nobody mounts",
        "init container",
        "nothing",
    ],
)
def test_how_pods_read_config_maps(template: dict[str, Any], reads: list[ConfigRead]) -> None:
    assert list(reads_of(template)) == reads


def test_of_a_config_map_one_key_is_known_and_who_steers_it() -> None:
    owners = [
        {"manager": "helm", "time": "2030-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}},
        {"manager": "kubectl", "time": "2030-01-02T00:00:00Z", "fieldsV1": {"f:data": {}}},
    ]
    metadata = {
        "uid": "u",
        "managedFields": owners,
        "annotations": {"meta.helm.sh/release-name": "shop"},
    }
    found = flag_of({"metadata": metadata, "data": {"A": "true"}, "immutable": True}, "A")

    assert (found.uid, found.value, found.is_immutable) == ("u", "true", True)
    assert found.changed_by == "kubectl"
    assert found.owner is not None
    assert found.owner.kind == "Helm"
    leaving = {**metadata, "deletionTimestamp": "2030-01-02T00:00:00Z"}
    assert flag_of({"metadata": leaving, "data": {"A": "true"}}, "A").value is None


@pytest.mark.parametrize("manager", ["kustomize-controller", "argocd-controller"])
def test_who_steers_a_config_map_is_also_known_by_the_fields_that_they_own(manager: str) -> None:
    owned = [{"manager": manager, "fieldsV1": {"f:data": {"f:A": {}}}}]
    found = flag_of({"metadata": {"uid": "u", "managedFields": owned}, "data": {"A": "1"}}, "A")
    assert found.owner is not None


def containers(count: int, image: str = "example.com/app:v1") -> dict[str, Any]:
    return {"spec": {"containers": [{"name": f"c-{n}", "image": image} for n in range(count)]}}


def test_names_and_images_of_a_template_are_bounded_and_its_digest_is_not() -> None:
    usual = template_of(containers(100))
    assert len(usual.images) == 100

    many = template_of(containers(20_000, "x" * 60))
    assert len(many.containers) == len(many.images)
    assert sum(map(len, (*many.containers, *many.images))) < MOST_CONTAINER_BYTES
    assert many.images[0] == "x" * 60
    assert many.release != template_of(containers(20_001, "x" * 60)).release

    long = template_of(containers(1, "y" * 100_000))
    assert len(long.images[0]) <= LONGEST_ROUTE
    assert long.images != template_of(containers(1, "y" * 100_001)).images


def test_the_init_containers_of_a_template_are_bounded_apart() -> None:
    first = containers(3)["spec"]["containers"]
    raw = {"spec": {**containers(20_000)["spec"], "initContainers": first}}
    assert len(template_of(raw).init_images) == 3


def test_a_failure_to_create_pods_is_bounded() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "denied " * 10_000}
    raw = {
        "metadata": {"namespace": "a", "name": "b", "uid": "c"},
        "status": {"conditions": [condition]},
    }
    assert len(deployment_of(raw).failed_create) <= LONGEST_FAILURE


def test_what_a_template_declares_of_its_schema_is_kept_and_bounded() -> None:
    annotations = {
        "rollback.tickettoken.io/schema-head": "007_prices",
        "rollback.tickettoken.io/schema-range": "x" * 100_000,
    }

    found = template_of({"metadata": {"annotations": annotations}})

    assert found.schema_head == "007_prices"
    assert MOST_DECLARED_CHARACTERS < len(found.schema_range) < 1024
    assert template_of({}).schema_head == ""
