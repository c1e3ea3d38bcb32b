"""Seeds -> scenarios: which kinds there are and how often each.

Seeds below REPORTED are for development, those from it on only for figures that are reported: what
is changed because of a scenario is never measured on it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.detection.scenario import BOTH_FAIL, Confounder, Fault, Rollout, Scenario

REPORTED = 1_000_000
FIXED = 500_000
"""Where the seeds of the subset that runs with the unit tests begin."""
OWN_FAMILY = (Confounder.IDLE,)
"""Rows that are drawn by a family of their own only."""
ROWS = tuple(one for one in Confounder if one not in (Confounder.NONE, *OWN_FAMILY))
SLOW = (Rollout.SURGE, Rollout.ONE_OF_N)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many scenarios of each family."""

    plain: int
    confounded: int
    bad: int
    bad_confounded: int
    mild: int
    """P3 and P4: nothing to roll back, something to tell."""
    single: int = 0
    """One new pod beside all the old pods, on a bad node or with a fault of its own."""
    idle: int = 0
    """Services without requests at the time of the release."""
    skewed: int = 0
    """Services with few purchases among many requests."""


FULL = Counts(
    plain=5200, confounded=5250, bad=1100, bad_confounded=840, mild=300, single=300, idle=300
)
SMALL = Counts(plain=80, confounded=60, bad=34, bad_confounded=20, mild=6)


def scenarios(counts: Counts, first: int) -> list[Scenario]:
    """Make all scenarios in a mixed order, so that a part of a run is a sample of it."""
    found = list(_each(counts, first))
    random.Random(first).shuffle(found)
    return found


def _each(counts: Counts, first: int) -> Iterator[Scenario]:
    """Each family has seeds of its own from `first` on."""
    for number in range(counts.plain):
        yield plain(first + number)
    for number in range(counts.confounded):
        yield confounded(first + 100_000 + number, ROWS[number % len(ROWS)])
    for number in range(counts.bad):
        yield bad(first + 200_000 + number)
    for number in range(counts.bad_confounded):
        yield beside(first + 300_000 + number, ROWS[number % len(ROWS)])
    for number in range(counts.mild):
        yield mild(first + 400_000 + number)
    for number in range(counts.single):
        yield single(first + 410_000 + number)
    for number in range(counts.idle):
        yield idle(first + 420_000 + number)
    for number in range(counts.skewed):
        yield skewed(first + 430_000 + number)


def fixed() -> list[Scenario]:
    """Make the 200 that run with the unit tests: short, and on few pods, so that they are quick."""
    found = []
    for one in _each(SMALL, FIXED):
        is_bad = one.fault is not Fault.NONE
        longest = one.onset + one.ramp + 200.0 if is_bad else 120.0
        longest = max(longest, one.since + 60.0) if one.confounder in BOTH_FAIL else longest
        found.append(
            replace(one, pods=min(one.pods, 5), bursts=0.0, horizon=min(one.horizon, longest))
        )
    return found


def plain(seed: int) -> Scenario:
    """A release that does as well as the one before it."""
    dice = random.Random(seed)
    pods = dice.choice((1, 2, 3, 4, 4, 4, 5, 6, 8, 12))
    return Scenario(
        seed=seed,
        rps=round(_load(dice), 4),
        diurnal=dice.choice((0.0, 0.0, 0.3)),
        pods=pods,
        rollout=_rollout(dice, pods),
        scrape=dice.choices((5.0, 15.0, 30.0), (5, 4, 1))[0],
        jitter=dice.choice((0.0, 0.05, 0.3)),
        loss=dice.choices((0.0, 0.02, 0.1), (7, 2, 1))[0],
        base=dice.choice((0.0, 0.0, 0.0005, 0.001, 0.003, 0.01)),
        bursts=dice.choices((0.0, 2.0, 6.0), (6, 3, 1))[0],
        clump=dice.choices((1, 3), (8, 2))[0],
        horizon=dice.choices((300.0, 900.0, 3600.0), (85, 12, 3))[0],
    )


def _load(dice: random.Random) -> float:
    kind = dice.random()
    if kind < 0.12:
        return math.exp(dice.uniform(math.log(0.003), math.log(0.5)))
    if kind < 0.8:
        return math.exp(dice.uniform(math.log(1), math.log(100)))
    return math.exp(dice.uniform(math.log(100), math.log(1000)))


def _rollout(dice: random.Random, pods: int) -> Rollout:
    kinds = (Rollout.FAST, Rollout.SURGE, Rollout.ONE_OF_N, Rollout.CANARY)
    return dice.choices(kinds, (60, 18, 14, 8) if pods > 1 else (90, 0, 0, 10))[0]


def bad(seed: int) -> Scenario:
    """A release with a fault of severity P1 or P2, and nothing else the matter."""
    dice = random.Random(seed ^ 0xBAD)
    return with_fault(plain(seed), dice)


