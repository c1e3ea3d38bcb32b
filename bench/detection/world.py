"""Scenario -> what there is to see of it: raw counters as they were scraped, pods as they were.

Requests are drawn one by one in law: their number in each step is Poisson, the failures among them
binomial, per pod and route. A counter is read at the scrape's time; a failed scrape leaves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bench.detection.lives import DISCOVERY_SECONDS, EVER, Cast, Life, cast
from bench.detection.scenario import (
    BOTH_FAIL,
    PURCHASE,
    ROUTES,
    Confounder,
    Fault,
    Scenario,
)

T0 = 1_790_000_000.0
PAST = 3720.0
"""Seconds of the old revision's past that are drawn."""
NEAR = 120.0
COARSE, FINE = 5.0, 0.5
"""Steps in which requests are drawn, long before the release and from then on."""
BURST_SECONDS = 5.0, 60.0
BURST_RATE = 0.01, 0.08
WARM_UP_SECONDS = 5.0
SPIKE_TIMES = 5.0
DAY = 86400.0
BAD_NODE = "node-1"
Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Series:
    """One counter of one pod as it was scraped."""

    pod: str
    route: str
    times: Floats
    """Seconds from the template's change."""
    values: Floats


@dataclass(frozen=True)
class World:
    """What a scenario's line stands for."""

    scenario: Scenario
    cast: Cast
    requests: tuple[Series, ...]
    errors: tuple[Series, ...]
    edges: Floats
    """Borders of the steps in which requests were drawn."""
    rates: Floats
    """Expected requests a second by pod, route and step."""
    failing: Floats
    """Share of them that is expected to fail."""
    first_failed: float | None
    """When the first request to a new pod failed."""
    served: Steps
    """Requests by pod, route and step, as they were drawn."""
    failed: Steps
    """... and those of them that failed."""

    @cached_property
    def arrivals(self) -> tuple[float, ...]:
        """The times of all samples after the template's change, in order."""
        times = {float(time) for one in self.requests for time in one.times if time > 0}
        return tuple(sorted(times))


def build(scenario: Scenario) -> World:
    """Draw everything that the scenario leaves open."""
    dice = np.random.default_rng([scenario.seed, 20])
    made = cast(scenario)
    edges = np.concatenate(
        [np.arange(-PAST, -NEAR, COARSE), np.arange(-NEAR, scenario.horizon + FINE, FINE)]
    )
    traffic = _Traffic(scenario, made, edges)
    rates = traffic.rates()
    failing = traffic.failing(dice)
    served, failed = _draw(scenario, rates, failing, np.diff(edges), dice)
    requests, errors = _scraped(traffic, served, failed, dice)
    first = _first(traffic, failed)
    drawn = (rates, failing, first, served, failed)
    return World(scenario, made, requests, errors, edges, *drawn)


