"""Whether the errors of pods' first time fade: a warm-up that lasts longer than most.

Caches that fill and code that is compiled while it runs fail less from second to second. With g
the mean of exp(-age / tau) over a count's time, a warm-up is the rate A g, with A so that all
errors are told of and the tau that fits best; the odds are those against one rate from the first
request on, which may also have ended at some age. What comes after the usual warm-up must go on
falling: where a rate of its own fits that decisively better, a fault stays behind, and there are no
odds.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rollback_operator.core.arms import LEAST_CEILING
from rollback_operator.core.likelihood import log_likelihood

TIMES = (5.0, 8.0, 12.0, 18.0, 27.0, 40.0)
"""Seconds in which the errors may fall to a third."""
STAYING_NATS = 2.0
LEAST_NATS = 1.0
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
    time = max(TIMES, key=lambda one: _falling(counts, one))
    tail = [one for one in counts if (one.start + one.end) / 2 >= usual]
    if max(_falling(tail, one) for one in TIMES) < _steady(tail) - STAYING_NATS:
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
    return apart - _steady(parts) >= LEAST_NATS


def _nats(one: Aged, rate: float) -> float:
    return log_likelihood(one.requests, one.errors, rate, _RATES)
