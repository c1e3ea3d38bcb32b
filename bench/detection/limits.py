"""The earliest time at which a fault could be known, from the law that the requests follow.

    KL(a||b) = a ln(a/b) + (1-a) ln((1-a)/(1-b))
    n*  = ln(1/alpha) / KL(p1||p0)                        p0 known (Wald 1945)
    n*  = ln(1/alpha) / [(p1 + p0 (1-w)/w) KL(q1||w)]     coin flip against the old revision,
          q1 = w p1 / (w p1 + (1-w) p0)
    T   = t(n*) + s/2                                     a scrape later, on average

A request of the new revision is worth 1/n* of the proof, so what the formula says of constant
rates holds for a share that moves: the proof is there when the worth adds up to ln(1/alpha). p0 is
taken for known where no old pod serves, the coin flip's limit where one does.

Where no samples can be read when it would be known, the limit is the first scrape after that.

With the floors that any judge is held to: 20 requests, 10 errors or every request, two samples at
different times (s/2 + s), and a lower bound (Wilson 1927) of the rate beyond the severity's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.detection.scenario import (
    ATTRIBUTABLE_SECONDS,
    BOTH_FAIL,
    P1_RATE,
    P2_RATE,
    PURCHASE,
    RESERVE,
    ROUTES,
    UNREADABLE,
    Confounder,
    Fault,
    Scenario,
    Truth,
)
from bench.detection.world import Floats, World
from rollback_operator.stats.sequential import wilson_lower

ALPHA = 1e-4
LEAST_REQUESTS, LEAST_ERRORS = 20, 10
LEAST_RATE = 1e-4
"""A base rate of 0 would make one error the proof."""
RESTARTS = 3
STUCK_SECONDS = 300.0
UNSEEN_SECONDS = 1.0
"""A sample so soon after an onset can hold too few requests to show it."""
DEADLINE = 900.0
"""The runbook's ceiling for P2; what cannot be known by then has to end without a verdict."""


@dataclass(frozen=True, slots=True)
class Limit:
    """When a fault could be known, seconds from its first moment; infinity for never."""

    since: float
    """When the new revision's first request met the fault, from the template's change."""
    bare: float
    """By the formula alone."""
    floored: float
    """With the floors."""
    by_kubernetes: bool = False

    @property
    def is_within(self) -> bool:
        """Tell whether the limit lies within the runbook's deadline."""
        return self.floored <= DEADLINE


def limit(world: World) -> Limit | None:
    """Compute the limit of a release of severity P1 or P2; None for others."""
    scenario = world.scenario
    if not scenario.is_bad:
        return None
    if scenario.fault in (Fault.CRASH_LOOP, Fault.SILENT):
        return _by_kubernetes(world)
    since = world.cast.first_request + scenario.onset
    found = [
        _of_routes(world, since, (PURCHASE,), P1_RATE),
        _of_routes(world, since, (RESERVE,), P1_RATE),
        _of_routes(world, since, ROUTES, P2_RATE),
    ]
    bare, floored = min(one[0] for one in found), min(one[1] for one in found)
    half = scenario.scrape / 2
    bare, floored = bare + half, max(floored + half, half + scenario.scrape)
    return Limit(since, _readable(scenario, since, bare), _readable(scenario, since, floored))


def _readable(scenario: Scenario, since: float, known: float) -> float:
    """Put off what falls into a time in which nobody can read a sample."""
    end = scenario.since + scenario.lasts
    if scenario.confounder in UNREADABLE and scenario.since <= since + known < end:
        return end + scenario.scrape / 2 - since
    return known


def _by_kubernetes(world: World) -> Limit:
    """A pod that never serves: three restarts of each, or no progress for 300 s."""
    new = world.cast.new
    restarts = [one.restarts[RESTARTS - 1] for one in new if len(one.restarts) >= RESTARTS]
    known = max(restarts) if len(restarts) == len(new) else STUCK_SECONDS
    known = min(known, STUCK_SECONDS)
    return Limit(0.0, known, known, by_kubernetes=True)


def _of_routes(
    world: World, since: float, routes: tuple[str, ...], bound: float
) -> tuple[float, float]:
    """Compute when the fault is proved on these routes, bare and with floors."""
    numbers = [ROUTES.index(one) for one in routes]
    is_new = np.array([one.is_new for one in world.cast.lives])
    starts, lengths = world.edges[:-1], np.diff(world.edges)
    after = starts >= since - 1e-9
    served = world.rates[:, numbers, :] * lengths
    failed = served * world.failing[:, numbers, :]
    new, bad = served[is_new].sum(axis=(0, 1)), failed[is_new].sum(axis=(0, 1))
    old, old_bad = served[~is_new].sum(axis=(0, 1)), failed[~is_new].sum(axis=(0, 1))
    worth = _worth(new, bad, old, old_bad, _base(world, numbers))
    starts, new, bad, worth = starts[after], new[after], bad[after], worth[after]
    proved = _reached(starts, worth, math.log(1 / ALPHA))
    requests, errors = np.cumsum(new), np.cumsum(bad)
    is_met = (requests >= LEAST_REQUESTS) & (
        (errors >= LEAST_ERRORS) | (errors >= requests * (1 - LEAST_RATE))
    )
    for index in np.flatnonzero(is_met):
        if _exceeds(float(requests[index]), float(errors[index]), bound):
            met = float(starts[index]) + float(lengths[-1])
            return proved - since, max(proved, met) - since
    return proved - since, math.inf


