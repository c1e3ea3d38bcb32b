"""Change points: when a fault began, and whether it has ended, by the likelihood of the counts.

A fault may begin at once, or grow over some seconds to its full rate. Counts of several routes, and
of pods that are read at different times, narrow the time down together. A fault has ended where the
newest counts would be a surprise if it continued.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rollback_operator.stats.sequential import log_likelihood
from rollback_operator.stats.windows import Increment, RouteCounts, total

GRAIN = 0.5
"""Seconds within which two samples are taken for simultaneous."""
MOST_TIMES = 60
FINE_STEPS = 16
LEAST_CHANGE = 3.0
"""How many times the rate before it a rate must be for its beginning to be called an onset."""
GROWTHS = (8.0, 12.0, 18.0, 27.0, 40.0, 60.0, 90.0, 135.0, 200.0, 300.0, 450.0)
"""Over how many seconds a fault may have grown."""
GROWTH_STEPS = 8
SHORT_GROWTH = 18.0
"""A later fault that grows in less time is as good as sudden."""
RATES = 1e-4, 1 - 1e-4
"""Between which the rate of a fault, or of what is none, is taken to lie."""


class BaselineRate(NamedTuple):
    """The control's error rate: as a rule, and at the worst."""

    mean: float
    ceiling: float


class RouteSeries(NamedTuple):
    """The counts of the new pods on a route, and the error rate of the control there."""

    counts: RouteCounts
    level: BaselineRate


def parts(
    pooled: Iterable[Sequence[Increment]], levels: Iterable[BaselineRate]
) -> list[RouteSeries]:
    """Sum up the counts, route by route; a route without counts is left out.

    Args:
        pooled: counts of each route, merged where their times are nearly the same.
        levels: of the same routes, in their order.
    """
    return [
        RouteSeries(RouteCounts(each), level)
        for each, level in zip(pooled, levels, strict=True)
        if each
    ]


def pooled(increments: Iterable[Increment], grain: float = GRAIN) -> list[Increment]:
    """Add up what pods counted over nearly the same time: many pods cost no more than a few."""
    groups: dict[tuple[int, int], list[Increment]] = {}
    for increment in increments:
        groups.setdefault(
            (round(increment.start / grain), round(increment.end / grain)), []
        ).append(increment)
    return [
        replace(
            group[0],
            requests=sum(increment.requests for increment in group),
            errors=sum(increment.errors for increment in group),
        )
        if len(group) > 1
        else group[0]
        for group in groups.values()
    ]


def likelihoods(parts: Sequence[RouteSeries], begin: float) -> dict[float, float]:
    """Give the log-likelihood of onsets from the first request on, finer near the maximum.

    Pods that are read at different times narrow it down together.
    """
    end = max(part.counts.ends[-1] for part in parts)
    edges = {time for part in parts for time in (*part.counts.starts, *part.counts.ends)}
    coarse = [time for time in _thinned(sorted({begin, *edges})) if time < end]
    scores = {time: _likelihood(parts, time) for time in coarse}
    near = coarse.index(max(coarse, key=lambda time: scores[time]))
    left, right = coarse[max(0, near - 1)], (*coarse, end)[near + 1]
    for step in range(1, FINE_STEPS):
        time = left + (right - left) * step / FINE_STEPS
        scores[time] = _likelihood(parts, time)
    return scores


def likelihoods_of_growth(
    parts: Sequence[RouteSeries], begin: float, least: float
) -> dict[float, float]:
    """Give the log-likelihood of faults that grow, by when they began to.

    A later fault grows for as long, for less, or reaches its full rate at the same time, whichever
    fits better.

    Args:
        parts: the counts of each route.
        begin: the first request.
        least: the log-likelihood from which growth from there on matters; below it no later time is
            tried, which is most of the cost.
    """
    at_once = {growth: _likelihood(parts, begin, growth) for growth in GROWTHS}
    length = max(at_once, key=lambda growth: at_once[growth])
    shorter = [growth for growth in GROWTHS if SHORT_GROWTH <= growth <= length]
    scores = {begin: at_once[length]}
    if at_once[length] <= least:
        return scores
    for step in range(1, GROWTH_STEPS):
        later = length * step / GROWTH_STEPS
        scores[begin + later] = max(
            _likelihood(parts, begin + later, growth)
            for growth in (*shorter, length, length - later)
        )
    return scores


