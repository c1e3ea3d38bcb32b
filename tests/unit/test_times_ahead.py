"""Times on record that are far ahead of the clock: nothing lasts for ever because of one.

A clock that was ahead, a backup of another cluster, or whoever repairs a status by hand has written
them. What lasts from such a time on is counted from the time of the object instead, which the API
server has set.
"""

from __future__ import annotations

import pytest

from rollback_operator.api.checklist import ApprovalSpec
from rollback_operator.api.policy_status import QuarantineEntry
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    Outcome,
    Rollback,
    RollbackSpec,
    RollbackStatus,
    StepName,
    Trust,
)
from rollback_operator.decide.guards import load_of
from rollback_operator.model.context import Refusal, RollbackBudget
from rollback_operator.releases import ledger, quarantine
from rollback_operator.remedies import attempts
from rollback_operator.remedies.progress import FURTHEST_AHEAD, is_stale
from tests.builders import (
    at,
    make_case,
    make_deployment,
    make_ended,
    make_hold,
    make_policy,
    make_ref,
    make_rollback,
    make_step,
    make_trigger_record,
    make_workload,
)
from tests.unit.decide import test_holds, test_load, test_plan
from tests.unit.remedies import test_flags

HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800
AHEAD = 60 * 365 * DAY
"""The year 2086."""
AGAIN = make_workload(deployment=make_deployment(revision=4))
"""The release that was taken back has come back."""


def ended(ahead: float = AHEAD, **spec: object) -> Rollback:
    """It was made at 10 s, says the API server."""
    trigger = make_trigger_record(decided_time=at(ahead))
    steps = [make_step(StepName.UNDO, ahead, ahead)]
    status = make_ended(finished=ahead).model_copy(update={"steps": steps})
    return make_rollback("r", status, **{"trigger": trigger, **spec})


@pytest.mark.parametrize(("seconds", "is_over"), [(HOUR, False), (HOUR + 20, True)])
def test_a_cooldown_ends(seconds: float, is_over: bool) -> None:
    found = test_plan.planned(make_case(workload=AGAIN, rollbacks=[ended()]), now=seconds)

    reason = found.reason if isinstance(found, Refusal) else None
    assert reason == (None if is_over else Reason.COOLDOWN_ACTIVE)


def test_what_was_restored_may_be_judged_again_after_the_watch() -> None:
    restored = ended(from_revision=make_ref("v3"), to_revision=make_ref("v2"))
    case = make_case(rollbacks=[restored])

    assert test_plan.planned(case, now=HOUR).reason is Reason.IS_A_ROLLBACK
    assert isinstance(test_plan.planned(case, now=2 * HOUR), RollbackSpec)


def test_a_budget_is_for_a_day() -> None:
    spent = [
        test_plan.other_release(f"r{number}", 10.0).model_copy(
            update={
                "spec": test_plan.other_release(f"r{number}", AHEAD).spec,
                "status": make_ended(finished=AHEAD),
            }
        )
        for number in range(3)
    ]

    assert test_plan.planned(make_case(rollbacks=spent), now=HOUR).reason is (
        Reason.BUDGET_EXHAUSTED
    )
    assert isinstance(test_plan.planned(make_case(rollbacks=spent), now=DAY + 20), RollbackSpec)


def test_nobody_fills_the_cluster_s_budget_for_ever() -> None:
    limits = RollbackBudget(max_concurrent=2, max_per_day=3)
    runs = test_load.planned(trigger=make_trigger_record(decided_time=at(AHEAD)))

    def counted(seconds: float) -> tuple[int, int]:
        found = load_of([runs], "production", limits, at(seconds))
        return found.active, found.day

    assert counted(60) == (1, 1)
    assert counted(2 * DAY) == (0, 0)


def test_what_was_blocked_is_tried_again() -> None:
    blocked = make_rollback("r", make_ended(Outcome.BLOCKED, AHEAD))

    assert attempts.following(blocked, at(HOUR)) == 2


