"""What of the operator's own limits is used up by the Rollbacks on record."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import Mode, Outcome, Rollback
from rollback_operator.core import ownership, progress
from rollback_operator.core.budget import Budget, Load

_DAY = timedelta(days=1)


def load_of(rollbacks: Iterable[Rollback], budget: Budget, now: datetime) -> Load:
    """Count what is done or was; what is only recorded, or asked for by a person, costs no budget.

    A rollback that waits for a person holds nobody else up, nor does one that nobody has planned,
    or that nobody carries on any more.
    """
    active = day = 0
    if budget == Budget():
        return Load()
    for one in rollbacks:
        if one.spec.mode is not Mode.ENFORCE or one.is_by_hand or not ownership.is_named(one):
            continue
        if one.status.outcome is None and progress.is_stale(one, now):
            continue
        if one.status.outcome is None and one.status.approval_deadline_time is None:
            active += 1
        is_young = now - one.spec.trigger.decided_time < _DAY
        day += is_young and one.status.outcome not in _NOTHING_DONE
    return Load(budget, active, day)


_NOTHING_DONE = (Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED)
