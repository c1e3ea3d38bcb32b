"""Release or environment, where no old pod is left to compare with: odds by the onset.

A fault of the environment could have begun at any moment; a fault of the release nearly always
shows in its first requests. With L(t), how likely the counts are if the fault began at t, and t = 0
at the first request:

    odds = P(bad) [0.9 L(0) + 0.1 integral L(t) / (t ln watch) dt] / (outage rate integral L(t) dt)

Where L is narrow that is P(bad) f(onset) / (outage rate x d), d being the length of the interval in
which the onset lies: 9,300 : 1 for a release that fails from its first request on.

Pods of different ages carry more evidence. A latent fault may depend on the work of a pod so far:
where pods begin to fail at the same age rather than at the same time, L by age, which is then
greater, replaces L in the second term. The exception is an onset on all pods within the seconds in
which an outage reaches one pod after another.

A fault that grows (a pool that runs out, a cache that fills) seems to begin halfway. Where a growth
over some seconds fits decisively better than any sudden onset, t is the time at which it began.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from rollback_operator.evidence.limits import (
    ALIGNED_ODDS,
    BAD_RELEASES,
    FROM_FIRST_REQUEST,
    LATENT,
    OUTAGES_PER_SECOND,
    REACH_SECONDS,
)
from rollback_operator.model.verdict import Blame
from rollback_operator.stats.change_point import (
    BaselineRate,
    Failing,
    lasting,
    likelihoods,
    likelihoods_of_growth,
    parts,
    pooled,
    served,
)
from rollback_operator.stats.windows import Increment

_DECISIVE_NATS = 2.0
_LEAST_AREA = 1e-9
_FLAT = 1e-6
_MOST_NATS = 600.0
_Weights = Sequence[tuple[float, float]]


def blame(routes: Sequence[Failing], watch_seconds: float) -> Blame:
    """Compute the odds that the release, not its environment, began the fault.

    Args:
        routes: at least one failing route. The same fault began on all of them together:
            together, a few requests on each narrow it down.
        watch_seconds: the time over which the latent faults of a release are spread.
    """
    counted = served(routes)
    levels = [route.level for route in routes]
    lasting_on = [lasting(each, level) for each, level in zip(counted, levels, strict=True)]
    lasted = [kept.counts for kept in lasting_on]
    of_routes = parts([kept.pooled for kept in lasting_on], levels)
    begin = min(part.counts.starts[0] for part in of_routes)
    likely = likelihoods(of_routes, begin)
    most = max(likely.values())
    if likely[begin] < most - _DECISIVE_NATS:
        growing = likelihoods_of_growth(of_routes, begin, most + _DECISIVE_NATS)
        highest = max(growing.values())
        # Only growth from the first request on counts: later growth is as good as sudden.
        if growing[begin] > max(most, highest - 2 * _DECISIVE_NATS) + _DECISIVE_NATS:
            likely, most = growing, highest
    alike = [time - begin for time, nats in likely.items() if nats >= most - _DECISIVE_NATS]
    firsts = [increment for each in counted for increment in _first_of_each_pod(each)]
    # An outage may have begun at any time since the last sample before.
    unseen = max(1.0, min(increment.end - increment.start for increment in firsts))
    since = min(alike)
    watch = max(math.e, watch_seconds)
    aged = _by_age(lasted, levels) if since > 0 else {}
    is_aligned = max(aged.values(), default=-math.inf) >= most + math.log(ALIGNED_ODDS)
    if not is_aligned or spread_of_onsets(lasted, levels) <= REACH_SECONDS:
        aged = {}
    weights = [(time - begin, nats - most) for time, nats in sorted(likely.items())]
    ages = [(age, nats - most) for age, nats in sorted(aged.items())]
    by_time, by_age = _latent(weights, watch), _latent(ages, watch)
    odds = _odds(weights, max(by_time, by_age), unseen)
    if since <= 0:
        return Blame(odds, True, 0.0)
    if by_age > by_time:
        age = max(ages, key=lambda pair: pair[1])[0]
        return Blame(odds, False, max(1.0, age), is_by_age=True)
    return Blame(odds, False, max(1.0, since))


def is_one_fault(routes: Sequence[Failing], other: Failing) -> bool:
    """Return whether a route shares the fault of other routes.

    Two faults at once are as much less likely as a release is seldom bad (BAD_RELEASES), so that
    separate onsets must fit 50 times better than the best common onset. A route with so few
    requests that they fit any onset is no second fault.

    Args:
        routes: at least one failing route.
        other: another failing route.
    """
    both = [*routes, other]
    counted = [lasting(each, route.level) for each, route in zip(served(both), both, strict=True)]
    levels = [route.level for route in both]
    of_all = [parts([kept.pooled], [level]) for kept, level in zip(counted, levels, strict=True)]
    first, last = [part for each in of_all[:-1] for part in each], of_all[-1]
    if not first or not last:
        return True
    begin = min(part.counts.starts[0] for part in (*first, *last))
    together, apart = (
        sum(max(likelihoods(each, begin).values()) for each in split)
        for split in ([[*first, *last]], [first, last])
    )
    return apart - together < -math.log(BAD_RELEASES)


def _by_age(
    counts: Sequence[Sequence[Increment]], levels: Sequence[BaselineRate]
) -> dict[float, float]:
    """Give the log-likelihood of onsets at an age that all pods have in common, by that age.

    A fault that depends on the work of a pod so far (a leak, a pool that runs out, a token that
    expires) begins on each pod at its own time. Empty where all pods began together: then age
    carries no evidence.
    """
    begins: dict[str, float] = {}
    for each in counts:
        for increment in each:
            begins[increment.pod] = min(increment.start, begins.get(increment.pod, increment.start))
    if max(begins.values()) - min(begins.values()) <= REACH_SECONDS:
        return {}
    aged = [
        [
            replace(
                increment,
                start=increment.start - begins[increment.pod],
                end=increment.end - begins[increment.pod],
            )
            for increment in each
        ]
        for each in counts
    ]
    return likelihoods(parts(map(pooled, aged), levels), 0.0)


def spread_of_onsets(
    counts: Sequence[Sequence[Increment]], levels: Sequence[BaselineRate]
) -> float:
    """Give the seconds between the first and the last onset on a pod, each by its own counts."""
    onsets = []
    for pod in {increment.pod for each in counts for increment in each if increment.errors > 0}:
        of_pod = ([increment for increment in each if increment.pod == pod] for each in counts)
        own = parts(map(pooled, of_pod), levels)
        if own:  # without requests there is no onset
            likely = likelihoods(own, min(part.counts.starts[0] for part in own))
            onsets.append(max(likely, key=lambda time: likely[time]))
    return max(onsets, default=0.0) - min(onsets, default=0.0)


def _odds(weights: _Weights, latent: float, unseen: float) -> float:
    """Weigh all onsets by how likely they are.

    Args:
        weights: (seconds since the first request, log-likelihood, 0 at the likeliest) in order,
            from 0 on, linear in between.
        latent: the weight of onsets of a latent fault.
        unseen: seconds before the first request without a sample.
    """
    at_once = math.exp(weights[0][1])
    outage = at_once * unseen + sum(area for _, area in _areas(weights))
    # Where a later onset fits much better, the first request is no onset: people are notified.
    first = at_once if at_once >= math.exp(-_DECISIVE_NATS) else 0.0
    release = FROM_FIRST_REQUEST * first + LATENT * latent
    return BAD_RELEASES * release / (OUTAGES_PER_SECOND * max(outage, _LEAST_AREA))


def _latent(weights: _Weights, watch: float) -> float:
    """Weigh the onsets of a latent fault, spread evenly over the logarithm of time."""
    return sum(area / (max(1.0, middle) * math.log(watch)) for middle, area in _areas(weights))


def _areas(weights: _Weights) -> Iterator[tuple[float, float]]:
    """Integrate the likelihood from each time to the next; (middle, area)."""
    bounded = [(time, min(_MOST_NATS, nats)) for time, nats in weights]
    for (start, nats), (end, other) in pairwise(bounded):
        rise = other - nats
        mean = (math.exp(other) - math.exp(nats)) / rise if abs(rise) > _FLAT else math.exp(nats)
        yield (start + end) / 2, (end - start) * mean


def _first_of_each_pod(increments: Sequence[Increment]) -> list[Increment]:
    first: dict[str, Increment] = {}
    for increment in sorted(increments, key=lambda increment: increment.end):
        first.setdefault(increment.pod, increment)
    return list(first.values())
