"""The ports Metrics and CredentialsCheck on the Prometheus HTTP API."""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rollback_operator.adapters.prometheus import answers
from rollback_operator.adapters.prometheus.dialects import (
    Dialects,
    MetricKey,
    Unobserved,
    errors_selector,
    is_one_metric,
    untold,
)
from rollback_operator.adapters.prometheus.queries import quoted, selector
from rollback_operator.adapters.prometheus.session import SampleWindow, Session, Steps
from rollback_operator.adapters.prometheus.transport import DEFAULT_QUERY_LIMITS, Access, Limits
from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.baseline import HOUR_SECONDS, MINUTE_SECONDS, Control, control_of
from rollback_operator.model.samples import Counters, Missing, Reading, usable
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.metrics import CounterQuery, Prometheus

T = TypeVar("T")
MOST_ANSWER_SERIES = 10_000
"""Of all pods of a target: judging them takes some seconds of CPU time at each look."""


class PrometheusMetrics:
    """Reads raw counters, whatever the dialect they are told in."""

    def __init__(
        self,
        access: Access,
        limits: Limits = DEFAULT_QUERY_LIMITS,
        at: float | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            access: the operator's own credentials.
            limits: of answers.
            at: of which time metrics are looked for by name; None: now.
            secrets: where policies' own credentials are; None: no cluster is known.
        """
        self._session = Session(access, limits, secrets)
        self._dialects = Dialects(self._session, at)
        self._unobserved = Unobserved(self._session)

    def close(self) -> None:
        """Let the threads end; queries that hang end by their own deadline."""
        self._session.close()

    async def obstacle(self, prometheus: Prometheus) -> str:
        """Say why a policy's own credentials cannot be had; empty: they can, or it has none."""
        return await self._session.obstacle(prometheus)

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters of the last `seconds`."""
        selected = await self._selectors(query)
        if isinstance(selected, Missing):
            return selected
        raw = await self._raw(query, selected, SampleWindow(max(1, math.ceil(seconds))))
        if isinstance(raw, Missing):
            return raw
        count = len(raw.counters.requests) + len(raw.counters.errors)
        if count > MOST_ANSWER_SERIES:
            return Missing(
                Reason.ANSWER_TOO_LARGE,
                f"the target has {count} series of requests and errors, {MOST_ANSWER_SERIES} at "
                "most are judged: narrow signals.*.matchers, or count by fewer labels",
            )
        found = _whole([usable(raw.counters.requests), usable(raw.counters.errors)])
        if isinstance(found, Missing):
            return found
        counters = await self._unobserved.counted(query, Counters(*found))
        requested, failed = counters.requests, counters.errors
        missing: Missing | None = None
        if not requested:
            missing = self._no_series(query, selected[0])
        elif not failed:
            missing = await self._no_errors(query, raw.labels)
        return missing or counters

    async def read_past(self, query: CounterQuery, start: float, end: float) -> Reading:
        """Read the raw counters of a time that is over, values that are no counts included.

        An hour at a time, and less where that is too much for one answer.
        """
        selected = await self._selectors(query)
        if isinstance(selected, Missing):
            return selected
        parts: list[Counters] = []
        seconds = float(HOUR_SECONDS)
        while start < end:
            until = min(end, start + seconds)
            part = await self._raw(query, selected, SampleWindow(math.ceil(until - start), until))
            if isinstance(part, _Raw):
                parts.append(part.counters)
                start = until
            elif part.reason is Reason.ANSWER_TOO_LARGE and seconds > MINUTE_SECONDS:
                seconds /= 2
            else:
                return part
        return answers.joined(parts)

    async def read_errors_known(
        self, query: CounterQuery, start: float, end: float
    ) -> tuple[float, ...] | Missing:
        """Give the minutes in which any pod of the namespace had the error counter."""
        selected = await self._dialects.errors_known(query)
        if isinstance(selected, Missing):
            return selected
        steps = Steps(start, end, MINUTE_SECONDS)
        text = f"count({selected})"
        found = await self._session.query_range(
            query.prometheus, text, steps, partial(answers.minutes, by="")
        )
        return found if isinstance(found, Missing) else tuple(sorted(found.get("", {})))

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the error rates, minute by minute, of the hour up to `until`."""
        selected = await self._selectors(query)
        if isinstance(selected, Missing):
            return selected
        by = query.labels.route
        steps = Steps(until - HOUR_SECONDS + MINUTE_SECONDS, until, MINUTE_SECONDS)
        texts = [f"sum by ({quoted(by)}) (increase({one}[{MINUTE_SECONDS}s]))" for one in selected]
        read = partial(answers.minutes, by=by)
        tables = _whole(
            await asyncio.gather(
                *(self._session.query_range(query.prometheus, one, steps, read) for one in texts)
            )
        )
        if isinstance(tables, Missing):
            return tables
        return control_of(
            *(
                {route: one for route, one in table.items() if route not in query.left_out}
                for table in tables
            )
        )

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the provider's time."""
        return await self._session.query(prometheus, "time()", None, answers.clock)

    async def read_vector(
        self, prometheus: Prometheus, expression: str, at: float | None = None
    ) -> answers.Vector | Missing:
        """Read the value that an expression has, or had at a time; a scalar has no labels."""
        return await self._session.query(prometheus, expression, at, answers.vector)

    async def read_vectors(
        self, prometheus: Prometheus, expression: str, steps: Steps
    ) -> Mapping[float, answers.Vector] | Missing:
        """Read what an expression was at each step of a time that is over."""
        return await self._session.query_range(prometheus, expression, steps, answers.vectors)

    async def _selectors(self, query: CounterQuery) -> tuple[str, str] | Missing:
        """Select requests and errors, by the names under which they are counted."""
        asked = [
            MetricKey(query.prometheus, query.namespace, signal)
            for signal in (query.requests, query.errors)
        ]
        if is_one_metric(query):
            asked = asked[:1]  # of the errors there may be no series yet
        names = _whole(await asyncio.gather(*(self._dialects.name(one) for one in asked)))
        if isinstance(names, Missing):
            return names
        requested = selector(query, names[0], query.requests.matchers)
        return requested, errors_selector(query, names[-1])

    async def _raw(
        self, query: CounterQuery, selected: tuple[str, str], span: SampleWindow
    ) -> "_Raw | Missing":
        read = partial(answers.table, labels=query.labels)
        found = _whole(
            await asyncio.gather(
                *(
                    self._session.query_samples(query.prometheus, one, span, read)
                    for one in selected
                )
            )
        )
        if isinstance(found, Missing):
            return found
        requested, failed = found
        return _Raw(Counters(requested.series, failed.series), requested.labels)

    def _no_series(self, query: CounterQuery, selected: str) -> Missing:
        self._dialects.forget(MetricKey(query.prometheus, query.namespace, query.requests))
        return Missing(
            Reason.NO_SERIES,
            f"there are no series {selected}: check spec.signals.requests, the pod label and that "
            "the pods are scraped",
        )

    async def _no_errors(self, query: CounterQuery, names: frozenset[str]) -> Missing | None:
        """Tell 'no error yet' from errors that nobody counts."""
        if is_one_metric(query):
            return untold(query, names)
        return await self._dialects.find_errors(query)


@dataclass(frozen=True, slots=True)
class _Raw:
    counters: Counters
    labels: frozenset[str]
    """Of the series of requests."""


def _whole(found: Iterable[T | Missing]) -> list[T] | Missing:
    """Give all answers, or what is missing in the first that is none."""
    all_ = list(found)
    for one in all_:
        if isinstance(one, Missing):
            return one
    return [one for one in all_ if not isinstance(one, Missing)]
