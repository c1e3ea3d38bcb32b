"""Series of a Compose service -> counters of its containers.

Prometheus knows a service here by its target: the same `instance` before and after a release, with
a counter that begins again. So each sample belongs to the container that served at its time, and
the policy's matchers, not a namespace and pods' names, select the service.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rollback_operator.adapters.compose.containers import Container
from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.baseline import Control
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.metrics import (
    CounterQuery,
    Metrics,
    Prometheus,
    SeriesQuery,
    TrendMetrics,
)
from rollback_operator.stats.histogram import Histogram

T = TypeVar("T")
MOST_INCARNATIONS = 64
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "host.docker.internal")


@dataclass
class Incarnations:
    """The containers of a service that have run, by time."""

    known: dict[str, Container] = field(default_factory=dict)

    def see(self, containers: Iterable[Container]) -> None:
        """Add containers; the oldest are forgotten."""
        self.known |= {each.key: each for each in containers if each.started is not None}
        for key in list(self.known)[:-MOST_INCARNATIONS]:
            del self.known[key]

    def named(self, instance: str, is_single: bool) -> Sequence[Container]:
        """List the containers behind a target, in order of their start."""
        behind = [each for each in self.known.values() if is_single or _is_at(each, instance)]
        return sorted(behind, key=lambda each: each.started or 0.0)


@dataclass(frozen=True, slots=True)
class ServiceContainers:
    """The containers of a service, as the agent saw them last."""

    incarnations: Incarnations
    is_single: bool
    """It has one container at a time: each target that the matchers select is that container."""


Find = Callable[[Sequence[str]], ServiceContainers]
"""Gives the containers of the service that a query's patterns of pod names mean."""


class ComposeMetrics:
    """The Metrics port: another's answers, by container."""

    def __init__(self, metrics: Metrics, find: Find) -> None:
        self._metrics = metrics
        self._find = find

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters, each sample under its container."""
        situation = self._find(query.pods)
        reading = await self._metrics.read(_of_service(query), seconds)
        if isinstance(reading, Missing) or not query.labels.pod:
            return reading
        requests = tuple(_by_container(reading.requests, situation))
        errors = tuple(_by_container(reading.errors, situation))
        if reading.requests and not requests:
            targets = ", ".join(sorted({each.pod for each in reading.requests})[:3])
            text = f"the series of {query.labels.pod} {targets} are of no container of the service"
            return Missing(
                Reason.NO_SERIES,
                f"{text}: scrape each container by its address, or narrow spec.signals.*.matchers",
            )
        return Counters(requests, errors)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the hour before the release: it was the service's, whichever container served."""
        return await self._metrics.read_control(_of_service(query), until)

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the provider's time."""
        return await self._metrics.read_clock(prometheus)


class ComposeTrends:
    """The TrendMetrics port: another's answers, by container."""

    def __init__(self, trends: TrendMetrics, find: Find) -> None:
        self._trends = trends
        self._find = find

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read the durations that each container has counted."""
        read = await self._trends.read_latency(_series_of_service(query), at)
        return read if isinstance(read, Missing) else self._named(query, read)

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Read the durations of an hour of the service."""
        return await self._trends.read_past_latency(_series_of_service(query), until)

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read the durations of an hour by route."""
        return await self._trends.read_route_latency(_series_of_service(query), until)

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Read a gauge of each container."""
        read = await self._trends.read_gauge(_series_of_service(query), at)
        return read if isinstance(read, Missing) else self._named(query, read)

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        """Read the growth of a gauge of each container."""
        read = await self._trends.read_gauge_slope(_series_of_service(query), seconds, at)
        return read if isinstance(read, Missing) else self._named(query, read)

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Evaluate a policy's own query."""
        return await self._trends.read_query(prometheus, query, at)

    def _named(self, query: SeriesQuery, read: Mapping[str, T]) -> Mapping[str, T]:
        situation = self._find(query.pods)
        named = {}
        for instance, value in read.items():
            behind = situation.incarnations.named(instance, situation.is_single)
            if behind:
                named[behind[-1].key] = value
        return named


def _of_service(query: CounterQuery) -> CounterQuery:
    return replace(query, namespace="", pods=())


def _series_of_service(query: SeriesQuery) -> SeriesQuery:
    return replace(query, namespace="", pods=())


def _by_container(
    all_: Iterable[CounterSeries], situation: ServiceContainers
) -> Iterator[CounterSeries]:
    """Cut series where containers begin; samples before the first known container are left out."""
    for series in all_:
        behind = situation.incarnations.named(series.pod, situation.is_single)
        starts = [each.started or 0.0 for each in behind]
        ends = [*starts, float("inf")][1:] if starts else []
        for container, start, end in zip(behind, starts, ends, strict=True):
            samples = tuple(each for each in series.samples if start <= each[0] < end)
            if samples:
                yield replace(series, pod=container.key, samples=samples)


def _is_at(container: Container, instance: str) -> bool:
    """Report whether a target's address leads to a container: by name, by IP or by its port."""
    host, _, port = instance.rpartition(":")
    host = host or instance
    if host in _LOOPBACK:
        return port.isdecimal() and int(port) in container.published
    names = {part for pair in container.networks for part in pair if part}
    return host in {*names, container.name, container.id, container.id[:12]}
