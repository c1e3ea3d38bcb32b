"""A request that waits for an approval, and is forgotten, beside a proof against its release."""

from __future__ import annotations

from functools import partial

import pytest

from rollback_operator.api.checklist import Approval, ApprovalDecision
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    Mode,
    Outcome,
    Rollback,
    RollbackStatus,
    SafetySpec,
    StepName,
)
from rollback_operator.decide.decide import decide
from rollback_operator.model.conditions import find
from tests.builders import (
    at,
    make_case,
    make_policy,
    make_ref,
    make_rollback,
    make_step,
    make_verdict,
)
from tests.fakes.failures import Crash
from tests.world import KEY, World, watched

STRICT = make_policy(safety=SafetySpec(require_verified=True))
DECISION = Approval(
    decision=ApprovalDecision.APPROVE, by="jane", reason="seen", plan_digest="0" * 16
)


def waiting(target: Health = Health.UNKNOWN, **changes: object) -> Rollback:
    """A person's request, which waits for an approval."""
    fields = {
        "to_revision": make_ref("v1", health=target),
        "reason": "customers call",
        "requested_by": "anna",
    }
    made = make_rollback("by-hand", **(fields | changes))
    status = RollbackStatus(
        plan=made.spec.plan,
        step=StepName.AWAITING_APPROVAL,
        steps=[make_step(StepName.AWAITING_APPROVAL, 12)],
        approval_deadline_time=at(3600),
    )
    return made.model_copy(update={"status": status})


def forgotten(policy=STRICT) -> World:
    world = World(watched(policy))
    world.store.hold(waiting())
    return world


def is_taken_back(world: World) -> bool:
    made = world.store.rollbacks.values()
    return len(made) > 1 and all(one.status.outcome is not None for one in made)


async def test_a_proof_takes_the_place_of_a_request_that_nobody_has_answered() -> None:
    world = forgotten()

    await world.run(world.operator(), lambda: is_taken_back(world))

    asked = world.store.rollbacks["by-hand"]
    (other,) = (one for one in world.store.rollbacks.values() if one.metadata.name != "by-hand")
    done = find(asked.status.conditions, ConditionType.COMPLETE)
    assert done is not None
    assert (asked.status.outcome, done.reason) == (Outcome.ABANDONED, Reason.SUPERSEDED)
    assert other.metadata.name in done.message
    assert other.status.outcome is Outcome.VERIFIED
    assert len(world.workloads.surges) == 1


async def test_a_crash_at_any_call_costs_nothing() -> None:
    whole = forgotten()
    await whole.run(whole.operator(), lambda: is_taken_back(whole))
    for number in range(len(whole.journal)):
        world = forgotten()
        world.journal.crash_at = number
        with pytest.raises(Crash):
            await world.run(world.operator(), partial(is_taken_back, world))
        world.seconds += 1
        await world.run(world.operator(), partial(is_taken_back, world))
        assert len(world.workloads.surges) == 1, number


async def test_where_the_automatic_rollback_would_be_asked_about_too_the_request_stays() -> None:
    world = forgotten()
    entries = [one.model_copy(update={"health": Health.ASSUMED}) for one in world.status.revisions]
    policy = world.store.policies[KEY[1]]
    status = policy.status.model_copy(update={"revisions": entries})
    world.store.hold(policy.model_copy(update={"status": status}))

    await world.operator().reconcile(KEY)

    assert list(world.store.rollbacks) == ["by-hand"]
    assert world.store.rollbacks["by-hand"].status.outcome is None
    assert world.condition(ConditionType.HEALTHY) == ("False", "RollbackActive")
    (told,) = (one for one in world.store.notices if one.reason == "RollbackRefused")
    assert "kubectl rollback reject by-hand -n production --reason TEXT" in told.message


@pytest.mark.parametrize(
    ("policy", "asked"),
    [
        (make_policy(), waiting(approval=DECISION)),
        (make_policy(mode=Mode.OBSERVE), waiting()),
        (make_policy(), waiting(policy_ref={"name": "other", "uid": "other"})),
    ],
    ids=["answered", "observe", "of another policy"],
)
def test_what_is_not_replaced_is_told(policy, asked) -> None:
    found = decide(make_case(policy, rollbacks=[asked]), make_verdict(), at(20))
    assert (found.plan, found.supersedes) == (None, "")
    assert found.refusal is not None
    assert found.refusal.reason is Reason.ROLLBACK_ACTIVE
    assert found.refusal.needs_person


def test_a_guard_that_refuses_the_automatic_rollback_keeps_the_request() -> None:
    policy = make_policy(safety=SafetySpec(max_rollbacks_per_day=1))
    past = make_rollback(
        "past",
        RollbackStatus(outcome=Outcome.VERIFIED, finished_time=at(5)),
        from_revision=make_ref("v8"),
        to_revision=make_ref("v9"),
    )
    found = decide(make_case(policy, rollbacks=[past, waiting()]), make_verdict(), at(20))
    assert found.plan is None
    assert found.refusal is not None
    assert found.refusal.reason is Reason.BUDGET_EXHAUSTED
    assert "by-hand waits for approval" in found.refusal.message
