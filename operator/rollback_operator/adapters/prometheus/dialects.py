"""Finds the form of a metric: counter, count of a classic histogram, or native histogram.

The answer is cached, since a read must not cost more queries than it has signals. Without
metadata, a metric's name decides.

Counters may be declared and still empty: a histogram with labels has no series before its first
observation, so a pod without traffic shows no requests, as does a pod whose metrics were renamed.
The target's metadata (# TYPE without a sample) distinguishes them: declared and empty is zero.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from rollback_operator.adapters.prometheus.answers import Vector, vector
from rollback_operator.adapters.prometheus.queries import (
    inexact_labels,
    matchers,
    quoted,
    select,
    selector,
)
from rollback_operator.adapters.prometheus.remembered import Remembered
from rollback_operator.adapters.prometheus.session import Session
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import CounterSignal
from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.model.samples import Counters, CounterSeries, Missing
from rollback_operator.ports.metrics import CounterQuery, Prometheus

DIALECT_SECONDS = 600.0
DIALECT_RETRY_SECONDS = 60.0
MOST_REMEMBERED = 10_000
MOST_UNOBSERVED_PODS = 20
"""Pods per read whose target is asked for its declarations, each once."""
DECLARED_SECONDS = 3600.0
_GAUGES = frozenset({"gauge", "gaugehistogram", "info", "stateset"})
_COUNT = "_count"
_COUNTED = (_COUNT, "_total")
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class MetricKey:
    """A signal's metric in a namespace of a Prometheus."""

    prometheus: Prometheus
    namespace: str
    signal: CounterSignal

    @property
    def key(self) -> "_Key":
        """The key of the cache."""
        pairs = (f"{name} {value}" for name, value in sorted(self.signal.matchers.items()))
        return self.prometheus, self.namespace, self.signal.metric, *pairs


@dataclass
class Dialects:
    """Names under which signals are counted."""

    session: Session
    at: float | None = None
    """Time at which metrics are looked up; None: now."""
    clock: Callable[[], float] = time.monotonic
    _names: Remembered[_Key, str | Missing] = field(init=False)
    _known: Remembered[_Key, bool] = field(init=False)
    """Error metrics that have had series."""

    def __post_init__(self) -> None:
        self._names = Remembered(MOST_REMEMBERED, self.clock)
        self._known = Remembered(MOST_REMEMBERED, self.clock)

    async def name(self, asked: MetricKey) -> str | Missing:
        """Find the metric that counts a signal; Missing: it is no counter."""
        known_as = self._names.get(asked.key)
        if known_as is not None:
            return known_as
        types = await self.session.types(asked.prometheus, asked.signal.metric)
        if isinstance(types, Missing) and types.reason is Reason.PROVIDER_UNREACHABLE:
            return types
        is_told = not isinstance(types, Missing)  # not every server has metadata
        known = frozenset() if isinstance(types, Missing) else types
        name = _refused(asked.signal.metric, known) or await self._find(asked, known)
        if name and (not isinstance(name, Missing) or name.reason is Reason.NOT_A_COUNTER):
            seconds = DIALECT_SECONDS if is_told else DIALECT_RETRY_SECONDS
            self._names.put(asked.key, name, seconds)
        # A metric without series is read under its own name, and looked up again at the next read.
        return name or asked.signal.metric

    def forget(self, asked: MetricKey) -> None:
        """Look the name up again: its series are gone."""
        self._names.forget(asked.key)

    async def find_errors(self, query: CounterQuery) -> Missing | None:
        """Distinguish 'no error yet' from 'no such metric': neither has a series."""
        asked = MetricKey(query.prometheus, query.namespace, query.errors)
        if self._known.get(asked.key):
            return None
        selected = await self.errors_known(query)
        if isinstance(selected, Missing):
            return selected
        answer = await self._ask(
            query.prometheus, f"count(present_over_time({selected}[{HOUR_SECONDS}s]))"
        )
        if isinstance(answer, Missing):
            return answer
        if answer:
            self._known.put(asked.key, True, DIALECT_SECONDS)
            return None
        return Missing(
            Reason.ERROR_SERIES_MISSING,
            f"no pod of the namespace had series {selected} in the last hour: there are no errors, "
            "or no such metric. Check spec.signals.errors, and initialise the counter to 0",
        )

    async def errors_known(self, query: CounterQuery) -> str | Missing:
        """Select the series of any pod of the namespace that prove that errors are counted."""
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
        """Look up a metric, or the count of its histogram; empty: neither has series."""
        metric = asked.signal.metric
        if metric.endswith(_COUNTED) or "counter" in types:
            return metric
        # If a histogram has both forms, the count of the classic form is the shorter answer.
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
        f"{metric} is a {min(types)} in the metadata of its targets, not a counter: name a counter "
        "or a histogram in spec.signals",
    )


