"""What of the operator's own limits is used up by the Rollbacks on record."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from rollback_operator.api.v1alpha1 import Mode, Rollback
from rollback_operator.model.context import Load, RollbackBudget
from rollback_operator.releases import ownership
from rollback_operator.remedies import attempts, progress

_DAY = timedelta(days=1)
LONGEST_RUN = timedelta(minutes=15)
"""As the default verification takes, and a rollout before it."""


def load_of(
    rollbacks: Iterable[Rollback], namespace: str, budget: RollbackBudget, now: datetime
) -> Load:
    """Count what is done or was; what is only recorded, or asked for by a person, costs no budget.

    A rollback that waits for a person holds nobody else up, nor does one that nobody has planned,
    or that nobody carries on any more. One counts as running for so long only: how long it is
    verified is for its policy's author to say, who may want to hold all others up. For the same
    reason another namespace's count up to half of each limit, the next's up to half of the rest,
    and so on.

    Args:
        rollbacks: all on record.
        namespace: for which it is asked.
        budget: the operator's limits.
        now: the time of the look.
    """
    active: Counter[str] = Counter()
    day: Counter[str] = Counter()
    if budget == RollbackBudget():
        return Load()
    for one in rollbacks:
        if one.spec.mode is not Mode.ENFORCE or one.is_by_hand or not ownership.is_named(one):
            continue
        if one.status.outcome is None and progress.is_stale(one, now):
            continue
        where, age = one.metadata.namespace, now - progress.decided_time(one, now)
        is_waiting = one.status.approval_deadline_time is not None
        if one.status.outcome is None and not is_waiting and age < LONGEST_RUN:
            active[where] += 1
        day[where] += age < _DAY and not _is_left(one)
    return Load(
        budget,
        _felt(active, namespace, budget.max_concurrent),
        _felt(day, namespace, budget.max_per_day),
    )


def _is_left(rollback: Rollback) -> bool:
    """Tell whether it has ended and nothing was done."""
    is_idle = rollback.status.outcome in progress.NOTHING_DONE or attempts.is_unbegun(rollback)
    return is_idle and not progress.was_done(rollback)


def _felt(counts: Counter[str], namespace: str, most: int) -> int:
    """Count what one namespace feels of all: of each other one half of what those before it leave.

    Each counts for one at least: many that go bad at once are a reason to look, wherever they are.
    """
    felt, left = counts[namespace], most
    for count in sorted((many for one, many in counts.items() if one != namespace), reverse=True):
        share = min(count, max(1, left // 2))
        felt, left = felt + share, left - share
    return felt
