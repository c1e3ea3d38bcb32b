"""Warm-up: which counts of a pod's first seconds are a warm-up, which ends alone, and no fault.

While caches fill and code is compiled, errors fall from second to second. With g the mean of
exp(-age / tau) over the time of a count, a warm-up that lasts longer than most has the rate A g,
where A accounts for all errors and tau fits best; the odds are those against one rate from the
first request on, which may also have ended at some age. After the usual warm-up the rate must
continue to fall: where a constant rate fits decisively better there, a fault remains, and there are
no odds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from rollback_operator.api.v1alpha1 import Starts
from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.limits import (
    FADING_ERRORS,
    FADING_ODDS,
    FADING_SECONDS,
    LEAST_CEILING,
    NEARLY_ALL,
    START_REQUESTS,
    WARM_UP_ODDS,
    WARM_UP_SECONDS,
)
from rollback_operator.evidence.series_identity import CLOCK_GRAIN
from rollback_operator.stats.change_point import pooled
from rollback_operator.stats.sequential import log_likelihood, persistence_odds
from rollback_operator.stats.windows import Counts, Increment, counts_of, total

FADING_TIMES = (5.0, 8.0, 12.0, 18.0, 27.0, 40.0)
"""Seconds in which the errors may fall to a third."""
STAYING_NATS = 2.0
FADING_NATS = 1.0
_RATES = 1e-3, 0.99
_SHORTEST = 0.1
_MOST_NATS = 600.0


class Fading(NamedTuple):
    """Decay of errors, if any."""

    odds: float = 0.0
    """Odds that they fade with the age of pods, against that they do not."""
    until: float = 0.0
    """The age, in seconds, from which the rest of them is too small to matter."""


def fading(counts: Sequence[Increment], usual: float) -> Fading:
    """Compute the odds that errors fade.

    Args:
        counts: of all pods, by age instead of time, in no order.
        usual: seconds that warm-ups take as a rule.
    """
    # Pods and routes of nearly the same age count together.
    counts = pooled(counts, grain=1.0)
    time = max(FADING_TIMES, key=lambda time: _falling(counts, time))
    tail = [count for count in counts if (count.start + count.end) / 2 >= usual]
    if max(_falling(tail, time) for time in FADING_TIMES) < _steady(tail) - STAYING_NATS:
        return Fading()
    nats = _falling(counts, time) - _steady_until(counts)
    until = time * math.log(max(1.0, _height(counts, time) / LEAST_CEILING))
    return Fading(math.exp(min(_MOST_NATS, nats)), until)


def _steady(counts: Sequence[Increment]) -> float:
    """Compute the log-likelihood of one rate."""
    requests, errors = total(counts)
    rate = errors / requests if requests else 0.0
    return _sum(counts, [rate] * len(counts))


def _steady_until(counts: Sequence[Increment]) -> float:
    """Compute the log-likelihood of a rate that lasts, or that ends at the best fitting age."""
    left = sorted(counts, key=lambda count: count.end)
    best, ended = -math.inf, 0.0
    while left:
        best = max(best, _steady(left) + ended)
        ended += _nats(left.pop(), _RATES[0])
    return best


def _falling(counts: Sequence[Increment], time: float) -> float:
    """Compute the log-likelihood of errors that fall to a third in so many seconds."""
    height = _height(counts, time)
    return _sum(counts, [height * _share(count, time) for count in counts])


def _height(counts: Sequence[Increment], time: float) -> float:
    """Give the rate of the first moment."""
    weight = sum(count.requests * _share(count, time) for count in counts)
    return sum(count.errors for count in counts) / weight if weight else 0.0


def _share(count: Increment, time: float) -> float:
    length = max(_SHORTEST, count.end - count.start)
    return (
        time * (math.exp(-count.start / time) - math.exp(-(count.start + length) / time)) / length
    )


def _sum(counts: Sequence[Increment], rates: Sequence[float]) -> float:
    return sum(_nats(count, rate) for count, rate in zip(counts, rates, strict=True))


def is_lower(first: tuple[float, float], later: tuple[float, float]) -> bool:
    """Return, at little cost, whether later counts fail less, so that a fit is worth its cost.

    Args:
        first: requests and errors.
        later: the same.
    """
    if not first[0] or not later[0] or later[1] / later[0] >= first[1] / first[0]:
        return False
    parts = [Increment("", "", 0.0, 0.0, *first), Increment("", "", 0.0, 0.0, *later)]
    apart = _sum(parts, [count.errors / count.requests for count in parts])
    return apart - _steady(parts) >= FADING_NATS


def _nats(count: Increment, rate: float) -> float:
    return log_likelihood(count.requests, count.errors, rate, _RATES)


def starts_of(arms: Arms, opened: float) -> Starts | None:
    """Return how the new pods served in their first seconds; None: too few requests to know.

    Args:
        arms: the counts of the new pods.
        opened: since when they are counted. The first counts of older pods are not those of a
            start.
    """
    since = opened - CLOCK_GRAIN
    starts = {
        pod: (*known, begin)
        for pod, begin in arms.counted.first_starts.items()
        if min(known := arms.starts.get(pod, (-math.inf,))) >= since
    }
    if not starts:
        return None
    requests, errors = total(
        increment
        for increment in _young(arms.counted, starts, WARM_UP_SECONDS)
        if _age((increment.start + increment.end) / 2, increment.pod, starts) < WARM_UP_SECONDS
    )
    if requests < START_REQUESTS:
        return None
    return Starts.CLEAN if errors <= LEAST_CEILING * requests else Starts.FAILING


def counts_that_matter(arms: Arms, route: str | None) -> tuple[Counts, Sequence[Increment]]:
    """Give the counts on a route that are evidence, and the increments for the onset of a fault.

    All of them count at once where the service's pods never failed in their first seconds.
    """
    new = arms.counted_on(route)
    return warm_up(new, arms.starts) if arms.has_warm_up else (new, new.increments)


def without_warm_up(
    new: Sequence[Increment], starts: Mapping[str, tuple[float, ...]]
) -> list[Increment]:
    """Drop the pods' first seconds unless they are shown to be no warm-up."""
    return list(warm_up(counts_of(new), starts)[0].increments)


