"""What failed before anything was done is tried again, and counts for nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    MatrixSeverity,
    Outcome,
    Rollback,
    RollbackStatus,
    StepName,
)
from rollback_operator.decide import guards
from rollback_operator.decide.guards import load_of
from rollback_operator.model.context import RollbackBudget
from rollback_operator.releases import records
from rollback_operator.remedies import attempts
from rollback_operator.remedies.attempts import rollback_name
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.rollback_status import ended
from tests.builders import at, make_case, make_rollback, make_step, make_workload

CASE = make_case(workload=make_workload("v2"))
GONE = RollbackEnd(Outcome.FAILED, Reason.REPLICA_SET_GONE, "not found")


def failed(*steps: StepName, end: RollbackEnd = GONE) -> Rollback:
    begun = RollbackStatus(steps=[make_step(one, 10) for one in steps])
    return make_rollback(rollback_name(CASE), ended(make_rollback(status=begun), end, at(60)))


def test_whose_replica_set_was_gone_is_tried_again_after_a_while() -> None:
    last = failed(StepName.UNDO)

    assert attempts.following(last, at(60 + 29)) is None
    assert attempts.following(last, at(60 + 30)) == 2
    assert (
        attempts.attempt_message(last, "")
        == f"{last.metadata.name} failed: it is retried after the cause is resolved"
    )


@pytest.mark.parametrize(
    "last",
    [
        failed(StepName.UNDO, StepName.ROLLOUT_COMPLETE),
        failed(StepName.UNDO, end=RollbackEnd(Outcome.FAILED, Reason.UNDO_REVERTED, "put back")),
        failed(StepName.UNDO, end=RollbackEnd(Outcome.FAILED, Reason.STEP_REFUSED, "denied")),
    ],
    ids=["done", "done and reverted", "refused again and again"],
)
def test_what_has_failed_otherwise_is_not_tried_again(last: Rollback) -> None:
    assert attempts.following(last, at(3600)) is None


def test_a_failure_before_anything_was_done_refuses_nothing() -> None:
    case = make_case(workload=make_workload("v2"), rollbacks=[failed(StepName.UNDO)])

    assert guards.refusal(case, MatrixSeverity.P1, at(100)) is None


def test_nor_does_it_once_its_record_is_gone() -> None:
    left = records.of_rollback(failed(StepName.UNDO), None, at(100))
    case = replace(CASE, past=(left,))

    assert guards.refusal(case, MatrixSeverity.P1, at(100)) is None


def test_it_counts_for_no_budget() -> None:
    limits = RollbackBudget(max_concurrent=2, max_per_day=3)

    def counted(rollback: Rollback) -> int:
        return load_of([rollback], "production", limits, at(100)).day

    assert counted(failed(StepName.UNDO)) == 0
    assert counted(failed(StepName.UNDO, StepName.ROLLOUT_COMPLETE)) == 1
    left = records.of_rollback(failed(StepName.UNDO), None, at(100))
    assert not records.is_counted(left, at(100))
