"""Observe what changes slowly: durations, memory, own queries, each only if the policy asks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from rollback_operator.api.v1alpha1 import (
    MatrixCondition,
    RollbackPolicySpec,
    SignalName,
)
from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.evidence.limits import GROWTH_SECONDS, GROWTH_WARM_UP_SECONDS
from rollback_operator.evidence.trends import (
    PastGrowth,
    Trends,
    with_latency,
    with_memory,
    with_query,
)
from rollback_operator.evidence.watch import Watch
from rollback_operator.model import pod_names
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import Prometheus, SeriesQuery, TrendMetrics
from rollback_operator.report.diagnosis import RouteLatency
from rollback_operator.stats.histogram import Histogram

T = TypeVar("T")
ANEW_TIMES = 1.5
LEAST_PAST_SECONDS = 120.0
"""In a shorter time a slope cannot be distinguished from noise."""
ALIKE_SECONDS = 60.0
"""Pods that started within this time have the same age."""
_LATENCY = frozenset({SignalName.LATENCY, SignalName.LATENCY_RATIO})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a watch's slow signals are read."""

    prometheus: Prometheus
    namespace: str
    pods: tuple[str, ...]
    """Regular expressions for the names of all the target's pods."""
    control: tuple[str, ...]
    """... of those of the old revision; none: not known."""


async def read_trends(
    watch: Watch, spec: RollbackPolicySpec, place: Place, metrics: TrendMetrics, at: float
) -> Trends:
    """Read what the matrix asks for, as of `at`, seconds of the provider's clock."""
    conditions = [condition for rule in spec.matrix for condition in rule.when]
    signals = {condition.signal for condition in conditions}
    trends = replace(watch.trends, read=at, missing={})
    if signals & _LATENCY:
        trends = await _with_latency(watch, trends, spec, place, metrics)
    if SignalName.MEMORY_GROWTH in signals:
        query = SeriesQuery(
            place.prometheus, place.namespace, place.pods, spec.signals.memory, spec.signals.labels
        )
        read = await metrics.read_gauge(query, at)
        if isinstance(read, Missing):
            trends = _with_missing(trends, "memory", read)
        else:
            trends = with_memory(trends, at, _of_watched_pods(read, watch))
            trends = await _with_past_growth(watch, trends, query, metrics)
    return await _with_queries(
        trends, conditions, (place.prometheus, watch.opened + watch.skew), metrics
    )


async def _with_past_growth(
    watch: Watch, trends: Trends, query: SeriesQuery, metrics: TrendMetrics
) -> Trends:
    """Ask how fast the old pods' memory grew when they were as old; anew when the age has grown.

    Growth slows down with age, so an answer about a younger age asks for more, not for less.
    """
    age = (trends.read or 0.0) - watch.skew - watch.opened
    known = trends.past_growth
    if age < GROWTH_WARM_UP_SECONDS + GROWTH_SECONDS or (known and age < ANEW_TIMES * known.age):
        return trends
    begun = {
        pod.name: pod.started
        for pod in watch.pods
        if pod.pod_hash in watch.control_hashes and pod.started is not None
    }
    newest = max(begun.values(), default=watch.opened)
    until = min(newest + age, watch.opened)
    seconds = until - newest - GROWTH_WARM_UP_SECONDS
    if seconds < LEAST_PAST_SECONDS or not query.labels.pod:
        return replace(trends, past_growth=PastGrowth(age, None))
    alike = [name for name, started in begun.items() if started > newest - ALIKE_SECONDS]
    old = replace(query, pods=tuple(map(pod_names.escaped, sorted(alike))))
    read = await metrics.read_gauge_slope(old, seconds, until + watch.skew)
    if isinstance(read, Missing):
        return trends  # asked for again at the next look
    slope = max(0.0, *read.values()) if read else None
    return replace(
        trends, past_growth=PastGrowth(age, None if slope is None else HOUR_SECONDS * slope)
    )


async def _with_latency(
    watch: Watch, trends: Trends, spec: RollbackPolicySpec, place: Place, metrics: TrendMetrics
) -> Trends:
    at = trends.read or 0.0
    query = SeriesQuery(
        place.prometheus, place.namespace, place.pods, spec.signals.latency, spec.signals.labels
    )
    read = await metrics.read_latency(query, at)
    if isinstance(read, Missing):
        return _with_missing(trends, "latency", read)
    pods = {pod.name: pod for pod in watch.pods}
    trends = with_latency(trends, at, _of_watched_pods(read, watch), pods)
    if trends.past_latency is None and place.control:
        until = watch.opened + watch.skew
        past = await metrics.read_past_latency(replace(query, pods=place.control), until)
        if isinstance(past, Histogram):
            trends = replace(trends, past_latency=past)
    return trends


async def read_route_latency(
    spec: RollbackPolicySpec, place: Place, metrics: TrendMetrics, times: tuple[float, float]
) -> RouteLatency:
    """Read durations by route.

    Args:
        spec: says which histogram.
        place: `pods` are those of the release, `control` those of the old revision.
        metrics: the provider.
        times: now, and when the release came; seconds of the provider's clock.
    """
    query = SeriesQuery(
        place.prometheus, place.namespace, place.pods, spec.signals.latency, spec.signals.labels
    )
    if not place.pods or not place.control:
        return RouteLatency()
    new = await metrics.read_route_latency(query, times[0])
    old = await metrics.read_route_latency(replace(query, pods=place.control), times[1])
    return RouteLatency(
        {} if isinstance(new, Missing) else new, {} if isinstance(old, Missing) else old
    )


async def _with_queries(
    trends: Trends,
    conditions: Iterable[MatrixCondition],
    place: tuple[Prometheus, float],
    metrics: TrendMetrics,
) -> Trends:
    prometheus, opened = place
    at = trends.read or 0.0
    for text in sorted({condition.query for condition in conditions if condition.query}):
        value = await metrics.read_query(prometheus, text, at)
        if isinstance(value, Missing):
            trends = _with_missing(trends, text, value)
            continue
        trends = with_query(trends, at, text, value)
        if text not in trends.before:
            before = await metrics.read_query(prometheus, text, opened)
            if not isinstance(before, Missing):
                trends = replace(trends, before={**trends.before, text: before})
    return trends


def _with_missing(trends: Trends, what: str, missing: Missing) -> Trends:
    return replace(trends, missing={**trends.missing, what: missing})


def _of_watched_pods(read: Mapping[str, T], watch: Watch) -> dict[str, T]:
    names = {pod.name for pod in watch.pods}
    return {pod: value for pod, value in read.items() if pod in names}
