"""For how long a release is watched: the time in which nobody could look does not count.

Pure. A watch lasts `safety.watchSeconds` from when the release was made. Where it was first looked
at later (the operator was down, the policy suspended, the Deployment paused or without replicas) it
lasts as long from then. Up to when it was looked at is on record, a tenth of the watch at a time:
what lies between two looks beyond that, whyever nobody looked, is added to the watch. Who could not
read metrics has not looked. A watch that is over is not begun anew, and a release that has earned
to be trusted gets no more time. What the release has served until then is counted from its first
request on all the same.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Health, RollbackPolicyStatus, SafetySpec
from rollback_operator.model import conditions
from rollback_operator.model.samples import Missing
from rollback_operator.model.verdict import Verdict
from rollback_operator.releases import ledger

LATE_LOOK = timedelta(seconds=30)
"""So late a first look is no late one: events, leaders and pods take their time."""
LEAST_STEP = timedelta(seconds=10)
PARTS = 10
"""In so many parts a watch is put on record."""
EARNED = (Health.GOOD, Health.ASSUMED)
UNSEEN = frozenset(
    {
        Reason.NOT_YET_READ,
        Reason.CREDENTIALS_UNAVAILABLE,
        Reason.PROVIDER_UNREACHABLE,
        Reason.PROVIDER_UNAUTHORIZED,
        Reason.PROVIDER_ERROR,
        Reason.ANSWER_MALFORMED,
        Reason.ANSWER_PARTIAL,
        Reason.SAMPLES_STALE,
        Reason.CLOCK_SKEW,
    }
)
"""Reasons of a verdict that is none: nothing could be read, or nothing that tells of now."""


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a watch, as they are on record."""

    since: datetime | None
    """None: since the release was made."""
    until: datetime | None
    """Up to when it was looked at; None: it is over, or the release has earned to be trusted."""


def is_over(status: RollbackPolicyStatus, seconds: int, now: datetime) -> bool:
    """Return whether the running release has been watched for as long as it is to be.

    Args:
        status: as it is stored.
        seconds: the length of a watch.
        now: the current time.
    """
    known = status.revision
    since = status.watched_since or (known.since if known is not None else None)
    if known is None or since is None:
        return False
    is_earned = ledger.health_of(status.revisions, known.release) in EARNED
    until = None if is_earned else status.watched_until
    return (min(until or now, now) - since).total_seconds() >= seconds


def begun(opened: datetime | None, now: datetime) -> Times:
    """Begin the watch of a release that is looked at for the first time.

    Args:
        opened: when it was made; None: that is not known.
        now: the current time.
    """
    is_late = opened is not None and now - opened > LATE_LOOK
    return Times(now, now) if is_late or opened is None else Times(None, opened)


def extended(known: Times, made: datetime, seconds: int, now: datetime) -> Times:
    """Go on with the watch of a release that has earned nothing yet: it has been looked at.

    Args:
        known: the times of the watch up to now.
        made: when the release was.
        seconds: the length of a watch.
        now: the current time.
    """
    length, since = timedelta(seconds=seconds), known.since
    begin, until = since or made, known.until or now
    step = max(LEAST_STEP, length / PARTS)
    if now - until > step + LATE_LOOK:
        since = begin = begin + (now - until) - step  # a look counts, however seldom there is one
        until = now
    if now - begin >= length:
        return Times(since, None)
    return Times(since, now if now - until >= step else until)


def is_evaluation(verdict: Verdict | None, missing: Missing | None) -> bool:
    """Return whether what a pass has found is a look at the release, and nothing was unseen."""
    reasons = {one.reason for one in (verdict, missing) if one is not None}
    return verdict is not None and not reasons & UNSEEN


def ended(old: RollbackPolicyStatus, safety: SafetySpec | None, now: datetime) -> str:
    """Say that no release is watched; of one that has earned nothing, what came of its watch.

    Args:
        old: the status as it is stored.
        safety: how long a watch lasts; None: nothing is to be said of the release.
        now: the time.
    """
    if old.revision is None or safety is None or not is_over(old, safety.watch_seconds, now):
        return "no release is watched"
    message = f"the evaluation of revision {old.revision.number} has ended"
    known = conditions.find(old.conditions, ConditionType.HEALTHY)
    if known is None or known.reason == Reason.NO_RELEASE_WATCHED:
        return f"{message}, and it is not recorded as Good"
    without = " without a verdict" if known.status == "Unknown" else ""
    return f"{message}{without}; last evaluation: {known.message or known.reason}"
