"""What becomes of an open Rollback: the whole table, so that no cell falls through."""

from itertools import product
from typing import Any

import pytest

from rollback_operator.api.matrix import RUNBOOK_MATRIX
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import GitOps, OwnerPlan
from rollback_operator.api.safety import SafetySpec
from rollback_operator.api.v1alpha1 import (
    Condition,
    Mode,
    Outcome,
    PolicyRef,
    Remedy,
    RemedyType,
    Response,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    StepName,
    TargetRef,
    UndoTo,
)
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies.attempts import name_of
from rollback_operator.remedies.progress import RollbackEnd, is_stale, last_time
from rollback_operator.report import status
from rollback_operator.rollback.course import (
    BEGUN,
    Carry,
    PolicyAuthority,
    Retry,
    RollbackContext,
    RollbackStage,
    Target,
    context_of,
    course,
    stage_of,
)
from tests.builders import NAME, at, make_deployment, make_policy, make_rollback, make_step

STEPS = {
    RollbackStage.INTENT: (),
    RollbackStage.REQUESTED: (),
    RollbackStage.AWAITING_APPROVAL: (StepName.AWAITING_APPROVAL,),
    RollbackStage.OWNER_SUSPENDED: (StepName.SUSPEND_OWNER,),
    RollbackStage.ACTED: (StepName.UNDO,),
    RollbackStage.VERIFYING: (StepName.UNDO, StepName.ROLLOUT_COMPLETE, StepName.VERIFY),
}
READY = status.ready(Reason.WATCHING_TARGET)
IDLE_REASON = Reason.TARGET_ALREADY_WATCHED
SOON, LATE = at(60), at(86_400)


def named(made: Rollback) -> Rollback:
    metadata = made.metadata.model_copy(update={"name": name_of(made.spec)})
    return made.model_copy(update={"metadata": metadata})


def open_rollback(stage: RollbackStage, *, by_hand: bool = False, **changes: Any) -> Rollback:
    """An undo of v2 that has come this far; its newest time on record is 20 s after T0."""
    *done, last = STEPS[stage] or (None,)
    steps = [make_step(one, 12, 14) for one in done if one is not None]
    steps += [make_step(last, 20)] if last is not None else []
    made = named(make_rollback(status=RollbackStatus(steps=steps), **changes))
    if by_hand or stage is RollbackStage.REQUESTED:
        plan = made.spec.plan
        made = made.model_copy(update={"status": made.status.model_copy(update={"plan": plan})})
    return made


def expected(standing: PolicyAuthority, target: Target, stage: RollbackStage, by_hand: bool) -> str:
    """The table, by hand: G goes on, R is read again, E and the reason of an end."""
    if target in (Target.GONE, Target.REPLACED):
        return "E TargetDeleted"
    if target is Target.UNREADABLE:
        return "R"
    if stage in (RollbackStage.OWNER_SUSPENDED, RollbackStage.ACTED, RollbackStage.VERIFYING):
        return "G"
    return {
        PolicyAuthority.ACTIVE: "G",
        PolicyAuthority.SUSPENDED: "G" if by_hand else "E Suspended",
        PolicyAuthority.OBSERVING: "E ModeChanged",
        PolicyAuthority.RETARGETED: "E TargetChanged",
        PolicyAuthority.REVISED: "E PolicyChanged",
        PolicyAuthority.AT_REST: "E TargetAlreadyWatched",
        PolicyAuthority.UNREADABLE: "E InvalidSpec",
        PolicyAuthority.DELETED: "E PolicyDeleted",
        PolicyAuthority.RECREATED: "E PolicyDeleted",
        PolicyAuthority.BEING_DELETED: "E PolicyDeleted",
    }[standing]


def found(rollback: Rollback, scene: RollbackContext, late: bool = False) -> str:
    match course(rollback, scene, LATE if late else SOON):
        case Carry():
            return "G"
        case Retry():
            return "R"
        case RollbackEnd(_, reason, message):
            assert message
            return f"E {reason}"


