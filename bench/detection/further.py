"""Families beside the rows of confounders: what a bench of usual releases does not draw.

Each makes a scenario from a plain scenario. Even numbers are good releases in the family's
situation, odd numbers are bad releases in it. Late faults and ramps have bad releases only, since
the row Coincidence holds their good side.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.detection.scenario import Confounder, Fault, Rollout, Scenario

Family = Callable[[Scenario, int], Scenario]


def _dice(release: Scenario) -> random.Random:
    return random.Random(release.seed ^ 0xFA311)


def _spread(dice: random.Random, least: float, most: float) -> float:
    """Draw evenly over the logarithm."""
    return round(math.exp(dice.uniform(math.log(least), math.log(most))), 3)


def _failing(release: Scenario, dice: random.Random, least: float) -> Scenario:
    """Let every purchase fail, or a share of all requests."""
    if dice.random() < 1 / 3:
        return replace(release, fault=Fault.TOTAL, size=1.0, horizon=1000.0)
    return replace(release, fault=Fault.ERRORS, size=_spread(dice, least, 1.0), horizon=1000.0)


def _calm(release: Scenario, dice: random.Random) -> Scenario:
    """Take a plain release with traffic, and without bursts that both revisions share."""
    return replace(release, bursts=0.0, rps=_spread(dice, 2, 200))


def single_pod(release: Scenario, number: int) -> Scenario:
    """A single new pod, on a node where the old pods fail too, or of a bad release."""
    dice = _dice(release)
    release = replace(
        _calm(release, dice), pods=dice.randint(4, 9), rollout=Rollout.SINGLE, horizon=600.0
    )
    if number % 2:
        return _failing(release, dice, 0.2)
    return replace(
        release,
        confounder=Confounder.NODE,
        extent=_spread(dice, 0.1, 1.0),
        since=dice.choice((-600.0, -60.0, 10.0)),
    )


def idle(release: Scenario, number: int) -> Scenario:
    """No request for most of the hour before; it goes on, or ends and every purchase fails."""
    dice = _dice(release)
    silence = round(dice.uniform(120, 3500), 1)
    release = replace(
        _calm(release, dice), confounder=Confounder.IDLE, since=-silence, horizon=900.0
    )
    if not number % 2:
        return replace(release, lasts=dice.choice((0.0, 0.0, silence + 400.0)))
    lasts = silence + round(dice.uniform(10, 300), 1)
    # The fault is in the release from its first moment, and shows when requests come.
    return replace(release, lasts=lasts, fault=Fault.TOTAL, size=1.0, onset=0.0, horizon=1300.0)


def late(release: Scenario, number: int) -> Scenario:
    """A fault that begins 6 s to 15 minutes after the release, half of them total."""
    dice = _dice(release)
    onset = _spread(dice, 6, 900)
    release = replace(_calm(release, dice), onset=onset, horizon=round(onset) + 600.0)
    if number % 2:
        share = 1.0 if dice.random() < 1 / 2 else _spread(dice, 0.9, 1.0)
        return replace(release, fault=Fault.ERRORS, size=share)
    return replace(release, fault=Fault.ERRORS, size=_spread(dice, 0.07, 0.9))


def ramp(release: Scenario, number: int) -> Scenario:
    """A fault that takes 120 to 400 s to grow, half of them with old pods beside it."""
    dice = _dice(release)
    slow = (Rollout.SURGE, Rollout.ONE_OF_N, Rollout.CANARY)
    length = round(dice.uniform(120, 400), 1)
    return replace(
        _calm(release, dice),
        rollout=dice.choice(slow) if number % 2 and release.pods > 1 else Rollout.FAST,
        fault=Fault.RAMP,
        size=_spread(dice, 0.15, 1.0),
        ramp=length,
        horizon=round(length) + 1000.0,
    )


def short_past(release: Scenario, number: int) -> Scenario:
    """An old revision that has served for 30 to 120 s only."""
    dice = _dice(release)
    release = replace(_calm(release, dice), past=round(dice.uniform(30, 120), 1), diurnal=0.0)
    return _failing(release, dice, 0.06) if number % 2 else release


def slow(release: Scenario, number: int) -> Scenario:
    """Durations that grow by half to ten times, from the first request on: P3."""
    dice = _dice(release)
    release = replace(_calm(release, dice), trends=True, horizon=900.0)
    size = round(dice.uniform(2.5, 10), 1)
    return replace(release, fault=Fault.LATENCY, size=size) if number % 2 else release


def leak(release: Scenario, number: int) -> Scenario:
    """Memory that grows up to its limit in 28 to 45 minutes, or fills once like a cache: P3."""
    dice = _dice(release)
    release = replace(_calm(release, dice), rps=_spread(dice, 2, 20), trends=True, horizon=1500.0)
    size = round(dice.uniform(28, 45), 1)
    return replace(release, fault=Fault.LEAK, size=size) if number % 2 else release


def staged(release: Scenario, number: int) -> Scenario:
    """A rollout that is held at its first new pods until they are proved no worse."""
    dice = _dice(release)
    release = replace(
        _calm(release, dice), pods=dice.randint(2, 8), stage=120.0, rollout=Rollout.SURGE
    )
    if number % 2:
        return _failing(release, dice, 0.07)
    if number % 4:
        return replace(release, confounder=Confounder.WARM_UP, extent=_spread(dice, 0.1, 0.9))
    return release


def read_pages(release: Scenario, number: int) -> Scenario:
    """The pods' own pages are read between scrapes; some good releases warm up."""
    dice = _dice(release)
    release = replace(_calm(release, dice), pages=True, horizon=180.0)
    if number % 2:
        return replace(_failing(release, dice, 0.06), horizon=400.0)
    if number % 4:
        return replace(release, confounder=Confounder.WARM_UP, extent=_spread(dice, 0.1, 0.9))
    return release


def few_requests(release: Scenario, number: int) -> Scenario:
    """Less than two requests a second, and a fault that is minutes old; or a new fault."""
    dice = _dice(release)
    release = replace(release, bursts=0.0, clump=1, rps=_spread(dice, 0.2, 2.0), horizon=900.0)
    if number % 2:
        return _failing(release, dice, 0.3)
    return replace(
        release,
        confounder=Confounder.OLDER,
        extent=_spread(dice, 0.06, 0.3),
        since=-round(_spread(dice, 120, 3000), 1),
    )


FAMILIES: Mapping[str, Family] = {
    "single new pod": single_pod,
    "idle": idle,
    "late fault": late,
    "ramp of 120-400 s": ramp,
    "past of 30-120 s": short_past,
    "slow (P3)": slow,
    "leak (P3)": leak,
    "staged": staged,
    "pages read": read_pages,
    "few requests, old fault": few_requests,
}
"""In the order of their seeds: a new family comes last."""