def with_fault(one: Scenario, dice: random.Random) -> Scenario:
    """Give a release a fault of severity P1 or P2."""
    kinds = (
        Fault.TOTAL,
        Fault.ERRORS,
        Fault.ONE_ROUTE,
        Fault.PARTIAL,
        Fault.RAMP,
        Fault.CRASH_LOOP,
        Fault.SILENT,
    )
    fault = dice.choices(kinds, (30, 36, 10, 8, 6, 6, 4))[0]
    least = {Fault.ONE_ROUTE: 0.2, Fault.PARTIAL: 0.2}.get(fault, 0.07)
    size = math.exp(dice.uniform(math.log(least), 0.0))
    if fault is Fault.TOTAL:
        size = 1.0
    onset = 0.0 if dice.random() < 0.75 else math.exp(dice.uniform(0.0, math.log(600)))
    if fault in (Fault.CRASH_LOOP, Fault.SILENT):
        onset, size = 0.0, 1.0
    ramp = math.exp(dice.uniform(math.log(10), math.log(300))) if fault is Fault.RAMP else 0.0
    pods = max(one.pods, 4) if fault is Fault.PARTIAL else one.pods
    return replace(
        one,
        fault=fault,
        size=round(size, 3),
        onset=round(onset, 1),
        ramp=round(ramp, 1),
        pods=pods,
        horizon=1000.0 + round(onset + ramp),
    )


def mild(seed: int) -> Scenario:
    """A release that is slow, leaks, or fails a little: P3 and P4."""
    dice = random.Random(seed ^ 0x3141)
    one = replace(plain(seed), horizon=900.0)
    match ("latency", "leak", "few", "few")[seed % 4]:
        case "latency":
            return replace(one, fault=Fault.LATENCY, size=round(dice.uniform(1.5, 10), 1))
        case "leak":
            return replace(one, fault=Fault.LEAK, size=round(dice.uniform(0.2, 6), 2))
        case _:
            size = round(dice.uniform(0.015, 0.04), 3)
            return replace(one, fault=Fault.ERRORS, size=size)


def confounded(seed: int, row: Confounder) -> Scenario:
    """The row's confounder, and a release that does well."""
    dice = random.Random(seed ^ 0xC0FFEE)
    one = replace(plain(seed), bursts=0.0)
    one = replace(one, rps=round(_enough(one.rps, dice), 4))
    made = _confound(one, row, dice)
    if row in (Confounder.FLAPPING, Confounder.NO_WAY_BACK):
        # Here the release is bad, and the confounder is what forbids to go back.
        return replace(with_fault(made, dice), fault=Fault.TOTAL, size=1.0, onset=0.0, ramp=0.0)
    if row is Confounder.SHARED:
        size = round(dice.uniform(0.2, 1.0), 3)
        return replace(made, fault=Fault.ERRORS, size=size, horizon=900.0)
    return made


def beside(seed: int, row: Confounder) -> Scenario:
    """The row's confounder, and a release that is bad by itself."""
    dice = random.Random(seed ^ 0xFACE)
    made = _confound(replace(plain(seed), bursts=0.0), row, dice)
    made = replace(made, rps=round(_enough(made.rps, dice), 4)) if row in _BUSY else made
    fault = dice.choice((Fault.TOTAL, Fault.TOTAL, Fault.ERRORS))
    size = 1.0 if fault is Fault.TOTAL else round(dice.uniform(0.3, 1.0), 3)
    if row in (Confounder.FLAPPING, Confounder.NO_WAY_BACK):
        made = replace(made, extent=float(dice.choice((1, 2))))
    if row in BOTH_FAIL:
        # What fails on both anyway leaves room for what the release adds to it.
        made = replace(made, extent=min(made.extent, 0.25))
    if row is Confounder.NEVER_SERVES:
        fault, size = Fault.CRASH_LOOP, 1.0
    return replace(made, fault=fault, size=size, onset=0.0, ramp=0.0, horizon=1000.0)


_BUSY = frozenset(ROWS) - {Confounder.LOW_TRAFFIC}


def _enough(rps: float, dice: random.Random) -> float:
    return rps if rps >= 1 else math.exp(dice.uniform(0.0, math.log(100)))


