"""Prometheus' HTTP API -> durations, gauges and policies' own queries, by instant queries.

The answers are small: one every 15 s while a release is watched. Prometheus aggregates; only
counters need raw samples, which distinguish a restart from a decrease.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

from rollback_operator.adapters.prometheus.answers import Vector
from rollback_operator.adapters.prometheus.login_proof import LoginProof
from rollback_operator.adapters.prometheus.queries import matchers, quoted, select
from rollback_operator.adapters.prometheus.queries import text as in_quotes
from rollback_operator.adapters.prometheus.remembered import Remembered
from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.limits import TREND_SECONDS
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import Prometheus, SeriesQuery
from rollback_operator.stats.histogram import Histogram

MOST_REMEMBERED = 10_000
REMEMBERED_SECONDS = 3600.0
MOST_TREND_ROWS = 50_000
"""Rows of an answer: pods or routes, times buckets."""
MOST_BOUNDS = 512
"""Distinct bounds; a native histogram has 114."""


class Vectors(Protocol):
    """Evaluates expressions: Prometheus, or a recorded past."""

    async def read_vector(
        self, prometheus: Prometheus, expression: str, at: float
    ) -> Vector | Missing:
        """Evaluate an expression at a time."""


class PrometheusTrends:
    """The TrendMetrics port."""

    def __init__(self, metrics: Vectors, proof: LoginProof | None = None) -> None:
        """Take what evaluates expressions; `proof` comes before an own query, None: no proof."""
        self._metrics = metrics
        self._proof = proof
        self._native: Remembered[tuple[Prometheus, str, str], bool]
        self._native = Remembered(MOST_REMEMBERED, time.monotonic)
        """Whether a metric is a native histogram."""

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read each pod's buckets."""
        pod = query.labels.pod
        histograms = await self._buckets(query, pod, "{}", at)
        if isinstance(histograms, Missing):
            return histograms
        return histograms or _none(query, "_bucket", "spec.signals.latency")

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Read the increase of the buckets over an hour."""
        histograms = await self._buckets(query, "", "increase({}[1h])", until)
        if isinstance(histograms, Missing):
            return histograms
        return histograms.get("", Histogram())

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read the increase of the buckets over an hour, by route."""
        return await self._buckets(query, query.labels.route, "increase({}[1h])", until)

    async def _buckets(
        self, query: SeriesQuery, by: str, over: str, at: float
    ) -> dict[str, Histogram] | Missing:
        """Read a classic histogram or, without series of it, a native histogram."""
        key = query.prometheus, query.namespace, query.signal.metric
        suffixes = ("", "_bucket") if self._native.get(key) else ("_bucket", "")
        for suffix in suffixes:
            labels = [quoted(name) for name in (by, "le" if suffix else "") if name]
            grouped = f"sum by ({', '.join(labels)})" if labels else "sum"
            text = f"{grouped} ({over.replace('{}', _select(query, suffix), 1)})"
            answer = await self._metrics.read_vector(query.prometheus, text, at)
            if isinstance(answer, Missing):
                return answer
            if len(answer) > MOST_TREND_ROWS:
                return _too_many(f"{len(answer)} buckets, {MOST_TREND_ROWS} at most are read")
            histograms = _histograms(answer, by)
            bounds = {bound for histogram in histograms.values() for bound in histogram.bounds}
            if len(bounds) > MOST_BOUNDS:
                return _too_many(f"{len(bounds)} different `le`, {MOST_BOUNDS} at most are read")
            if histograms:
                if self._native.get(key) is None:
                    self._native.put(key, not suffix, REMEMBERED_SECONDS)
                return histograms
        return {}

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Read the highest value of each pod."""
        read = await self._by_pod(query, _highest(query), at)
        if isinstance(read, Missing):
            return read
        return read or _none(query, "", "spec.signals.memory")

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        """Fit a line to each pod's values, by PromQL's deriv (simple linear regression)."""
        text = f"deriv(({_highest(query)})[{math.ceil(seconds)}s:{TREND_SECONDS:.0f}s])"
        return await self._by_pod(query, text, at)

    async def _by_pod(
        self, query: SeriesQuery, text: str, at: float
    ) -> Mapping[str, float] | Missing:
        vector = await self._metrics.read_vector(query.prometheus, text, at)
        if isinstance(vector, Missing):
            return vector
        pod = query.labels.pod
        return {labels.get(pod, ""): value for labels, value in vector if math.isfinite(value)}

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Evaluate a query to a single number; NaN without data."""
        fault = await self._proof.fault(prometheus) if self._proof is not None else None
        if fault is not None:
            return fault
        vector = await self._metrics.read_vector(prometheus, query, at)
        if isinstance(vector, Missing):
            return vector
        if len(vector) > 1:
            return Missing(
                Reason.ANSWER_MALFORMED,
                f"the query {query[:200]} gives {len(vector)} numbers, not 1: add sum(...)",
            )
        return vector[0][1] if vector else math.nan


def _too_many(excess: str) -> Missing:
    return Missing(
        Reason.ANSWER_TOO_LARGE,
        f"the histogram of spec.signals.latency has {excess}: narrow its matchers or its labels",
    )


def _highest(query: SeriesQuery) -> str:
    """Select a gauge, the highest if a pod has several."""
    pod = query.labels.pod
    return f"max by ({quoted(pod)}) ({_select(query, '')})" if pod else f"max({_select(query, '')})"


def _select(query: SeriesQuery, suffix: str) -> str:
    parts = matchers(query.signal.matchers, query.namespace)
    if query.labels.pod and query.pods:
        parts.append(f"{quoted(query.labels.pod)}=~{in_quotes('|'.join(query.pods))}")
    return select(f"{query.signal.metric}{suffix}", parts)


def _none(query: SeriesQuery, suffix: str, field: str) -> Missing:
    text = f"there are no series {_select(query, suffix)}: check {field}"
    return Missing(Reason.NO_SERIES, text)


def _histograms(vector: Vector, by: str) -> dict[str, Histogram]:
    buckets: dict[str, dict[float, float]] = {}
    for labels, value in vector:
        bound = _number(labels.get("le", ""))
        if math.isfinite(value) and not math.isnan(bound):
            buckets.setdefault(labels.get(by, ""), {})[bound] = value
    return {name: _histogram(counts) for name, counts in buckets.items()}


def _histogram(counts: Mapping[float, float]) -> Histogram:
    bounds = sorted(counts)
    return Histogram(tuple(bounds), tuple(counts[bound] for bound in bounds))


def _number(text: Any) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
