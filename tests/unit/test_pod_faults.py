"""What a pod or a Deployment shows of a fault: the release's own, or its surroundings'."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.adapters.kube.projections.deployments import deployment_of
from rollback_operator.adapters.kube.projections.pods import pod_of

RUNNING = {"running": {"startedAt": "2026-01-05T08:00:00Z"}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def pod(state: dict[str, Any], *, ready: bool = False, scheduled: str = "True") -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": str(ready)},
        {"type": "PodScheduled", "status": scheduled, "message": "0/3 nodes are available"},
    ]
    statuses = [{"name": "shop", "state": state, "ready": ready}]
    return {
        "metadata": {"name": "shop-abc-1"},
        "spec": {},
        "status": {"conditions": conditions, "containerStatuses": statuses},
    }


REFUSED = "failed to pull image: connection refused"
ABSENT = "Back-off pulling image: registry.example.com/shop:v9: not found"


@pytest.mark.parametrize(
    ("raw", "own", "environment"),
    [
        (pod(RUNNING, ready=True), "", ""),
        (pod(waiting("CrashLoopBackOff")), "CrashLoopBackOff", ""),
        (pod({"terminated": {"reason": "Error", "exitCode": 1}}), "Error (1)", ""),
        (pod({"terminated": {"reason": "Completed", "exitCode": 0}}), "", ""),
        (pod(RUNNING), "running but not ready", ""),
        (pod(waiting("ContainerCreating")), "", ""),
        (pod(waiting("CreateContainerConfigError", "no key")), "CreateContainerConfigError", ""),
        (pod(waiting("ImagePullBackOff", ABSENT)), "ImagePullBackOff", ""),
        (pod(waiting("ErrImagePull", REFUSED)), "", "an image cannot be pulled"),
        (pod(waiting("RegistryUnavailable")), "", "an image cannot be pulled"),
        (pod({}, scheduled="False"), "", "cannot be scheduled"),
    ],
    ids=[
        "well",
        "crashes",
        "has crashed",
        "has ended",
        "never ready",
        "starts",
        "a setting is missing",
        "no such image",
        "a registry that does not answer",
        "no registry",
        "no room",
    ],
)
def test_whose_fault_it_is(raw: dict[str, Any], own: str, environment: str) -> None:
    found = pod_of(raw)

    assert own in found.own_failure
    assert environment in found.environment
    assert (bool(found.own_failure), bool(found.environment)) == (bool(own), bool(environment))


@pytest.mark.parametrize(
    ("reason", "is_image"),
    [
        ("ErrImagePull", True),
        ("ImagePullBackOff", True),
        ("InvalidImageName", True),
        ("CrashLoopBackOff", False),
    ],
)
def test_an_image_that_is_not_pulled_is_named(reason: str, is_image: bool) -> None:
    raw = pod(waiting(reason, ABSENT))
    raw["status"]["containerStatuses"][0]["image"] = "registry.example.com/shop:v9"
    said = f"image registry.example.com/shop:v9 of container shop: {reason}"
    assert pod_of(raw).image_fault == (said if is_image else "")
    raw["status"]["containerStatuses"][0]["image"] = "x" * 5000
    assert len(pod_of(raw).image_fault) <= 400


def test_a_pod_on_a_node_that_does_not_answer_has_no_fault_of_its_own() -> None:
    raw = pod(RUNNING)
    raw["status"]["containerStatuses"][0]["ready"] = True  # as the kubelet has told last

    found = pod_of(raw)

    assert (found.ready, found.own_failure, found.environment) == (False, "", "")


def deployment(template: dict[str, Any], conditions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "production", "name": "shop", "uid": "u"},
        "spec": {"template": template},
        "status": {"conditions": conditions},
    }


def test_pods_that_cannot_be_created_are_told() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: compute"}

    assert deployment_of(deployment({}, [failure])).failed_create == "exceeded quota: compute"
    over = {**failure, "status": "False"}
    assert deployment_of(deployment({}, [over])).failed_create == ""


@pytest.mark.parametrize(
    ("annotations", "metrics"),
    [
        ({}, "/metrics"),
        ({"prometheus.io/path": "/stats"}, "/stats"),
        ({"prometheus.io/path": "@elsewhere/"}, "/metrics"),
    ],
)
def test_paths_of_probes_and_of_the_metrics_page_are_known(
    annotations: dict[str, str], metrics: str
) -> None:
    container = {
        "name": "shop",
        "readinessProbe": {"httpGet": {"path": "/health/ready?deep=1", "port": 80}},
        "livenessProbe": {"httpGet": {"path": "/health/live", "port": 80}},
        "startupProbe": {"tcpSocket": {"port": 80}},
    }
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}

    found = deployment_of(deployment(template, []))

    assert found.probe_paths == {"/health/ready", "/health/live", metrics}
