"""Live counts for people who watch a release: asked for in time, made of a look, written in bounds.

At rest no status changes. A person who watches sets an annotation that runs out by itself; while it
holds, what a look has found is put on record, seldom enough that nobody who leaves it on can make
the operator write without end.
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
from rollback_operator.evidence.arms import past, total
from rollback_operator.evidence.question import arms_of
from rollback_operator.model.verdict import Verdict
from rollback_operator.stats.windows import Increment

LONGEST_WATCH = timedelta(seconds=120)
"""An annotation that reaches further is ignored: nobody leaves one on for a day."""
EVERY = timedelta(seconds=2)
"""Between two evaluations of a policy that are put on record."""
SECOND = timedelta(seconds=1)
MOST_A_SECOND, MOST_OF_NAMESPACE = 10, 5
"""Evaluations that are put on record: of all policies, and of those of one namespace."""
_LONGEST_TIME = 40
_MOST_ODDS = 1e9
_MOST_MESSAGE = 1024
_EXACT_BELOW = 100.0
_CLOCK_GRAIN = 0.001
"""Seconds: times on record have microseconds."""


def is_watched(annotations: Mapping[str, str], now: datetime) -> bool:
    """Tell whether somebody watches a policy. What cannot be read as a time asks for nothing."""
    text = annotations.get(WATCHED_UNTIL, "")
    if len(text) > _LONGEST_TIME:
        return False
    try:
        until = datetime.fromisoformat(text)
        return until.tzinfo is not None and timedelta(0) < until - now <= LONGEST_WATCH
    except (ValueError, OverflowError):
        return False


def is_current(known: Evaluation, found: EvaluationResult) -> bool:
    """Tell whether an evaluation on record is of the release that is judged."""
    current, opened = found.case.workload.current, found.watch.opened
    number = current.revision if current is not None else 0
    since = abs(known.since_time.timestamp() - opened)
    return known.revision == number and since < _CLOCK_GRAIN


def is_due(known: Evaluation | None, verdict: Verdict, now: datetime) -> bool:
    """Tell whether it is time for another one; one from the future is replaced.

    What has changed the verdict waits for nothing: the status is written for it anyway.
    """
    if known is None or known.reason != verdict.reason:
        return True
    return not timedelta(0) <= now - known.time < EVERY


@dataclass(frozen=True, slots=True)
class RecordRateLimit:
    """The evaluations that were put on record within the last second: when, and where."""

    taken: tuple[tuple[datetime, str], ...] = ()

    def after(self, namespace: str, now: datetime) -> "RecordRateLimit | None":
        """Take one more; None: there have been enough for now, of all or of the namespace."""
        recent = tuple(one for one in self.taken if timedelta(0) <= now - one[0] < SECOND)
        same = sum(place == namespace for _, place in recent)
        if len(recent) >= MOST_A_SECOND or same >= MOST_OF_NAMESPACE:
            return None
        return RecordRateLimit((*recent, (now, namespace)))


def evaluate(found: EvaluationResult, now: datetime) -> Evaluation:
    """Put together what a look has found.

    Args:
        found: the look, with its verdict.
        now: its time.
    """
    watch, workload, verdict = found.watch, found.case.workload, found.verdict
    arms = arms_of(watch, workload, found.question, now.timestamp())
    new = {pod.name for pod in workload.current_of(watch.pods)}
    old = {pod.name for pod in watch.pods if pod.pod_hash in watch.control_hashes}
    seen, leading, odds = set(watch.evidence.seen), verdict.leading, found.question.odds
    before = None
    if arms.control is not None:
        known = past(arms.control, None)
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
    """Write odds as a decimal: with two digits behind the point where those say something."""
    if math.isnan(odds):
        return "0"
    bounded = min(max(odds, 0.0), _MOST_ODDS)
    return f"{bounded:.2f}" if bounded < _EXACT_BELOW else f"{bounded:.0f}"
