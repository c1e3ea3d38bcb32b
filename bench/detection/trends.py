"""Durations and memory of a scenario's pods, as a provider of slow signals would answer them.

Durations are lognormal around 40 ms; a slow release multiplies them. Requests are those that were
scraped. Memory fills like a cache as a pod ages; a leak grows up to the limit, where the container
is killed.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from bench.detection.lives import Life
from bench.detection.past import HOUR, INGESTED
from bench.detection.scenario import Fault
from bench.detection.world import T0, Floats, World
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import Prometheus, SeriesQuery
from rollback_operator.stats.histogram import Histogram

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
"""The usual buckets of a client library, seconds."""
MEDIAN_SECONDS, SPREAD = 0.04, 0.5
MEMORY_LIMIT = 512.0 * 2**20
START_SHARE, CACHE_SHARE, NOISE_SHARE = 0.2, 0.2, 0.005
"""Of the limit: at a pod's start, what a full cache takes, and the noise of a reading."""
CACHE_SECONDS = 60.0


class SlowSignals:
    """A TrendMetrics port on a drawn world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lives = {life.name: life for life in world.cast.lives}

    @cached_property
    def _durations(self) -> dict[str, tuple[Floats, Floats]]:
        """Draw (times, cumulative counts by bucket) of each pod."""
        dice = np.random.default_rng([self._world.scenario.seed, 21])
        drawn = {}
        for name, life in self._lives.items():
            totals: dict[float, float] = {}
            for series in self._world.requests:
                if series.pod == name:
                    for time, value in zip(series.times, series.values, strict=True):
                        totals[float(time)] = totals.get(float(time), 0.0) + float(value)
            times = np.array(sorted(totals))
            grown = np.diff([totals[time] for time in sorted(totals)], prepend=0.0)
            counts = dice.multinomial(np.maximum(grown, 0).astype(int), self._shares(life))
            drawn[name] = times, counts.cumsum(axis=0).cumsum(axis=1).astype(float)
        return drawn

    def _shares(self, life: Life) -> list[float]:
        scenario = self._world.scenario
        is_slow = scenario.fault is Fault.LATENCY and life.is_new
        median = MEDIAN_SECONDS * (scenario.size if is_slow else 1.0)
        below = [
            0.5 * (1 + math.erf(math.log(bound / median) / SPREAD / math.sqrt(2)))
            if math.isfinite(bound)
            else 1.0
            for bound in BOUNDS
        ]
        return [high - low for low, high in zip([0.0, *below], below, strict=False)]

    def _histogram(self, pod: str, at: float) -> Histogram:
        times, counts = self._durations[pod]
        index = int(np.searchsorted(times, at - T0 - INGESTED, side="right")) - 1
        return Histogram(BOUNDS, tuple(counts[index])) if index >= 0 else Histogram()

    def _chosen(self, query: SeriesQuery) -> list[Life]:
        pattern = re.compile("|".join(query.pods))
        return [life for name, life in self._lives.items() if pattern.fullmatch(name)]

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read each pod's durations."""
        read = {life.name: self._histogram(life.name, at) for life in self._chosen(query)}
        return {
            name: histogram
            for name, histogram in read.items()
            if histogram.total and at - T0 < self._lives[name].gone
        }

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Read the durations of the hour up to `until`, over all pods."""
        total = np.zeros(len(BOUNDS))
        for life in self._chosen(query):
            earlier = self._histogram(life.name, until - HOUR).counts or (0.0,) * len(BOUNDS)
            newest = self._histogram(life.name, until).counts or earlier
            total += np.array(newest) - np.array(earlier)
        return Histogram(BOUNDS, tuple(total))

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Answer nothing: routes are for a diagnosis, which the bench does not print."""
        return {}

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Read the memory of each pod that runs."""
        now = at - T0
        return {
            life.name: self._memory(life, now)
            for life in self._chosen(query)
            if life.started <= now < life.gone
        }

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        """Read how fast the memory of each pod grew."""
        now = at - T0
        return {
            life.name: (self._memory(life, now) - self._memory(life, now - seconds)) / seconds
            for life in self._chosen(query)
            if life.started <= now - seconds
        }

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Refuse: no policy of the bench has a query of its own."""
        raise NotImplementedError(query)

    def _memory(self, life: Life, now: float) -> float:
        scenario = self._world.scenario
        age = max(0.0, now - life.container_started(now))
        share = START_SHARE + CACHE_SHARE * (1 - math.exp(-age / CACHE_SECONDS))
        if scenario.fault is Fault.LEAK and life.is_new:
            share += (1 - START_SHARE - CACHE_SHARE) * age / (60 * scenario.size)
        noise = random.Random(f"{scenario.seed} {life.name} {now:.1f}").gauss(0.0, NOISE_SHARE)
        return MEMORY_LIMIT * min(1.0, share + noise)
