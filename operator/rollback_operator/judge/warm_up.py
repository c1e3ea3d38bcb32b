"""A pod's first seconds: which of its counts are a warm-up, that ends by itself, and no fault.

Caches that fill and code that is compiled while it runs fail less from second to second. With g
the mean of exp(-age / tau) over a count's time, a warm-up that lasts longer than most is the rate
A g, with A so that all errors are told of and the tau that fits best; the odds are those against
one rate from the first request on, which may also have ended at some age. What comes after the
usual warm-up must go on falling: where a rate of its own fits that decisively better, a fault stays
behind, and there are no odds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from rollback_operator.evidence.arms import total
from rollback_operator.evidence.limits import (
    FADING_ERRORS,
    FADING_ODDS,
    FADING_SECONDS,
    LEAST_CEILING,
    NEARLY_ALL,
    WARM_UP_ODDS,
    WARM_UP_SECONDS,
)
from rollback_operator.stats.sequential import lasting, log_likelihood
from rollback_operator.stats.windows import Counts, Increment, counted

FADING_TIMES = (5.0, 8.0, 12.0, 18.0, 27.0, 40.0)
"""Seconds in which the errors may fall to a third."""
STAYING_NATS = 2.0
FADING_NATS = 1.0
_RATES = 1e-3, 0.99
_SHORTEST = 0.1
_MOST_NATS = 600.0


class Aged(NamedTuple):
    """Counts by the age of their pod, seconds since it began to serve."""

    start: float
    end: float
    requests: float
    errors: float


class Fading(NamedTuple):
    """How errors fade, if they do."""

    odds: float = 0.0
    """That they fade with the age of pods, against that they do not."""
    until: float = 0.0
    """The age, in seconds, from which what is left of them is too little to matter."""


def fading(counts: Sequence[Aged], usual: float) -> Fading:
    """Compute the odds that errors fade.

    Args:
        counts: of all pods, in no order.
        usual: seconds that warm-ups take as a rule.
    """
    counts = _pooled(counts)
    time = max(FADING_TIMES, key=lambda one: _falling(counts, one))
    tail = [one for one in counts if (one.start + one.end) / 2 >= usual]
    if max(_falling(tail, one) for one in FADING_TIMES) < _steady(tail) - STAYING_NATS:
        return Fading()
    nats = _falling(counts, time) - _steady_until(counts)
    until = time * math.log(max(1.0, _height(counts, time) / LEAST_CEILING))
    return Fading(math.exp(min(_MOST_NATS, nats)), until)


def _pooled(counts: Sequence[Aged]) -> list[Aged]:
    """Add up what pods and routes counted at nearly the same age."""
    found: dict[tuple[int, int], Aged] = {}
    for one in counts:
        key = round(one.start), round(one.end)
        known = found.get(key) or Aged(one.start, one.end, 0.0, 0.0)
        requests, errors = known.requests + one.requests, known.errors + one.errors
        found[key] = known._replace(requests=requests, errors=errors)
    return list(found.values())


def _steady(counts: Sequence[Aged]) -> float:
    """Compute the log-likelihood of one rate."""
    requests = sum(one.requests for one in counts)
    rate = sum(one.errors for one in counts) / requests if requests else 0.0
    return _sum(counts, [rate] * len(counts))


def _steady_until(counts: Sequence[Aged]) -> float:
    """Compute the log-likelihood of one rate that lasts, or that ends at the age that fits best."""
    left = sorted(counts, key=lambda one: one.end)
    best, ended = -math.inf, 0.0
    while left:
        best = max(best, _steady(left) + ended)
        ended += _nats(left.pop(), _RATES[0])
    return best


def _falling(counts: Sequence[Aged], time: float) -> float:
    """Compute the log-likelihood of errors that fall to a third in so many seconds."""
    height = _height(counts, time)
    return _sum(counts, [height * _share(one, time) for one in counts])


def _height(counts: Sequence[Aged], time: float) -> float:
    """Give the rate of the first moment."""
    weight = sum(one.requests * _share(one, time) for one in counts)
    return sum(one.errors for one in counts) / weight if weight else 0.0


def _share(one: Aged, time: float) -> float:
    length = max(_SHORTEST, one.end - one.start)
    return time * (math.exp(-one.start / time) - math.exp(-(one.start + length) / time)) / length


def _sum(counts: Sequence[Aged], rates: Sequence[float]) -> float:
    return sum(_nats(one, rate) for one, rate in zip(counts, rates, strict=True))


def is_lower(first: tuple[float, float], later: tuple[float, float]) -> bool:
    """Tell, at little cost, whether it is worth asking: what comes later fails less.

    Args:
        first: requests and errors.
        later: the same.
    """
    if not first[0] or not later[0] or later[1] / later[0] >= first[1] / first[0]:
        return False
    parts = [Aged(0.0, 0.0, *first), Aged(0.0, 0.0, *later)]
    apart = _sum(parts, [one.errors / one.requests for one in parts])
    return apart - _steady(parts) >= FADING_NATS


def _nats(one: Aged, rate: float) -> float:
    return log_likelihood(one.requests, one.errors, rate, _RATES)


def without_warm_up(
    new: Sequence[Increment], starts: Mapping[str, tuple[float, ...]]
) -> list[Increment]:
    """Drop the pods' first seconds unless they are shown to be no warm-up."""
    return list(warm_up(counted(new), starts)[0].increments)


