"""Counters that a target declares and has not counted anything in yet.

A histogram with labels has no series before its first observation, so a pod that nobody reaches
shows no requests, just as one does whose metrics have been renamed. What its target says of the
metric (# TYPE without a sample) tells them apart: declared and empty is zero.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rollback_operator.adapters.prometheus.remembered import Remembered
from rollback_operator.adapters.prometheus.session import Session
from rollback_operator.model.samples import Counters, CounterSeries, Missing
from rollback_operator.ports.metrics import CounterQuery, Prometheus

MOST_UNOBSERVED_PODS = 20
"""Pods for which a read asks: each is asked for once."""
MOST_REMEMBERED = 10_000
REMEMBERED_SECONDS = 3600.0
_SUFFIXES = ("_count", "_total")


@dataclass
class Unobserved:
    """Asks targets what they declare, and remembers it."""

    session: Session
    declared: Remembered[tuple[Prometheus, str, str], bool] = field(
        default_factory=lambda: Remembered(MOST_REMEMBERED, time.monotonic)
    )

    async def counted(self, query: CounterQuery, counters: Counters) -> Counters:
        """Add a count of zero for each pod that is scraped and declares the requests' metric."""
        served = {one.pod for one in counters.requests if one.samples}
        silent = [one for one in counters.errors if one.samples and one.pod not in served]
        pods = sorted({one.pod for one in silent if one.pod})[:MOST_UNOBSERVED_PODS]
        declaring = {pod for pod in pods if await self._declares(query, pod)}
        zeros = tuple(_zero(one) for one in silent if one.pod in declaring)
        return Counters((*counters.requests, *zeros), counters.errors)

    async def _declares(self, query: CounterQuery, pod: str) -> bool:
        key = query.prometheus, pod, query.requests.metric
        known = self.declared.get(key)
        if known is None:
            target = {query.labels.pod: pod, "namespace": query.namespace}
            for name in _names(query.requests.metric):
                found = await self.session.declares(query.prometheus, target, name)
                if isinstance(found, Missing):
                    return False  # nobody says: asked again at the next read
                known = found
                if found:
                    break
            known = bool(known)
            self.declared.put(key, known, REMEMBERED_SECONDS)
        return known


def _names(metric: str) -> Iterator[str]:
    """Give the metric's name and that of its family, by which a histogram is declared."""
    yield metric
    for suffix in _SUFFIXES:
        if metric.endswith(suffix):
            yield metric.removesuffix(suffix)


def _zero(errors: CounterSeries) -> CounterSeries:
    samples = tuple((time, 0.0) for time, _ in errors.samples)
    return CounterSeries(errors.pod, errors.route, (), errors.instance, samples)
