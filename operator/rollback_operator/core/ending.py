"""Whether a fault has ended: the newest counts would be a surprise if it went on."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rollback_operator.core.increments import Increment
from rollback_operator.core.likelihood import log_likelihood
from rollback_operator.core.onset import GRAIN, LEAST_CHANGE, RATES, Level, pooled

ENDED_ODDS = 100.0
"""Odds from which the newest counts are known to be those of a fault that has ended."""
ENDS = 3
"""Its rate is known better each time that what came after it is left out."""


class Failing(NamedTuple):
    """What the new pods counted on a failing route, and what the control showed there."""

    increments: Sequence[Increment]
    """At least one."""
    level: Level


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


def lasting(counts: Sequence[Increment], level: Level) -> Lasting:
    """Leave out what was counted after a fault had ended: it blurs when the fault began."""
    together = pooled(counts)
    kept = _while_it_lasted(together, level)
    if len(kept) == len(together):
        return Lasting(counts, together)
    end = max((one.end for one in kept), default=0.0) + GRAIN
    left = [one for one in counts if one.end <= end]
    return Lasting(left, pooled(left))


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
            nats += log_likelihood(one.requests, one.errors, low, RATES)
            nats -= log_likelihood(one.requests, one.errors, rate, RATES)
            if nats > best:
                best, end = nats, index
        if best < math.log(ENDED_ODDS):
            break
        left = left[:end]
    return left