def scene(standing: PolicyAuthority, target: Target) -> RollbackContext:
    reasons = {
        PolicyAuthority.SUSPENDED: Reason.SUSPENDED,
        PolicyAuthority.AT_REST: IDLE_REASON,
        PolicyAuthority.UNREADABLE: Reason.INVALID_SPEC,
    }
    reason = reasons.get(standing, Reason.POLICY_DELETED)
    return RollbackContext(standing, target, "the words of it", reason)


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("stage", RollbackStage)
def test_every_cell_of_the_table_has_an_answer(stage: RollbackStage, by_hand: bool) -> None:
    is_asked = by_hand or stage is RollbackStage.REQUESTED
    rollback = open_rollback(stage, by_hand=is_asked)
    assert stage_of(rollback) is (
        RollbackStage.REQUESTED if stage is RollbackStage.INTENT and is_asked else stage
    )

    wrong = {
        (standing, target): (answer, wanted)
        for standing, target in product(PolicyAuthority, Target)
        if (answer := found(rollback, scene(standing, target)))
        != (wanted := expected(standing, target, stage, is_asked))
    }

    assert wrong == {}


@pytest.mark.parametrize("stage", RollbackStage)
def test_a_day_later_nothing_waits_for_a_read_and_nothing_begins(stage: RollbackStage) -> None:
    rollback = open_rollback(stage)

    answers = {
        found(rollback, scene(standing, target), late=True)
        for standing, target in product(PolicyAuthority, Target)
        if target not in (Target.GONE, Target.REPLACED)
    }

    assert "R" not in answers
    if stage in BEGUN:
        assert answers == {"G", "E ReadFailed"}  # each step has a bound of its own
    else:
        assert "G" not in answers
        assert "E RollbackStale" in answers


@pytest.mark.parametrize("stage", RollbackStage)
def test_what_the_operator_has_not_planned_is_never_carried_on(stage: RollbackStage) -> None:
    if stage is RollbackStage.REQUESTED:
        return  # its plan is in the status, which only the operator writes
    forged = open_rollback(stage)
    forged = forged.model_copy(
        update={"metadata": forged.metadata.model_copy(update={"name": "forged"})}
    )

    answers = {
        found(forged, scene(standing, target))
        for standing, target in product(PolicyAuthority, Target)
    }

    assert answers == {"E NotOfThisPolicy"}


# -- what there is around it -----------------------------------------------------------------------


def with_metadata(policy: RollbackPolicy, **changes: Any) -> RollbackPolicy:
    return policy.model_copy(update={"metadata": policy.metadata.model_copy(update=changes)})


def around(
    policy: RollbackPolicy | None = None,
    ready: Condition = READY,
    target: Deployment | Missing | None = None,
) -> RollbackContext:
    rollback = open_rollback(RollbackStage.INTENT)
    return context_of(rollback, policy, ready, target or make_deployment())


OTHER = Remedy(type=RemedyType.UNDO, to=UndoTo.PREVIOUS)
REPORTED = [
    one.model_copy(update={"response": Response.REPORT, "within_seconds": None, "on_timeout": None})
    for one in RUNBOOK_MATRIX
]


def test_whom_a_policy_suspends_for_a_rollback_is_the_policys_to_say() -> None:
    owner = OwnerPlan(tool="Argo CD", response=GitOps.PROCEED)
    rollback = named(make_rollback(owner=owner))
    policies = {
        one: make_policy(safety=SafetySpec(git_ops=one)) for one in (GitOps.PROCEED, GitOps.REFUSE)
    }

    assert {
        one: context_of(rollback, policy, READY, make_deployment()).state
        for one, policy in policies.items()
    } == {GitOps.PROCEED: PolicyAuthority.ACTIVE, GitOps.REFUSE: PolicyAuthority.REVISED}


def test_how_a_policy_stands_to_a_rollback() -> None:
    policy = make_policy()
    deleted = with_metadata(policy, deletion_timestamp=at(5))
    anew = with_metadata(policy, uid="another-uid")

    assert {
        "active": around(make_policy()).state,
        "suspended": around(make_policy(), status.ready(Reason.SUSPENDED)).state,
        "observing": around(make_policy(mode=Mode.OBSERVE)).state,
        "retargeted": around(make_policy(target_ref=TargetRef(name="other"))).state,
        "rivalled": around(make_policy(), status.not_ready(IDLE_REASON, "older")).state,
        "unreadable": around(None, status.not_ready(Reason.INVALID_SPEC, "spec.x")).state,
        "deleted": around(None, status.not_ready(Reason.POLICY_DELETED, "deleted")).state,
        "no remedy": around(make_policy(remedies=[OTHER])).state,
        "no longer acted on": around(make_policy(matrix=REPORTED)).state,
        "anew": around(anew).state,
        "being deleted": around(deleted).state,
    } == {
        "active": PolicyAuthority.ACTIVE,
        "suspended": PolicyAuthority.SUSPENDED,
        "observing": PolicyAuthority.OBSERVING,
        "retargeted": PolicyAuthority.RETARGETED,
        "rivalled": PolicyAuthority.AT_REST,
        "unreadable": PolicyAuthority.UNREADABLE,
        "deleted": PolicyAuthority.DELETED,
        "no remedy": PolicyAuthority.REVISED,
        "no longer acted on": PolicyAuthority.REVISED,
        "anew": PolicyAuthority.RECREATED,
        "being deleted": PolicyAuthority.BEING_DELETED,
    }


