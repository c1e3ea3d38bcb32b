"""Release or environment, where no old pod is left to compare with: odds by the onset.

A fault of the environment could have begun at any moment; a fault of the release nearly always
shows in its first requests. With L(t), how likely the counts are if the fault began at t, and t = 0
at the first request:

    odds = P(bad) [0.9 L(0) + 0.1 integral L(t) / (t ln watch) dt] / (outage rate integral L(t) dt)

Where L is narrow that is P(bad) f(onset) / (outage rate x d), d being the length of the interval in
which the onset lies: 9,300 : 1 for a release that fails from its first request on.

Pods of different ages tell more. A latent fault may depend on what a pod has done so far: where
pods begin to fail at the same age rather than at the same time, L by age takes the place of L in
the second term, and is all the greater. Not where they all began to within the seconds in which an
outage reaches one after the other.

A fault that grows (a pool that is used up, a cache that fills) seems to begin halfway. Where a
growth over some seconds fits decisively better than any sudden onset, t is when it began to grow.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from rollback_operator.core.evidence import Increment
from rollback_operator.core.verdict import Blame

BAD_RELEASES = 0.02
"""Share of releases that are bad."""
OUTAGES_PER_SECOND = 1 / (30 * 86400)
FROM_FIRST_REQUEST = 0.9
LATENT = 0.1
GRAIN = 0.5
"""Seconds within which two samples are taken for simultaneous."""
REACH_SECONDS = 10.0
"""Within which an outage has reached all pods: connections that are open serve a while longer."""
ALIGNED_ODDS = 100.0
"""Odds from which pods are known to have failed at the same age rather than at the same time."""
MOST_TIMES = 60
FINE_STEPS = 16
LEAST_CHANGE = 3.0
"""How many times the rate before it a rate must be for its beginning to be called an onset."""
GROWTHS = (8.0, 12.0, 18.0, 27.0, 40.0, 60.0)
"""Over how many seconds a fault may have grown."""
GROWTH_STEPS = 8
ENDED_ODDS = 100.0
"""Odds from which the newest counts are known to be those of a fault that has ended."""
ENDS = 3
"""Its rate is known better each time that what came after it is left out."""
_DECISIVE_NATS = 2.0
_LEAST_RATE = 1e-4
_MOST_RATE = 1 - _LEAST_RATE
_LEAST_AREA = 1e-9
_FLAT = 1e-6
_MOST_NATS = 600.0
_Weights = Sequence[tuple[float, float]]


class Level(NamedTuple):
    """The control's error rate: as a rule, and at the worst."""

    mean: float
    ceiling: float


class Failing(NamedTuple):
    """What the new pods counted on a failing route, and what the control showed there."""

    increments: Sequence[Increment]
    """At least one."""
    level: Level


def blame(routes: Sequence[Failing], watch_seconds: float) -> Blame:
    """Compute the odds that the release, not its environment, began the fault.

    Args:
        routes: the routes that fail, at least one. One fault began on all of them at one time: what
            a few requests on each leave open, they tell together.
        watch_seconds: over how long the latent faults of a release are spread.
    """
    served = _served(routes)
    lasted = [_lasting(each, route.level) for each, route in zip(served, routes, strict=True)]
    levels = [route.level for route in routes]
    parts = _parts(lasted, levels)
    begin = min(one.counts.starts[0] for one in parts)
    likely = _likelihoods(parts, begin)
    most = max(likely.values())
    if likely[begin] < most - _DECISIVE_NATS:
        growing = _likelihoods_of_growth(parts, begin)
        highest = max(growing.values())
        # Only of one that grows from the first request on: a later one is as good as sudden.
        if growing[begin] > max(most, highest - 2 * _DECISIVE_NATS) + _DECISIVE_NATS:
            likely, most = growing, highest
    alike = [time - begin for time, one in likely.items() if one >= most - _DECISIVE_NATS]
    firsts = [one for each in served for one in _first_of_each_pod(each)]
    # An outage may have begun at any time since the last sample before.
    unseen = max(1.0, min(one.end - one.start for one in firsts))
    since = min(alike)
    watch = max(math.e, watch_seconds)
    aged = _by_age(lasted, levels) if since > 0 else {}
    is_aligned = max(aged.values(), default=-math.inf) >= most + math.log(ALIGNED_ODDS)
    if not is_aligned or _spread(lasted, levels) <= REACH_SECONDS:
        aged = {}
    weights = [(time - begin, one - most) for time, one in sorted(likely.items())]
    ages = [(age, one - most) for age, one in sorted(aged.items())]
    by_time, by_age = _latent(weights, watch), _latent(ages, watch)
    odds = _odds(weights, max(by_time, by_age), unseen)
    if since <= 0:
        return Blame(odds, True, 0.0)
    if by_age > by_time:
        age = max(ages, key=lambda one: one[1])[0]
        return Blame(odds, False, max(1.0, age), is_by_age=True)
    return Blame(odds, False, max(1.0, since))


