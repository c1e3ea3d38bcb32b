"""Rollouts are held on suspicion and as a stage, let go again, and never left paused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab import chart
from tests.integration.api import Object, eventually, policies, throughout
from tests.integration.conftest import RunningOperator
from tests.integration.held import (
    BATCH_SECONDS,
    FINALIZER,
    STAGED,
    finalizers,
    hold,
    is_paused,
    rolling,
    wait_until_held,
    wait_until_let_go,
)
from tests.integration.service import Service, outcome
from tests.integration.stand import Stand
from tests.integration.traffic import BAD, GOOD, LIST, PURCHASE, SILENT, Flow
from tests.sizes import rows_of

pytestmark = [pytest.mark.xdist_group("holds"), pytest.mark.timeout(1200)]

ON_STAGE_ONLY = {**STAGED, "safety": {"pauseOnSuspicion": False}}
FEW = Flow(rate=5.0)
SOME = replace(FEW, failing={PURCHASE: 0.04, LIST: 0.04})
"""Enough to be suspected at 10 : 1, and not bad at a billion : 1 for some time, also where all the
errors of the first seconds come to count at once."""
ODDS = {"suspectOdds": 10, "badOdds": 1_000_000_000}
TOLD_ONLY = [
    {
        "severity": "P3",
        "when": [{"signal": "ErrorRate", "above": "0.05"}],
        "response": "Investigate",
    }
]


# -- on suspicion ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("operator")
def test_a_suspected_release_is_held_and_goes_on_when_the_suspicion_fades(
    service: Service,
) -> None:
    service.flow("v1", FEW)
    service.prepare(safety=ODDS)
    rolling(service, "v2", SOME)

    wait_until_held(service, "Suspicion")
    service.flow("v2", FEW)
    assert service.reason("RolloutHeld") == ("True", "Suspicion")
    assert service.reason("Ready")[0] == "True"

    wait_until_let_go(service, "SuspicionFaded", 120.0)
    assert service.reason("RolloutHeld") == ("False", "SuspicionFaded")
    assert service.wait_for_event("RolloutHeld").startswith("RolloutHeld: Suspicion: held until")
    assert service.wait_for_event("RolloutLetGo")
    assert (service.image, service.rollbacks()) == ("v2", [])


@pytest.mark.usefixtures("operator")
@pytest.mark.extended
def test_a_hold_ends_at_its_limit(service: Service) -> None:
    service.flow("v1", FEW)
    service.prepare(safety={**ODDS, "maxPauseSeconds": 10}, matrix=TOLD_ONLY)
    rolling(service, "v2", replace(FEW, failing={PURCHASE: 0.2, LIST: 0.2}))

    wait_until_held(service, "Suspicion")

    def probe() -> bool:
        return not is_paused(service) and FINALIZER not in finalizers(service)

    eventually(probe, "it is let go", 30.0)


# -- as a stage ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("operator")
def test_a_healthy_release_is_held_with_its_first_pods_proved_and_let_go(
    service: Service,
) -> None:
    service.prepare(**STAGED)
    service.change(minReadySeconds=BATCH_SECONDS)

    service.roll_out("v2", GOOD)

    wait_until_held(service, "Stage")
    status = service.deployment()["status"]
    assert 0 < status["updatedReplicas"] < 4
    wait_until_let_go(service, "ProvedNoWorse")
    service.wait_for_rollout()
    assert service.rollbacks() == []
    assert service.status()["verdict"] == "Watching"


@pytest.mark.usefixtures("operator")
def test_a_bad_staged_release_is_undone_and_not_left_paused(service: Service) -> None:
    service.prepare(**STAGED)
    before = service.change(minReadySeconds=BATCH_SECONDS)["spec"]

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    wait_until_let_go(service, "ReleaseTakenBack")
    assert service.deployment()["spec"] == before
    assert service.wait_for_event("RolloutHeld")


@pytest.mark.usefixtures("operator")
@pytest.mark.extended
def test_a_release_that_is_pushed_into_a_hold_is_staged_itself(service: Service) -> None:
    service.prepare(**STAGED)
    service.change(minReadySeconds=BATCH_SECONDS)
    service.roll_out("v2", SILENT)
    first = wait_until_held(service, "Stage")

    service.roll_out("v3", GOOD)

    def probe() -> bool:
        found = hold(service)
        return bool(found["digest"] != first["digest"] and found.get("releaseReason"))

    eventually(probe, f"v3 was staged; {service.told()}", 90.0)
    wait_until_let_go(service, "ProvedNoWorse")
    service.wait_for_rollout()


# -- people ----------------------------------------------------------------------------------------


def resume(service: Service) -> None:
    """Do what `kubectl rollout resume` does."""
    service.change(paused=None)


@pytest.mark.extended
def test_a_hold_that_a_person_lifts_is_not_set_again(
    service: Service, operator: RunningOperator
) -> None:
    service.prepare(**ON_STAGE_ONLY)
    rolling(service, "v2", SILENT)
    wait_until_held(service, "Stage")

    resume(service)

    wait_until_let_go(service, "PauseLifted")
    operator.wait_for_passes()
    throughout(5.0, lambda: is_paused(service))


@pytest.mark.extended
def test_a_persons_own_pause_stays(service: Service, operator: RunningOperator) -> None:
    service.prepare(**STAGED)
    service.change(paused=True)
    service.wait_for("Ready", "TargetPaused")
    service.roll_out("v2", BAD)
    operator.wait_for_passes(1)

    service.unwatch()

    throughout(5.0, lambda: not is_paused(service))
    assert operator.proxy.changes_of_deployments(service.namespace) == []


@pytest.mark.usefixtures("operator")
def test_a_pause_that_somebody_makes_their_own_stays(service: Service, stand: Stand) -> None:
    service.prepare(**STAGED)
    rolling(service, "v2", SILENT)
    wait_until_held(service, "Stage")

    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service.name, "namespace": service.namespace},
        "spec": {"paused": True},
    }
    apply(stand, service, manifest)

    service.wait_for("Ready", "TargetPaused")
    eventually(lambda: FINALIZER not in finalizers(service), "the finalizer is off")
    assert is_paused(service)


def apply(stand: Stand, service: Service, manifest: Object) -> None:
    """Apply it server-side, as `kubectl apply --server-side` does."""
    stand.cluster.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=people",
        "--validate=false",
        "-f",
        "-",
        input=chart.stream([manifest]),
    )
    assert is_paused(service)


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    ("change", "reason"),
    rows_of(
        {
            "suspended": ({"suspend": True}, "Suspended"),
            "Observe": ({"mode": "Observe"}, "HoldsTurnedOff"),
            "another target": ({"targetRef": {"name": "another"}}, "TargetNotFound"),
            "turned off": ({"stage": {"maxSeconds": 0}}, "HoldsTurnedOff"),
        },
        ["suspended"],
    ),
)
def test_a_changed_policy_lets_the_rollout_go(
    service: Service, change: dict[str, Any], reason: str
) -> None:
    service.prepare(**ON_STAGE_ONLY)
    rolling(service, "v2", SILENT)
    wait_until_held(service, "Stage")

    service.amend(**change)

    wait_until_let_go(service, reason)


@pytest.mark.usefixtures("operator")
def test_a_deleted_policy_lets_the_rollout_go_first(service: Service, stand: Stand) -> None:
    service.prepare(**STAGED)
    rolling(service, "v2", SILENT)
    wait_until_held(service, "Stage")

    service.unwatch()

    path = f"{policies(service.namespace)}/{service.name}"
    eventually(lambda: stand.api.find(path) is None, "the policy is gone")
    assert not is_paused(service)