def warm_up(
    new: Counts, starts: Mapping[str, tuple[float, ...]]
) -> tuple[Counts, Sequence[Increment]]:
    """Give the counts that are evidence, and the increments for the onset of a fault.

    The first seconds count if nearly everything fails, or if the errors after their first half
    neither fall nor fade. If these are shown to fall, the first seconds were a warm-up, and no
    onset is found there. While errors fade, the first minute is a warm-up.
    """
    if not new:
        return new, []
    # A pod began to serve some seconds after its container started.
    starts = {pod: (*starts.get(pod, ()), begin) for pod, begin in new.first_starts.items()}
    if not starts:
        return new, new.increments
    # Long watches have few young counts, and only their age matters.
    young = _young(new, starts, 1.5 * WARM_UP_SECONDS)
    first, later = _in_halves(young, starts)
    fails_entirely = first[1] >= NEARLY_ALL * first[0] and first[0] > 0
    odds = persistence_odds(first, later)
    if fails_entirely or not first[1]:
        return new, new.increments
    lasts, fades = WARM_UP_SECONDS, Fading()
    if first[1] >= FADING_ERRORS and is_lower(first, later):
        early = _young(new, starts, FADING_SECONDS)
        fades = fading([_aged(increment, starts) for increment in early], WARM_UP_SECONDS)
        if fades.odds >= FADING_ODDS:
            lasts, young = min(FADING_SECONDS, max(lasts, fades.until)), early
    if odds >= WARM_UP_ODDS and fades.odds < FADING_ODDS:
        return new, new.increments
    warm = [increment for increment in young if _holds_warm_up(increment, starts, lasts)]
    left = new.without(warm)
    if odds > 1 / WARM_UP_ODDS and fades.odds < WARM_UP_ODDS:
        return left, new.increments
    cleared = {id(increment) for increment in warm}
    return left, [
        replace(increment, errors=0.0) if id(increment) in cleared else increment
        for increment in new.increments
    ]


def _in_halves(
    young: Sequence[Increment], starts: Mapping[str, tuple[float, ...]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Add up requests and errors of the first half of the warm-up, and of as long after it.

    The first count of a pod is never a later count, however long: it holds the first seconds.
    """
    half = WARM_UP_SECONDS / 2
    first, later = [], []
    for increment in young:
        age = _age((increment.start + increment.end) / 2, increment.pod, starts)
        if age < half:
            first.append(increment)
        elif age < WARM_UP_SECONDS + half:
            is_first = _age(increment.start, increment.pod, starts) < half / 2
            if not is_first:
                later.append(increment)
            elif age < WARM_UP_SECONDS:
                first.append(increment)
    return total(first), total(later)


def _young(new: Counts, starts: Mapping[str, tuple[float, ...]], seconds: float) -> list[Increment]:
    """List the counts that began in the first seconds of their pod's newest life."""
    settled = {pod: max(known) + seconds for pod, known in starts.items()}
    begun = new.begun_before(max(settled.values()))
    return [
        increment for increment in begun if increment.start < settled.get(increment.pod, -math.inf)
    ]


def _aged(increment: Increment, starts: Mapping[str, tuple[float, ...]]) -> Increment:
    age = _age(increment.start, increment.pod, starts)
    end = age + increment.end - increment.start
    return Increment(increment.pod, increment.route, age, end, increment.requests, increment.errors)


def _holds_warm_up(
    increment: Increment, starts: Mapping[str, tuple[float, ...]], lasts: float
) -> bool:
    """Return whether a count lies within a pod's first seconds, or holds them and little else."""
    middle = (increment.start + increment.end) / 2
    if _age(middle, increment.pod, starts) >= lasts:
        return False
    is_first = _age(increment.start, increment.pod, starts) < WARM_UP_SECONDS / 2
    return is_first or _age(increment.end, increment.pod, starts) <= lasts


def _age(time: float, pod: str, starts: Mapping[str, tuple[float, ...]]) -> float:
    """Give the age of the pod's container at `time`."""
    newest = 0.0
    for start in starts.get(pod, ()):
        if newest < start <= time:
            newest = start
    return time - newest