def has_ended(routes: Sequence[Failing]) -> bool:
    """Tell whether the newest counts show a fault that is over, on all routes that had it.

    Going back would help nobody, and who had it is hardly the release: that would have it still.
    """
    served = _served(routes)
    return all(
        len(_lasting(each, route.level)) < len(each)
        for each, route in zip(served, routes, strict=True)
    )


def _served(routes: Sequence[Failing]) -> list[list[Increment]]:
    served = [[one for one in route.increments if one.requests > 0] for route in routes]
    return served if any(served) else [list(route.increments) for route in routes]


def _lasting(counts: Sequence[Increment], level: Level) -> list[Increment]:
    """Leave out what was counted after a fault had ended: it blurs when the fault began."""
    kept = _while_it_lasted(_pooled(counts), level)
    end = max((one.end for one in kept), default=0.0) + GRAIN
    return [one for one in counts if one.end <= end]


def _parts(counts: Sequence[Sequence[Increment]], levels: Sequence[Level]) -> list["_Part"]:
    return [
        _Part(_Counts(_pooled(each)), level)
        for each, level in zip(counts, levels, strict=True)
        if each
    ]


def _by_age(counts: Sequence[Sequence[Increment]], levels: Sequence[Level]) -> dict[float, float]:
    """Give the log-likelihood of onsets at an age that all pods have in common, by that age.

    What depends on what a pod has done so far (a leak, a pool that is used up, a token that runs
    out) begins on each at its own time. Empty where all began together: then it is no witness.
    """
    begins: dict[str, float] = {}
    for each in counts:
        for one in each:
            begins[one.pod] = min(one.start, begins.get(one.pod, one.start))
    if max(begins.values()) - min(begins.values()) <= REACH_SECONDS:
        return {}
    aged = [
        [
            replace(one, start=one.start - begins[one.pod], end=one.end - begins[one.pod])
            for one in each
        ]
        for each in counts
    ]
    return _likelihoods(_parts(aged, levels), 0.0)


def _spread(counts: Sequence[Sequence[Increment]], levels: Sequence[Level]) -> float:
    """Tell over how many seconds the pods that fail began to, each by its own counts."""
    onsets = []
    for pod in {one.pod for each in counts for one in each if one.errors > 0}:
        own = _parts([[one for one in each if one.pod == pod] for each in counts], levels)
        likely = _likelihoods(own, min(one.counts.starts[0] for one in own))
        onsets.append(max(likely, key=lambda time: likely[time]))
    return max(onsets) - min(onsets)


def _odds(weights: _Weights, latent: float, unseen: float) -> float:
    """Weigh all onsets by how likely they are.

    Args:
        weights: (seconds since the first request, log-likelihood, 0 at the likeliest) in order; the
            first one is at 0. Between two of them it is taken for linear.
        latent: the weight of onsets of a latent fault.
        unseen: seconds before the first request in which nobody looked.
    """
    at_once = math.exp(weights[0][1])
    outage = at_once * unseen + sum(area for _, area in _areas(weights))
    # Where a later onset fits much better, the first request is no onset: people are told.
    first = at_once if at_once >= math.exp(-_DECISIVE_NATS) else 0.0
    release = FROM_FIRST_REQUEST * first + LATENT * latent
    return BAD_RELEASES * release / (OUTAGES_PER_SECOND * max(outage, _LEAST_AREA))


