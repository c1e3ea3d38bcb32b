"""Whether the old pods failed like the new pods before they stopped.

An outage may begin a second before the last read of an old pod: that count then holds it for a part
of its time only.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from rollback_operator.evidence.limits import (
    ALIKE_COUNTS,
    ALIKE_ERRORS,
    ALIKE_ODDS,
    BAD_RELEASES,
    CEILING_TIMES,
)
from rollback_operator.stats.change_point import FINE_STEPS, GRAIN, MOST_TIMES
from rollback_operator.stats.windows import Increment

LESSER_TIMES = tuple(CEILING_TIMES * times for times in (1, 2, 4, 8))
"""Ratios by which another fault of the old pods may be milder than that of the release."""
ROUNDS = 3
HIGHEST = 0.999
_ALIKE_NATS = math.log(ALIKE_ODDS)


class _Last(NamedTuple):
    """The counts of old pods over the same seconds shortly before they stopped."""

    start: float
    end: float
    requests: float
    errors: float
    failed: int
    """Number of counts of a pod and route that contain an error."""


class _Sum(NamedTuple):
    """Sum of several counts."""

    requests: float = 0.0
    errors: float = 0.0
    failed: int = 0

    def plus(self, other: "_Last | _Sum") -> "_Sum":
        """Add a count."""
        return _Sum(
            self.requests + other.requests,
            self.errors + other.errors,
            self.failed + other.failed,
        )

    def minus(self, other: "_Sum") -> "_Sum":
        """Subtract a part of the counts."""
        return _Sum(
            self.requests - other.requests,
            self.errors - other.errors,
            self.failed - other.failed,
        )


class _TimeSplit(NamedTuple):
    """All counts, divided by a time."""

    before: _Sum
    holding: Sequence[_Last]
    """Counts that hold the time, or are so short that they have a part of anything only."""
    after: _Sum


class _OldPodCounts:
    """The last counts of the old pods: those that end before a time, hold it, or begin later.

    A division costs a search, and the few counts that hold the time.
    """

    def __init__(self, last: Sequence[Increment]) -> None:
        counts = _together(last)
        self._short = [count for count in counts if count.end - count.start < GRAIN]
        long = [count for count in counts if count.end - count.start >= GRAIN]
        self._by_start = sorted(long, key=lambda count: count.start)
        self._starts = [count.start for count in self._by_start]
        by_end = sorted(long, key=lambda count: count.end)
        self._ends = [count.end for count in by_end]
        self._ended = list(accumulate(by_end, _Sum.plus, initial=_Sum()))
        self._started = list(accumulate(self._by_start, _Sum.plus, initial=_Sum()))
        self._longest = max((count.end - count.start for count in long), default=0.0)
        self.all = self._started[-1]
        for count in self._short:
            self.all = self.all.plus(count)
        self.times = sorted({time for count in counts for time in (count.start, count.end)})

    def at(self, begin: float) -> _TimeSplit:
        """Divide the counts by a time."""
        before = self._ended[bisect_right(self._ends, begin)]
        first = bisect_left(self._starts, begin)
        after = self._started[-1].minus(self._started[first])
        earliest = bisect_left(self._starts, begin - self._longest)
        holding = [count for count in self._by_start[earliest:first] if count.end > begin]
        for count in self._short:
            if count.end <= begin:
                before = before.plus(count)
            else:
                holding.append(count)
        return _TimeSplit(before, holding, after)


def is_alike(
    last: Sequence[Increment], rate: float, known: tuple[float, float], beside: float = 0.0
) -> bool:
    """Return whether the old pods failed like the new pods before they stopped.

    The likelihood ratio of a fault of the new pods' rate that began at some time, within a count as
    a rule, against the control's own rate. It is that of the best time: counted backwards it is a
    martingale as forwards, so that chance reaches 100 : 1 in about 1 % of releases at most. It
    only delays an act, and needs no more.

    The old pods may also have another fault, several times milder than that of the release; a
    rollback helps then. Two faults at once are less likely by the share of bad releases, unless the
    new pods show the milder fault on other routes.

    Args:
        last: the last counts of the old pods.
        rate: the new pods' error rate.
        known: the error rate of the control, its mean and its worst.
        beside: the new pods' error rate on other routes.
    """
    rate = min(HIGHEST, rate)
    counts = _OldPodCounts(last)
    if counts.all.failed < ALIKE_COUNTS:
        return False
    times = counts.times[:: -(-len(counts.times) // MOST_TIMES)]
    if _highest(times, partial(_since, counts, rate, known)) < _ALIKE_NATS:
        return False
    single = _highest(times, partial(_likely, counts, rate, known))
    if known[0] < beside <= rate / CEILING_TIMES:
        return single >= _highest(times, partial(_likely, counts, beside, known))
    lesser = [rate / less for less in LESSER_TIMES if rate / less > known[0]]
    two = (_highest(times, partial(_likely, counts, less, known)) for less in lesser)
    return single >= max(two, default=-math.inf) + math.log(BAD_RELEASES)


def _highest(times: Sequence[float], score: Callable[[float], float]) -> float:
    """Find the highest score at these times or near the best of them."""
    scores: list[float] = []
    for _ in range(ROUNDS):
        scores = [score(time) for time in times]
        best = scores.index(max(scores))
        left, right = times[max(0, best - 1)], times[min(len(times) - 1, best + 1)]
        times = [left + (right - left) * step / FINE_STEPS for step in range(FINE_STEPS + 1)]
    return max(scores)


def _together(last: Sequence[Increment]) -> list[_Last]:
    """Add up counts over nearly the same seconds: many pods cost no more than a few."""
    joined: dict[tuple[int, int], _Last] = {}
    for increment in last:
        key = round(increment.start / GRAIN), round(increment.end / GRAIN)
        old = joined.get(key) or _Last(increment.start, increment.end, 0.0, 0.0, 0)
        errors = min(increment.errors, increment.requests)
        joined[key] = old._replace(
            requests=old.requests + increment.requests,
            errors=old.errors + errors,
            failed=old.failed + (errors > 0),
        )
    return list(joined.values())


def _since(counts: _OldPodCounts, rate: float, known: tuple[float, float], begin: float) -> float:
    """Compute the log-likelihood ratio of a fault that began then; 0 where too little shows."""
    parts = counts.at(begin)
    later = counts.all.minus(parts.before)
    if later.errors < ALIKE_ERRORS or later.failed < ALIKE_COUNTS:
        return 0.0
    usual = min(known[1], max(known[0], later.errors / later.requests))
    if usual >= rate:
        return 0.0
    before = min(usual, known[0])
    nats = _nats(parts.after, rate) - _nats(later, usual)
    return nats + sum(
        _nats(count, _share(count, begin) * (rate - before) + before) for count in parts.holding
    )


def _likely(counts: _OldPodCounts, rate: float, known: tuple[float, float], begin: float) -> float:
    """Compute the log-likelihood of all counts if a fault of that rate began at a time."""
    before, holding, after = counts.at(begin)
    share = before.errors / before.requests if before.requests else 0.0
    usual = min(known[1], max(known[0], share), rate)
    nats = _nats(before, usual) + _nats(after, rate)
    return nats + sum(
        _nats(count, _share(count, begin) * (rate - usual) + usual) for count in holding
    )


def _nats(counted: _Last | _Sum, rate: float) -> float:
    """Compute the log-likelihood of a rate."""
    passed = counted.requests - counted.errors
    return counted.errors * math.log(rate) + passed * math.log(1 - rate)


def _share(count: _Last, begin: float) -> float:
    """Give the share of its time for which a count had the fault."""
    return min(1.0, max(0.0, (count.end - begin) / max(count.end - count.start, GRAIN)))
