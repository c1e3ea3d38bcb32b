"""`rollback-operator check` against a cluster and its Prometheus: a right policy and wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.api import eventually
from tests.integration.service import FLAG, FLAGS, Service

pytestmark = [pytest.mark.xdist_group("check"), pytest.mark.timeout(1200)]


def check(service: Service, directory: Path, *options: str, **spec: Any) -> tuple[int, str]:
    policy = {
        "apiVersion": "rollback.tickettoken.io/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"name": "shop", "namespace": service.namespace},
        "spec": {"targetRef": {"name": service.name}, "mode": "Observe", **spec},
    }
    path = directory / "policy.yaml"
    path.write_text(yaml.safe_dump(policy))
    argv = (sys.executable, "-m", "rollback_operator", "check", "-f", str(path))
    argv += ("--prometheus", service.stand.prometheus.url, *options)
    argv += ("--kubeconfig", str(service.stand.cluster.kubeconfig))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout, done.stderr
    return done.returncode, done.stdout


def as_data(service: Service, directory: Path, **spec: Any) -> tuple[int, Any]:
    status, said = check(service, directory, "--output", "json", **spec)
    return status, json.loads(said)[0]


def test_a_policy_is_checked_before_it_is_applied(service: Service, tmp_path: Path) -> None:
    service.deploy(replicas=2)
    service.remember()
    eventually(lambda: as_data(service, tmp_path)[0] == 0, "the policy is usable", 300)

    _, found = as_data(service, tmp_path)
    seen = found["seen"]
    assert seen["target"] == {"replicas": 2, "ready": 2, "strategy": "RollingUpdate"}
    assert len(seen["pods"]) == 2
    assert seen["control"]["isSufficient"]
    assert seen["scrapeIntervalSeconds"] == pytest.approx(1.0, abs=0.5)
    rows = {(one["route"], one["failing"]): one["severity"] for one in found["outlook"]}
    assert rows[None, 0.2] == "P2"
    assert rows["/api/v1/tickets/purchase", 1.0] == "P1"

    status, said = check(service, tmp_path)
    assert status == 0
    assert f"Deployment {service.name}: 2 of 2 pods ready, RollingUpdate" in said


def test_a_flag_that_could_not_be_set_is_told(service: Service, tmp_path: Path) -> None:
    service.deploy(replicas=2)
    service.remember()
    flag = {"name": FLAG, "value": "false", "configMapRef": {"name": FLAGS}}
    disable = {"type": "DisableFlag", "flag": flag}
    undo = {"type": "Undo", "to": "LastKnownGood"}
    eventually(lambda: as_data(service, tmp_path)[0] == 0, "the policy is usable", 300)

    alone, mild = (
        as_data(service, tmp_path, remedies=listed) for listed in ([disable], [disable, undo])
    )
    service.has_flag("true")
    _, unread = as_data(service, tmp_path, remedies=[disable])

    assert (alone[0], mild[0]) == (1, 0)
    for level, (_, found) in (("Problem", alone), ("Warning", mild)):
        (said,) = [one for one in found["findings"] if one["field"] == "spec.remedies[0].flag"]
        assert said["level"] == level
        assert f"there is no ConfigMap {FLAGS}" in said["message"]
    (said,) = [one for one in unread["findings"] if one["field"] == "spec.remedies[0].flag"]
    assert "no container of the release reads it from the ConfigMap" in said["message"]


@pytest.mark.extended
def test_what_prevents_a_policy_is_told(service: Service, tmp_path: Path) -> None:
    service.deploy(replicas=2)
    service.remember()
    eventually(lambda: as_data(service, tmp_path)[0] == 0, "the policy is usable", 300)
    service.change(paused=True)

    told = {
        "paused": as_data(service, tmp_path),
        "label": as_data(service, tmp_path, signals={"labels": {"pod": "kubernetes_pod_name"}}),
        "target": as_data(service, tmp_path, targetRef={"name": "till"}),
        "secret": as_data(
            service,
            tmp_path,
            notify=[{"name": "chat", "type": "Slack", "secretRef": {"name": "chat", "key": "url"}}],
        ),
    }

    said = {
        name: [one for one in found["findings"] if one["level"] == "Problem"]
        for name, (_, found) in told.items()
    }
    assert {status for status, _ in told.values()} == {1}
    assert "kubectl rollout resume" in said["paused"][0]["message"]
    labels = next(one for one in said["label"] if one["field"] == "spec.signals.requests")
    assert "pod is the label with the names of the pods" in labels["remedy"]
    assert "there is no Deployment till" in said["target"][0]["message"]
    chat = next(one for one in said["secret"] if one["field"] == "spec.notify[0].secretRef")
    assert "there is no Secret chat" in chat["message"]