def _latent(weights: _Weights, watch: float) -> float:
    """Weigh the onsets of a latent fault, spread evenly over the logarithm of time."""
    return sum(area / (max(1.0, middle) * math.log(watch)) for middle, area in _areas(weights))


def _areas(weights: _Weights) -> Iterator[tuple[float, float]]:
    """Integrate the likelihood from each time to the next; (middle, area)."""
    bounded = [(time, min(_MOST_NATS, one)) for time, one in weights]
    for (start, one), (end, other) in pairwise(bounded):
        rise = other - one
        mean = (math.exp(other) - math.exp(one)) / rise if abs(rise) > _FLAT else math.exp(one)
        yield (start + end) / 2, (end - start) * mean


class _Counts:
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


class _Part(NamedTuple):
    counts: _Counts
    level: Level


def _likelihoods(parts: Sequence[_Part], begin: float) -> dict[float, float]:
    """Give the log-likelihood of onsets from the first request on, more closely where it is high.

    Pods that are read at different times narrow it down together.
    """
    end = max(one.counts.ends[-1] for one in parts)
    edges = {time for one in parts for time in (*one.counts.starts, *one.counts.ends)}
    coarse = [time for time in _thinned(sorted({begin, *edges})) if time < end]
    likelihoods = {time: _likelihood(parts, time) for time in coarse}
    near = coarse.index(max(coarse, key=lambda time: likelihoods[time]))
    left, right = coarse[max(0, near - 1)], (*coarse, end)[near + 1]
    for step in range(1, FINE_STEPS):
        time = left + (right - left) * step / FINE_STEPS
        likelihoods[time] = _likelihood(parts, time)
    return likelihoods


def _likelihoods_of_growth(parts: Sequence[_Part], begin: float) -> dict[float, float]:
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


def _likelihood(parts: Sequence[_Part], change: float, growth: float = 0.0) -> float:
    return sum(_likelihood_on(one, change, growth) for one in parts)


def _thinned(times: Sequence[float]) -> Sequence[float]:
    step = -(-len(times) // MOST_TIMES)
    return times[::step]


def _pooled(increments: Sequence[Increment]) -> list[Increment]:
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


def _while_it_lasted(counts: Sequence[Increment], level: Level) -> Sequence[Increment]:
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
            nats += _binomial(one.requests, one.errors, low)
            nats -= _binomial(one.requests, one.errors, rate)
            if nats > best:
                best, end = nats, index
        if best < math.log(ENDED_ODDS):
            break
        left = left[:end]
    return left


def _likelihood_on(part: _Part, change: float, growth: float) -> float:
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
    found = _binomial(*before, base) + _binomial(*after, rate)
    for one, share in zip(across, shares, strict=True):
        found += _binomial(one.requests, one.errors, base + share * rise)
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


def _fitting(before: tuple[float, float], level: Level) -> float:
    requests, errors = before
    seen = errors / requests if requests else level.mean
    return min(level.ceiling, max(level.mean, seen))


def _binomial(requests: float, errors: float, rate: float) -> float:
    # Called a thousand times in a look: comparisons cost a third of min() and max().
    if rate < _LEAST_RATE:
        rate = _LEAST_RATE
    elif rate > _MOST_RATE:
        rate = _MOST_RATE
    passed = requests - errors
    found = errors * math.log(rate) if errors else 0.0
    return found + passed * math.log1p(-rate) if passed > 0 else found


def _first_of_each_pod(increments: Sequence[Increment]) -> list[Increment]:
    first: dict[str, Increment] = {}
    for one in sorted(increments, key=lambda one: one.end):
        first.setdefault(one.pod, one)
    return list(first.values())
