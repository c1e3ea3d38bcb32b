"""When a fault began, and whether it has ended: how likely the counts are if it did at a time.

A fault may be there at once, or grow over some seconds to its full rate. Counts of several routes,
and of pods that are read at different times, narrow the time down together. It has ended where the
newest counts would be a surprise if it went on.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from rollback_operator.stats.sequential import log_likelihood
from rollback_operator.stats.windows import Increment

GRAIN = 0.5
"""Seconds within which two samples are taken for simultaneous."""
MOST_TIMES = 60
FINE_STEPS = 16
LEAST_CHANGE = 3.0
"""How many times the rate before it a rate must be for its beginning to be called an onset."""
GROWTHS = (8.0, 12.0, 18.0, 27.0, 40.0, 60.0)
"""Over how many seconds a fault may have grown."""
GROWTH_STEPS = 8
RATES = 1e-4, 1 - 1e-4
"""Between which the rate of a fault, or of what is none, is taken to lie."""


class BaselineRate(NamedTuple):
    """The control's error rate: as a rule, and at the worst."""

    mean: float
    ceiling: float


class _CumulativeCounts:
    """Counts of all pods, summed up from both ends: a time splits them at the cost of a search."""

    def __init__(self, increments: Sequence[Increment]) -> None:
        self.by_end = sorted(increments, key=lambda one: one.end)
        self.by_start = sorted(increments, key=lambda one: one.start)
        self.ends = [one.end for one in self.by_end]
        self.starts = [one.start for one in self.by_start]
        self.longest = max(one.end - one.start for one in increments)
        self._requests = [0.0, *accumulate(one.requests for one in self.by_end)]
        self._errors = [0.0, *accumulate(one.errors for one in self.by_end)]
        self._later_requests = [0.0, *accumulate(one.requests for one in reversed(self.by_start))]
        self._later_errors = [0.0, *accumulate(one.errors for one in reversed(self.by_start))]

    def before(self, time: float) -> tuple[float, float]:
        """Add requests and errors of what had ended by then."""
        index = bisect_right(self.ends, time)
        return self._requests[index], self._errors[index]

    def after(self, time: float) -> tuple[float, float]:
        """Add requests and errors of what began then or later."""
        index = len(self.starts) - bisect_left(self.starts, time)
        return self._later_requests[index], self._later_errors[index]

    def across(self, time: float, until: float) -> list[Increment]:
        """List what ended after `time` and had begun before `until`, which is no earlier."""
        first = bisect_left(self.starts, time - self.longest)
        last = bisect_left(self.starts, until)
        return [one for one in self.by_start[first:last] if one.end > time]


class RouteSeries(NamedTuple):
    """What the new pods counted on one route, and what the control showed there."""

    counts: _CumulativeCounts
    level: BaselineRate


def parts(
    pooled: Iterable[Sequence[Increment]], levels: Iterable[BaselineRate]
) -> list[RouteSeries]:
    """Sum up what was counted, route by route; a route without any counts tells nothing.

    Args:
        pooled: counts of each route, those of nearly the same time in one.
        levels: of the same routes, in their order.
    """
    return [
        RouteSeries(_CumulativeCounts(each), level)
        for each, level in zip(pooled, levels, strict=True)
        if each
    ]


def pooled(increments: Sequence[Increment]) -> list[Increment]:
    """Add up what pods counted over nearly the same time: many pods cost no more than a few."""
    groups: dict[tuple[int, int], list[Increment]] = {}
    for one in increments:
        groups.setdefault((round(one.start / GRAIN), round(one.end / GRAIN)), []).append(one)
    return [
        replace(
            group[0],
            requests=sum(one.requests for one in group),
            errors=sum(one.errors for one in group),
        )
        if len(group) > 1
        else group[0]
        for group in groups.values()
    ]


def likelihoods(parts: Sequence[RouteSeries], begin: float) -> dict[float, float]:
    """Give the log-likelihood of onsets from the first request on, more closely where it is high.

    Pods that are read at different times narrow it down together.
    """
    end = max(one.counts.ends[-1] for one in parts)
    edges = {time for one in parts for time in (*one.counts.starts, *one.counts.ends)}
    coarse = [time for time in _thinned(sorted({begin, *edges})) if time < end]
    found = {time: _likelihood(parts, time) for time in coarse}
    near = coarse.index(max(coarse, key=lambda time: found[time]))
    left, right = coarse[max(0, near - 1)], (*coarse, end)[near + 1]
    for step in range(1, FINE_STEPS):
        time = left + (right - left) * step / FINE_STEPS
        found[time] = _likelihood(parts, time)
    return found


def likelihoods_of_growth(parts: Sequence[RouteSeries], begin: float) -> dict[float, float]:
    """Give the log-likelihood of faults that grow, by when they began to.

    Of one that began later it is taken to have grown as long, or to have been full at the same
    time, whichever fits better.
    """
    at_once = {growth: _likelihood(parts, begin, growth) for growth in GROWTHS}
    length = max(at_once, key=lambda growth: at_once[growth])
    found = {begin: at_once[length]}
    for step in range(1, GROWTH_STEPS):
        later = length * step / GROWTH_STEPS
        found[begin + later] = max(
            _likelihood(parts, begin + later, growth) for growth in (length, length - later)
        )
    return found


