"""Whoever may create Deployments and ReplicaSets ends nobody's operator by the memory they take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api import eventually, policies
from tests.integration.operator_process import InstalledOperator, Options
from tests.integration.stand import Stand

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("large"), pytest.mark.timeout(1200)]

TERMS = 12_000
"""Of a megabyte of JSON, and eight of Python's objects."""
TOO_MANY = 24_000
"""Of one object that alone takes more than an answer may."""
TERM = '{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}'
DEPLOYMENTS, REPLICA_SETS, LATER = 24, 9, 6
MOST_MIB = 400
"""The chart gives 512."""


def pod_template(terms: int) -> str:
    preferred = ",".join([TERM] * terms)
    return (
        '{"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": '
        '"a:1"}], "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": '
        f"[{preferred}]}}}}}}}}"
    )


def body(kind: str, name: str, template: str, owner: str = "") -> str:
    owned = ""
    if owner:
        reference = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "target",
            "uid": owner,
            "controller": True,
        }
        owned = f', "labels": {{"app": "a"}}, "ownerReferences": [{json.dumps(reference)}]'
    # A paused one makes no ReplicaSets: there are those of this test alone.
    paused = '"paused": true, ' if kind == "Deployment" and name[0] == "d" else ""
    return (
        f'{{"apiVersion": "apps/v1", "kind": "{kind}", "metadata": {{"name": "{name}"{owned}}}, '
        f'"spec": {{"replicas": 0, {paused}"selector": {{"matchLabels": {{"app": "a"}}}}, '
        f'"template": {template}}}}}'
    )


class Tenant:
    """Somebody with `edit` in a namespace."""

    def __init__(self, stand: Stand, namespace: str) -> None:
        self._stand = stand
        self.namespace = namespace

    def create(self, plural: str, text: str) -> dict[str, Any]:
        answer = self._stand.api._session.post(
            f"{self._stand.api.server}/apis/apps/v1/namespaces/{self.namespace}/{plural}",
            data=text,
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        assert answer.status_code == 201, answer.text[:300]
        made: dict[str, Any] = answer.json()
        return made

    def watches(self, name: str) -> None:
        watched = {
            "apiVersion": "rollback.tickettoken.io/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"name": name},
            "spec": {"targetRef": {"name": name}, "mode": "Observe"},
        }
        self._stand.api.create(policies(self.namespace), watched)

    def is_told(self, name: str) -> bool:
        return "status" in self.policy(name)

    def policy(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._stand.api.get(f"{policies(self.namespace)}/{name}")
        return found

    def gives_all_up(self) -> None:
        for plural in ("deployments", "replicasets"):
            path = f"/apis/apps/v1/namespaces/{self.namespace}/{plural}"
            self._stand.api._session.delete(f"{self._stand.api.server}{path}", timeout=60)


@pytest.fixture
def tenant(stand: Stand) -> Iterator[Tenant]:
    found = Tenant(stand, stand.namespace("large"))
    yield found
    found.gives_all_up()


def peak_mib(operator: InstalledOperator) -> int:
    lines = Path(f"/proc/{operator.pid}/status").read_text().splitlines()
    return int(next(one for one in lines if one.startswith("VmHWM")).split()[1]) >> 10


def test_many_large_objects_neither_end_the_operator_nor_stop_it_for_others(
    stand: Stand, tenant: Tenant, tmp_path: Path
) -> None:
    other = Tenant(stand, stand.namespace("beside"))
    other.create("deployments", body("Deployment", "shop", pod_template(1)))
    other.watches("shop")
    large = pod_template(TERMS)
    for number in range(DEPLOYMENTS):
        tenant.create("deployments", body("Deployment", f"d{number}", large))
    tenant.create("deployments", body("Deployment", "dense", pod_template(TOO_MANY)))
    tenant.watches("dense")
    target = tenant.create("deployments", body("Deployment", "target", large))
    for number in range(REPLICA_SETS):
        text = body("ReplicaSet", f"target-{number}", large, target["metadata"]["uid"])
        tenant.create("replicasets", text)
    tenant.watches("target")
    options = Options(stand.cluster.kubeconfig, stand.prometheus.url)
    operator = InstalledOperator(options, tmp_path / "operator.log")
    try:
        operator.wait_until_ready(300.0)
        eventually(lambda: other.is_told("shop"), "the other's policy is looked at", 300.0)
        for name in ("target", "dense"):
            eventually(lambda name=name: tenant.is_told(name), f"{name} is told why", 300.0)
        assert "takes more than 24 MiB" in json.dumps(tenant.policy("dense")["status"])
        for number in range(DEPLOYMENTS, DEPLOYMENTS + LATER):  # by the watch
            tenant.create("deployments", body("Deployment", f"d{number}", large))
        other.create("deployments", body("Deployment", "late", pod_template(1)))
        other.watches("late")
        eventually(lambda: other.is_told("late"), "what comes later is looked at", 300.0)
        print(f"peak: {peak_mib(operator)} MiB")
        assert peak_mib(operator) < MOST_MIB, operator.tail()
        assert operator.end() == 0, operator.tail()
    finally:
        operator.kill()
