"""Finds out how a metric is told: a counter, the count of a classic histogram, a native histogram.

Asked once and remembered for a while, since a look must not cost more questions than it has
signals. Where nobody says anything a metric is taken for what its name says.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rollback_operator.adapters.prometheus.answers import Vector, vector
from rollback_operator.adapters.prometheus.queries import (
    matchers,
    quoted,
    select,
    selector,
    telling,
)
from rollback_operator.adapters.prometheus.remembered import Remembered
from rollback_operator.adapters.prometheus.session import Session
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import CounterSignal
from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import CounterQuery, Prometheus

DIALECT_SECONDS = 600.0
DIALECT_RETRY_SECONDS = 60.0
MOST_REMEMBERED = 10_000
_GAUGES = frozenset({"gauge", "gaugehistogram", "info", "stateset"})
_COUNT = "_count"
_COUNTED = (_COUNT, "_total")
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class MetricKey:
    """Whose metric it is."""

    prometheus: Prometheus
    namespace: str
    signal: CounterSignal

    @property
    def key(self) -> "_Key":
        """Tell one question from another."""
        pairs = (f"{name} {value}" for name, value in sorted(self.signal.matchers.items()))
        return self.prometheus, self.namespace, self.signal.metric, *pairs


@dataclass
class Dialects:
    """What has been found out."""

    session: Session
    at: float | None = None
    """Of which time metrics are looked for; None: now."""
    clock: Callable[[], float] = time.monotonic
    _names: Remembered[_Key, str | Missing] = field(init=False)
    _known: Remembered[_Key, bool] = field(init=False)
    """Error metrics that have been there."""

    def __post_init__(self) -> None:
        self._names = Remembered(MOST_REMEMBERED, self.clock)
        self._known = Remembered(MOST_REMEMBERED, self.clock)

    async def name(self, asked: MetricKey) -> str | Missing:
        """Tell under which name a signal's counts are found; Missing: it counts nothing."""
        known_as = self._names.get(asked.key)
        if known_as is not None:
            return known_as
        types = await self.session.types(asked.prometheus, asked.signal.metric)
        if isinstance(types, Missing) and types.reason is Reason.PROVIDER_UNREACHABLE:
            return types
        is_told = not isinstance(types, Missing)  # not every server knows types
        known = frozenset() if isinstance(types, Missing) else types
        found = _refused(asked.signal.metric, known) or await self._find(asked, known)
        if found and (not isinstance(found, Missing) or found.reason is Reason.NOT_A_COUNTER):
            seconds = DIALECT_SECONDS if is_told else DIALECT_RETRY_SECONDS
            self._names.put(asked.key, found, seconds)
        # What is not there yet is read under its own name, and asked for again at the next look.
        return found or asked.signal.metric

    def forget(self, asked: MetricKey) -> None:
        """Ask anew: what was found is there no longer."""
        self._names.forget(asked.key)

    async def find_errors(self, query: CounterQuery) -> Missing | None:
        """Tell 'no error yet' from 'no such metric': neither has a series."""
        asked = MetricKey(query.prometheus, query.namespace, query.errors)
        if self._known.get(asked.key):
            return None
        selected = await self.errors_known(query)
        if isinstance(selected, Missing):
            return selected
        found = await self._ask(
            query.prometheus, f"count(present_over_time({selected}[{HOUR_SECONDS}s]))"
        )
        if isinstance(found, Missing):
            return found
        if found:
            self._known.put(asked.key, True, DIALECT_SECONDS)
            return None
        return Missing(
            Reason.ERROR_SERIES_MISSING,
            f"no pod of the namespace has ever counted {selected}: whether there are no errors or "
            "no such metric cannot be told. Check spec.signals.errors, and initialise the counter "
            "to 0",
        )

    async def errors_known(self, query: CounterQuery) -> str | Missing:
        """Select the series of any pod of the namespace that show that errors are counted."""
        everywhere = replace(query, pods=())
        if is_one_metric(query):
            metric = await self.name(MetricKey(query.prometheus, query.namespace, query.requests))
            own = sorted(query.errors.matchers.keys() - query.requests.matchers.keys())
            if isinstance(metric, Missing):
                return metric
            return selector(everywhere, metric, query.requests.matchers, present=own)
        metric = await self.name(MetricKey(query.prometheus, query.namespace, query.errors))
        return metric if isinstance(metric, Missing) else errors_selector(everywhere, metric)

    async def _find(self, asked: MetricKey, types: frozenset[str]) -> str | Missing:
        """Look for a metric, or for the count of the histogram that it names; empty: neither."""
        metric = asked.signal.metric
        if metric.endswith(_COUNTED) or "counter" in types:
            return metric
        # Where a histogram is told in both forms, the classic one's count is the shorter answer.
        for name in (metric + _COUNT, metric):
            selected = select(name, matchers(asked.signal.matchers, asked.namespace))
            answer = await self._ask(
                asked.prometheus, f"count(last_over_time({selected}[{HOUR_SECONDS}s]))"
            )
            if isinstance(answer, Missing):
                return answer
            if answer:
                return name
        return ""

    async def _ask(self, prometheus: Prometheus, expression: str) -> Vector | Missing:
        return await self.session.query(prometheus, expression, self.at, vector)


def _refused(metric: str, types: frozenset[str]) -> Missing | None:
    if not types or not types <= _GAUGES:
        return None
    return Missing(
        Reason.NOT_A_COUNTER,
        f"{metric} is a {min(types)}, by what its targets say: a value that goes up and down "
        "counts nothing. Name a counter or a histogram in spec.signals",
    )


def errors_selector(query: CounterQuery, metric: str) -> str:
    """Select the error series; one without the label is no error, whatever `!=` says of it."""
    pairs = query.errors.matchers
    return selector(query, metric, pairs, present=telling(pairs))


def is_one_metric(query: CounterQuery) -> bool:
    """Tell whether errors are requests with a certain label."""
    return query.errors.metric == query.requests.metric


def untold(query: CounterQuery, names: frozenset[str]) -> Missing | None:
    """Tell whether a counter of requests that also tells errors has the labels that tell them.

    Args:
        query: its errors are requests with certain labels.
        names: the labels that its series of requests have.
    """
    own = [one for one in query.errors.matchers if one not in query.requests.matchers]
    lacking = [name for name in own if name not in names]
    if not lacking:
        return None  # no error has been counted yet
    return Missing(
        Reason.ERROR_SERIES_MISSING,
        f"the series of {query.requests.metric} have no label {quoted(lacking[0])}: errors cannot "
        "be told from other requests. Check spec.signals.errors.matchers",
    )