def warm_up(
    new: Counts, starts: Mapping[str, tuple[float, ...]]
) -> tuple[Counts, Sequence[Increment]]:
    """Tell what counts, and what is known of the time since the first request.

    The first seconds count if nearly everything fails, or if what follows their first half fails as
    that does and does not fade. If it is shown to fail less, they were a warm-up: no onset of a
    fault is found there. While errors fade, the first minute is a warm-up.
    """
    if not new:
        return new, []
    half = WARM_UP_SECONDS / 2
    # A pod began to serve some seconds after its container started.
    starts = {pod: (*starts.get(pod, ()), begin) for pod, begin in new.first_starts.items()}
    if not starts:
        return new, new.increments
    # Long watches have few young counts: only of those it matters how young they are.
    young = _young(new, starts, WARM_UP_SECONDS + half)
    ages = [(_age((one.start + one.end) / 2, one.pod, starts), one) for one in young]
    # A pod's first count is no later one, however long it is: it holds the first seconds too.
    begun_at = {id(one): _age(one.start, one.pod, starts) for one in young}
    first = total(
        one
        for age, one in ages
        if age < half or (age < WARM_UP_SECONDS and begun_at[id(one)] < half / 2)
    )
    later = total(
        one
        for age, one in ages
        if half <= age < WARM_UP_SECONDS + half and begun_at[id(one)] >= half / 2
    )
    fails_entirely = first[1] >= NEARLY_ALL * first[0] and first[0] > 0
    odds = lasting(first, later)
    if fails_entirely or not first[1]:
        return new, new.increments
    lasts, fades = WARM_UP_SECONDS, Fading()
    if first[1] >= FADING_ERRORS and is_lower(first, later):
        early = _young(new, starts, FADING_SECONDS)
        fades = fading([_aged(one, starts) for one in early], WARM_UP_SECONDS)
        if fades.odds >= FADING_ODDS:
            lasts, young = min(FADING_SECONDS, max(lasts, fades.until)), early
    if odds >= WARM_UP_ODDS and fades.odds < FADING_ODDS:
        return new, new.increments
    warm = [one for one in young if _holds_warm_up(one, starts, lasts)]
    left = new.without(warm)
    if odds > 1 / WARM_UP_ODDS and fades.odds < WARM_UP_ODDS:
        return left, new.increments
    cleared = {id(one) for one in warm}
    return left, [replace(one, errors=0.0) if id(one) in cleared else one for one in new.increments]


def _young(new: Counts, starts: Mapping[str, tuple[float, ...]], seconds: float) -> list[Increment]:
    """List the counts that began in the first seconds of their pod's newest life."""
    settled = {pod: max(known) + seconds for pod, known in starts.items()}
    begun = new.begun_before(max(settled.values()))
    return [one for one in begun if one.start < settled.get(one.pod, -math.inf)]


def _aged(one: Increment, starts: Mapping[str, tuple[float, ...]]) -> Aged:
    age = _age(one.start, one.pod, starts)
    return Aged(age, age + one.end - one.start, one.requests, one.errors)


def _holds_warm_up(one: Increment, starts: Mapping[str, tuple[float, ...]], lasts: float) -> bool:
    """Tell whether a count lies within a pod's first seconds, or holds them and little else."""
    middle = (one.start + one.end) / 2
    if _age(middle, one.pod, starts) >= lasts:
        return False
    is_first = _age(one.start, one.pod, starts) < WARM_UP_SECONDS / 2
    return is_first or _age(one.end, one.pod, starts) <= lasts


def _age(time: float, pod: str, starts: Mapping[str, tuple[float, ...]]) -> float:
    """Tell how long before `time` the pod's container had started."""
    newest = 0.0
    for one in starts.get(pod, ()):
        if newest < one <= time:
            newest = one
    return time - newest
