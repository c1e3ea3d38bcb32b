"""Which records of ended Rollbacks are kept: the newest of each kind, and whatever is still needed.

What was turned down is a kind of its own: asked for by hand as often as anybody likes, it must not
push the record of a real rollback out.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rollback_operator.api.v1alpha1 import (
    BOUNDS_FINALIZER,
    FINALIZER,
    OWNER_FINALIZER,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
)
from rollback_operator.core import autoscaling, recent, suspension
from rollback_operator.core.case import is_active
from rollback_operator.core.words import condemns

KEPT = 20
"""Of a policy: of the rollbacks of one Deployment, and of what was turned down."""
_OURS = frozenset({FINALIZER, BOUNDS_FINALIZER, OWNER_FINALIZER})
_EVER = datetime.min.replace(tzinfo=UTC)

Record = Rollback | RollbackRequest


def superfluous(
    policy: RollbackPolicy | None,
    rollbacks: Sequence[Rollback],
    requests: Sequence[RollbackRequest],
    now: datetime,
) -> list[Record]:
    """List the records that are too many, the newest first.

    Args:
        policy: None: it is gone or unreadable. What it did stays on record then.
        rollbacks: all that name the policy, ended or not.
        requests: that name it, answered or not.
        now: the time of the look.
    """
    ended = [one for one in rollbacks if not is_active(one)]
    refused = [one for one in requests if one.status.outcome is not None]
    turned_down: list[Record] = [*refused, *filter(recent.is_turned_down, ended)]
    found = _oldest(turned_down)
    if policy is not None:
        kept = {one.rollback for one in policy.status.quarantine} | _against(policy, ended)
        done = [one for one in ended if not recent.is_turned_down(one)]
        kept |= _guarding(policy, done, now)
        for target in sorted({one.spec.target_ref.name for one in done}):
            old = _oldest([one for one in done if one.spec.target_ref.name == target])
            found += [one for one in old if one.metadata.name not in kept]
    return [one for one in found if not _is_needed(one)]


def _guarding(policy: RollbackPolicy, ended: Sequence[Rollback], now: datetime) -> set[str]:
    """Name those that keep a rollback from being done: the status repeats them, and may be lost."""
    records = recent.remembered((), ended, None, now)
    return {one.name for one in recent.needed(records, policy.spec.safety, now)}


def _against(policy: RollbackPolicy, ended: Sequence[Rollback]) -> set[str]:
    """Name, of each release that is there, the newest Rollback that says that it is bad.

    Where the ledger was lost all are: what is there is not known before the next look.
    """
    there = {one.release for one in policy.status.revisions}
    newest = {
        one.spec.from_revision.release: one.metadata.name
        for one in sorted(ended, key=_time)
        if condemns(one)
    }
    return {name for release, name in newest.items() if release in there or not there}


def _oldest(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=_time, reverse=True)[KEPT:]


def _time(record: Record) -> datetime:
    if isinstance(record, Rollback) and not recent.is_turned_down(record):
        return record.spec.trigger.decided_time
    # What somebody has written into a spec that was turned down proves nothing.
    return record.status.finished_time or record.metadata.creation_timestamp or _EVER


def _is_needed(record: Record) -> bool:
    """Tell whether something is still to be done by a record, or it is being deleted already."""
    meta = record.metadata
    if meta.deletion_timestamp is not None or _OURS.intersection(meta.finalizers):
        return True
    if any(one.is_open for one in record.status.notifications):
        return True  # people are told by it, now or after a crash
    return isinstance(record, Rollback) and (
        suspension.is_open(record) or autoscaling.is_open(record)
    )