@dataclass(frozen=True)
class _Traffic:
    scenario: Scenario
    cast: Cast
    edges: Floats

    @cached_property
    def middles(self) -> Floats:
        return (self.edges[1:] + self.edges[:-1]) / 2

    @cached_property
    def serving(self) -> Floats:
        """1 where a pod gets requests, by pod and step."""
        mask = np.zeros((len(self.cast.lives), len(self.middles)))
        for index, life in enumerate(self.cast.lives):
            mask[index] = (self.middles >= life.ready) & (self.middles < life.gone)
            for time in life.restarts:
                mask[index][(self.middles >= time) & (self.middles < time + life.pause)] = 0.0
        return mask

    @cached_property
    def is_new(self) -> npt.NDArray[np.bool_]:
        return np.array([life.is_new for life in self.cast.lives])

    def rates(self) -> Floats:
        """Compute the requests a second of each pod on each route."""
        scenario, times = self.scenario, self.middles
        total = scenario.rps * (1 + scenario.diurnal * np.sin(2 * np.pi * times / DAY))
        if scenario.confounder is Confounder.SPIKE:
            total = np.where(times >= scenario.since, total * SPIKE_TIMES, total)
        if scenario.confounder is Confounder.IDLE:
            total = np.where(self._during(), 0.0, total)
        shares = np.stack([self._shares(route) for route in ROUTES], axis=1)
        mix = np.array([scenario.mix[route] for route in ROUTES])
        found: Floats = shares * mix[None, :, None] * total[None, None, :]
        return found

    def _shares(self, route: str) -> Floats:
        serving = self.serving
        if self.scenario.confounder is Confounder.ROUTE_MIX and route != PURCHASE:
            # Sticky sessions: as long as an old pod serves, new ones get purchases only.
            has_old = serving[~self.is_new].sum(axis=0) > 0
            serving = np.where(self.is_new[:, None] & has_old[None, :], 0.0, serving)
        weighted = serving * self._weights()
        total = weighted.sum(axis=0)
        found: Floats = np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0)
        return found

    def _weights(self) -> Floats:
        """Give each pod's weight within a canary, or one for all."""
        weights = np.ones_like(self.serving)
        if not self.cast.weights:
            return weights
        new = np.ones(len(self.middles))
        has_old = np.ones(len(self.middles))
        for since, share in self.cast.weights:
            new[self.middles >= since] = share / (1 - share)
        return np.where(self.is_new[:, None], new[None, :], has_old[None, :])

    def failing(self, dice: np.random.Generator) -> Floats:
        """Compute the share of the requests that fails, by pod, route and step."""
        scenario = self.scenario
        count, steps = len(self.cast.lives), len(self.middles)
        base = scenario.base if scenario.clump == 1 else 0.0
        passes = np.full((count, len(ROUTES), steps), 1 - base)
        passes *= 1 - self._bursts(dice)[None, None, :]
        passes *= 1 - self._fault()
        passes *= 1 - self._confounder()
        return 1 - passes

    def _bursts(self, dice: np.random.Generator) -> Floats:
        """Draw times at which something shared fails, as often before the release as after."""
        rate = np.zeros(len(self.middles))
        span = self.edges[-1] - self.edges[0]
        for _ in range(dice.poisson(self.scenario.bursts * span / 3600)):
            begin = dice.uniform(self.edges[0], self.edges[-1])
            end = begin + dice.uniform(*BURST_SECONDS)
            size = dice.uniform(*BURST_RATE)
            rate[(self.middles >= begin) & (self.middles < end)] = size
        return rate

    def _fault(self) -> Floats:
        """Give the release's own fault."""
        scenario = self.scenario
        rate = np.zeros((len(self.cast.lives), len(ROUTES), len(self.middles)))
        by_route = {
            Fault.TOTAL: {PURCHASE: 1.0},
            Fault.ONE_ROUTE: {ROUTES[1]: scenario.size},
            Fault.ERRORS: dict.fromkeys(ROUTES, scenario.size),
            Fault.RAMP: dict.fromkeys(ROUTES, scenario.size),
            Fault.PARTIAL: dict.fromkeys(ROUTES, scenario.size),
        }.get(scenario.fault, {})
        if not by_route:
            return rate
        since = self.middles - self.cast.first_request - scenario.onset
        grown = np.clip(since / max(scenario.ramp, FINE), 0.0, 1.0)
        if not scenario.ramp:
            grown = (since >= 0).astype(float)
        for index, life in enumerate(self.cast.lives):
            is_spared = scenario.fault is Fault.PARTIAL and int(life.node.rsplit("-", 1)[1]) % 2
            if life.is_new and not is_spared:
                for route, size in by_route.items():
                    rate[index, ROUTES.index(route)] = size * grown
        return rate

    def _confounder(self) -> Floats:
        scenario, times = self.scenario, self.middles
        rate = np.zeros((len(self.cast.lives), len(ROUTES), len(times)))
        during = self._during()
        if scenario.confounder in BOTH_FAIL:
            rate[:, :, during] = scenario.extent
        match scenario.confounder:
            case Confounder.SHARED:
                follows = times >= self.cast.first_request + scenario.since
                rate[:, :, follows] = np.where(
                    self.is_new[:, None, None], 0.0, scenario.size * np.ones((1, len(ROUTES), 1))
                )
            case Confounder.WARM_UP:
                for index, life in enumerate(self.cast.lives):
                    age = np.clip(times - life.ready, 0.0, None)
                    rate[index] = life.is_new * scenario.extent * np.exp(-age / WARM_UP_SECONDS)
            case Confounder.NODE:
                on_it = np.array([life.node == BAD_NODE for life in self.cast.lives])
                rate[np.ix_(on_it, np.ones(len(ROUTES), dtype=bool), during)] = scenario.extent
            case Confounder.POD:
                rate[self._second_new()] = scenario.extent
            case Confounder.ROUTE_MIX:
                rate[:, ROUTES.index(PURCHASE)] = scenario.extent
            case _:
                pass
        return rate

    def _during(self) -> npt.NDArray[np.bool_]:
        """Choose the steps in which the confounder is at work."""
        scenario = self.scenario
        until = scenario.since + scenario.lasts if scenario.lasts else EVER
        return (self.middles >= scenario.since) & (self.middles < until)

    def _second_new(self) -> int:
        """The first new pod of a slow rollout is all there is to see of it: not that one."""
        return [index for index, life in enumerate(self.cast.lives) if life.is_new][1]