def _likelihood(parts: Sequence[RouteSeries], change: float, growth: float = 0.0) -> float:
    return sum(_likelihood_on(one, change, growth) for one in parts)


def _thinned(times: Sequence[float]) -> Sequence[float]:
    step = -(-len(times) // MOST_TIMES)
    return times[::step]


def _likelihood_on(part: RouteSeries, change: float, growth: float) -> float:
    """Compute how likely the counts are if the rate rose from `change` on, for `growth` seconds.

    Before it the rate is what fits best between the control's mean and its ceiling: under the
    ceiling alone a hundred clean requests would be no surprise, and any onset too early.
    """
    counts, level = part
    until = change + growth
    before, after = counts.before(change), counts.after(until)
    base = _fitting(before, level)
    requests, errors = after
    across = counts.across(change, until)
    shares = []
    for one in across:
        share = _grown(one, change, growth) if growth else _later(one, change)
        shares.append(share)
        requests += one.requests * share
        errors += one.errors - one.requests * (1 - share) * base
    rate = max(level.mean, errors / requests) if requests else level.mean
    base = min(base, rate / LEAST_CHANGE)
    rise = rate - base
    found = log_likelihood(*before, base, RATES) + log_likelihood(*after, rate, RATES)
    for one, share in zip(across, shares, strict=True):
        found += log_likelihood(one.requests, one.errors, base + share * rise, RATES)
    return found


def _later(one: Increment, change: float) -> float:
    """Tell how much of a count's time came after `change`, which lies within it, 0 to 1."""
    return (one.end - change) / max(one.end - one.start, GRAIN)


def _grown(one: Increment, change: float, growth: float) -> float:
    """Tell how much of a fault growing from `change` on a count has had on average, 0 to 1."""
    length = max(one.end - one.start, GRAIN)
    area = _area(one.end - change, growth) - _area(one.end - length - change, growth)
    return area / length


def _area(seconds: float, growth: float) -> float:
    """Add up how much of the fault was there in so many seconds."""
    if seconds <= 0:
        return 0.0
    if seconds <= growth:
        return seconds * seconds / (2 * growth)
    return seconds - growth / 2


def _fitting(before: tuple[float, float], level: BaselineRate) -> float:
    requests, errors = before
    seen = errors / requests if requests else level.mean
    return min(level.ceiling, max(level.mean, seen))


ENDED_ODDS = 100.0
"""Odds from which the newest counts are known to be those of a fault that has ended."""
ENDS = 3
"""Its rate is known better each time that what came after it is left out."""


class Failing(NamedTuple):
    """What the new pods counted on a failing route, and what the control showed there."""

    increments: Sequence[Increment]
    """At least one."""
    level: BaselineRate


class Lasting(NamedTuple):
    """What was counted on a route while its fault lasted."""

    counts: Sequence[Increment]
    """Each pod's own."""
    pooled: Sequence[Increment]
    """Those of nearly the same time in one."""


def has_ended(routes: Sequence[Failing]) -> bool:
    """Tell whether the newest counts show a fault that is over, on all routes that had it.

    Going back would help nobody, and who had it is hardly the release: that would have it still.
    """
    return all(
        len(lasting(each, route.level).counts) < len(each)
        for each, route in zip(served(routes), routes, strict=True)
    )


def served(routes: Sequence[Failing]) -> list[list[Increment]]:
    """Give each route's counts without those of no request; all, where none has any."""
    found = [[one for one in route.increments if one.requests > 0] for route in routes]
    return found if any(found) else [list(route.increments) for route in routes]


def lasting(counts: Sequence[Increment], level: BaselineRate) -> Lasting:
    """Leave out what was counted after a fault had ended: it blurs when the fault began."""
    together = pooled(counts)
    kept = _while_it_lasted(together, level)
    if len(kept) == len(together):
        return Lasting(counts, together)
    end = max((one.end for one in kept), default=0.0) + GRAIN
    left = [one for one in counts if one.end <= end]
    return Lasting(left, pooled(left))


def _while_it_lasted(counts: Sequence[Increment], level: BaselineRate) -> Sequence[Increment]:
    left = sorted(counts, key=lambda one: one.end)
    for _ in range(ENDS):
        requests = sum(one.requests for one in left)
        rate = sum(one.errors for one in left) / requests if requests else 0.0
        low = max(level.mean, min(level.ceiling, rate / LEAST_CHANGE))
        if rate <= low:
            break
        nats = best = 0.0
        end = len(left)
        for index in range(len(left) - 1, 0, -1):
            one = left[index]
            nats += log_likelihood(one.requests, one.errors, low, RATES)
            nats -= log_likelihood(one.requests, one.errors, rate, RATES)
            if nats > best:
                best, end = nats, index
        if best < math.log(ENDED_ODDS):
            break
        left = left[:end]
    return left
