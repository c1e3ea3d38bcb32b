"""For how long a release is watched: the time in which nobody could look does not count.

Pure. A watch lasts `safety.watchSeconds` from when the release was made. Where it was first looked
at later (the operator was down, the policy suspended, the Deployment paused or without replicas) it
lasts as long from then; where the policy was at rest in the midst of it, it begins anew, unless the
release has earned to be trusted already. What the release has served until then is counted from its
first request on all the same.
"""

from datetime import datetime, timedelta

from rollback_operator.api.reasons import IDLE, ConditionType
from rollback_operator.api.v1alpha1 import Health, RollbackPolicyStatus
from rollback_operator.core import conditions, ledger

LATE = timedelta(seconds=30)
"""So late a first look is no late one: events, leaders and pods take their time."""
_EARNED = (Health.GOOD, Health.ASSUMED)


def is_back(old: RollbackPolicyStatus, release: str) -> bool:
    """Tell whether a policy comes back from a rest with a release that has not earned anything.

    Args:
        old: the status as it is stored.
        release: that runs.
    """
    ready = conditions.find(old.conditions, ConditionType.READY)
    was_idle = ready is not None and ready.reason in IDLE
    return was_idle and ledger.health_of(old.revisions, release) not in _EARNED


def watched_since(
    old: RollbackPolicyStatus, digest: str | None, opened: datetime | None, now: datetime
) -> datetime | None:
    """Give since when the running release is watched; None: since it was made.

    Args:
        old: the status as it is stored.
        digest: of the running template; None: it was not read.
        opened: when that appeared; None: no release is under watch.
        now: the time of the look.
    """
    known = old.revision
    if digest is not None and (known is None or known.digest != digest):
        return now if opened is not None and now - opened > LATE else None
    return now if known is not None and is_back(old, known.release) else old.watched_since
