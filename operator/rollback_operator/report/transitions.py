"""The transitions of a Rollback that are reported to people, each with its time.

They are derived from the stored state, not sent by the code that changes it: so no path to an
outcome can omit its message, and any leader derives the same messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rollback_operator.api.v1alpha1 import Rollback, StepName

UPDATE_SECONDS = (300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 86400)
"""Ages of a running rollback at which an update is sent."""


class TransitionKind(StrEnum):
    """The kind of a transition."""

    APPROVAL_NEEDED = "ApprovalNeeded"
    STARTED = "Started"
    UPDATE = "Update"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Transition:
    """An event that occurs once in the life of a Rollback."""

    kind: TransitionKind
    name: str
    """Unique in that life; the name of an end is its outcome."""
    time: datetime


def transitions(rollback: Rollback, now: datetime) -> tuple[Transition, ...]:
    """List the past transitions in order; while it is running, with the newest update only."""
    return tuple(sorted(_transitions(rollback, now), key=lambda item: item.time))


def _transitions(rollback: Rollback, now: datetime) -> Iterator[Transition]:
    status = rollback.status
    waits = [step for step in status.steps if step.name is StepName.AWAITING_APPROVAL]
    acts = [step for step in status.steps if step.name is not StepName.AWAITING_APPROVAL]
    for step in waits:
        yield Transition(
            TransitionKind.APPROVAL_NEEDED, TransitionKind.APPROVAL_NEEDED, step.started_time
        )
    if acts:
        yield Transition(
            TransitionKind.STARTED, TransitionKind.STARTED, min(step.started_time for step in acts)
        )
    if status.outcome is not None:
        yield Transition(TransitionKind.ENDED, status.outcome, status.finished_time or now)
    elif status.steps:
        yield from _update(rollback, now)


def _update(rollback: Rollback, now: datetime) -> Iterator[Transition]:
    begin = rollback.spec.trigger.decided_time
    passed = [seconds for seconds in UPDATE_SECONDS if begin + timedelta(seconds=seconds) <= now]
    if passed:
        time = begin + timedelta(seconds=passed[-1])
        yield Transition(TransitionKind.UPDATE, f"{TransitionKind.UPDATE}-{len(passed)}", time)


def next_update(rollback: Rollback, now: datetime) -> datetime | None:
    """Return the time of the next update; None: none is due any more."""
    if rollback.status.outcome is not None or not rollback.status.steps:
        return None
    begin = rollback.spec.trigger.decided_time
    times = (begin + timedelta(seconds=item) for item in UPDATE_SECONDS)
    return next((item for item in times if item > now), None)


def transition_named(name: str, time: datetime) -> Transition:
    """Make a transition from its stored name and time."""
    kinds = (TransitionKind.APPROVAL_NEEDED, TransitionKind.STARTED, TransitionKind.UPDATE)
    kind = next((item for item in kinds if name.partition("-")[0] == item), TransitionKind.ENDED)
    return Transition(kind, name, time)
