"""Prometheus and the pods' own pages, kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.baseline import Control
from rollback_operator.model.samples import Missing, Reading
from rollback_operator.ports.metrics import (
    CounterQuery,
    CredentialsCheck,
    Metrics,
    PageQuery,
    PodMetrics,
    Prometheus,
    SeriesQuery,
    TrendMetrics,
)
from rollback_operator.stats.histogram import Histogram

NOTHING = Missing(Reason.NO_SERIES, "there are no series")
UNREACHABLE = Missing(Reason.PODS_UNREACHABLE, "connection refused")


@dataclass
class FakeMetrics:
    """Prometheus: gives what a test puts in, and notes the queries."""

    reading: Reading = NOTHING
    control: Control | Missing = NOTHING
    clock: float | Missing = 0.0
    queries: list[tuple[CounterQuery, float]] = field(default_factory=list)
    clock_reads: int = 0

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        self.queries.append((query, seconds))
        return self.reading

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        self.queries.append((query, until))
        return self.control

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        self.clock_reads += 1
        return self.clock


@dataclass
class FakeCredentialsCheck:
    """What policies bring for Prometheus: as good as a test says."""

    said: str = ""

    async def obstacle(self, prometheus: Prometheus) -> str:
        return self.said


@dataclass
class FakePods:
    """The pods' own pages: gives what a test puts in, and notes the queries."""

    reading: Reading = UNREACHABLE
    queries: list[PageQuery] = field(default_factory=list)

    async def read(self, query: PageQuery) -> Reading:
        self.queries.append(query)
        return self.reading


@dataclass
class FakeTrends:
    """Durations, memory and own queries: gives what a test puts in, and notes what was asked."""

    latency: Mapping[str, Histogram] | Missing = NOTHING
    past: Histogram | Missing = NOTHING
    gauge: Mapping[str, float] | Missing = NOTHING
    slope: Mapping[str, float] | Missing = NOTHING
    value: float | Missing = NOTHING
    asked: list[str] = field(default_factory=list)
    delay: float = 0.0

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        self.asked.append(f"latency {query.signal.metric} {at:.0f}")
        await asyncio.sleep(self.delay)
        return self.latency

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        self.asked.append(f"past {','.join(query.pods)} {until:.0f}")
        return self.past

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        self.asked.append(f"routes {','.join(query.pods)} {until:.0f}")
        return {} if isinstance(self.past, Missing) else {"/buy": self.past}

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        self.asked.append(f"gauge {query.signal.metric} {at:.0f}")
        return self.gauge

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        self.asked.append(f"slope {','.join(query.pods)} {seconds:.0f} {at:.0f}")
        return self.slope

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        self.asked.append(f"query {query} {at:.0f}")
        return self.value


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _metrics: Metrics = FakeMetrics()
    _credentials: CredentialsCheck = FakeCredentialsCheck()
    _pods: PodMetrics = FakePods()
    _trends: TrendMetrics = FakeTrends()
