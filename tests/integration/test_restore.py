"""Restored from a backup: nothing acts on what was decided in a cluster that is no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api.v1alpha1 import FINALIZER, Rollback
from rollback_operator.remedies.attempts import name_of
from tests.integration.api import Object, eventually, policies, rollbacks
from tests.integration.conftest import RunningOperator
from tests.integration.manifests import rollback as manifest
from tests.integration.service import Service, outcome
from tests.integration.traffic import GOOD
from tests.sizes import chosen_of

pytestmark = [pytest.mark.xdist_group("ends"), pytest.mark.timeout(1200)]
AGO = timedelta(hours=6)


def at(before: timedelta = AGO) -> str:
    return (datetime.now(UTC) - before).strftime("%Y-%m-%dT%H:%M:%SZ")


def restored(service: Service, status: Object, **references: Any) -> str:
    """Restore a Rollback from v2 to v1 that was decided hours ago; gives its name."""
    policy = service.policy()
    sets = service.stand.api.get(
        f"/apis/apps/v1/namespaces/{service.namespace}/replicasets", labelSelector="app=shop"
    )["items"]
    by_image = {
        one["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2]: one
        for one in sets
    }
    live = {
        "policyRef": {"name": service.name, "uid": policy["metadata"]["uid"]},
        "targetRef": {"name": service.name, "uid": service.deployment()["metadata"]["uid"]},
        "fromRevision": service.revision(by_image["v2"]),
        "toRevision": {
            **service.revision(by_image["v1"]),
            "replicaSet": by_image["v1"]["metadata"]["name"],
            "replicaSetUid": by_image["v1"]["metadata"]["uid"],
        },
    }
    body = manifest(**{**live, **references})
    body["spec"]["trigger"]["decidedTime"] = at()
    body["metadata"] = {
        "name": "unnamed",
        "namespace": service.namespace,
        "uid": "0",
        "finalizers": [FINALIZER],
    }
    name = name_of(Rollback.model_validate(body).spec)
    body["metadata"] |= {"name": name}
    del body["metadata"]["uid"]
    api = service.stand.api
    api.create(rollbacks(service.namespace), body)
    if status:
        api.merge(f"{rollbacks(service.namespace)}/{name}/status", {"status": status})
    return name


def ended(service: Service, name: str) -> Object:
    def probe() -> Object | None:
        found = service.stand.api.get(f"{rollbacks(service.namespace)}/{name}")
        is_free = FINALIZER not in found["metadata"].get("finalizers", ())
        return found if found.get("status", {}).get("outcome") and is_free else None

    return eventually(probe, f"{name} has ended", 90)


@pytest.fixture
def two(service: Service) -> Service:
    """v2 runs, v1 is there to be gone back to."""
    service.prepare(mode="Enforce")
    service.roll_out("v2", GOOD)
    service.wait_for_rollout()
    service.wait_for_watch("v2")
    return service


STEPS: dict[str, Object] = {
    "nothing begun": {},
    "undo begun": {"step": "Undo", "steps": [{"name": "Undo", "startedTime": at()}]},
    "approval asked": {
        "step": "AwaitingApproval",
        "steps": [{"name": "AwaitingApproval", "startedTime": at()}],
        "approvalDeadlineTime": at(AGO - timedelta(minutes=10)),
    },
}


@pytest.mark.parametrize("begun", chosen_of(STEPS, ["undo begun"]))
def test_a_snapshot_of_hours_ago_undoes_nothing(
    two: Service, operator: RunningOperator, begun: str
) -> None:
    """As of etcd: the same uids, everything as it was hours ago."""
    name = restored(two, STEPS[begun])

    assert outcome(ended(two, name)) == ("Abandoned", "RollbackStale"), two.told()
    assert two.image == "v2"
    assert operator.proxy.changes_of_deployments(two.namespace) == []


@pytest.mark.parametrize("begun", chosen_of(STEPS, ["nothing begun"]))
def test_objects_that_were_created_anew_undo_nothing(
    two: Service, operator: RunningOperator, begun: str
) -> None:
    """As of Velero: the Rollback names a policy and a Deployment of other uids."""
    name = restored(two, STEPS[begun], targetRef={"name": two.name, "uid": "of-the-old-cluster"})

    assert outcome(ended(two, name)) == ("Abandoned", "TargetDeleted"), two.told()
    assert two.image == "v2"
    assert operator.proxy.changes_of_deployments(two.namespace) == []


def test_a_policy_that_was_created_anew_carries_nothing_out_for_the_old_one(
    two: Service, operator: RunningOperator
) -> None:
    policy = {"name": two.name, "uid": "of-the-old-cluster"}
    name = restored(two, {}, policyRef=policy)

    assert outcome(ended(two, name)) == ("Abandoned", "PolicyDeleted"), two.told()
    assert two.image == "v2"


def test_a_hold_of_a_deployment_that_is_no_more_is_dropped(
    two: Service, operator: RunningOperator
) -> None:
    hold = {
        "reason": "Suspicion",
        "message": "it failed more",
        "deployment": two.name,
        "deploymentUid": "of-the-old-cluster",
        "digest": "of-the-old-cluster",
        "sinceTime": at(),
        "untilTime": at(AGO - timedelta(minutes=5)),
        "pausedTime": at(),
    }
    path = f"{policies(two.namespace)}/{two.name}"
    two.stand.api.merge(f"{path}/status", {"status": {"hold": hold}})

    def reason() -> str | None:
        known = two.status().get("hold", {})
        return known.get("releaseReason") if known.get("releasedTime") else None

    assert eventually(reason, "the hold is closed", 60) == "TargetChanged"
    assert operator.proxy.changes_of_deployments(two.namespace) == []
