"""Looks for series that are not where a policy expects them: what there is instead.

Only for people who write a policy; the operator itself never searches.
"""

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

from rollback_operator.adapters.prometheus.answers import Vector
from rollback_operator.adapters.prometheus.metrics import PrometheusMetrics
from rollback_operator.adapters.prometheus.queries import (
    matchers,
    number,
    quoted,
    select,
    text,
)
from rollback_operator.advise.survey import Trace
from rollback_operator.api.v1alpha1 import CounterSignal, LatencySignal
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import CounterQuery

MOST_LISTED_SERIES = 50
SECONDS = 300
_COUNTERS = ".+(_total|_count)"


class Search:
    """Asks one Prometheus for what there is."""

    def __init__(self, metrics: PrometheusMetrics, query: CounterQuery) -> None:
        self._metrics = metrics
        self._query = query

    async def trace(self, signal: CounterSignal) -> Trace:
        """Find the series that come nearest to a signal's; the first step that finds any counts."""
        name = f"__name__=~{text(f'{re.escape(signal.metric)}(_count|_bucket)?')}"
        namespace = self._query.namespace
        matched = await self._sample([name, *matchers(signal.matchers, namespace)])
        if matched:
            return Trace(labels=_values(matched), is_without_pods=True)
        here = await self._sample([name, *matchers({}, namespace)])
        if here:
            return Trace(labels=_values(here))
        elsewhere = await self._ask(f"count by (namespace) ({{{name}}})")
        if elsewhere:
            found = {labels.get("namespace", "") or "(none)" for labels, _ in elsewhere}
            return Trace(namespaces=tuple(sorted(found)))
        known = f"__name__=~{text(_COUNTERS)},{matchers({}, namespace)[0]}"
        similar = await self._ask(f"count by (__name__) ({{{known}}})")
        names = [labels.get("__name__", "") for labels, _ in similar]
        names.sort(key=lambda one: (-SequenceMatcher(None, one, signal.metric).ratio(), one))
        return Trace(similar=tuple(names))

    async def values(self, signal: CounterSignal, label: str) -> tuple[str, ...]:
        """List the values of a label of a signal's series, whatever its own matcher says of it."""
        pairs = {name: value for name, value in signal.matchers.items() if name != label}
        name = f"__name__=~{text(f'{re.escape(signal.metric)}(_count)?')}"
        selected = ",".join([name, *matchers(pairs, self._query.namespace)])
        found = await self._ask(
            f"count by ({quoted(label)}) (last_over_time({{{selected}}}[{SECONDS}s]))"
        )
        return tuple(sorted(labels[label] for labels, _ in found if label in labels))

    async def summary(self, signal: LatencySignal) -> str:
        """Write a query for the quantile of a summary of this name; empty: there is none."""
        found = matchers(signal.matchers, self._query.namespace)
        any_ = select(signal.metric, [*found, 'quantile!=""'])
        if not await self._ask(f"count({any_})"):
            return ""
        return f"max({select(signal.metric, [*found, number('quantile', signal.quantile)])})"

    async def _sample(self, found: list[str]) -> Vector:
        selected = f"last_over_time({{{','.join(found)}}}[{SECONDS}s])"
        return await self._ask(f"topk({MOST_LISTED_SERIES}, count without () ({selected}))")

    async def _ask(self, expression: str) -> Vector:
        """Ask; what cannot be answered finds nothing."""
        found = await self._metrics.read_vector(self._query.prometheus, expression)
        return [] if isinstance(found, Missing) else found


def _values(vector: Vector) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for labels, _ in vector:
        for name, value in labels.items():
            found.setdefault(name, set()).add(value)
    return {name: tuple(sorted(values)) for name, values in sorted(found.items())}
