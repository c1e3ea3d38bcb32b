"""Whose a pause is: told by the owners of the field, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.projections import is_held, pod_of


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
