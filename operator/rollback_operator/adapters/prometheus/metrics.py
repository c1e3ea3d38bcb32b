"""The ports Metrics and CredentialsCheck on the Prometheus HTTP API."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from rollback_operator.adapters.prometheus import answers
from rollback_operator.adapters.prometheus.dialects import (
    Dialects,
    MetricKey,
    Unobserved,
    errors_selector,
    is_one_metric,
    missing_error_label,
)
from rollback_operator.adapters.prometheus.login_proof import LoginProof
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
    """Reads raw counters of any form."""

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
            limits: bounds of an answer.
            at: the time of lookups of metrics by name; None: now.
            secrets: policies' own credentials; None: there is no cluster.
        """
        self._session = Session(access, limits, secrets)
        self._dialects = Dialects(self._session, at)
        self._unobserved = Unobserved(self._session)

    def close(self) -> None:
        """Close all connections; hanging queries end at their own deadlines."""
        self._session.close()

    async def obstacle(self, prometheus: Prometheus) -> str:
        """State why a policy's credentials are unusable; empty: usable, or it has none."""
        credentials = await self._session.credentials.of(prometheus)
        return credentials.message if isinstance(credentials, Missing) else ""

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters of the last `seconds`."""
        selected = await self._selectors(query)
        if isinstance(selected, Missing):
            return selected
        raw = await self._raw(query, selected, SampleWindow(max(1, math.ceil(seconds))))
        if isinstance(raw, Missing):
            return raw
        requests, errors = raw
        count = len(requests.series) + len(errors.series)
        if count > MOST_ANSWER_SERIES:
            return Missing(
                Reason.ANSWER_TOO_LARGE,
                f"the target has {count} series of requests and errors, {MOST_ANSWER_SERIES} at "
                "most are judged: narrow signals.*.matchers, or count by fewer labels",
            )
        sides = _whole([usable(requests.series), usable(errors.series)])
        if isinstance(sides, Missing):
            return sides
        counters = await self._unobserved.counted(query, Counters(*sides))
        missing: Missing | None = None
        if not counters.requests:
            missing = self._no_series(query, selected[0])
        elif not counters.errors:
            missing = await self._no_errors(query, requests.labels)
        return missing or counters

    async def read_past(self, query: CounterQuery, start: float, end: float) -> Reading:
        """Read the raw counters of a past time, values that are no counts included.

        Reads an hour at a time, or less if that exceeds the limits of an answer.
        """
        selected = await self._selectors(query)
        if isinstance(selected, Missing):
            return selected
        parts: list[Counters] = []
        seconds = float(HOUR_SECONDS)
        while start < end:
            until = min(end, start + seconds)
            part = await self._raw(query, selected, SampleWindow(math.ceil(until - start), until))
            if not isinstance(part, Missing):
                parts.append(Counters(part[0].series, part[1].series))
                start = until
            elif part.reason is Reason.ANSWER_TOO_LARGE and seconds > MINUTE_SECONDS:
                seconds /= 2
            else:
                return part
        return answers.joined(parts)

    async def read_errors_known(
        self, query: CounterQuery, start: float, end: float
    ) -> tuple[float, ...] | Missing:
        """List the minutes in which a pod of the namespace had the error counter."""
        selected = await self._dialects.errors_known(query)
        if isinstance(selected, Missing):
            return selected
        steps = Steps(start, end, MINUTE_SECONDS)
        text = f"count({selected})"
        minutes = await self._session.query_range(
            query.prometheus, text, steps, partial(answers.minutes, by="")
        )
        return minutes if isinstance(minutes, Missing) else tuple(sorted(minutes.get("", {})))

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the error rates, minute by minute, of the hour up to `until`."""
        selected = await self._selectors(query)
        if isinstance(selected, Missing):
            return selected
        by = query.labels.route
        steps = Steps(until - HOUR_SECONDS + MINUTE_SECONDS, until, MINUTE_SECONDS)
        texts = [f"sum by ({quoted(by)}) (increase({x}[{MINUTE_SECONDS}s]))" for x in selected]
        read = partial(answers.minutes, by=by)
        tables = _whole(
            await asyncio.gather(
                *(self._session.query_range(query.prometheus, text, steps, read) for text in texts)
            )
        )
        if isinstance(tables, Missing):
            return tables
        requests, errors = (
            {route: counts for route, counts in table.items() if route not in query.left_out}
            for table in tables
        )
        return control_of(requests, errors, until)

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the provider's time."""
        return await self._session.query(prometheus, "time()", None, answers.clock)

    async def read_vector(
        self, prometheus: Prometheus, expression: str, at: float | None = None
    ) -> answers.Vector | Missing:
        """Evaluate an expression, now or at a time; a scalar has no labels."""
        return await self._session.query(prometheus, expression, at, answers.vector)

    def proof(self, is_needed: Callable[[str, str], bool]) -> LoginProof:
        """Ask the same servers whether they check logins."""
        return LoginProof(self._session, is_needed)

    async def read_vectors(
        self, prometheus: Prometheus, expression: str, steps: Steps
    ) -> Mapping[float, answers.Vector] | Missing:
        """Evaluate an expression at each step of a past time."""
        return await self._session.query_range(prometheus, expression, steps, answers.vectors)

    async def _selectors(self, query: CounterQuery) -> tuple[str, str] | Missing:
        """Select requests and errors by the metrics that count them."""
        asked = [
            MetricKey(query.prometheus, query.namespace, signal)
            for signal in (query.requests, query.errors)
        ]
        if is_one_metric(query):
            asked = asked[:1]  # errors may have no series yet
        names = _whole(await asyncio.gather(*(self._dialects.name(metric) for metric in asked)))
        if isinstance(names, Missing):
            return names
        requested = selector(query, names[0], query.requests.matchers)
        return requested, errors_selector(query, names[-1])

    async def _raw(
        self, query: CounterQuery, selected: tuple[str, str], span: SampleWindow
    ) -> tuple[answers.Table, answers.Table] | Missing:
        read = partial(answers.table, labels=query.labels)
        tables = _whole(
            await asyncio.gather(
                *(
                    self._session.query_samples(query.prometheus, selector_, span, read)
                    for selector_ in selected
                )
            )
        )
        if isinstance(tables, Missing):
            return tables
        requests, errors = tables
        return requests, errors

    def _no_series(self, query: CounterQuery, selected: str) -> Missing:
        self._dialects.forget(MetricKey(query.prometheus, query.namespace, query.requests))
        return Missing(
            Reason.NO_SERIES,
            f"there are no series {selected}: check spec.signals.requests, the pod label and that "
            "the pods are scraped",
        )

    async def _no_errors(self, query: CounterQuery, names: frozenset[str]) -> Missing | None:
        """Distinguish 'no error yet' from errors that are not counted."""
        if is_one_metric(query):
            return missing_error_label(query, names)
        return await self._dialects.find_errors(query)


def _whole(answers_: Iterable[T | Missing]) -> list[T] | Missing:
    """Return all answers, or the first Missing."""
    complete: list[T] = []
    for answer in answers_:
        if isinstance(answer, Missing):
            return answer
        complete.append(answer)
    return complete
