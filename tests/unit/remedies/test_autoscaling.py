"""Whose bounds are raised, how far, and when they are put back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import AutoscalerPlan, AutoscalerRecord
from rollback_operator.api.v1alpha1 import (
    Outcome,
    Remedy,
    RemedyType,
    Rollback,
    RollbackStatus,
    SafetySpec,
    StepName,
)
from rollback_operator.decide.plan import Order, plan_remedy
from rollback_operator.model.context import Refusal
from rollback_operator.model.workload import Autoscaler, Bounds, Deployment
from rollback_operator.remedies import autoscaling
from rollback_operator.remedies.autoscaling import Closed, Due
from rollback_operator.remedies.progress import Act, Done, RollbackEnd, Wait
from tests.builders import (
    at,
    make_autoscaler,
    make_case,
    make_deployment,
    make_policy,
    make_rollback,
    make_step,
    make_trigger_record,
    make_workload,
)

SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
PLAN = AutoscalerPlan(name="shop-hpa", uid="hpa-uid", restore_after_seconds=3600)
RECORD = AutoscalerRecord(
    min_replicas=2, max_replicas=4, raised_min_replicas=6, raised_max_replicas=6
)
BAD = make_deployment("v2")
FOUND = make_autoscaler()
RAISED = make_autoscaler(6, 6, set_by="rollback-operator", is_ours=True)


def scaling(record: AutoscalerRecord | None = None, **status: object) -> Rollback:
    known = RollbackStatus(autoscaler=record, steps=[make_step(StepName.SCALE, 10)])
    changed = known.model_copy(update=status)
    return make_rollback(status=changed, remedy=SCALE, to_revision=None, autoscaler=PLAN)


bounds = st.integers(0, 50).flatmap(
    lambda least: st.builds(Bounds, st.just(least), st.integers(max(1, least), 100))
)


@given(bounds, st.integers(1, 100))
def test_capacity_is_never_reduced_and_as_many_as_are_wanted_are_allowed(
    known: Bounds, wanted: int
) -> None:
    found = autoscaling.raised(known, wanted)
    assert found.least >= max(known.least, wanted)
    assert found.most >= max(known.most, found.least)
    assert autoscaling.raised(found, wanted) == found


def test_a_plan_names_whose_bounds_are_raised_and_for_how_long() -> None:
    policy = make_policy(remedies=[SCALE], safety=SafetySpec(watch_seconds=900))
    case = make_case(policy=policy, workload=make_workload(autoscaler=FOUND))
    found = plan_remedy(case, Order(SCALE, "P2", policy.spec.mode, make_trigger_record()))

    assert not isinstance(found, Refusal)
    assert found.autoscaler == PLAN.model_copy(update={"restore_after_seconds": 900})


GONE = (None, BAD, RollbackEnd, Reason.AUTOSCALER_GONE)
LOOKS: dict[str, tuple[Rollback, Autoscaler | None, Deployment, type, Reason | None]] = {
    "to do": (scaling(), FOUND, BAD, Act, None),
    "recorded and not done": (scaling(RECORD), FOUND, BAD, Act, None),
    "raised, not followed": (scaling(RECORD), RAISED, BAD, Wait, None),
    "raised and followed": (scaling(RECORD), RAISED, replace(BAD, replicas=6), Done, None),
    "raised by somebody": (scaling(), make_autoscaler(7, 9), replace(BAD, replicas=7), Done, None),
    "raised further by somebody": (
        scaling(RECORD),
        make_autoscaler(8, 9),
        replace(BAD, replicas=8),
        Done,
        None,
    ),
    "set by somebody": (
        scaling(RECORD),
        make_autoscaler(3, 5),
        BAD,
        RollbackEnd,
        Reason.BOUNDS_CHANGED,
    ),
    "set by somebody before the act": (scaling(), make_autoscaler(3, 5), BAD, Act, None),
    "gone": (scaling(), *GONE),
    "gone after the act": (scaling(RECORD), *GONE),
    "another one of its name": (
        scaling(),
        make_autoscaler(uid="other"),
        BAD,
        RollbackEnd,
        Reason.AUTOSCALER_GONE,
    ),
    "taken over": (
        scaling(),
        make_autoscaler(owner="KEDA"),
        BAD,
        RollbackEnd,
        Reason.AUTOSCALER_OWNED,
    ),
    "a newer release": (scaling(), FOUND, make_deployment("v7"), RollbackEnd, Reason.TARGET_MOVED),
    "a newer release after the act": (
        scaling(RECORD),
        RAISED,
        make_deployment("v7"),
        RollbackEnd,
        Reason.TARGET_MOVED,
    ),
}


@pytest.mark.parametrize("case", LOOKS)
def test_a_look(case: str) -> None:
    rollback, found, deployment, kind, reason = LOOKS[case]

    following = autoscaling.compare(rollback, found, deployment, at(20))

    assert isinstance(following, kind)
    if isinstance(following, RollbackEnd):
        assert following.reason == reason
        is_begun = rollback.status.autoscaler is not None
        is_told = following.outcome is Outcome.FAILED
        assert is_told == (is_begun and reason is not Reason.TARGET_MOVED)


def test_an_autoscaler_that_does_not_follow_is_told_in_the_end() -> None:
    following = autoscaling.compare(scaling(RECORD), RAISED, BAD, at(10 + 601))

    assert isinstance(following, RollbackEnd)
    assert following.outcome is Outcome.NOT_RECOVERED
    assert following.reason is Reason.AUTOSCALER_IDLE
    assert "kubectl describe hpa shop-hpa -n production" in following.message


def ended(outcome: Outcome = Outcome.VERIFIED, *, is_asked: bool = False) -> Rollback:
    found = scaling(RECORD, outcome=outcome, finished_time=at(100))
    if not is_asked:
        return found
    annotations = {autoscaling.RESTORE: "requested"}
    metadata = found.metadata.model_copy(update={"annotations": annotations})
    return found.model_copy(update={"metadata": metadata})


BEFORE, AFTER = 100 + 3599, 100 + 3600
ENDS: dict[str, tuple[Rollback, Autoscaler | None, float, type | None, Reason | None]] = {
    "verified, too soon": (ended(), RAISED, BEFORE, None, None),
    "verified": (ended(), RAISED, AFTER, Due, None),
    "asked for": (ended(is_asked=True), RAISED, 101, Due, None),
    "not recovered": (ended(Outcome.NOT_RECOVERED), RAISED, AFTER, None, None),
    "not recovered, asked for": (
        ended(Outcome.NOT_RECOVERED, is_asked=True),
        RAISED,
        101,
        Due,
        None,
    ),
    "as before": (ended(), FOUND, 101, Closed, Reason.BOUNDS_RESTORED),
    "set by somebody": (
        ended(is_asked=True),
        make_autoscaler(3, 6),
        AFTER,
        Closed,
        Reason.BOUNDS_CHANGED,
    ),
    "the upper one set by somebody": (
        ended(),
        replace(RAISED, bounds=Bounds(6, 9)),
        AFTER,
        Closed,
        Reason.BOUNDS_CHANGED,
    ),
    "said by somebody too": (
        ended(),
        replace(RAISED, is_ours=False, set_by="flux, rollback-operator"),
        AFTER,
        Closed,
        Reason.BOUNDS_CHANGED,
    ),
    "gone": (ended(), None, 101, Closed, Reason.AUTOSCALER_GONE),
    "another one of its name": (
        ended(),
        replace(RAISED, uid="other"),
        AFTER,
        Closed,
        Reason.AUTOSCALER_GONE,
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_becomes_of_raised_bounds(case: str) -> None:
    rollback, found, seconds, kind, reason = ENDS[case]

    following = autoscaling.settled(rollback, found, at(seconds))

    assert isinstance(following, kind) if kind is not None else following is None
    if isinstance(following, Due):
        assert following.bounds == Bounds(2, 4)
    if isinstance(following, Closed):
        assert following.reason == reason


def test_who_has_set_them_is_told() -> None:
    found = replace(RAISED, bounds=Bounds(3, 5), is_ours=False, set_by="kubectl-edit")
    following = autoscaling.settled(ended(), found, at(101))
    assert isinstance(following, Closed)
    assert "kubectl-edit set 3 to 5 replicas" in following.message


@pytest.mark.parametrize(
    ("rollback", "seconds", "wait"),
    [
        pytest.param(ended(), 200, 300, id="verified, for long"),
        pytest.param(ended(), AFTER - 5, 5, id="verified, soon due"),
        pytest.param(ended(Outcome.UNKNOWN), 10_000, 300, id="until somebody asks"),
    ],
)
def test_raised_bounds_are_looked_at_again(rollback: Rollback, seconds: float, wait: float) -> None:
    assert autoscaling.next_check(rollback, at(seconds)) == wait
