"""Bad releases are taken back, by each remedy and to each target; the record says how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab import chart
from lab.errors import LabError
from tests.integration.api import eventually
from tests.integration.conftest import RunningOperator
from tests.integration.service import REPOSITORY, Service, outcome, steps
from tests.integration.stand import Stand
from tests.integration.traffic import BAD, GOOD, LIST, PURCHASE, SILENT, WORSE, Flow

pytestmark = [pytest.mark.xdist_group("rollback"), pytest.mark.usefixtures("operator")]

MakeService = Callable[..., Service]


def test_a_bad_release_is_undone_to_the_last_known_good(service: Service) -> None:
    service.prepare()
    before = service.deployment()["spec"]

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert rollback["spec"]["severity"] == "P1"
    assert rollback["spec"]["pace"] == "Express"
    assert steps(rollback) == ["Undo", "RolloutComplete", "RestoreStrategy", "Verify"]
    assert service.deployment()["spec"] == before
    assert "P1 Undo to revision 1" in service.wait_for_event("RollbackStarted")
    assert "revision 2" in service.wait_for_event("ReleaseWatched")
    assert service.wait_for_event("ReleaseBad")
    assert service.wait_for_event("RollbackFinished")
    known = {one["images"][0]: one["health"] for one in service.status()["revisions"]}
    assert known[f"{REPOSITORY}:v2"] == "Bad"


def test_a_release_that_fails_in_part_is_undone_at_its_own_pace(service: Service) -> None:
    service.prepare()

    service.roll_out("v2", WORSE)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert (rollback["spec"]["severity"], rollback["spec"].get("pace")) == ("P2", "Normal")
    assert steps(rollback) == ["Undo", "RolloutComplete", "Verify"]
    assert service.image == "v1"


def test_a_release_with_few_errors_is_reported_and_stays(service: Service) -> None:
    service.prepare()

    service.roll_out("v2", Flow(failing={PURCHASE: 0.04, LIST: 0.04}))

    assert "P4" in service.wait_for_event("FixForwardAdvised")
    assert service.status()["severity"] == "P4"
    assert service.rollbacks() == []
    assert service.image == "v2"


def test_a_release_that_its_service_leads_past_is_undone(service: Service) -> None:
    service.deploy(template=service.template("v1", tier="web"))
    service.remember()
    service.is_reached_by({"app": service.name, "tier": "web"})
    service.adopt()

    service.roll_out("v2", SILENT, metadata={"labels": {"tier": None}})

    rollback = service.wait_for_rollback()
    assert rollback["spec"]["severity"] == "P1"
    trigger = rollback["spec"]["trigger"]
    assert trigger["reason"] == "TrafficLost"
    said = "Service web selects no ready pod: its selector requires tier=web"
    assert said in trigger["message"], trigger
    assert service.image == "v1"


def test_mode_observe_records_and_leaves_the_deployment_alone(
    service: Service, operator: RunningOperator
) -> None:
    service.prepare(mode="Observe")

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Observed", "RecordedOnly")
    assert rollback["spec"]["toRevision"]["images"] == [f"{REPOSITORY}:v1"]
    assert steps(rollback) == []
    assert service.image == "v2"
    assert service.wait_for_event("RollbackObserved")
    assert operator.proxy.changes_of_deployments(service.namespace) == []


WAYS: dict[str, dict[str, Any]] = {
    "v1": {"to": "LastKnownGood"},
    "v2": {"to": "Previous"},
    "v1 by number": {"to": "Revision", "revision": 1},
}
"""The version that an undo from v3 leads to, v2 being too young to be known as good."""


def test_an_undo_goes_where_the_policy_says(make_service: MakeService) -> None:
    services = {version: make_service() for version in WAYS}
    for version, service in services.items():
        service.prepare(remedies=[{"type": "Undo", **WAYS[version]}])
        service.roll_out("v2", GOOD)
    for service in services.values():
        service.wait_for_rollout()
        service.wait_for_watch("v2")
        service.roll_out("v3", BAD)

    for version, service in services.items():
        assert outcome(service.wait_for_rollback())[0] == "Verified", service.told()
        assert service.image == version[:2], version


def test_an_image_is_pinned(service: Service) -> None:
    hotfix = {"type": "PinImage", "container": "shop", "image": f"{REPOSITORY}:hotfix"}
    service.prepare(remedies=[hotfix])

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert steps(rollback) == ["PinImage", "RolloutComplete", "Verify"]
    assert "toRevision" not in rollback["spec"]
    assert service.image == "hotfix"


def test_a_release_is_scaled_and_keeps_its_template(service: Service) -> None:
    service.prepare(remedies=[{"type": "Scale", "replicas": 6}])

    service.roll_out("v2", BAD)
    eventually(lambda: service.deployment()["spec"]["replicas"] == 6, "six replicas are wanted")
    service.flow("v2", GOOD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert steps(rollback) == ["Scale", "RolloutComplete", "Verify"]
    assert service.image == "v2"


def test_a_release_pushed_while_a_rollback_runs_stands(service: Service) -> None:
    service.prepare()
    # Pods that count as available late only: the rollback's own rollout takes its time.
    before = service.change(minReadySeconds=12)["spec"]
    service.roll_out("v2", BAD)
    eventually(lambda: service.image == "v1", "the undo is sent")

    service.roll_out("v3", GOOD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Abandoned", "TargetMoved"), service.told()
    after = service.deployment()["spec"]
    assert service.image == "v3"
    assert {**after, "template": {}} == {**before, "template": {}}


def test_an_outage_of_the_api_server_in_the_middle_costs_time_only(
    service: Service, stand: Stand, operator: RunningOperator
) -> None:
    service.prepare()
    # The rollback's own rollout takes its time: the outage falls into it.
    before = service.change(minReadySeconds=8)["spec"]
    service.roll_out("v2", BAD)
    eventually(lambda: service.image == "v1", "the undo is sent")

    stand.cluster.stop_apiserver()
    operator.wait_for_passes(2)
    stand.cluster.start_apiserver()

    assert outcome(service.wait_for_rollback(120.0)) == ("Verified", "Recovered"), service.told()
    assert service.deployment()["spec"] == before
    assert len(service.rollbacks()) == 1


def test_a_healthy_release_becomes_good_and_is_gone_back_to(
    service: Service, operator: RunningOperator
) -> None:
    service.prepare(safety={"goodAfterSeconds": 10})
    service.roll_out("v2", GOOD)

    assert "revision 2" in service.wait_for_event("ReleaseGood")
    assert service.status()["verdict"] == "Healthy"
    assert service.status()["lastKnownGood"]["number"] == 2
    assert service.rollbacks() == []
    assert operator.proxy.changes_of_deployments(service.namespace) == []

    service.remember()  # what it was good for was shorter than a control must be
    service.roll_out("v3", BAD)
    assert outcome(service.wait_for_rollback())[0] == "Verified", service.told()
    assert service.image == "v2"


def test_a_change_of_scale_opens_no_watch(service: Service, operator: RunningOperator) -> None:
    service.prepare()
    before = service.status()["revision"]

    service.change(replicas=6)
    service.wait_for_rollout()
    service.mark("annotations", "touched", "yes")
    operator.wait_for_passes()

    assert service.status()["revision"] == before
    assert service.events() == []


@pytest.mark.extended
def test_a_rollback_made_by_hand_is_not_carried_out(service: Service) -> None:
    service.prepare()
    service.roll_out("v2", GOOD)
    service.wait_for_rollout()

    service.demand_rollback()

    assert outcome(service.wait_for_rollback()) == ("Failed", "NotOfThisPolicy")
    assert service.image == "v2"


def test_who_applies_the_bad_release_again_server_side_meets_a_conflict(
    service: Service, stand: Stand
) -> None:
    """Their apply is refused in the operator's name, and taken only if they insist."""
    container = {"name": "shop", "image": f"{REPOSITORY}:v2"}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service.name, "namespace": service.namespace},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    service.prepare()
    service.flow("v2", BAD)
    stand.api.apply(service.path, manifest, "pipeline")
    assert outcome(service.wait_for_rollback()) == ("Verified", "Recovered"), service.told()

    server_side = ("apply", "--server-side", "--field-manager=pipeline", "--validate=false")
    with pytest.raises(LabError, match='conflict with "rollback-operator"') as refused:
        stand.cluster.kubectl(*server_side, "-f", "-", input=chart.stream([manifest]))
    assert "image" in str(refused.value)
    assert service.image == "v1"

    stand.api.apply(service.path, manifest, "pipeline")
    assert "pipeline" in service.wait_for("Healthy", "CooldownActive")["message"]
    assert service.image == "v2"