def _likelihood(parts: Sequence[RouteSeries], change: float, growth: float = 0.0) -> float:
    return sum(_likelihood_on(part, change, growth) for part in parts)


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
    before, after = counts.sums_until(change), counts.sums_from(until)
    base = _fitting(before, level)
    requests, errors = after
    across = counts.across(change, until)
    shares = []
    for increment in across:
        share = _grown(increment, change, growth) if growth else _later(increment, change)
        shares.append(share)
        requests += increment.requests * share
        errors += increment.errors - increment.requests * (1 - share) * base
    rate = max(level.mean, errors / requests) if requests else level.mean
    base = min(base, rate / LEAST_CHANGE)
    rise = rate - base
    nats = log_likelihood(*before, base, RATES) + log_likelihood(*after, rate, RATES)
    for increment, share in zip(across, shares, strict=True):
        nats += log_likelihood(increment.requests, increment.errors, base + share * rise, RATES)
    return nats


def _later(increment: Increment, change: float) -> float:
    """Give the share of a count's time after `change`, which lies within it."""
    return (increment.end - change) / max(increment.end - increment.start, GRAIN)


def _grown(increment: Increment, change: float, growth: float) -> float:
    """Give the mean share of a fault, which grows from `change` on, over the time of a count."""
    length = max(increment.end - increment.start, GRAIN)
    area = _area(increment.end - change, growth) - _area(increment.end - length - change, growth)
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
    """The counts of the new pods on a failing route, and the error rate of the control there."""

    increments: Sequence[Increment]
    """At least one."""
    level: BaselineRate


class Lasting(NamedTuple):
    """The counts on a route while its fault lasted."""

    counts: Sequence[Increment]
    """Each pod's own."""
    pooled: Sequence[Increment]
    """Merged where their times are nearly the same."""


def has_ended(routes: Sequence[Failing]) -> bool:
    """Return whether the newest counts show a fault that is over, on all routes that had it.

    A rollback would not help, and the release is hardly the cause: its own fault would continue.
    """
    return all(
        len(lasting(each, route.level).counts) < len(each)
        for each, route in zip(served(routes), routes, strict=True)
    )


def served(routes: Sequence[Failing]) -> list[list[Increment]]:
    """Give each route's counts that hold requests; all counts, where none holds any."""
    kept = [
        [increment for increment in route.increments if increment.requests > 0] for route in routes
    ]
    return kept if any(kept) else [list(route.increments) for route in routes]


def lasting(counts: Sequence[Increment], level: BaselineRate) -> Lasting:
    """Leave out the counts after a fault had ended: they blur its onset."""
    together = pooled(counts)
    kept = _while_it_lasted(together, level)
    if len(kept) == len(together):
        return Lasting(counts, together)
    end = max((increment.end for increment in kept), default=0.0) + GRAIN
    left = [increment for increment in counts if increment.end <= end]
    return Lasting(left, pooled(left))


def _while_it_lasted(counts: Sequence[Increment], level: BaselineRate) -> Sequence[Increment]:
    left = sorted(counts, key=lambda increment: increment.end)
    for _ in range(ENDS):
        requests, errors = total(left)
        rate = errors / requests if requests else 0.0
        low = max(level.mean, min(level.ceiling, rate / LEAST_CHANGE))
        if rate <= low:
            break
        nats = best = 0.0
        end = len(left)
        for index in range(len(left) - 1, 0, -1):
            increment = left[index]
            nats += log_likelihood(increment.requests, increment.errors, low, RATES)
            nats -= log_likelihood(increment.requests, increment.errors, rate, RATES)
            if nats > best:
                best, end = nats, index
        if best < math.log(ENDED_ODDS):
            break
        left = left[:end]
    return left
