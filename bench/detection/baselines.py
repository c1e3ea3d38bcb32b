"""Rules in common use, on the same samples: when each of them would roll a release back.

They see what Prometheus shows: `increase` with its extrapolation, NaN and nothing at all. Where a
rule's documentation leaves open what missing data mean, the tool's own behaviour is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.detection import reference
from bench.detection.past import increase
from bench.detection.world import Floats, Series, World
from rollback_operator.stats.sequential import EFFECTS

EVERY = 15.0
"""Prometheus evaluates alert rules each 15 s, a usual setting."""
RUNBOOK_RATE, RUNBOOK_WINDOW = 0.05, 300.0
FLAGGER_EVERY, FLAGGER_RATE = 60.0, 0.99
ARGO_EVERY, ARGO_RATE, ARGO_FAILURES = 300.0, 0.95, 3
BURN, BURN_WINDOWS = 14.4 * 0.001, (3600.0, 300.0)
KAYENTA_POINTS, KAYENTA_SIDE, KAYENTA_TOLERANCE = 50, 0.01, 1.25
"""Points a metric and run, half of what 98 % confidence leaves, and the effect that is let pass."""
SPRT_ALPHA = 1e-4
LEAST_BASE = 1e-3
"""An SPRT with a base of 0 would roll back at the first error."""


@dataclass(frozen=True)
class Sight:
    """A scenario's samples, all together and the new pods' alone."""

    world: World

    def sums(
        self, times: Floats, window: float, is_new: bool | None = None
    ) -> tuple[Floats, Floats]:
        """Compute sum(increase(requests)) and sum(increase(errors)); NaN where nothing is."""
        return (
            self._sum(self.world.requests, times, window, is_new),
            self._sum(self.world.errors, times, window, is_new),
        )

    def _sum(
        self, series: Sequence[Series], times: Floats, window: float, is_new: bool | None
    ) -> Floats:
        new = {one.name for one in self.world.cast.new}
        chosen = [one for one in series if is_new is None or (one.pod in new) == is_new]
        total, known = np.zeros(len(times)), np.zeros(len(times), dtype=bool)
        for one in chosen:
            part = increase(one, times, window)
            known |= ~np.isnan(part)
            total += np.nan_to_num(part)
        return np.where(known, total, np.nan)

    def rate(self, times: Floats, window: float, is_new: bool | None = None) -> Floats:
        """Compute the error rate as the usual quotient does; no error series counts as none."""
        requests, errors = self.sums(times, window, is_new)
        errors = np.where(np.isnan(errors), 0.0, errors)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = errors / requests
        return found


Baseline = Callable[[Sight, float], float | None]


def _first(times: Floats, is_bad: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float | None:
    found = np.flatnonzero(is_bad)
    return float(times[found[0]]) if len(found) else None


def runbook(sight: Sight, until: float) -> float | None:
    """More than 5 % of all requests failed over five minutes."""
    times = np.arange(EVERY, until, EVERY)
    return _first(times, sight.rate(times, RUNBOOK_WINDOW) > RUNBOOK_RATE)


def burn_rate(sight: Sight, until: float) -> float | None:
    """14.4 times the budget of an SLO of 99.9 %, over an hour and over five minutes."""
    times = np.arange(EVERY, until, EVERY)
    long, short = (sight.rate(times, one) > BURN for one in BURN_WINDOWS)
    return _first(times, long & short)


def flagger(failures: int) -> Baseline:
    """Make Flagger's documented check of the canary: 1 m, success >= 99 %; no data fails it."""

    def rule(sight: Sight, until: float) -> float | None:
        times = np.arange(FLAGGER_EVERY, until, FLAGGER_EVERY)
        passes = 1 - sight.rate(times, FLAGGER_EVERY, is_new=True) >= FLAGGER_RATE
        return _first(times, np.cumsum(~passes) >= failures)

    return rule


def argo(sight: Sight, until: float) -> float | None:
    """Argo Rollouts' documented example: 5 m, success >= 95 % of the service, failureLimit 3.

    irate takes the last two samples of the window; NaN is no success.
    """
    times = np.arange(0.0, until, ARGO_EVERY)
    # The last two samples lie within a window of two and a half scrapes.
    rates = sight.rate(times, 2.5 * sight.world.scenario.scrape)
    return _first(times, np.cumsum(~(1 - rates >= ARGO_RATE)) > ARGO_FAILURES)