def _draw(
    scenario: Scenario,
    rates: Floats,
    failing: Floats,
    lengths: Floats,
    dice: np.random.Generator,
) -> tuple[Steps, Steps]:
    expected = rates * lengths[None, None, :]
    served = dice.poisson(expected)
    failed = dice.binomial(served, np.clip(failing, 0.0, 1.0))
    if scenario.clump > 1 and scenario.base:
        # One client's error is tried again at once, and fails again, on the same pod.
        storms = dice.poisson(expected * scenario.base / scenario.clump) * scenario.clump
        served, failed = served + storms, failed + storms
    return served, failed


def _first(traffic: _Traffic, failed: Steps) -> float | None:
    by_step = failed[traffic.is_new].sum(axis=(0, 1))
    found = np.flatnonzero(by_step)
    return float(traffic.edges[found[0]]) if len(found) else None


def _scraped(
    traffic: _Traffic,
    served: Steps,
    failed: Steps,
    dice: np.random.Generator,
) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
    scenario = traffic.scenario
    # Two services of three have their counters at 0 from the start, the third makes them on demand.
    is_initialised = scenario.seed % 3 != 0
    found: tuple[list[Series], list[Series]] = ([], [])
    for index, life in enumerate(traffic.cast.lives):
        times = _scrapes(scenario, life, dice)
        for number, route in enumerate(ROUTES):
            for kind, counts in enumerate((served, failed)):
                values = read_counter(counts[index, number], traffic.edges, times, life)
                is_there = values > 0 if not is_initialised else np.ones(len(values), dtype=bool)
                if is_there.any():
                    one = Series(life.name, route, times[is_there], values[is_there])
                    found[kind].append(one)
    return tuple(found[0]), tuple(found[1])


def _scrapes(scenario: Scenario, life: Life, dice: np.random.Generator) -> Floats:
    """Draw when a pod is scraped with success."""
    begin = max(life.started, -PAST)
    if life.is_new or scenario.past:
        begin += dice.uniform(0, DISCOVERY_SECONDS)
    first = begin + dice.uniform(0, scenario.scrape)
    is_scraped = life.ready < EVER or scenario.fault is Fault.SILENT
    end = min(life.gone, scenario.horizon) if is_scraped else first
    times = np.arange(first, max(first, end), scenario.scrape)
    times = times + dice.uniform(0, max(scenario.jitter, 1e-3), len(times))
    times = times[times < end]
    kept = dice.random(len(times)) >= scenario.loss
    if is_blind(scenario):
        kept &= (times < scenario.since) | (times >= scenario.since + scenario.lasts)
    found: Floats = np.round(times[kept], 3)
    return found


def is_blind(scenario: Scenario) -> bool:
    """Tell whether all scrapes fail for a time."""
    return scenario.confounder is Confounder.GAP or (
        scenario.confounder is Confounder.MISSING and scenario.extent == 0
    )


def read_counter(counts: Steps, edges: Floats, times: Floats, life: Life) -> Floats:
    """Read a counter at the scrapes' times; a restart of the container begins at 0 again."""
    sums = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    at = np.searchsorted(edges, times, side="right") - 1
    values = sums[at]
    for restart in life.restarts:
        base = sums[np.searchsorted(edges, restart, side="right") - 1]
        later = times >= restart
        values[later] = sums[at[later]] - base
    found: Floats = values
    return found
