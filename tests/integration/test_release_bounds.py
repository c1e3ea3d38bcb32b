"""`rollback-operator release`, where rollbacks have raised bounds or stopped the traffic."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rollback_operator.api.v1alpha1 import (
    BOUNDS_FINALIZER,
    FIELD_MANAGER,
    FINALIZER,
    TRAFFIC_FINALIZER,
)
from tests.integration.api import Object, rollbacks
from tests.integration.manifests import rollback
from tests.integration.operator_process import COMMAND
from tests.integration.service import Service
from tests.integration.stand import Stand
from tests.integration.test_autoscaler import autoscale, autoscalers, bounds, condition

pytestmark = [pytest.mark.xdist_group("release-bounds"), pytest.mark.timeout(1200)]

RAISED = {"minReplicas": 6, "maxReplicas": 6}
THEN = "2030-01-01T00:00:00Z"


def left_raised(service: Service) -> str:
    """Leave raised bounds and their record behind, as an operator that is gone: its path."""
    autoscale(service, 2, 5)
    api, hpa = service.stand.api, f"{autoscalers(service)}/shop-hpa"
    uid = api.merge(f"{hpa}?fieldManager={FIELD_MANAGER}", {"spec": RAISED})["metadata"]["uid"]
    body = rollback(
        remedy={"type": "Scale", "replicas": 6},
        autoscaler={"name": "shop-hpa", "uid": uid, "restoreAfterSeconds": 3600},
    )
    del body["spec"]["toRevision"]
    body["metadata"] = {"name": "over", "finalizers": [BOUNDS_FINALIZER]}
    path = rollbacks(service.namespace)
    api.create(path, body)
    record = {"minReplicas": 2, "maxReplicas": 5, "raisedMinReplicas": 6, "raisedMaxReplicas": 6}
    status = {"outcome": "Unknown", "finishedTime": THEN, "autoscaler": record}
    api.merge(f"{path}/over/status", {"status": status})
    return f"{path}/over"


def run(stand: Stand, service: Service, directory: Path) -> subprocess.CompletedProcess[str]:
    stand.grant(service.namespace)
    proxy = stand.proxy(service.namespace)
    proxy.start()
    argv = [
        str(COMMAND),
        "release",
        f"--kubeconfig={proxy.write_kubeconfig(directory / 'kubeconfig')}",
        f"--namespaces={service.namespace}",
        f"--lease-namespace={service.namespace}",
        "--lease-seconds=5",
    ]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
    finally:
        proxy.stop()


def test_the_command_puts_them_back_and_lets_the_record_be_deleted(
    stand: Stand, service: Service, tmp_path: Path
) -> None:
    service.deploy()
    path = left_raised(service)
    stand.api.delete(path)  # before that nothing lets it go
    assert bounds(service) == (6, 6)

    done = run(stand, service, tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"Rollback {service.namespace}/over: released" in done.stdout
    assert bounds(service) == (2, 5)
    assert stand.api.find(path) is None
    assert any(one.startswith("BoundsRestored") for one in service.events())


@pytest.mark.extended
def test_without_a_deletion_the_record_says_that_they_are_back(
    stand: Stand, service: Service, tmp_path: Path
) -> None:
    service.deploy()
    path = left_raised(service)

    done = run(stand, service, tmp_path)

    assert done.returncode == 0, done.stderr
    found: Object = stand.api.get(path)
    assert bounds(service) == (2, 5)
    assert found["metadata"].get("finalizers", []) == []
    assert condition(found)[:2] == ("False", "BoundsRestored")


def test_an_open_rollback_gives_back_its_replicas_and_ends(
    stand: Stand, service: Service, tmp_path: Path
) -> None:
    service.deploy(replicas=2)
    api, uid = stand.api, service.deployment()["metadata"]["uid"]
    api.merge(f"{service.path}?fieldManager={FIELD_MANAGER}", {"spec": {"replicas": 0}})
    body = rollback(traffic={"stop": "Replicas"})
    body["spec"]["targetRef"] = {"kind": "Deployment", "name": service.name, "uid": uid}
    body["metadata"] = {"name": "open", "finalizers": [FINALIZER, TRAFFIC_FINALIZER]}
    path = rollbacks(service.namespace)
    api.create(path, body)
    steps = [{"name": "StopTraffic", "startedTime": "2026-01-01T00:00:00Z"}]
    api.merge(f"{path}/open/status", {"status": {"steps": steps, "traffic": {"replicas": 2}}})

    done = run(stand, service, tmp_path)

    assert done.returncode == 0, done.stderr
    found: Object = api.get(f"{path}/open")
    assert service.deployment()["spec"]["replicas"] == 2
    assert found["metadata"].get("finalizers", []) == []
    reasons = {one["type"]: one["reason"] for one in found["status"]["conditions"]}
    assert (found["status"]["outcome"], reasons["Complete"]) == ("Abandoned", "ReleasedByCommand")
    assert reasons["TrafficStopped"] == "TrafficRestored"