def _confound(one: Scenario, row: Confounder, dice: random.Random) -> Scenario:
    one = replace(one, confounder=row)
    rate = round(math.exp(dice.uniform(math.log(0.05), 0.0)), 3)
    many = replace(one, pods=max(one.pods, 3))
    ever = {
        Confounder.DEPENDENCY: lambda: replace(
            one, extent=rate, since=_uniform(dice, -60, 240), lasts=dice.choice((0.0, 60.0, 600.0))
        ),
        Confounder.SHARED: lambda: replace(
            one, since=_uniform(dice, 5, 60), rollout=dice.choice((Rollout.FAST, *SLOW))
        ),
        Confounder.SPIKE: lambda: replace(
            one,
            extent=round(dice.uniform(0.02, 0.3), 3),
            since=_uniform(dice, -5, 200),
            rps=min(one.rps, 200.0),
        ),
        Confounder.WARM_UP: lambda: replace(one, extent=round(dice.uniform(0.1, 0.9), 3)),
        Confounder.LOW_TRAFFIC: lambda: replace(
            one,
            rps=round(math.exp(dice.uniform(math.log(0.003), math.log(0.1))), 4),
            base=dice.choice((0.001, 0.01, 0.05)),
            horizon=3600.0,
        ),
        Confounder.MISSING: lambda: replace(
            one,
            extent=float(dice.randrange(4)),
            since=_uniform(dice, 0, 60),
            lasts=_uniform(dice, 30, 200),
        ),
        Confounder.RESET: lambda: replace(one, extent=float(dice.randint(3, 12))),
        Confounder.GAP: lambda: replace(
            one, since=_uniform(dice, -20, 100), lasts=_uniform(dice, 30, 360), horizon=600.0
        ),
        Confounder.NODE: lambda: replace(
            many, extent=dice.choice((0.3, 1.0)), since=dice.choice((-600.0, 0.0, 30.0))
        ),
        Confounder.POD: lambda: replace(many, extent=dice.choice((0.3, 1.0, 1.0))),
        Confounder.CLUMPS: lambda: replace(one, clump=10, base=dice.choice((0.001, 0.003, 0.01))),
        Confounder.ROUTE_MIX: lambda: replace(
            one, extent=round(dice.uniform(0.02, 0.05), 3), rollout=dice.choice(SLOW)
        ),
        Confounder.CANARY: lambda: replace(one, rollout=Rollout.CANARY, base=0.005),
        Confounder.OLDER: lambda: replace(
            one, extent=rate, since=-60 * round(math.exp(dice.uniform(0, math.log(55))), 1)
        ),
        Confounder.OLD_TOO: lambda: replace(one, extent=rate, since=-3700.0),
        Confounder.COINCIDENCE: lambda: replace(
            one, extent=rate, since=round(math.exp(dice.uniform(math.log(30), math.log(1800))), 1)
        ),
        Confounder.NEIGHBOUR: lambda: replace(
            one, extent=rate, since=_uniform(dice, -30, 120), lasts=dice.choice((0.0, 120.0))
        ),
    }
    made = ever[row]() if row in ever else one
    if row is Confounder.COINCIDENCE:
        return replace(made, horizon=max(made.horizon, made.since + 300))
    return made


def _uniform(dice: random.Random, least: float, most: float) -> float:
    return round(dice.uniform(least, most), 1)


def single(seed: int) -> Scenario:
    """One new pod beside all the old pods: half of them on a bad node, the others bad themselves.

    Of the bad releases a third is on a node that fails a little.
    """
    dice = random.Random(seed ^ 0x51)
    made = replace(plain(seed), bursts=0.0, rollout=Rollout.SINGLE, pods=dice.randint(3, 9))
    made = replace(made, rps=round(_enough(made.rps, dice), 4), horizon=900.0)
    since = dice.choice((-600.0, 0.0, 30.0, _uniform(dice, 2, 60)))
    if seed % 2:
        extent = round(math.exp(dice.uniform(math.log(0.1), 0.0)), 3)
        return replace(made, confounder=Confounder.NODE, extent=extent, since=since)
    fault = dice.choice((Fault.TOTAL, Fault.ERRORS))
    size = 1.0 if fault is Fault.TOTAL else round(dice.uniform(0.3, 1.0), 3)
    made = replace(made, fault=fault, size=size)
    if seed % 6 == 0:
        return replace(made, confounder=Confounder.NODE, extent=0.05, since=since)
    return made


def idle(seed: int) -> Scenario:
    """A release of a service whose requests ceased before it: long before, or just before."""
    dice = random.Random(seed ^ 0x1D7E)
    made = replace(plain(seed), bursts=0.0, loss=0.0, horizon=300.0, confounder=Confounder.IDLE)
    made = replace(made, rps=round(_enough(made.rps, dice), 4))
    made = replace(made, scrape=dice.choice((5.0, 15.0, 30.0, 60.0)))
    if seed % 2:
        return replace(made, since=-60.0 * dice.randint(2, 57), lasts=dice.choice((0.0, 7200.0)))
    return replace(made, since=-made.scrape * 3 - _uniform(dice, 0, 60))


def skewed(seed: int) -> Scenario:
    """A service with few purchases: an outage soon after the release, or a release that is bad."""
    dice = random.Random(seed ^ 0x5E)
    made = replace(plain(seed), bursts=0.0, rps=round(math.exp(dice.uniform(2.5, 5.5)), 4))
    made = replace(made, purchases=round(math.exp(dice.uniform(-4.5, -2.0)), 4), horizon=600.0)
    rate = round(math.exp(dice.uniform(math.log(0.1), 0.0)), 3)
    if seed % 2:
        since = _uniform(dice, 12, 60)
        return replace(made, confounder=Confounder.DEPENDENCY, extent=rate, since=since)
    fault = dice.choice((Fault.TOTAL, Fault.ERRORS))
    return replace(made, fault=fault, size=1.0 if fault is Fault.TOTAL else rate)