def test_a_flag_may_be_tried_again() -> None:
    tried = test_flags.ended(Outcome.NOT_RECOVERED)
    status = tried.status.model_copy(update={"finished_time": at(AHEAD)})
    case = test_flags.case_with(rollbacks=[tried.model_copy(update={"status": status})])

    assert isinstance(test_flags.planned(case, now=60 + 2 * HOUR), RollbackSpec)


@pytest.mark.parametrize(("seconds", "is_kept"), [(HOUR, True), (WEEK + 20, False)])
def test_a_quarantine_ends(seconds: float, is_kept: bool) -> None:
    found = quarantine.entries([ended()], [], [], WEEK, at(seconds))

    assert bool(found) is is_kept


def test_a_quarantine_on_record_is_cut_once_and_runs_down() -> None:
    stored = QuarantineEntry(rollback="gone", release="release-v2", until_time=at(AHEAD))

    (cut,) = quarantine.entries([], [], [stored], WEEK, at(0))

    assert cut.until_time == at(WEEK)
    assert quarantine.entries([], [], [cut], WEEK, at(DAY)) == [cut]
    assert quarantine.entries([], [], [cut], WEEK, at(WEEK)) == []


def test_a_quarantine_that_was_longer_when_it_began_is_cut_by_what_is_wanted_now() -> None:
    """Not shorter than one of today, and not for ever."""
    stored = QuarantineEntry(rollback="gone", release="release-v2", until_time=at(WEEK))

    (cut,) = quarantine.entries([], [], [stored], 60, at(0))

    assert cut.until_time == at(60)


def test_a_hold_ends() -> None:
    hold = make_hold(since_time=at(AHEAD), until_time=at(AHEAD + 300), paused_time=at(AHEAD))

    found = test_holds.wanted(hold=hold)

    assert found is not None
    assert (found.is_open, found.release_reason) == (False, Reason.HOLD_TIMED_OUT)
    assert "held for 0 s" in found.release_message


def test_a_hold_that_seems_to_have_ended_before_it_began_leaves_no_more_time() -> None:
    known = make_hold(
        since_time=at(AHEAD), released_time=at(30), release_reason=Reason.SUSPICION_FADED
    )

    found = test_holds.wanted(hold=known, workload=test_holds.rolling())

    assert found is not None
    assert found.until_time <= at(330)


@pytest.mark.parametrize(("deadline", "is_waiting"), [(HOUR, True), (AHEAD, False)])
def test_nobody_is_waited_for_for_ever(deadline: float, is_waiting: bool) -> None:
    status = RollbackStatus(
        steps=[make_step(StepName.AWAITING_APPROVAL, 10)], approval_deadline_time=at(deadline)
    )
    asked = make_rollback(
        "r", status, approval_policy=ApprovalSpec(timeout_seconds=int(HOUR)), requires_approval=True
    )

    assert is_stale(asked, at(HOUR - 60)) is not is_waiting


def test_a_person_s_trust_is_newer_than_a_word_from_ahead() -> None:
    trust = Trust(revision=2, release="release-v2", by="ann", reason="mended", time=at(HOUR))
    policy = make_policy(trust=[trust])
    case = make_case(policy)

    (known,) = (
        one
        for one in ledger.entries(policy, case.workload, [ended()], at(2 * HOUR))
        if one.release == "release-v2"
    )

    assert known.health is Health.GOOD


def test_a_clock_that_was_set_back_a_little_changes_nothing() -> None:
    """What is little ahead is counted from there: the guards hold meanwhile, and end."""
    little = 10 + FURTHEST_AHEAD.total_seconds() / 2
    case = make_case(workload=AGAIN, rollbacks=[ended(little)])

    assert test_plan.planned(case, now=20).reason is Reason.COOLDOWN_ACTIVE
    assert test_plan.planned(case, now=little + HOUR - 10).reason is Reason.COOLDOWN_ACTIVE
    assert isinstance(test_plan.planned(case, now=little + HOUR + 10), RollbackSpec)
