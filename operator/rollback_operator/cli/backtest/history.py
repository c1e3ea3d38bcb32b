"""A past in memory as the Metrics port: at a virtual moment it knows what was known then.

Nothing later than the clock is ever served. A provider's gaps are gaps, a value that is no number
is one as long as it is the newest.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from rollback_operator.adapters.prometheus import PrometheusMetrics
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.expression import expression
from rollback_operator.evidence.baseline import HOUR_SECONDS, Control, control_from
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading, usable
from rollback_operator.ports.queries import CounterQuery, Prometheus


@dataclass(frozen=True)
class History:
    """Everything that was counted, from an hour before the release to the end.

    Values that are no counts are in it; series and their samples are in time order.
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
        return tuple(sorted({time for one in sides for time, _ in one.samples}))

    def next_after(self, now: float) -> float | None:
        """Give the time of the next sample."""
        index = bisect_right(self.times, now)
        return self.times[index] if index < len(self.times) else None


async def read_history(
    metrics: PrometheusMetrics, query: CounterQuery, start: float, end: float
) -> History:
    """Read a past from Prometheus; what could not be read is what the whole replay sees."""
    counters = await metrics.read_past(query, start, end)
    if isinstance(counters, Missing):
        return History(counters)
    known = await metrics.read_errors_known(query, start, end)
    return History(counters) if isinstance(known, Missing) else History(counters, known)


@dataclass
class _Indexed:
    series: CounterSeries
    times: list[float]

    def between(self, after: float, until: float) -> CounterSeries | None:
        """Cut what a range selector gives: later than `after`, up to `until`."""
        begin, end = bisect_right(self.times, after), bisect_right(self.times, until)
        if begin == end:
            return None
        one = self.series
        samples = one.samples[begin:end]
        return CounterSeries(one.pod, one.route, one.identity, one.instance, samples)


@dataclass
class PastMetrics:
    """The Metrics port on a past, by a virtual clock."""

    history: History
    clock: Callable[[], float]
    _controls: dict[tuple[tuple[str, ...], frozenset[str], float], Control] = field(
        default_factory=dict
    )
    _chosen: dict[tuple[str, ...], tuple[list[_Indexed], list[_Indexed]]] = field(
        default_factory=dict
    )

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Give the raw counters of the last `seconds`."""
        if isinstance(self.history.counters, Missing):
            return self.history.counters
        now = self.clock()
        found = self._between(query, now - seconds, now)
        requested, failed = usable(found.requests), usable(found.errors)
        if isinstance(requested, Missing):
            return requested
        if isinstance(failed, Missing):
            return failed
        if not requested:
            name = query.requests.metric
            return Missing(Reason.NO_SERIES, f"there are no series {name} of the target's pods")
        if not failed and not self._knows_errors(now):
            return Missing(
                Reason.ERROR_SERIES_MISSING,
                f"no pod has ever counted {query.errors.metric}: whether there are no errors or no "
                "such metric cannot be told",
            )
        return Counters(requested, failed)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Give the error rates of the hour up to `until`, by the minute."""
        if isinstance(self.history.counters, Missing):
            return self.history.counters
        until = min(until, self.clock())
        key = query.pods, query.left_out, until
        if key not in self._controls:
            # A little more than the hour: the first difference needs a sample before it.
            found = self._between(query, until - HOUR_SECONDS - 120, until)
            judged = Counters(
                *(
                    tuple(one for one in side if one.route not in query.left_out)
                    for side in (found.requests, found.errors)
                )
            )
            self._controls[key] = control_from(judged, until)
        return self._controls[key]

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Give the virtual time: in a past there is one clock."""
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
        return sorted({*self.history.errors_known, *(t for one in own for t, _ in one.samples)})

    def _between(self, query: CounterQuery, after: float, until: float) -> Counters:
        requests, errors = self._of(query.pods if query.labels.pod else ())
        return Counters(
            tuple(one for each in requests if (one := each.between(after, until)) is not None),
            tuple(one for each in errors if (one := each.between(after, until)) is not None),
        )

    def _of(self, pods: tuple[str, ...]) -> tuple[list[_Indexed], list[_Indexed]]:
        """Choose the series of the pods that are asked for, as the selector would."""
        if pods not in self._chosen:
            wanted = [expression(one) for one in pods]
            counters = self.history.counters
            sides = (
                ((), ())
                if isinstance(counters, Missing)
                else (
                    counters.requests,
                    counters.errors,
                )
            )
            requests, errors = (
                [
                    _Indexed(one, [time for time, _ in one.samples])
                    for one in side
                    if not pods or any(each.matches(one.pod) for each in wanted)
                ]
                for side in sides
            )
            self._chosen[pods] = requests, errors
        return self._chosen[pods]
