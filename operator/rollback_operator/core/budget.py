"""How many rollbacks there may be in the whole cluster: at a time, and in a day.

Many releases that go bad at once are seldom so many bad releases: past some number people look.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import Mode, Outcome, Rollback

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Budget:
    """The operator's own limits over all policies; 0: none."""

    max_concurrent: int = 0
    max_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What of the limits is used up."""

    budget: Budget = field(default_factory=Budget)
    active: int = 0
    day: int = 0

    @property
    def exhausted(self) -> str:
        """Say which limit is reached; empty: none."""
        if 0 < self.budget.max_concurrent <= self.active:
            most = self.budget.max_concurrent
            return (
                f"{self.active} rollbacks run in this cluster and --max-concurrent is {most}: it "
                "waits its turn; where so many releases fail at once, look at what they share"
            )
        if 0 < self.budget.max_per_day <= self.day:
            return (
                f"{self.day} rollbacks in this cluster in the last 24 hours, "
                f"--max-rollbacks-per-day is {self.budget.max_per_day}"
            )
        return ""


def load_of(rollbacks: Iterable[Rollback], budget: Budget, now: datetime) -> Load:
    """Count what is done or was; what is only recorded, or asked for by a person, costs no budget.

    A rollback that waits for a person holds nobody else up.
    """
    active = day = 0
    if budget == Budget():
        return Load()
    for one in rollbacks:
        if one.spec.mode is not Mode.ENFORCE or one.is_by_hand:
            continue
        if one.status.outcome is None and one.status.approval_deadline_time is None:
            active += 1
        is_young = now - one.spec.trigger.decided_time < _DAY
        day += is_young and one.status.outcome not in _NOTHING_DONE
    return Load(budget, active, day)


_NOTHING_DONE = (Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED)