def kayenta(sight: Sight, until: float) -> float | None:
    """Kayenta's judge: Mann-Whitney at 98 % on error rates, 50 points a run, run after run.

    The control is the old revision in the same time, else its last 50 points before the release.
    Points without data are removed; fewer than 50 make no run (Nodata).
    """
    step = sight.world.scenario.scrape
    window = max(2.5 * step, 15.0)
    before = sight.rate(np.arange(-KAYENTA_POINTS * step, 0.0, step), window, is_new=False)
    times = np.arange(step, until, step)
    new, old = (sight.rate(times, window, is_new=kind) for kind in (True, False))
    fresh = np.flatnonzero(~np.isnan(new))
    for end in range(KAYENTA_POINTS, len(fresh) + 1, KAYENTA_POINTS):
        chosen = fresh[end - KAYENTA_POINTS : end]
        beside = old[chosen][~np.isnan(old[chosen])]
        control = beside if len(beside) >= KAYENTA_POINTS else before[~np.isnan(before)]
        if len(control) >= KAYENTA_POINTS // 2 and _is_higher(new[chosen], control):
            return float(times[chosen[-1]])
    return None


def _is_higher(new: Floats, old: Floats) -> bool:
    if float(new.mean()) <= KAYENTA_TOLERANCE * float(old.mean()):
        return False
    return mann_whitney(new, old) < KAYENTA_SIDE


def mann_whitney(new: Floats, old: Floats) -> float:
    """Compute the one-sided p of Mann and Whitney's U (1947), normal, corrected for ties."""
    both = np.concatenate([new, old])
    _, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    n, m = len(new), len(old)
    u = float(ranks[place][:n].sum()) - n * (n + 1) / 2
    total = n + m
    ties = float(((counts**3 - counts).sum()) / (total * (total - 1)))
    spread = math.sqrt(max(0.0, n * m / 12 * (total + 1 - ties)))
    if spread == 0:
        return 1.0
    return 0.5 * math.erfc((u - n * m / 2) / spread / math.sqrt(2))


def sprt(sight: Sight, until: float) -> float | None:
    """A sequential test of the new pods against the old revision's known rate (Wald 1945)."""
    hour = np.array([0.0])
    base = float(np.nan_to_num(sight.rate(hour, 3600.0, is_new=False))[0])
    base = min(0.5, max(LEAST_BASE, base))
    times = np.arange(sight.world.scenario.scrape, until, sight.world.scenario.scrape)
    requests, errors = _counted(sight.world, times)
    odds = np.zeros(len(times))
    for effect in EFFECTS:
        worse = min(0.99, effect * base)
        nats = errors * math.log(worse / base)
        nats += np.maximum(0.0, requests - errors) * math.log((1 - worse) / (1 - base))
        odds += np.exp(np.minimum(nats, 600.0)) / len(EFFECTS)
    return _first(times, odds >= 1 / SPRT_ALPHA)


def _counted(world: World, times: Floats) -> tuple[Floats, Floats]:
    """Add up what the new pods have counted from zero, by each time."""
    new = {one.name for one in world.cast.new}
    found = []
    for series in (world.requests, world.errors):
        total = np.zeros(len(times))
        for one in series:
            if one.pod in new and len(one.times):
                drops = np.where(one.values[1:] < one.values[:-1], one.values[:-1], 0.0)
                grown = one.values + np.concatenate([[0.0], np.cumsum(drops)])
                at = np.searchsorted(one.times, times, side="right")
                total += np.concatenate([[0.0], grown])[at]
        found.append(total)
    return found[0], found[1]


BASELINES: Mapping[str, Baseline] = {
    "runbook rule (5 m > 5 %)": runbook,
    "Flagger example (1 m, 99 %, 10)": flagger(10),
    "Flagger example (1 m, 99 %, 5)": flagger(5),
    "Argo example (5 m, 95 %, > 3)": argo,
    "burn rate 14.4 (1 h and 5 m)": burn_rate,
    "Kayenta (Mann-Whitney 98 %)": kayenta,
    "SPRT, known base": sprt,
    "reference (one page)": lambda view, until: reference.decide(view.world, until),
}


def decisions(world: World) -> dict[str, float | None]:
    """Tell for each baseline when it would have rolled back within the horizon."""
    sight = Sight(world)
    return {name: rule(sight, world.scenario.horizon) for name, rule in BASELINES.items()}
