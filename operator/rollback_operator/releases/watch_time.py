"""The length of a release's watch: time without evaluations does not count.

Pure. A watch lasts `safety.watchSeconds` from the creation of the release. After a late first
evaluation (the operator was down, the policy suspended, the Deployment paused or without replicas)
it lasts as long from that evaluation. The time of the last evaluation is recorded, a tenth of the
watch at a time: a longer gap between two evaluations, for any reason, extends the watch. A pass
without readable metrics is no evaluation. A watch that is over does not restart, and a release that
has earned trust gets no more time. Requests always count from the first request of the release on.
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
"""A first evaluation within this time is not late: events, leaders and pods take time."""
LEAST_STEP = timedelta(seconds=10)
PARTS = 10
"""The number of parts in which a watch is recorded."""
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
        Reason.ANSWER_TOO_LARGE,
        Reason.SAMPLES_STALE,
        Reason.CLOCK_SKEW,
    }
)
"""Reasons of a missing verdict: no data was readable, or no current data."""


@dataclass(frozen=True, slots=True)
class Times:
    """The recorded times of a watch."""

    since: datetime | None
    """None: since the creation of the release."""
    until: datetime | None
    """The last evaluation; None: the watch is over, or the release has earned trust."""


def is_over(status: RollbackPolicyStatus, seconds: int, now: datetime) -> bool:
    """Return whether the watch of the running release is complete.

    Args:
        status: the stored status.
        seconds: the length of a watch.
        now: the current time.
    """
    revision = status.revision
    since = status.watched_since or (revision.since if revision is not None else None)
    if revision is None or since is None:
        return False
    is_earned = ledger.health_of(status.revisions, revision.release) in EARNED
    until = None if is_earned else status.watched_until
    return (min(until or now, now) - since).total_seconds() >= seconds


def begun(opened: datetime | None, now: datetime) -> Times:
    """Begin the watch of a release at its first evaluation.

    Args:
        opened: its creation time; None: unknown.
        now: the current time.
    """
    is_late = opened is not None and now - opened > LATE_LOOK
    return Times(now, now) if is_late or opened is None else Times(None, opened)


def extended(times: Times, created: datetime, seconds: int, now: datetime) -> Times:
    """Continue the watch of a release without earned trust after an evaluation.

    Args:
        times: the times of the watch up to now.
        created: the creation time of the release.
        seconds: the length of a watch.
        now: the current time.
    """
    length, since = timedelta(seconds=seconds), times.since
    begin, until = since or created, times.until or now
    step = max(LEAST_STEP, length / PARTS)
    if now - until > step + LATE_LOOK:
        since = begin = begin + (now - until) - step  # each evaluation counts, however rare
        until = now
    if now - begin >= length:
        return Times(since, None)
    return Times(since, now if now - until >= step else until)


def is_evaluation(verdict: Verdict | None, missing: Missing | None) -> bool:
    """Return whether a pass is an evaluation of the release: no data was missing."""
    reasons = {result.reason for result in (verdict, missing) if result is not None}
    return verdict is not None and not reasons & UNSEEN


def ended(old: RollbackPolicyStatus, safety: SafetySpec | None, now: datetime) -> str:
    """Describe the absence of a watch; of a release without earned trust, the watch's result.

    Args:
        old: the stored status.
        safety: the length of a watch; None: the message omits the release.
        now: the time.
    """
    if old.revision is None or safety is None or not is_over(old, safety.watch_seconds, now):
        return "no release is watched"
    message = f"the evaluation of revision {old.revision.number} has ended"
    healthy = conditions.find(old.conditions, ConditionType.HEALTHY)
    if healthy is None or healthy.reason == Reason.NO_RELEASE_WATCHED:
        return f"{message}, and it is not recorded as Good"
    without = " without a verdict" if healthy.status == "Unknown" else ""
    return f"{message}{without}; last evaluation: {healthy.message or healthy.reason}"
