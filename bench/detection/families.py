"""Seeds -> scenarios: which kinds there are and how often each.

Seeds below 1,000,000 are for development, those from REPORTED on only for figures that are
reported: what is changed because of a scenario is never measured on it. Earlier figures were made
with the seeds from 1,000,000 on, whose scenarios have been looked at since.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import count

from bench.detection import further
from bench.detection.scenario import BOTH_FAIL, Confounder, Fault, Rollout, Scenario

REPORTED = 3_000_000
FIXED = 500_000
"""Where the seeds of the subset that runs with the unit tests begin."""
_APART = (Confounder.NONE, Confounder.IDLE)
ROWS = tuple(row for row in Confounder if row not in _APART)
FURTHER, FURTHER_STEP = 490_000, 500
"""Where the seeds of the further families begin, and those of each."""
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
    each: int
    """Of each further family, see `further.py`: half of them good, half of them bad."""
    short: int = 0
    """Releases that follow another within seconds or minutes."""
    idle: int = 0
    """Few requests, and an old revision that failed some minutes before."""
    starting: int = 0
    """The ledger knows whether the service has a warm-up."""
    ramps: int = 0
    """Faults that grow over minutes, of the release or of both revisions."""
    skewed: int = 0
    """Services with few purchases among many requests."""

    def only(self, family: str) -> Counts:
        """Leave out all other families."""
        none = {each.name: 0 for each in fields(self)}
        return Counts(**{**none, family: getattr(self, family)})


FULL = Counts(
    plain=5200,
    confounded=5250,
    bad=1100,
    bad_confounded=840,
    mild=300,
    each=120,
    short=300,
    idle=200,
    starting=300,
    ramps=100,
    skewed=200,
)
ABLATED = Counts(plain=200, confounded=420, bad=220, bad_confounded=160, mild=20, each=18)
"""Where rules of the judge are taken away: fewer releases on which no rule is asked."""
SMALL = Counts(plain=80, confounded=60, bad=34, bad_confounded=20, mild=6, each=0)


def scenarios(counts: Counts, first: int) -> list[Scenario]:
    """Make all scenarios in a mixed order, so that a part of a run is a sample of it."""
    found = list(_each(counts, first))
    random.Random(first).shuffle(found)
    return found


def _each(counts: Counts, first: int) -> Iterator[Scenario]:
    """Each family has seeds of its own from `first` on."""
    usual: tuple[tuple[int, int, Callable[[int, int], Scenario]], ...] = (
        (0, counts.plain, lambda seed, _: plain(seed)),
        (100_000, counts.confounded, lambda seed, number: confounded(seed, _row(number))),
        (200_000, counts.bad, lambda seed, _: bad(seed)),
        (300_000, counts.bad_confounded, lambda seed, number: beside(seed, _row(number))),
        (400_000, counts.mild, lambda seed, _: mild(seed)),
        (430_000, counts.skewed, lambda seed, _: skewed(seed)),
        (450_000, counts.short, lambda seed, _: short(seed)),
        (460_000, counts.idle, lambda seed, _: idle(seed)),
        (470_000, counts.ramps, lambda seed, _: ramp(seed)),
        (480_000, counts.starting, lambda seed, _: starting(seed)),
    )
    for begin, amount, drawn in usual:
        for number in range(amount):
            yield drawn(first + begin + number, number)
    for begin, made in zip(
        count(first + FURTHER, FURTHER_STEP), further.FAMILIES.values(), strict=False
    ):
        for number in range(counts.each):
            yield made(plain(begin + number), number)


def _row(number: int) -> Confounder:
    return ROWS[number % len(ROWS)]


def family_of(scenario: Scenario) -> str:
    """Name the further family of a scenario by its seed; empty: it is of none."""
    number = scenario.seed % 500_000 - FURTHER
    if number < 0:
        return ""
    return tuple(further.FAMILIES)[number // FURTHER_STEP]


def fixed() -> list[Scenario]:
    """Make the 200 that run with the unit tests: short, and on few pods, so that they are quick."""
    return [quick(release) for release in _each(SMALL, FIXED)]


def quick(release: Scenario) -> Scenario:
    """Shorten a scenario to the minutes around its fault, on few pods."""
    is_bad = release.fault is not Fault.NONE
    longest = release.onset + release.ramp + 200.0 if is_bad else 120.0
    longest = max(longest, release.since + 60.0) if release.confounder in BOTH_FAIL else longest
    if release.confounder is Confounder.IDLE:
        longest = max(longest, release.since + release.lasts + 200.0)
    if release.trends:
        longest = release.horizon
    return replace(
        release, pods=min(release.pods, 5), bursts=0.0, horizon=min(release.horizon, longest)
    )


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
        # What fails on both anyway is small enough that the release can add to it.
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


def short(seed: int) -> Scenario:
    """A release soon after the revision before it: healthy, bad, or with an outage of both.

    No old pod is left, so that the short past is all the control.
    """
    dice = random.Random(seed ^ 0x5407)
    made = replace(plain(seed), rollout=Rollout.FAST, diurnal=0.0, horizon=300.0)
    made = replace(made, rps=round(_enough(made.rps, dice), 4))
    made = replace(made, past=round(math.exp(dice.uniform(math.log(5), math.log(200))), 1))
    match seed % 5:
        case 0 | 1:
            size = round(math.exp(dice.uniform(math.log(0.06), 0.0)), 3)
            fault = dice.choice((Fault.TOTAL, Fault.ERRORS, Fault.ERRORS))
            size = 1.0 if fault is Fault.TOTAL else size
            return replace(made, fault=fault, size=size, horizon=1000.0)
        case 2:
            row = dice.choice((Confounder.DEPENDENCY, Confounder.NEIGHBOUR, Confounder.WARM_UP))
            return _confound(replace(made, bursts=0.0), row, dice)
        case _:
            return made


def idle(seed: int) -> Scenario:
    """Few requests, and a fault of the old revision that began minutes before, with it or without.

    Half of them have a fault of their own beside it, or instead of it.
    """
    dice = random.Random(seed ^ 0x1D7E)
    made = replace(plain(seed), rollout=Rollout.FAST, diurnal=0.0, bursts=0.0, horizon=900.0)
    made = replace(made, rps=round(math.exp(dice.uniform(math.log(0.1), math.log(2))), 4))
    if seed % 2:
        size = round(math.exp(dice.uniform(math.log(0.2), 0.0)), 3)
        return replace(made, fault=Fault.ERRORS, size=size, horizon=1000.0)
    rate = round(math.exp(dice.uniform(math.log(0.08), math.log(0.6))), 3)
    since = -60 * round(dice.uniform(2, 30), 1)
    return replace(made, confounder=Confounder.OLDER, extent=rate, since=since)


def ramp(seed: int) -> Scenario:
    """A fault of the release that grows over minutes, or an outage of both that begins later."""
    dice = random.Random(seed ^ 0x6A3B)
    made = replace(plain(seed), rollout=Rollout.FAST, diurnal=0.0, bursts=0.0, horizon=1000.0)
    made = replace(made, rps=round(_enough(made.rps, dice), 4))
    if seed % 4 == 3:
        return _confound(made, dice.choice((Confounder.COINCIDENCE, Confounder.NEIGHBOUR)), dice)
    size = round(math.exp(dice.uniform(math.log(0.1), 0.0)), 3)
    seconds = round(math.exp(dice.uniform(math.log(60), math.log(400))), 1)
    return replace(made, fault=Fault.RAMP, size=size, ramp=seconds, horizon=1400.0)


def starting(seed: int) -> Scenario:
    """A service whose earlier starts are known: with a warm-up or without.

    With a warm-up, the release is healthy or has a fault beside it. Without, it is healthy, bad
    from the first request on, or both revisions fail.
    """
    dice = random.Random(seed ^ 0x57A7)
    made = replace(plain(seed), rollout=Rollout.FAST, diurnal=0.0)
    made = replace(made, rps=round(_enough(made.rps, dice), 4))
    size = round(math.exp(dice.uniform(math.log(0.06), 0.0)), 3)
    match seed % 6:
        case 0:
            made = _confound(replace(made, bursts=0.0), Confounder.WARM_UP, dice)
            return replace(made, starts="Failing")
        case 1:
            made = _confound(replace(made, bursts=0.0), Confounder.WARM_UP, dice)
            size = max(0.3, size)
            return replace(made, fault=Fault.ERRORS, size=size, horizon=1000.0, starts="Failing")
        case 2:
            rows = (Confounder.DEPENDENCY, Confounder.NEIGHBOUR, Confounder.OLDER, Confounder.SPIKE)
            made = _confound(replace(made, bursts=0.0), dice.choice(rows), dice)
            return replace(made, starts="Clean")
        case 3:
            return replace(made, starts="Clean")
        case _:
            fault = dice.choice((Fault.TOTAL, Fault.ERRORS, Fault.ERRORS))
            size = 1.0 if fault is Fault.TOTAL else size
            return replace(made, fault=fault, size=size, horizon=1000.0, starts="Clean")


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
