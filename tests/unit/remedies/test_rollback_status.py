"""What is put on record of a rollback, step by step."""

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Outcome, RollbackStatus, StepName, StoredStrategy
from rollback_operator.model.conditions import find
from rollback_operator.remedies.progress import RollbackEnd, step_status
from rollback_operator.remedies.rollback_status import begun, ended, finished
from tests.builders import at, make_rollback

STORED = StoredStrategy(max_surge="25%", max_unavailable="25%")


def test_a_step_is_recorded_before_it_starts_and_after_it_ends() -> None:
    status = begun(RollbackStatus(), StepName.UNDO, at(10), STORED, 2)
    assert (status.step, status.strategy) == (StepName.UNDO, STORED)
    again = begun(status, StepName.UNDO, at(12))
    assert [(one.started_time, one.attempts, one.revision) for one in again.steps] == [
        (at(10), 2, 2)
    ]
    assert again.strategy == STORED
    assert find(again.conditions, "Complete").status == "False"
    done = finished(again, StepName.UNDO, "x" * 2000, at(13))
    step = step_status(make_rollback(status=done), StepName.UNDO)
    assert (step.finished_time, len(step.message)) == (at(13), 1024)
    assert step_status(make_rollback(status=done), StepName.VERIFY) is None


def test_the_first_outcome_stands() -> None:
    status = begun(RollbackStatus(), StepName.UNDO, at(10))
    status = finished(status, StepName.UNDO, "done", at(11))
    status = begun(status, StepName.ROLLOUT_COMPLETE, at(11))
    end = RollbackEnd(Outcome.ABANDONED, Reason.TARGET_MOVED, "theirs stands")
    over = ended(status, end, at(30))
    assert (over.outcome, over.finished_time) == (Outcome.ABANDONED, at(30))
    assert [(one.finished_time, one.message) for one in over.steps] == [
        (at(11), "done"),
        (at(30), "theirs stands"),
    ]
    complete = find(over.conditions, "Complete")
    assert (complete.status, complete.reason) == ("True", "TargetMoved")
    later = RollbackEnd(Outcome.VERIFIED, Reason.RECOVERED, "well")
    assert ended(over, later, at(40)) == over
