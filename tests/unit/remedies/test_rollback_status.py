"""What is put on record of a rollback, step by step."""

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import ConfigMapPlan, ConfigMapRef, Flag
from rollback_operator.api.v1alpha1 import (
    Outcome,
    Remedy,
    RemedyType,
    RollbackStatus,
    StepName,
    StoredStrategy,
)
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
    over = ended(make_rollback(status=status), end, at(30))
    assert (over.outcome, over.finished_time) == (Outcome.ABANDONED, at(30))
    assert [(one.finished_time, one.message) for one in over.steps] == [
        (at(11), "done"),
        (at(30), "theirs stands"),
    ]
    complete = find(over.conditions, "Complete")
    assert (complete.status, complete.reason) == ("True", "TargetMoved")
    later = RollbackEnd(Outcome.VERIFIED, Reason.RECOVERED, "well")
    assert ended(make_rollback(status=over), later, at(40)) == over


CONFIG = ConfigMapPlan(name="limits", uid="u", digest="a" * 32, previous_digest="b" * 32)
FLAG = Remedy(
    type=RemedyType.DISABLE_FLAG,
    flag=Flag(name="PAY", value="off", config_map_ref=ConfigMapRef(name="features")),
)


RESTORES = {"config_maps": [CONFIG]}
SETS = {"remedy": FLAG, "to_revision": None}
SET = "PAY=off in ConfigMap features"


@pytest.mark.parametrize(
    ("step", "spec", "reason", "named"),
    [
        (StepName.RESTORE_CONFIGURATION, RESTORES, Reason.TARGET_MOVED, "limits"),
        (StepName.RESTORE_CONFIGURATION, RESTORES, Reason.CONFIGURATION_CHANGED, ""),
        (StepName.DISABLE_FLAG, SETS, Reason.ROLLBACK_STALE, SET),
        (StepName.DISABLE_FLAG, SETS, Reason.FLAG_CHANGED, ""),
    ],
)
def test_a_change_that_has_only_begun_is_named_by_the_end(step, spec, reason, named) -> None:
    """Its answer may be lost: a person has to look. Nobody has to where the end has looked."""
    rollback = make_rollback(status=begun(RollbackStatus(), step, at(10)), **spec)

    over = ended(rollback, RollbackEnd(Outcome.ABANDONED, reason, "so it was"), at(30))

    message = find(over.conditions, "Complete").message
    assert ("which may have changed" in message) == bool(named)
    assert named in message
