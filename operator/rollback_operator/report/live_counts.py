"""Live counts for people who watch a release: requested, computed from a pass, and rate-limited.

At rest no status changes. A person who watches sets an annotation that expires; until then the
counts of a pass are stored, at a limited rate, so that an annotation that is renewed for ever does
not cause unlimited writes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.policy_status import (
    WATCHED_UNTIL,
    Evaluation,
    ObservedCounts,
    PastCounts,
)
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.evidence.arms import arms_of
from rollback_operator.evidence.baseline import history_on
from rollback_operator.model.verdict import Verdict
from rollback_operator.stats.windows import Increment, total

LONGEST_WATCH = timedelta(seconds=120)
"""An annotation further ahead is ignored: a forgotten annotation expires soon."""
EVERY = timedelta(seconds=2)
"""Interval between two stored evaluations of a policy."""
SECOND = timedelta(seconds=1)
MOST_A_SECOND, MOST_OF_NAMESPACE = 10, 5
"""Stored evaluations per second: of all policies, and of a namespace."""
_LONGEST_TIME = 40
_MOST_ODDS = 1e9
_MOST_MESSAGE = 1024
_EXACT_BELOW = 100.0
_CLOCK_GRAIN = 0.001
"""Seconds: times on record have microseconds."""


def watched_for(annotations: Mapping[str, str], now: datetime) -> timedelta:
    """Return the time for which a person requests counts; 0: an invalid or no request."""
    text = annotations.get(WATCHED_UNTIL, "")
    try:
        until = datetime.fromisoformat(text if len(text) <= _LONGEST_TIME else "")
        return until - now if until.tzinfo is not None else timedelta(0)
    except (ValueError, OverflowError):
        return timedelta(0)


def is_watched(annotations: Mapping[str, str], now: datetime) -> bool:
    """Report whether a person watches a policy."""
    return timedelta(0) < watched_for(annotations, now) <= LONGEST_WATCH


def is_current(known: Evaluation, result: EvaluationResult) -> bool:
    """Report whether a stored evaluation is of the judged release."""
    current, opened = result.case.workload.current, result.watch.opened
    number = current.revision if current is not None else 0
    since = abs(known.since_time.timestamp() - opened)
    return known.revision == number and since < _CLOCK_GRAIN


def is_due(known: Evaluation | None, verdict: Verdict, now: datetime) -> bool:
    """Report whether the next evaluation is due; an evaluation from the future is replaced.

    A changed verdict is due at once, because the status is written for it anyway.
    """
    if known is None or known.reason != verdict.reason:
        return True
    return not timedelta(0) <= now - known.time < EVERY


@dataclass(frozen=True, slots=True)
class RecordRateLimit:
    """The evaluations stored within the last second, with time and namespace."""

    taken: tuple[tuple[datetime, str], ...] = ()

    def after(self, namespace: str, now: datetime) -> "RecordRateLimit | None":
        """Count another evaluation; None: the limit of the cluster or the namespace is reached."""
        recent = tuple(item for item in self.taken if timedelta(0) <= now - item[0] < SECOND)
        same = sum(place == namespace for _, place in recent)
        if len(recent) >= MOST_A_SECOND or same >= MOST_OF_NAMESPACE:
            return None
        return RecordRateLimit((*recent, (now, namespace)))


def evaluate(result: EvaluationResult, now: datetime) -> Evaluation:
    """Compute the counts of a pass.

    Args:
        result: the evaluation, with its verdict.
        now: its time.
    """
    watch, workload, verdict = result.watch, result.case.workload, result.verdict
    arms = arms_of(watch, workload, result.question, now.timestamp())
    new = {pod.name for pod in workload.current_of(watch.pods)}
    old = {pod.name for pod in watch.pods if pod.pod_hash in watch.control_hashes}
    seen, leading, odds = set(watch.evidence.seen), verdict.leading, result.question.odds
    before = None
    if arms.control is not None:
        known = history_on(arms.control, None)
        served = round(known.requests), round(known.errors)
        before = PastCounts(
            seconds=round(arms.control.seconds), requests=served[0], errors=served[1]
        )
    blame = leading.blame if leading is not None else None
    return Evaluation(
        time=now,
        revision=workload.current.revision if workload.current is not None else 0,
        since_time=datetime.fromtimestamp(watch.opened, now.tzinfo),
        new=_counts(len(new & seen), arms.new),
        old=_counts(len(old & seen), arms.old),
        past=before,
        odds=_decimal(leading.odds if leading is not None else 0.0),
        route=leading.route or None if leading is not None else None,
        blame_odds=_decimal(blame.odds) if blame is not None else None,
        suspect_odds=round(odds.suspect),
        bad_odds=round(odds.bad),
        reason=verdict.reason,
        message=verdict.message[:_MOST_MESSAGE],
    )


def _counts(pods: int, counted: tuple[Increment, ...]) -> ObservedCounts:
    requests, errors = total(counted)
    return ObservedCounts(pods=pods, requests=round(requests), errors=round(errors))


def _decimal(odds: float) -> str:
    """Format odds as a decimal, small odds with two digits after the point."""
    if math.isnan(odds):
        return "0"
    bounded = min(max(odds, 0.0), _MOST_ODDS)
    return f"{bounded:.2f}" if bounded < _EXACT_BELOW else f"{bounded:.0f}"
