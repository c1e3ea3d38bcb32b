"""Rollbacks in a policy's status: recentRollbacks and lastRollback, which outlast their objects.

Pure. A pass stores them with the whole status. The end of a Rollback is stored before its finalizer
is removed, because afterwards the object can vanish at any time.
"""

from collections.abc import Sequence
from datetime import datetime

from rollback_operator.api.policy_status import RecentRollback
from rollback_operator.api.v1alpha1 import (
    LastRollback,
    Rollback,
    RollbackPolicyStatus,
    SafetySpec,
)
from rollback_operator.model.workload import Workload
from rollback_operator.releases import records


def recent(
    old: RollbackPolicyStatus,
    rollbacks: Sequence[Rollback],
    safety: SafetySpec | None,
    workload: Workload | None,
    now: datetime,
) -> list[RecentRollback]:
    """Summarize the rollbacks that guards need, of deleted objects too.

    Args:
        old: the stored status.
        rollbacks: all of the policy.
        safety: of the policy; None: it cannot be read, so no summary is added and none expires.
        workload: the target; None: it was not read.
        now: the current time.
    """
    known = records.remembered(old.recent_rollbacks, rollbacks, workload, now)
    if safety is not None:
        return records.needed(known, safety, now)
    by_name = {record.name: record for record in known}
    return [by_name[record.name] for record in old.recent_rollbacks if record.name in by_name]


def last(
    old: RollbackPolicyStatus, rollbacks: Sequence[Rollback], now: datetime
) -> LastRollback | None:
    """Summarize the newest rollback; without an object, the stored summary.

    Args:
        old: the stored status.
        rollbacks: all of the policy, and those of its target.
        now: the current time.
    """
    newest, stored = records.last(rollbacks), old.last_rollback
    if newest is not None or stored is None or stored.outcome is not None:
        return newest or stored
    gone = records.remembered(old.recent_rollbacks, (), None, now)
    outcome = next((record.outcome for record in gone if record.name == stored.name), None)
    return stored.model_copy(update={"outcome": outcome})


def with_ends(
    old: RollbackPolicyStatus,
    rollbacks: Sequence[Rollback],
    safety: SafetySpec | None,
    now: datetime,
) -> RollbackPolicyStatus:
    """Store the rollbacks as they are now, and nothing else; the same if nothing has changed.

    Args:
        old: the stored status.
        rollbacks: all of the policy.
        safety: of the policy; None: it cannot be read.
        now: the current time.
    """
    return old.model_copy(
        update={
            "recent_rollbacks": recent(old, rollbacks, safety, None, now),
            "last_rollback": last(old, rollbacks, now),
        }
    )


def is_end_stored(old: RollbackPolicyStatus, new: RollbackPolicyStatus, name: str) -> bool:
    """Return whether a status records the end of a rollback as far as guards need it.

    Args:
        old: the stored status.
        new: the status with the rollbacks as they are now (`with_ends`).
        name: of an ended Rollback.
    """
    stored, wanted = (
        {record.outcome for record in status.recent_rollbacks if record.name == name}
        for status in (old, new)
    )
    return stored == wanted
