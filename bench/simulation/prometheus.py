"""Prometheus: scrapes the pods, keeps the samples, and answers as the adapters would.

The simulation is at the port, not at HTTP: what an adapter makes of answers is tested against a
real Prometheus. A pod is found 5 to 10 s after its start and scraped on its own beat from then on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench.simulation.loop import VirtualLoop
from bench.simulation.pods import Pod
from bench.simulation.releases import LIST, PURCHASE, ROUTES, Truth
from bench.simulation.traffic import BASE_ERRORS
from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.baseline import Control, RouteControl
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.metrics import CounterQuery, Prometheus, SeriesQuery
from rollback_operator.stats.histogram import Histogram

INTERVAL = 5.0
INGESTED = 0.3
HOUR = 3600.0
FOUND = (5.0, 10.0)


@dataclass
class _Track:
    pod: Pod
    since: float
    """Since when it serves, seconds of the loop; negative: before the simulation."""
    samples: list[tuple[float, dict[str, int], dict[str, int]]] = field(default_factory=list)


@dataclass
class Database:
    """The samples of all pods, by the loop's time."""

    loop: VirtualLoop
    dice: random.Random
    rps: float
    epoch: float
    """The world's time at the loop's zero."""
    tracks: dict[str, _Track] = field(default_factory=dict)

    def follow(self, pod: Pod, age: float = 0.0) -> None:
        """Scrape a pod from some time after its start on."""
        if pod.name in self.tracks:
            return
        self.tracks[pod.name] = _Track(pod, self.loop.time() - age)
        wait = self.dice.uniform(0, INTERVAL) if age else self.dice.uniform(*FOUND)
        self.loop.after(wait, self._scrape, pod)

    def pod_changed(self, pod: Pod) -> None:
        """Find a pod whose container has started."""
        if pod.started is not None:
            self.follow(pod)

    def _scrape(self, pod: Pod) -> None:
        if pod.is_gone:
            return
        if pod.started is not None:
            sample = self.loop.time(), dict(pod.requests), dict(pod.errors)
            self.tracks[pod.name].samples.append(sample)
        self.loop.after(INTERVAL, self._scrape, pod)

    def counters(self, patterns: Iterable[str], since: float, until: float) -> Counters:
        """Give all samples in a span of the loop's time."""
        found = [
            (name, [one for one in track.samples if since <= one[0] <= until])
            for name, track in self.tracks.items()
            if any(re.fullmatch(pattern, name) for pattern in patterns)
        ]
        return Counters(self._series(found, 1), self._series(found, 2))

    def _series(
        self,
        found: list[tuple[str, list[tuple[float, dict[str, int], dict[str, int]]]]],
        side: int,
    ) -> tuple[CounterSeries, ...]:
        return tuple(
            CounterSeries(
                pod=name,
                route=route,
                identity=(),
                instance=f"{name}:8080",
                samples=tuple(
                    (self.epoch + one[0], float((one[1] if side == 1 else one[2])[route]))
                    for one in samples
                ),
            )
            for name, samples in found
            if samples
            for route in ROUTES
        )

    def control(self, patterns: Iterable[str], until: float) -> Control:
        """Sum up the hour of some pods, as if it had been counted by the minute."""
        tracks = [
            track
            for name, track in self.tracks.items()
            if any(re.fullmatch(pattern, name) for pattern in patterns) and track.since < until
        ]
        if not tracks:
            return Control(0.0, {})
        seconds = min(HOUR, until - min(track.since for track in tracks))
        failing = tracks[0].pod.release.truth is Truth.FAILING
        rate = BASE_ERRORS + (tracks[0].pod.release.fails if failing else 0.0)
        routes = {one: self._past(seconds, self.rps * ROUTES[one], rate) for one in ROUTES}
        return Control(
            seconds=seconds,
            routes=routes,
            busiest_minute=self.rps * 1.1,
            quietest_minute=self.rps * 0.9,
            pooled=RouteControl(
                requests=sum(routes[one].requests for one in (PURCHASE, LIST)),
                errors=sum(routes[one].errors for one in (PURCHASE, LIST)),
                worst_minute=max(one.worst_minute for one in routes.values()),
                last=(
                    sum(routes[route].last[0] for route in (PURCHASE, LIST)),
                    sum(routes[route].last[1] for route in (PURCHASE, LIST)),
                ),
            ),
        )

    def _past(self, seconds: float, rps: float, rate: float) -> RouteControl:
        each = [sum(self.dice.random() < rate for _ in range(int(rps * 60))) for _ in range(2)]
        worst = max(each) / (rps * 60)
        last = min(seconds, 120.0) * rps
        return RouteControl(seconds * rps, seconds * rps * rate, worst, last=(last, last * rate))


UNREACHABLE = Missing(Reason.PROVIDER_UNREACHABLE, "connection refused")
NO_SERIES = Missing(Reason.NO_SERIES, "there are no series")


@dataclass
class Provider:
    """The Metrics and the TrendMetrics ports of one operator."""

    database: Database
    faults: MetricFaults

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read counters."""
        fault = await self.faults.of_metrics("read")
        if fault is not None:
            return fault
        now = self.database.loop.time()
        until = min(now - INGESTED, self.faults.newest_sample())
        found = self.database.counters(query.pods, now - seconds, until)
        return found if found.requests else NO_SERIES

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the past."""
        fault = await self.faults.of_metrics("control")
        if fault is not None:
            return fault
        return self.database.control(query.pods, until - self.database.epoch)

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the time."""
        fault = await self.faults.of_metrics("clock")
        return fault or self.database.epoch + self.database.loop.time()

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Find no durations."""
        return NO_SERIES

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Find no durations."""
        return NO_SERIES

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Find no durations."""
        return NO_SERIES

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Find no gauge."""
        return NO_SERIES

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        """Find no gauge."""
        return NO_SERIES

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Find nothing."""
        return NO_SERIES


class MetricFaults:
    """What may go wrong between an operator and its metrics; here: nothing."""

    async def of_metrics(self, what: str) -> Missing | None:
        """Wait as long as an answer takes; gives what comes in place of one."""
        return None

    def newest_sample(self) -> float:
        """Give the loop's time after which there are no samples."""
        return float("inf")
