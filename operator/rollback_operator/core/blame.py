"""Release or environment, where no old pod is left to compare with: odds by the onset.

A fault of the environment could have begun at any moment; a fault of the release nearly always
shows in its first requests. odds = P(bad) f(onset) / (outage rate x d), d being the length of the
interval in which the onset lies: 9,300 : 1 for a release that fails from its first request on.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

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
_DECISIVE_NATS = 2.0
_LEAST_RATE = 1e-4


def blame(increments: Sequence[Increment], ceiling: float, watch_seconds: float) -> Blame:
    """Compute the odds that the release, not its environment, began the fault.

    Args:
        increments: the new pods' counts on the failing route, at least one.
        ceiling: the error rate that the control allows.
        watch_seconds: over how long the latent faults of a release are spread.
    """
    served = [one for one in increments if one.requests > 0] or list(increments)
    begin = min(one.start for one in served)
    since, until = (one - begin for one in _onset(_pooled(served), begin, ceiling))
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


def _onset(increments: Sequence[Increment], begin: float, ceiling: float) -> tuple[float, float]:
    """Give the times between which the fault began.

    All times of change from the control's level to the level since that are about as likely as the
    likeliest one: pods that are read at different times narrow it down together.
    """
    end = max(one.end for one in increments)
    times = {begin}
    for one in increments:
        times |= {one.start, one.end}
    coarse = [time for time in _thinned(sorted(times)) if time < end]
    likelihoods = {time: _likelihood(increments, time, ceiling) for time in coarse}
    near = coarse.index(max(coarse, key=lambda time: likelihoods[time]))
    left, right = coarse[max(0, near - 1)], (*coarse, end)[near + 1]
    for step in range(1, FINE_STEPS):
        time = left + (right - left) * step / FINE_STEPS
        likelihoods[time] = _likelihood(increments, time, ceiling)
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


def _likelihood(increments: Sequence[Increment], change: float, ceiling: float) -> float:
    """Compute how likely the counts are if the rate rose above the control's at `change`."""
    shares = [
        (one, min(1.0, max(0.0, (one.end - change) / max(one.end - one.start, GRAIN))))
        for one in increments
    ]
    requests = sum(one.requests * share for one, share in shares)
    errors = sum(
        one.errors - one.requests * (1 - share) * ceiling for one, share in shares if share
    )
    rate = max(ceiling, errors / requests) if requests else ceiling
    return sum(_binomial(one, share * rate + (1 - share) * ceiling) for one, share in shares)


def _binomial(one: Increment, rate: float) -> float:
    rate = min(1 - _LEAST_RATE, max(_LEAST_RATE, rate))
    return one.errors * math.log(rate) + max(0.0, one.requests - one.errors) * math.log(1 - rate)


def _first_of_each_pod(increments: Sequence[Increment]) -> list[Increment]:
    first: dict[str, Increment] = {}
    for one in sorted(increments, key=lambda one: one.end):
        first.setdefault(one.pod, one)
    return list(first.values())
