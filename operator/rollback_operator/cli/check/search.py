"""Searches Prometheus for series that are not where a policy expects them.

Only for people who write a policy; the operator never searches.
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
    """Searches one Prometheus."""

    def __init__(self, metrics: PrometheusMetrics, query: CounterQuery) -> None:
        self._metrics = metrics
        self._query = query

    async def trace(self, signal: CounterSignal) -> Trace:
        """Find the series nearest to a signal's; the first step with a result decides."""
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
            namespaces = {labels.get("namespace", "") or "(none)" for labels, _ in elsewhere}
            return Trace(namespaces=tuple(sorted(namespaces)))
        known = f"__name__=~{text(_COUNTERS)},{matchers({}, namespace)[0]}"
        similar = await self._ask(f"count by (__name__) ({{{known}}})")
        names = [labels.get("__name__", "") for labels, _ in similar]
        names.sort(key=lambda known: (-SequenceMatcher(None, known, signal.metric).ratio(), known))
        return Trace(similar=tuple(names))

    async def values(self, signal: CounterSignal, label: str) -> tuple[str, ...]:
        """List the values of a label of a signal's series, without its own matcher on the label."""
        pairs = {name: value for name, value in signal.matchers.items() if name != label}
        name = f"__name__=~{text(f'{re.escape(signal.metric)}(_count)?')}"
        selected = ",".join([name, *matchers(pairs, self._query.namespace)])
        values = await self._ask(
            f"count by ({quoted(label)}) (last_over_time({{{selected}}}[{SECONDS}s]))"
        )
        return tuple(sorted(labels[label] for labels, _ in values if label in labels))

    async def summary(self, signal: LatencySignal) -> str:
        """Write a query for the quantile of a summary of this name; empty without a summary."""
        pairs = matchers(signal.matchers, self._query.namespace)
        any_ = select(signal.metric, [*pairs, 'quantile!=""'])
        if not await self._ask(f"count({any_})"):
            return ""
        return f"max({select(signal.metric, [*pairs, number('quantile', signal.quantile)])})"

    async def _sample(self, pairs: list[str]) -> Vector:
        selected = f"last_over_time({{{','.join(pairs)}}}[{SECONDS}s])"
        return await self._ask(f"topk({MOST_LISTED_SERIES}, count without () ({selected}))")

    async def _ask(self, expression: str) -> Vector:
        """Evaluate an expression; a failure counts as no result."""
        answer = await self._metrics.read_vector(self._query.prometheus, expression)
        return [] if isinstance(answer, Missing) else answer


def _values(vector: Vector) -> Mapping[str, tuple[str, ...]]:
    by_label: dict[str, set[str]] = {}
    for labels, _ in vector:
        for name, value in labels.items():
            by_label.setdefault(name, set()).add(value)
    return {name: tuple(sorted(values)) for name, values in sorted(by_label.items())}
