"""What a Rollback's stored state has to tell people: its transitions, each with its time.

They are read from the state, not called out by who changes it: no way to an end can forget to
tell, and whoever finds the state finds what is to be told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rollback_operator.api.v1alpha1 import Rollback, StepName

UPDATE_SECONDS = (300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 86400)
"""How long a rollback has gone on when people are told that it still does."""


class TransitionKind(StrEnum):
    """What sort of news a transition is."""

    APPROVAL_NEEDED = "ApprovalNeeded"
    STARTED = "Started"
    UPDATE = "Update"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Transition:
    """Something that happened once in the life of a Rollback."""

    kind: TransitionKind
    name: str
    """Unique in that life: of an end, its outcome."""
    time: datetime


def transitions(rollback: Rollback, now: datetime) -> tuple[Transition, ...]:
    """List what has happened, in its order; of the updates only the newest, while it goes on."""
    return tuple(sorted(_transitions(rollback, now), key=lambda one: one.time))


def _transitions(rollback: Rollback, now: datetime) -> Iterator[Transition]:
    status = rollback.status
    waits = [one for one in status.steps if one.name is StepName.AWAITING_APPROVAL]
    acts = [one for one in status.steps if one.name is not StepName.AWAITING_APPROVAL]
    for one in waits:
        yield Transition(
            TransitionKind.APPROVAL_NEEDED, TransitionKind.APPROVAL_NEEDED, one.started_time
        )
    if acts:
        yield Transition(
            TransitionKind.STARTED, TransitionKind.STARTED, min(one.started_time for one in acts)
        )
    if status.outcome is not None:
        yield Transition(TransitionKind.ENDED, status.outcome, status.finished_time or now)
    elif status.steps:
        yield from _update(rollback, now)


def _update(rollback: Rollback, now: datetime) -> Iterator[Transition]:
    begin = rollback.spec.trigger.decided_time
    passed = [one for one in UPDATE_SECONDS if begin + timedelta(seconds=one) <= now]
    if passed:
        time = begin + timedelta(seconds=passed[-1])
        yield Transition(TransitionKind.UPDATE, f"{TransitionKind.UPDATE}-{len(passed)}", time)


def next_update(rollback: Rollback, now: datetime) -> datetime | None:
    """Tell when people are to be told next that it still goes on."""
    if rollback.status.outcome is not None or not rollback.status.steps:
        return None
    begin = rollback.spec.trigger.decided_time
    times = (begin + timedelta(seconds=one) for one in UPDATE_SECONDS)
    return next((one for one in times if one > now), None)


def transition_named(name: str, time: datetime) -> Transition:
    """Make a transition of what is on record of it."""
    kinds = (TransitionKind.APPROVAL_NEEDED, TransitionKind.STARTED, TransitionKind.UPDATE)
    kind = next((one for one in kinds if name.partition("-")[0] == one), TransitionKind.ENDED)
    return Transition(kind, name, time)
