"""When to look again: just after the next samples, at the next deadline, or not at all."""

from collections.abc import Iterable

from rollback_operator.core.availability import GRACE_SECONDS
from rollback_operator.core.judge import Question
from rollback_operator.core.model import Workload
from rollback_operator.core.verdict import Verdict
from rollback_operator.core.watch import Watch

AFTER_SAMPLE = 0.3
"""A scrape is timed at its start and can be queried once it has been stored."""
SHORTEST = 0.4
PER_POD = 0.02
"""Many pods make a look dear and their samples frequent: one look then sees several of them."""
POLL = 0.5
"""Between looks for a new pod's first sample: when it comes is not known beforehand."""
YOUNG_SECONDS = 120.0
FIRST_SAMPLE_SECONDS = 60.0
SUSPICIOUS_ODDS = 10.0


def next_look(watch: Watch, workload: Workload, verdict: Verdict, now: float) -> float:
    """Give the time of the next look at a release under watch.

    While the release is young or something speaks against it, each pod's sample is looked at as it
    arrives. Later one look an interval sees them all.
    """
    interval = watch.evidence.interval
    new = [pod for pod in workload.current_of(watch.pods) if pod.ready]
    seen = watch.evidence.seen
    is_urgent = now - watch.opened < YOUNG_SECONDS or _is_suspicious(verdict)
    awaited = [pod for pod in new if pod.name not in seen]
    names = [pod.name for pod in watch.pods if not pod.terminating]
    pause = min(max(interval, 1.0), len(names) * PER_POD)
    if any(now - (pod.ready_since or now) < FIRST_SAMPLE_SECONDS for pod in awaited):
        return now + max(POLL, pause)
    if not is_urgent or watch.missing is not None:
        return now + max(interval, 1.0)
    expected = [seen[name] - watch.skew + interval + AFTER_SAMPLE for name in names if name in seen]
    coming = min((time for time in expected if time > now), default=now + interval)
    return min(now + max(interval, 1.0), max(now + max(SHORTEST, pause), coming))


def next_limit(
    watch: Watch, question: Question, times: Iterable[float | None], now: float
) -> float:
    """Give the earliest of the times at which the verdict may change without a new sample."""
    limits = [
        watch.opened + question.watch_seconds,
        max(watch.opened, question.resumed or 0.0) + question.stuck_after,
        *(time for time in times if time is not None),
    ]
    if watch.unavailable_since is not None:
        limits.append(watch.unavailable_since + watch.startup + GRACE_SECONDS)
    return min((one + 0.1 for one in limits if one > now), default=now + question.watch_seconds)


def _is_suspicious(verdict: Verdict) -> bool:
    return any(one.odds >= SUSPICIOUS_ODDS for one in verdict.scopes)
