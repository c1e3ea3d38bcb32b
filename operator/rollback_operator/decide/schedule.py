"""Time of the next evaluation: after the next samples, at the next deadline, or none."""

import math
from collections.abc import Iterable

from rollback_operator.evidence.arms import Question
from rollback_operator.evidence.limits import GRACE_SECONDS
from rollback_operator.evidence.scrape_state import MOST_PAGES
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.verdict import Verdict
from rollback_operator.model.workload import Workload

AFTER_SAMPLE = 0.3
"""A scrape's time is its start; queries return it only once it is stored."""
SHORTEST = 0.4
PER_POD = 0.02
"""With many pods, evaluations are costly and samples frequent: each covers several samples."""
PER_SERIES = 0.0005
"""The same for many routes: evaluations use less than a tenth of a core (bench/pages.py)."""
POLL = 0.5
"""Between queries for a new pod's first sample, whose time is unknown."""
REST_SHARE = 0.2
"""Share of the read interval that stays free for other work after a pass that exceeds it."""
YOUNG_SECONDS = 120.0
FIRST_SAMPLE_SECONDS = 60.0
SUSPICIOUS_ODDS = 10.0


def next_look(watch: Watch, workload: Workload, verdict: Verdict, now: float) -> float:
    """Return the time of the next evaluation of a release under watch.

    While the release is young or suspicious, each pod's sample is evaluated on arrival. Later, one
    evaluation per interval covers all samples. Evaluations of many series are rarer. The server
    sets the frequency of samples.
    """
    interval = watch.evidence.interval
    new = [pod for pod in workload.current_of(watch.pods) if pod.ready]
    scraped = watch.evidence.scraped
    awaited = [pod for pod in new if pod.name not in watch.evidence.seen]
    names = [pod.name for pod in watch.pods if not pod.terminating]
    series = len(watch.evidence.book.heads) * PER_SERIES
    pause = max(series, min(max(interval, 1.0), len(names) * PER_POD))
    if any(now - (pod.ready_since or now) < FIRST_SAMPLE_SECONDS for pod in awaited):
        return now + max(POLL, pause)
    if not _is_urgent(watch, verdict, now) or watch.missing is not None:
        return now + max(interval, 1.0, series)
    read = [scraped[name] for name in names if name in scraped]
    expected = [at - watch.skew + interval + AFTER_SAMPLE for at in read]
    coming = min((time for time in expected if time > now), default=now + interval)
    return max(now + series, min(now + max(interval, 1.0), max(now + max(SHORTEST, pause), coming)))


def next_read(watch: Watch, verdict: Verdict, every: float, now: float) -> float:
    """Return the time of the next read of the pods' own pages; infinity: not for now.

    The interval starts at the last read, not at the end of the pass, which may store much.

    Args:
        watch: the release under watch.
        verdict: the current verdict on it.
        every: seconds between two reads of a pod.
        now: the current time.
    """
    if watch.direct.is_off or not _is_urgent(watch, verdict, now):
        return math.inf
    if not watch.control_hashes and watch.direct.missing is None:
        return math.inf  # no control: a working read is the only fact needed
    count = sum(not pod.terminating for pod in watch.pods)
    series = len(watch.evidence.book.pairs)
    pause = max(every, min(MOST_PAGES, count) * PER_POD, series * PER_SERIES)
    return max(watch.read_at + pause, now + REST_SHARE * pause, watch.direct.paused_until)


def next_limit(
    watch: Watch, question: Question, times: Iterable[float | None], now: float
) -> float:
    """Return the earliest time at which the verdict may change without a new sample."""
    limits = [
        watch.opened + question.watch_seconds,
        max(watch.opened, question.resumed or 0.0) + question.stuck_after,
        *(time for time in times if time is not None),
    ]
    if watch.unavailable_since is not None:
        limits.append(watch.unavailable_since + watch.startup + GRACE_SECONDS)
    return min((one + 0.1 for one in limits if one > now), default=now + question.watch_seconds)


def _is_urgent(watch: Watch, verdict: Verdict, now: float) -> bool:
    return now - watch.opened < YOUNG_SECONDS or _is_suspicious(verdict)


def _is_suspicious(verdict: Verdict) -> bool:
    return any(one.odds >= SUSPICIOUS_ODDS for one in verdict.scopes)


def soonest(*waits: float | None) -> float | None:
    """Return the shortest of several waits; None: there is no wait."""
    return min((one for one in waits if one is not None), default=None)
