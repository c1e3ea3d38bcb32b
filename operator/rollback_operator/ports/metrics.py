"""Where metrics are read: a policy's Prometheus, and the watched pods themselves."""

from collections.abc import Mapping
from typing import Protocol

from rollback_operator.evidence.baseline import Control
from rollback_operator.model.samples import Missing, Reading
from rollback_operator.ports.queries import CounterQuery, PageQuery, Prometheus, SeriesQuery
from rollback_operator.stats.histogram import Histogram


class TrendMetrics(Protocol):
    """What changes slowly, as the provider of metrics tells it."""

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read each pod's durations, all routes together, counted since its container started."""

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Read the durations of an hour up to `until`, all pods together."""

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read the durations of an hour up to `until` by route, all pods together."""

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Read a gauge of each pod, the highest where a pod has several."""

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        """Read by how much each pod's gauge grew a second, over so many seconds up to `at`.

        Of a pod without two values there is none.
        """

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Evaluate PromQL that gives one number."""


class Metrics(Protocol):
    """The provider of metrics."""

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters of the last `seconds`; Missing tells which kind of nothing."""

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read an hour's error rates by the minute up to `until`, by the provider's clock."""

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the provider's time, seconds since the epoch."""


class CredentialsCheck(Protocol):
    """What policies read their Prometheus with, if they bring something of their own."""

    async def obstacle(self, prometheus: Prometheus) -> str:
        """Name the field that leads to no usable value, and say why; empty: all do."""


class PodMetrics(Protocol):
    """The watched pods themselves."""

    async def read(self, query: PageQuery) -> Reading:
        """Read the counters of all pages at once: one sample a series, by the operator's clock.

        Pods that do not answer are left out; Missing tells why none of them was of use.
        """
