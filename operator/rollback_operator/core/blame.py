"""Release or environment, where no old pod is left to compare with: odds by the onset.

A fault of the environment could have begun at any moment; a fault of the release nearly always
shows in its first requests. odds = P(bad) f(onset) / (outage rate x d), d being the length of the
interval in which the onset lies: 9,300 : 1 for a release that fails from its first request on.
"""

import math
from collections.abc import Sequence

from rollback_operator.core.evidence import Increment
from rollback_operator.core.sequential import is_lower
from rollback_operator.core.verdict import Blame

BAD_RELEASES = 0.02
"""Share of releases that are bad."""
OUTAGES_PER_SECOND = 1 / (30 * 86400)
FROM_FIRST_REQUEST = 0.9
LATENT = 0.1
_DECISIVE_NATS = 2.0
_LEAST_RATE = 1e-4


def blame(increments: Sequence[Increment], ceiling: float, watch_seconds: float) -> Blame:
    """Compute the odds that the release, not its environment, began the fault.

    Args:
        increments: the new pods' counts on the failing route, in time order, at least one.
        ceiling: the error rate that the control allows.
        watch_seconds: over how long the latent faults of a release are spread.
    """
    begin = min(one.start for one in increments)
    onset = _onset(increments, ceiling)
    first = _first_of_each_pod(increments)
    if onset is None and not _begins_inside(first, increments):
        length = max(1.0, min(one.end - one.start for one in first))
        return Blame(_odds(FROM_FIRST_REQUEST, length), True, 0.0)
    earliest = min(first, key=lambda one: one.end) if onset is None else onset
    since = max(1.0, earliest.start - begin)
    until = max(since + 1.0, earliest.end - begin)
    spread = LATENT * math.log(until / since) / math.log(max(math.e, watch_seconds))
    return Blame(_odds(spread, until - since), False, since)


def _odds(share: float, seconds: float) -> float:
    return BAD_RELEASES * share / (OUTAGES_PER_SECOND * seconds)


def _onset(increments: Sequence[Increment], ceiling: float) -> Increment | None:
    """Find the increment in which the fault began; None: it was there from the first request on.

    The likeliest point of change from the control's level to the level seen since.
    """
    starts = sorted({one.start for one in increments})
    likelihoods = [(_likelihood(increments, start, ceiling), start) for start in starts]
    best, change = max(likelihoods)
    if best - likelihoods[0][0] < _DECISIVE_NATS:
        return None
    return min(
        (one for one in increments if one.start >= change and one.errors > 0),
        key=lambda one: one.end,
        default=increments[-1],
    )


def _likelihood(increments: Sequence[Increment], change: float, ceiling: float) -> float:
    after = [one for one in increments if one.start >= change]
    requests = sum(one.requests for one in after)
    rate = sum(one.errors for one in after) / requests if requests else ceiling
    return sum(
        _binomial(one, rate if one.start >= change else ceiling)
        for one in increments
        if one.requests > 0
    )


def _binomial(one: Increment, rate: float) -> float:
    rate = min(1 - _LEAST_RATE, max(_LEAST_RATE, rate))
    return one.errors * math.log(rate) + max(0.0, one.requests - one.errors) * math.log(1 - rate)


def _first_of_each_pod(increments: Sequence[Increment]) -> list[Increment]:
    first: dict[str, Increment] = {}
    for one in increments:
        if one.requests > 0:
            first.setdefault(one.pod, one)
    return list(first.values()) or [increments[0]]


def _begins_inside(first: Sequence[Increment], increments: Sequence[Increment]) -> bool:
    """Tell whether the fault began within the pods' first samples: they fail less than later."""
    keys = {(one.pod, one.end) for one in first}
    later = [one for one in increments if (one.pod, one.end) not in keys]
    return is_lower(_sum(later), _sum(first))


def _sum(increments: Sequence[Increment]) -> tuple[float, float]:
    return sum(one.requests for one in increments), sum(one.errors for one in increments)