def errors_selector(query: CounterQuery, metric: str) -> str:
    """Select the error series; a series without the label is no error, even if `!=` matches it."""
    pairs = query.errors.matchers
    return selector(query, metric, pairs, present=inexact_labels(pairs))


def is_one_metric(query: CounterQuery) -> bool:
    """Whether errors are requests with a certain label."""
    return query.errors.metric == query.requests.metric


def missing_error_label(query: CounterQuery, names: frozenset[str]) -> Missing | None:
    """Check that a counter of requests and errors has the labels that mark errors.

    Args:
        query: a query whose errors are requests with certain labels.
        names: the labels of its series of requests.
    """
    own = [name for name in query.errors.matchers if name not in query.requests.matchers]
    lacking = [name for name in own if name not in names]
    if not lacking:
        return None  # no error has been counted yet
    return Missing(
        Reason.ERROR_SERIES_MISSING,
        f"the series of {query.requests.metric} have no label {quoted(lacking[0])}, which "
        "distinguishes errors from other requests: check spec.signals.errors.matchers",
    )


@dataclass
class Unobserved:
    """Counters that a target declares without samples, cached."""

    session: Session
    declared: Remembered[tuple[Prometheus, str, str], bool] = field(
        default_factory=lambda: Remembered(MOST_REMEMBERED, time.monotonic)
    )

    async def counted(self, query: CounterQuery, counters: Counters) -> Counters:
        """Add a count of zero for each pod that is scraped and declares the requests' metric."""
        served = {series.pod for series in counters.requests if series.samples}
        silent = [x for x in counters.errors if x.samples and x.pod not in served]
        pods = sorted({series.pod for series in silent if series.pod})[:MOST_UNOBSERVED_PODS]
        declaring = {pod for pod in pods if await self._declares(query, pod)}
        zeros = tuple(_zero(series) for series in silent if series.pod in declaring)
        return Counters((*counters.requests, *zeros), counters.errors)

    async def _declares(self, query: CounterQuery, pod: str) -> bool:
        key = query.prometheus, pod, query.requests.metric
        known = self.declared.get(key)
        if known is None:
            target = {query.labels.pod: pod, "namespace": query.namespace}
            for name in _family_names(query.requests.metric):
                declared = await self.session.declares(query.prometheus, target, name)
                if isinstance(declared, Missing):
                    return False  # unknown: asked again at the next read
                known = declared
                if declared:
                    break
            known = bool(known)
            self.declared.put(key, known, DECLARED_SECONDS)
        return known


def _family_names(metric: str) -> Iterator[str]:
    """Yield the metric's name and its family's, by which a histogram is declared."""
    yield metric
    for suffix in _COUNTED:
        if metric.endswith(suffix):
            yield metric.removesuffix(suffix)


def _zero(errors: CounterSeries) -> CounterSeries:
    samples = tuple((time, 0.0) for time, _ in errors.samples)
    return CounterSeries(errors.pod, errors.route, (), errors.instance, samples)
