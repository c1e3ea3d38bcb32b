"""Release or environment, where no old pod is left to compare with: odds by the onset.

A fault of the environment could have begun at any moment; a fault of the release nearly always
shows in its first requests. odds = P(bad) f(onset) / (outage rate x d), d being the length of the
interval in which the onset lies: 9,300 : 1 for a release that fails from its first request on.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
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
MOST_TIMES = 60
FINE_STEPS = 16
LEAST_CHANGE = 3.0
"""How many times the rate before it a rate must be for its beginning to be called an onset."""
_DECISIVE_NATS = 2.0
_LEAST_RATE = 1e-4


class Level(NamedTuple):
    """The control's error rate: as a rule, and at the worst."""

    mean: float
    ceiling: float


def blame(increments: Sequence[Increment], level: Level, watch_seconds: float) -> Blame:
    """Compute the odds that the release, not its environment, began the fault.

    Args:
        increments: the new pods' counts on the failing route, at least one.
        level: the error rates that the control shows.
        watch_seconds: over how long the latent faults of a release are spread.
    """
    served = [one for one in increments if one.requests > 0] or list(increments)
    begin = min(one.start for one in served)
    since, until = (one - begin for one in _onset(_Counts(_pooled(served)), begin, level))
    if since <= 0:
        firsts = _first_of_each_pod(served)
        length = max(1.0, until, min(one.end - one.start for one in firsts))
        return Blame(_odds(FROM_FIRST_REQUEST, length), True, 0.0)
    since = max(1.0, since)
    until = max(since + 1.0, until)
    spread = LATENT * math.log(until / since) / math.log(max(math.e, watch_seconds))
    return Blame(_odds(spread, until - since), False, since)


def _odds(share: float, seconds: float) -> float:
    return BAD_RELEASES * share / (OUTAGES_PER_SECOND * seconds)


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

    def across(self, time: float) -> list[Increment]:
        """List what had begun by then and not ended."""
        first = bisect_left(self.starts, time - self.longest)
        until = bisect_left(self.starts, time)
        return [one for one in self.by_start[first:until] if one.end > time]


def _onset(counts: _Counts, begin: float, level: Level) -> tuple[float, float]:
    """Give the times between which the fault began.

    All times of change from the control's level to the level since that are about as likely as the
    likeliest one: pods that are read at different times narrow it down together.
    """
    end = counts.ends[-1]
    times = sorted({begin, *counts.starts, *counts.ends})
    coarse = [time for time in _thinned(times) if time < end]
    likelihoods = {time: _likelihood(counts, time, level) for time in coarse}
    near = coarse.index(max(coarse, key=lambda time: likelihoods[time]))
    left, right = coarse[max(0, near - 1)], (*coarse, end)[near + 1]
    for step in range(1, FINE_STEPS):
        time = left + (right - left) * step / FINE_STEPS
        likelihoods[time] = _likelihood(counts, time, level)
    most = max(likelihoods.values())
    alike = [time for time, one in likelihoods.items() if one >= most - _DECISIVE_NATS]
    return min(alike), max(alike)


def _thinned(times: Sequence[float]) -> Sequence[float]:
    step = -(-len(times) // MOST_TIMES)
    return times[::step]


def _pooled(increments: Sequence[Increment]) -> list[Increment]:
    """Add up what pods counted over nearly the same time: many pods cost no more than a few."""
    found: dict[tuple[int, int], Increment] = {}
    for one in increments:
        key = round(one.start / GRAIN), round(one.end / GRAIN)
        old = found.get(key)
        found[key] = (
            one
            if old is None
            else replace(old, requests=old.requests + one.requests, errors=old.errors + one.errors)
        )
    return list(found.values())


def _likelihood(counts: _Counts, change: float, level: Level) -> float:
    """Compute how likely the counts are if the rate rose at `change`.

    Before it the rate is what fits best between the control's mean and its ceiling: under the
    ceiling alone a hundred clean requests would be no surprise, and any onset too early.
    """
    before, after = counts.before(change), counts.after(change)
    shares = [
        (one, min(1.0, max(0.0, (one.end - change) / max(one.end - one.start, GRAIN))))
        for one in counts.across(change)
    ]
    base = _fitting(before, level)
    requests = after[0] + sum(one.requests * share for one, share in shares)
    errors = after[1] + sum(one.errors - one.requests * (1 - share) * base for one, share in shares)
    rate = max(level.mean, errors / requests) if requests else level.mean
    base = min(base, rate / LEAST_CHANGE)
    return (
        _binomial(*before, base)
        + _binomial(*after, rate)
        + sum(
            _binomial(one.requests, one.errors, share * rate + (1 - share) * base)
            for one, share in shares
        )
    )


def _fitting(before: tuple[float, float], level: Level) -> float:
    requests, errors = before
    seen = errors / requests if requests else level.mean
    return min(level.ceiling, max(level.mean, seen))


def _binomial(requests: float, errors: float, rate: float) -> float:
    rate = min(1 - _LEAST_RATE, max(_LEAST_RATE, rate))
    return errors * math.log(rate) + max(0.0, requests - errors) * math.log(1 - rate)


def _first_of_each_pod(increments: Sequence[Increment]) -> list[Increment]:
    first: dict[str, Increment] = {}
    for one in sorted(increments, key=lambda one: one.end):
        first.setdefault(one.pod, one)
    return list(first.values())
