"""The only makers of a Rollback's recorded steps: begun, done, ended."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Rollback,
    RollbackStatus,
    StepName,
    StepStatus,
    StoredStrategy,
)
from rollback_operator.api.verification import VerificationCheck
from rollback_operator.model import conditions
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.flags import left_set
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.restoring import left_restored

AHEAD = timedelta(seconds=60)
"""Largest difference of two clocks."""


def by_this_clock(status: RollbackStatus, seconds: int, now: datetime) -> RollbackStatus:
    """Restart a step whose recorded begin is in the future: the wait would last until then.

    The clock was set back, or the record was restored from a backup of another cluster.

    Args:
        status: as it is stored.
        seconds: how long a person may take to decide.
        now: the current time.
    """
    latest = now + AHEAD
    steps = [
        step.model_copy(
            update={
                "started_time": now,
                "finished_time": None if step.finished_time is None else now,
            }
        )
        if step.started_time > latest or (step.finished_time or latest) > latest
        else step
        for step in status.steps
    ]
    deadline = status.approval_deadline_time
    if deadline is not None:
        deadline = min(deadline, latest + timedelta(seconds=seconds))
    if steps == status.steps and deadline == status.approval_deadline_time:
        return status
    return status.model_copy(update={"steps": steps, "approval_deadline_time": deadline})


def begun(
    status: RollbackStatus,
    step: StepName,
    now: datetime,
    strategy: StoredStrategy | None = None,
    revision: int | None = None,
) -> RollbackStatus:
    """Record that a step begins, with the state before it; a repetition increments its count.

    Args:
        status: as it is stored.
        step: the step that begins.
        now: the time.
        strategy: the strategy that it will change; None: it changes none.
        revision: the Deployment's; None: the step does not change the Deployment.
    """
    earlier = next((step_status for step_status in status.steps if step_status.name is step), None)
    entry = (
        StepStatus(name=step, started_time=now, revision=revision)
        if earlier is None
        else earlier.model_copy(update={"attempts": min(1000, earlier.attempts + 1)})
    )
    steps = [step_status for step_status in status.steps if step_status.name is not step]
    return status.model_copy(
        update={
            "step": step,
            "steps": [*steps, entry],
            "strategy": status.strategy or strategy,
            "conditions": conditions.upsert(
                status.conditions,
                [conditions.condition(ConditionType.COMPLETE, False, Reason.IN_PROGRESS)],
                1,
                now,
            ),
        }
    )


def finished(status: RollbackStatus, step: StepName, message: str, now: datetime) -> RollbackStatus:
    """Record that a step is done."""
    begun = next(step_status for step_status in status.steps if step_status.name is step)
    entry = begun.model_copy(update={"finished_time": now, "message": clipped(message, 1024)})
    steps = [entry if step_status.name is step else step_status for step_status in status.steps]
    return status.model_copy(update={"steps": steps})


def waiting(status: RollbackStatus, step: StepName, message: str) -> RollbackStatus:
    """Put on a running step what it waits for."""
    steps = [
        known.model_copy(update={"message": clipped(f"waits: {message}", 1024)})
        if known.name is step and known.finished_time is None
        else known
        for known in status.steps
    ]
    return status.model_copy(update={"steps": steps})


def with_checks(status: RollbackStatus, checks: Iterable[VerificationCheck]) -> RollbackStatus:
    """Record the results of the checks so far."""
    return status.model_copy(update={"verification": list(checks)})


def ended(rollback: Rollback, end: RollbackEnd, now: datetime) -> RollbackStatus:
    """Record the end of the rollback. An outcome that is already stored remains."""
    status = rollback.status
    if status.outcome is not None:
        return status
    steps = [
        step
        if step.finished_time is not None
        else step.model_copy(update={"finished_time": now, "message": clipped(end.message, 1024)})
        for step in status.steps
    ]
    migrated = migrations.left_behind(status, end.outcome)
    changed = f"{left_restored(rollback, end.reason)}{left_set(rollback, end.reason)}"
    message = clipped(f"{end.message}{migrated}{changed}", 32768)
    done = conditions.condition(ConditionType.COMPLETE, True, end.reason, message)
    return status.model_copy(
        update={
            "steps": steps,
            "verification": list(end.checks) or status.verification,
            "outcome": end.outcome,
            "finished_time": now,
            "conditions": conditions.upsert(status.conditions, [done], 1, now),
        }
    )