def _exceeds(requests: float, errors: float, bound: float) -> bool:
    is_all = errors >= requests * (1 - LEAST_RATE) and bound >= P1_RATE
    return is_all or wilson_lower(requests, errors) > bound


def _base(world: World, routes: list[int]) -> float:
    """Give the old revision's rate before the release."""
    before = (world.edges[:-1] < 0) & (world.edges[:-1] >= -3600)
    served = world.rates[:, routes, :][:, :, before]
    failed = served * world.failing[:, routes, :][:, :, before]
    total = float(served.sum())
    return max(LEAST_RATE, float(failed.sum()) / total if total else 0.0)


def _worth(new: Floats, bad: Floats, old: Floats, old_bad: Floats, base: float) -> Floats:
    """Compute what the requests of each step are worth, in nats."""
    rate = np.clip(np.divide(bad, new, out=np.zeros_like(new), where=new > 0), LEAST_RATE, 1.0)
    before = np.divide(old_bad, old, out=np.full_like(old, base), where=old > 0)
    before = np.clip(before, LEAST_RATE, 1 - LEAST_RATE)
    total = new + old
    share = np.divide(new, total, out=np.ones_like(new), where=total > 0)
    has_old = (old > 0) & (new > 0)
    w = np.where(has_old, share, 0.5)
    q = w * rate / (w * rate + (1 - w) * before)
    coin = (rate + before * (1 - w) / w) * divergence(q, w)
    known = divergence(rate, np.full_like(rate, min(base, 1 - LEAST_RATE)))
    worth: Floats = new * np.where(has_old, coin, known)
    return np.where(rate > before, worth, 0.0)


def divergence(a: Floats, b: Floats) -> Floats:
    """Compute KL(a||b) of two coins; terms with a of 0 or 1 vanish."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(a > 0, a * np.log(a / b), 0.0)
        second = np.where(a < 1, (1 - a) * np.log((1 - a) / (1 - b)), 0.0)
    found: Floats = first + second
    return found


def _reached(starts: Floats, worth: Floats, enough: float) -> float:
    """Tell when the sum reaches `enough`; within a step it grows evenly."""
    sums = np.cumsum(worth)
    index = int(np.searchsorted(sums, enough))
    if index >= len(sums):
        return math.inf
    before = float(sums[index - 1]) if index else 0.0
    step = float(starts[1] - starts[0]) if len(starts) > 1 else 0.0
    part = (enough - before) / float(worth[index])
    return float(starts[index]) + part * step


def truth(world: World) -> Truth:
    """Say what is right to do."""
    scenario = world.scenario
    if _is_forbidden(scenario) or scenario.confounder is Confounder.SHARED:
        return Truth.PAGE
    if scenario.severity == "P3":
        return Truth.PAGE
    if not scenario.is_bad:
        return Truth.NO_ROLLBACK
    return Truth.ROLLBACK if _is_attributable(world) else Truth.PAGE


def is_late(scenario: Scenario, right: Truth) -> bool:
    """Tell whether a fault of the release begins when no old pod is left to compare with."""
    rows = (Confounder.SHARED, Confounder.FLAPPING, Confounder.NO_WAY_BACK)
    return right is Truth.PAGE and scenario.is_bad and scenario.confounder not in rows


def is_to_be_undone(scenario: Scenario, right: Truth) -> bool:
    """Tell whether to undo a release helps: it is bad, however late that shows."""
    return right is Truth.ROLLBACK or is_late(scenario, right)


def is_undecidable(world: World) -> bool:
    """Tell whether samples cannot show that a fault is the environment's.

    It begins between an old pod's last samples and the new pods' first requests of a rollout that
    leaves no old pod: on the old pods nobody has read it, and the new ones fail from the first on.
    """
    scenario, cast = world.scenario, world.cast
    if scenario.confounder not in BOTH_FAIL or scenario.fault is not Fault.NONE:
        return False
    new = {one.name for one in cast.new}
    read = [float(one.times[-1]) for one in world.requests if one.pod not in new and len(one.times)]
    until = cast.first_request + ATTRIBUTABLE_SECONDS
    return max(read, default=0.0) <= scenario.since + UNSEEN_SECONDS and scenario.since <= until


def _is_forbidden(scenario: Scenario) -> bool:
    """A release that came back, or one that there is no way back from."""
    rows = (Confounder.FLAPPING, Confounder.NO_WAY_BACK)
    return scenario.confounder in rows and scenario.extent < 1


def _is_attributable(world: World) -> bool:
    """Tell whether a fault can be told from one of the environment.

    It can if it is there from the first request on, or if old pods serve for as long as the proof
    takes. Later on it may as well be something else: a person is told (100 : 1 at 6 s).
    """
    scenario = world.scenario
    if scenario.fault in (Fault.CRASH_LOOP, Fault.SILENT):
        return True
    if max(scenario.onset, scenario.ramp / 10) <= ATTRIBUTABLE_SECONDS:
        return True
    found = limit(world)
    return found is not None and world.cast.last_old >= found.since + found.floored
