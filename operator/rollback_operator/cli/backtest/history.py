"""A past in memory as the ports for metrics: at a virtual moment it serves what was known then.

It never serves a value later than the clock. Gaps of Prometheus remain gaps, and a value that is
not a number counts as a gap while it is the newest.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from rollback_operator.adapters.prometheus import PrometheusMetrics, Steps
from rollback_operator.adapters.prometheus.answers import Vector
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.expression import expression
from rollback_operator.evidence.baseline import HOUR_SECONDS, Control, control_from
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading, usable
from rollback_operator.ports.metrics import CounterQuery, Prometheus

POINTS = 720
"""Values of an expression in one query."""


@dataclass(frozen=True)
class History:
    """All counters from an hour before the release to the end.

    Values that are not counts are included; series and their samples are in time order.
    """

    counters: Counters | Missing
    errors_known: tuple[float, ...] = ()
    """When any pod of the namespace had the error counter; the target's own are known anyway."""

    @cached_property
    def times(self) -> tuple[float, ...]:
        """All sample times, in order."""
        if isinstance(self.counters, Missing):
            return ()
        sides = (*self.counters.requests, *self.counters.errors)
        return tuple(sorted({time for series in sides for time, _ in series.samples}))

    def next_after(self, now: float) -> float | None:
        """Return the time of the next sample."""
        index = bisect_right(self.times, now)
        return self.times[index] if index < len(self.times) else None


async def read_history(
    metrics: PrometheusMetrics, query: CounterQuery, start: float, end: float
) -> History:
    """Read a past from Prometheus; a failure to read it is what the whole replay sees."""
    counters = await metrics.read_past(query, start, end)
    if isinstance(counters, Missing):
        return History(counters)
    known = await metrics.read_errors_known(query, start, end)
    return History(counters) if isinstance(known, Missing) else History(counters, known)


class _IndexedSeries:
    """A series with its sample times apart, for a binary search."""

    def __init__(self, series: CounterSeries) -> None:
        self.series = series
        self.times = [time for time, _ in series.samples]

    def between(self, after: float, until: float) -> CounterSeries | None:
        """Return what a range selector does: samples later than `after`, up to `until`."""
        begin, end = bisect_right(self.times, after), bisect_right(self.times, until)
        if begin == end:
            return None
        return replace(self.series, samples=self.series.samples[begin:end])


@dataclass
class PastMetrics:
    """The Metrics port on a past, by a virtual clock."""

    history: History
    clock: Callable[[], float]
    _controls: dict[tuple[tuple[str, ...], frozenset[str], float], Control] = field(
        default_factory=dict
    )
    _selected: dict[tuple[str, ...], tuple[list[_IndexedSeries], ...]] = field(default_factory=dict)

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Return the raw counters of the last `seconds`."""
        if isinstance(self.history.counters, Missing):
            return self.history.counters
        now = self.clock()
        counters = self._between(query, now - seconds, now)
        requests, errors = usable(counters.requests), usable(counters.errors)
        if isinstance(requests, Missing):
            return requests
        if isinstance(errors, Missing):
            return errors
        if not requests:
            name = query.requests.metric
            return Missing(Reason.NO_SERIES, f"there are no series {name} of the target's pods")
        if not errors and not self._knows_errors(now):
            return Missing(
                Reason.ERROR_SERIES_MISSING,
                f"no pod has ever counted {query.errors.metric}: whether there are no errors or no "
                "such metric is unknown",
            )
        return Counters(requests, errors)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Return the error rates of the hour up to `until`, by the minute."""
        if isinstance(self.history.counters, Missing):
            return self.history.counters
        until = min(until, self.clock())
        key = query.pods, query.left_out, until
        if key not in self._controls:
            # A little more than the hour: the first difference needs a sample before it.
            counters = self._between(query, until - HOUR_SECONDS - 120, until)
            judged = Counters(
                *(
                    tuple(series for series in side if series.route not in query.left_out)
                    for side in (counters.requests, counters.errors)
                )
            )
            self._controls[key] = control_from(judged, until)
        return self._controls[key]

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Return the virtual time: a past has one clock."""
        if isinstance(self.history.counters, Missing):
            return self.history.counters
        return self.clock()

    def _knows_errors(self, now: float) -> bool:
        index = bisect_right(self._error_times, now)
        return index > 0 and self._error_times[index - 1] > now - HOUR_SECONDS

    @cached_property
    def _error_times(self) -> list[float]:
        counters = self.history.counters
        own = () if isinstance(counters, Missing) else counters.errors
        times = {time for series in own for time, _ in series.samples}
        return sorted(times.union(self.history.errors_known))

    def _between(self, query: CounterQuery, after: float, until: float) -> Counters:
        sides = self._select(query.pods if query.labels.pod else ())
        return Counters(
            *(
                tuple(cut for each in side if (cut := each.between(after, until)) is not None)
                for side in sides
            )
        )

    def _select(self, pods: tuple[str, ...]) -> tuple[list[_IndexedSeries], ...]:
        """Return requests and errors of the pods of a query, as the selector would."""
        counters = self.history.counters
        if pods not in self._selected and isinstance(counters, Counters):
            patterns = [expression(pattern) for pattern in pods]
            self._selected[pods] = tuple(
                [
                    _IndexedSeries(series)
                    for series in side
                    if not pods or any(pattern.matches(series.pod) for pattern in patterns)
                ]
                for side in (counters.requests, counters.errors)
            )
        return self._selected.get(pods, ([], []))


@dataclass
class PastVectors:
    """Values of expressions at the moments of a clock, read an hour at a time.

    An instant query at each moment would give the same at a hundred times the cost.
    """

    metrics: PrometheusMetrics
    start: float
    end: float
    step: float
    _parts: dict[tuple[str, int], Mapping[float, Vector] | Missing] = field(default_factory=dict)

    async def read_vector(
        self, prometheus: Prometheus, expression: str, at: float
    ) -> Vector | Missing:
        """Read the value that an expression had at a time; no later sample counts."""
        number = (at - self.start) / self.step
        is_whole = self.start.is_integer() and self.step.is_integer()
        if not is_whole or not number.is_integer() or not self.start <= at <= self.end:
            return await self.metrics.read_vector(prometheus, expression, at)
        index = int(number) // POINTS
        part = self._parts.get((expression, index))
        if part is None:
            begin = self.start + index * POINTS * self.step
            until = min(self.end, begin + (POINTS - 1) * self.step)
            steps = Steps(begin, until, int(self.step))
            part = await self.metrics.read_vectors(prometheus, expression, steps)
            self._parts[expression, index] = part
        return part if isinstance(part, Missing) else part.get(at, [])