def test_how_a_deployment_stands_to_a_rollback() -> None:
    unread = Missing(Reason.READ_FAILED, "forbidden")
    rollback = open_rollback(RollbackStage.INTENT)

    assert {
        "bad": around(target=make_deployment("v2")).target,
        "restored": around(target=make_deployment("v1")).target,
        "other": around(target=make_deployment("v3")).target,
        "replaced": around(target=make_deployment(uid="another")).target,
        "gone": context_of(rollback, None, READY, None).target,
        "paused": around(target=make_deployment(paused=True)).target,
        "held": around(target=make_deployment(paused=True, is_held=True)).target,
        "zero": around(target=make_deployment(replicas=0)).target,
        "unread": around(target=unread).target,
    } == {
        "bad": Target.SAME,
        "restored": Target.SAME,
        "other": Target.OTHER_TEMPLATE,
        "replaced": Target.REPLACED,
        "gone": Target.GONE,
        "paused": Target.PAUSED,
        "held": Target.SAME,
        "zero": Target.SCALED_TO_ZERO,
        "unread": Target.UNREADABLE,
    }
    assert around(target=unread).why == "forbidden"


# -- stale -----------------------------------------------------------------------------------------


def test_a_rollback_is_stale_once_nothing_was_recorded_for_longer_than_a_step_may_take() -> None:
    rollback = open_rollback(RollbackStage.ACTED)

    assert last_time(rollback, SOON) == at(20)
    assert not is_stale(rollback, at(20 + 900))
    assert is_stale(rollback, at(20 + 901))


def test_a_person_who_is_waited_for_is_waited_for_until_the_deadline() -> None:
    rollback = open_rollback(RollbackStage.AWAITING_APPROVAL)
    changes = {"approval_deadline_time": at(3600)}
    changed = rollback.status.model_copy(update=changes)
    rollback = rollback.model_copy(update={"status": changed})

    assert not is_stale(rollback, at(3599))
    assert not is_stale(rollback, at(3600 + 900))
    assert is_stale(rollback, at(3600 + 901))


def test_times_of_another_clock_say_nothing() -> None:
    rollback = open_rollback(RollbackStage.ACTED)

    assert last_time(rollback, at(15)) == at(10)  # the step began at 20


def test_the_uid_of_the_policy_is_what_makes_it_the_one_that_decided() -> None:
    rollback = open_rollback(
        RollbackStage.INTENT, policy_ref=PolicyRef(name=NAME, uid="of-the-backup")
    )

    what = context_of(rollback, make_policy(), READY, make_deployment())

    assert what.state is PolicyAuthority.RECREATED
    match course(rollback, what, SOON):
        case RollbackEnd(outcome, reason, message):
            assert (outcome, reason) == (Outcome.ABANDONED, Reason.POLICY_DELETED)
            assert "recreated" in message
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize("stage", RollbackStage)
def test_what_is_deleted_before_it_has_begun_is_not_done(stage: RollbackStage) -> None:
    found = open_rollback(stage, by_hand=stage is RollbackStage.REQUESTED)
    metadata = found.metadata.model_copy(update={"deletion_timestamp": SOON})
    deleted = found.model_copy(update={"metadata": metadata})

    answer = course(deleted, RollbackContext(PolicyAuthority.ACTIVE, Target.SAME), SOON)

    if stage in BEGUN:
        assert isinstance(answer, Carry)
        return
    assert isinstance(answer, RollbackEnd)
    assert answer.reason is Reason.ROLLBACK_DELETED
    is_question = stage is RollbackStage.AWAITING_APPROVAL
    assert answer.outcome is (Outcome.REJECTED if is_question else Outcome.ABANDONED)
