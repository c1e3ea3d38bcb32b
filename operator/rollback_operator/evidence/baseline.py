"""The last hour of the revision that would be gone back to, minute by minute -> Control.

The minutes come from Prometheus' own increase(), or from raw samples by exact differences; what is
made of them is the same.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rollback_operator.evidence.limits import (
    BASELINE_REQUESTS,
    BASELINE_SECONDS,
    BRIEF_CEILING,
    CEILING_TIMES,
    CERTAIN,
    LEAST_CEILING,
    LEAST_REQUESTS,
    LEAST_SPAN_REQUESTS,
    MOST_CEILING,
    SPANS_Z,
    STEADY_TIMES,
)
from rollback_operator.evidence.retention import MOST_ROUTES, shortened
from rollback_operator.model.samples import Counters, CounterSeries
from rollback_operator.stats.sequential import wilson_lower

HOUR_SECONDS = 3600
MINUTE_SECONDS = 60
SPANS = (1, 2, 5, 15)
"""Minutes: a burst is known by its worst minute, what lasts by its worst quarter of an hour."""
LONGEST_SPAN_SECONDS = SPANS[-1] * MINUTE_SECONDS
STRETCHED_SPANS = (30, 60)
"""Minutes, where a quarter of an hour has too few requests."""
_SHORTEST = 1.0
Minutes = Mapping[str, Mapping[float, float]]
"""Route -> end of a minute -> what was counted in it."""


@dataclass(frozen=True, slots=True)
class RouteControl:
    """How the control revision did on one route in the time before the release."""

    requests: float
    errors: float
    worst_minute: float
    """Highest error rate of the shortest span in `worst`; 0 if there is none."""
    worst: tuple[tuple[float, float], ...] = ()
    """(seconds, highest error rate over a span of that length), spans with enough requests only."""
    worst_earlier: float = 0.0
    """As `worst_minute`, without the minute before the release, in which its fault may begin."""
    last: tuple[float, float] = (0.0, 0.0)
    """Requests and errors of its last two minutes; it may stop in the first second of a minute."""


@dataclass(frozen=True, slots=True)
class Control:
    """The last hour of the revision that would be gone back to, route by route."""

    seconds: float
    routes: Mapping[str, RouteControl]
    busiest_minute: float = 0.0
    """Requests a second, all routes, in its busiest minute."""
    quietest_minute: float = 0.0
    """... in its quietest minute, without the first; a minute without requests counts."""
    pooled: RouteControl = field(default_factory=lambda: RouteControl(0, 0, 0))

    @property
    def is_sufficient(self) -> bool:
        """Return whether the history can stand for the old revision: 60 s and 100 requests."""
        return self.seconds >= BASELINE_SECONDS and self.pooled.requests >= BASELINE_REQUESTS

    @property
    def is_brief(self) -> bool:
        """Return whether it has enough requests in too little time to show its variation."""
        return self.seconds < BASELINE_SECONDS and self.pooled.requests >= BASELINE_REQUESTS

    @property
    def bounds_rates(self) -> bool:
        """Return whether it bounds an error rate at all; the shorter it is, the less (ADR 31)."""
        return self.pooled.requests >= 1

    def since(self, begin: float, until: float) -> "Control":
        """Give a past that is known to have begun then: its minutes show whole minutes only."""
        seconds = max(self.seconds, min(BASELINE_SECONDS, until - begin))
        # Its first minute holds the requests of a part of a minute.
        pace = self.pooled.requests / max(seconds, _SHORTEST)
        is_part = seconds < BASELINE_SECONDS
        busiest = max(self.busiest_minute, pace) if is_part else self.busiest_minute
        return replace(self, seconds=seconds, busiest_minute=busiest)


def control_of(requests: Minutes, errors: Minutes, until: float) -> Control:
    """Sum an hour's minutes up.

    Args:
        requests: by route and the end of each minute.
        errors: the same.
        until: the end of the hour.
    """
    routes = {
        shortened(route): _route(requests[route], errors.get(route, {}))
        for route in _busiest(requests)
    }
    pooled, failed = _pooled(requests), _pooled(errors)
    served = [amount for amount in pooled.values() if amount > 0]
    return Control(
        # The first minute with traffic may have begun with its last second.
        seconds=max(0, len(served) - 1) * MINUTE_SECONDS,
        routes=routes,
        busiest_minute=max(served, default=0.0) / MINUTE_SECONDS,
        quietest_minute=_quietest(pooled, until) / MINUTE_SECONDS,
        pooled=_route(pooled, failed),
    )


def _busiest(requests: Minutes) -> Iterable[str]:
    """Choose the routes with their own control; others are compared with all routes together."""
    if len(requests) <= MOST_ROUTES:
        return requests
    return sorted(requests, key=lambda route: (-sum(requests[route].values()), route))[:MOST_ROUTES]


def control_from(counters: Counters, until: float) -> Control:
    """Count the hour up to `until` from raw samples, by the minutes that increase() would give.

    Args:
        counters: the control's pods only; samples outside the hour are not counted.
        until: when the release came.
    """
    chosen = _instances(counters.requests, until)
    first: dict[str, float] = {}
    for counter in counters.requests:
        if counter.samples:
            begin = counter.samples[0][0]
            first[counter.pod] = min(begin, first.get(counter.pod, begin))
    requests, errors = (
        _minutes(
            (counter for counter in side if chosen.get(counter.pod) == counter.instance),
            first,
            until,
        )
        for side in (counters.requests, counters.errors)
    )
    return control_of(requests, errors, until)


def _instances(series: Iterable[CounterSeries], until: float) -> dict[str, str]:
    """Choose one scrape target per pod: two that read the same pod would count everything twice."""
    counts: dict[str, dict[str, int]] = {}
    for counter in series:
        known = sum(until - HOUR_SECONDS < time <= until for time, _ in counter.samples)
        if known:
            targets = counts.setdefault(counter.pod, {})
            targets[counter.instance] = targets.get(counter.instance, 0) + known
    return {
        pod: min(targets, key=lambda name: (-targets[name], name))
        for pod, targets in counts.items()
    }


def _minutes(
    series: Iterable[CounterSeries], first: Mapping[str, float], until: float
) -> dict[str, dict[float, float]]:
    routes: dict[str, dict[float, float]] = {}
    for counter in series:
        minutes = routes.setdefault(counter.route, {})
        for time, amount in _amounts(counter, first.get(counter.pod, math.inf), until):
            end = until - (until - time) // MINUTE_SECONDS * MINUTE_SECONDS
            minutes[end] = minutes.get(end, 0.0) + amount
    return routes


def _amounts(
    series: CounterSeries, pod_since: float, until: float
) -> Iterator[tuple[float, float]]:
    """Give what each sample of the hour adds.

    A fall is a restart of the counter, as increase() takes it. A series that appears on a pod that
    was being read already has counted from zero, which increase() does not know.
    """
    begin = until - HOUR_SECONDS
    samples = series.samples[: bisect_right(series.samples, until, key=lambda sample: sample[0])]
    before: float | None = None
    for time, value in samples:
        if not math.isfinite(value) or value < 0:
            continue
        base = before if before is not None else (0.0 if time > pod_since else value)
        before = value
        if time > begin:
            yield time, value if value < base else value - base


def _quietest(pooled: Mapping[float, float], until: float) -> float:
    """Give the requests of the quietest minute; a minute without samples had none.

    The first may have begun with its last second. The newest may have too few samples yet.
    """
    times = sorted(at for at, amount in pooled.items() if amount > 0)[1:]
    if not times:
        return 0.0
    last = max(until - MINUTE_SECONDS, *pooled)
    count = round((last - times[0]) / MINUTE_SECONDS) + 1
    return 0.0 if len(times) < count else min(pooled[at] for at in times)


def _pooled(table: Minutes) -> dict[float, float]:
    sums: dict[float, float] = {}
    for minutes in table.values():
        for at, amount in minutes.items():
            sums[at] = sums.get(at, 0.0) + amount
    return sums


def _route(minutes: Mapping[float, float], errors: Mapping[float, float]) -> RouteControl:
    spans = ((length, _worst(minutes, errors, length)) for length in SPANS)
    worst: tuple[tuple[float, float], ...] = tuple(
        (length * MINUTE_SECONDS, rate) for length, rate in spans if rate is not None
    )
    if not worst or (any(errors.values()) and _has_sparse_quarter(minutes)):
        worst += _stretched(minutes, errors)
    newest = max(minutes, default=0.0)
    earlier = {at: amount for at, amount in minutes.items() if at < newest}
    before = (_worst(earlier, errors, length) for length in SPANS)
    end = max((at for at, amount in minutes.items() if amount > 0), default=0.0)
    requests = sum(minutes.values())
    return RouteControl(
        requests=requests,
        # Both are read apart, and increase() extrapolates each: more could fail than was requested.
        errors=min(requests, sum(errors.values())),
        worst_minute=worst[0][1] if worst else 0.0,
        worst=worst,
        worst_earlier=next((rate for rate in before if rate is not None), 0.0),
        last=_sum(minutes, errors, end, 2),
    )


def _has_sparse_quarter(minutes: Mapping[float, float]) -> bool:
    """Return whether a quarter of an hour has too few requests to count among the worst.

    It may be the only failing quarter, while another with a few requests more is known as clean.
    """
    ends = sorted(minutes)
    whole = [end for end in ends if end - ends[0] >= LONGEST_SPAN_SECONDS - MINUTE_SECONDS]
    return any(0 < _sum(minutes, {}, end, SPANS[-1])[0] < LEAST_SPAN_REQUESTS for end in whole)


def _stretched(
    minutes: Mapping[float, float], errors: Mapping[float, float]
) -> tuple[tuple[float, float], ...]:
    """Find the worst rate of a past with few requests; it holds for shorter counts, too.

    A longer span is diluted by what did not fail. The rate of some minutes, however few requests
    they hold, is at least its lower bound, with allowance for the number of spans.
    """
    if not any(errors.values()):
        return ()  # as of most of a thousand routes
    rates = ((length, _worst(minutes, errors, length)) for length in STRETCHED_SPANS)
    length, rate = next(
        ((length, rate) for length, rate in rates if rate is not None), (STRETCHED_SPANS[-1], 0.0)
    )
    for each in (*SPANS, *STRETCHED_SPANS):
        for requests, failed in _sums(minutes, errors, each):
            if requests < LEAST_REQUESTS:
                continue
            rate = max(rate, wilson_lower(requests, min(requests, failed), SPANS_Z))
    return ((length * MINUTE_SECONDS, rate),) if rate > 0 else ()


def _sums(
    minutes: Mapping[float, float], errors: Mapping[float, float], length: int
) -> Iterator[tuple[float, float]]:
    """Add up requests and errors of so many minutes in a row, for each that ends with traffic."""
    for end in minutes:
        yield _sum(minutes, errors, end, length)


def _sum(
    minutes: Mapping[float, float], errors: Mapping[float, float], end: float, length: int
) -> tuple[float, float]:
    span = [end - MINUTE_SECONDS * back for back in range(length)]
    return sum(minutes.get(at, 0.0) for at in span), sum(errors.get(at, 0.0) for at in span)


def _worst(
    minutes: Mapping[float, float], errors: Mapping[float, float], length: int
) -> float | None:
    """Find the highest error rate over so many minutes in a row; None: too few requests in any.

    The highest of sixty rates from twenty requests each is noise: a span counts only with so many
    requests that a single error is less than 1 %.
    """
    worst: float | None = None
    if sum(minutes.values()) < LEAST_SPAN_REQUESTS:
        return None  # as on most of a thousand routes
    for requests, failed in _sums(minutes, errors, length):
        if requests >= LEAST_SPAN_REQUESTS:
            worst = max(worst or 0.0, min(1.0, failed / requests))
    return worst


class Ceiling(NamedTuple):
    """An error rate that the control itself makes plausible over a time."""

    seconds: float
    rate: float


def mean_rate(control: Control, route: str | None) -> float:
    """Compute the control's own error rate."""
    known = history_on(control, route)
    return known.errors / known.requests if known.requests else 0.0


def longest_span_rate(control: Control, route: str | None) -> float:
    """Give the highest error rate that the control had over the longest span that is known."""
    known = history_on(control, route)
    return known.worst[-1][1] if known.worst else known.worst_minute


def ceilings(control: Control, route: str | None) -> tuple[Ceiling, ...]:
    """List the highest error rates that the control makes plausible, by how long they last.

    A burst of some seconds makes a bad minute plausible and a bad quarter of an hour not.
    """
    known, usual = history_on(control, route), mean_rate(control, route)
    if not control.is_sufficient:
        worst = max(usual, known.worst_minute)
        return (Ceiling(0.0, _by_short_past(control, _beyond(usual, worst))),)
    spans = known.worst or ((0.0, known.worst_minute),)
    limits: list[Ceiling] = []
    highest = 0.0
    for seconds, rate in reversed(spans):
        # A rate over a long span was reached in some shorter part of it, even if that part had too
        # few requests to count. How far it was exceeded there is unknown: it counts as steady.
        highest = max(highest, rate)
        inherited = _steady(highest) if rate < highest else 0.0
        limits.append(Ceiling(seconds, max(_beyond(usual, max(usual, rate)), inherited)))
    # The shortest span that is known bounds the beginning, where nothing has lasted yet.
    limits[-1] = Ceiling(0.0, limits[-1].rate)
    if known is not control.pooled and spans[-1][0] > LONGEST_SPAN_SECONDS:
        # A few requests on a route dilute what all routes together show of the same minutes.
        least = ceilings(control, None)[-1].rate
        return tuple(Ceiling(limit.seconds, max(limit.rate, least)) for limit in reversed(limits))
    return tuple(reversed(limits))


def highest_ceiling(control: Control, route: str | None) -> float:
    """Give the highest error rate that the control makes plausible at all."""
    return max(limit.rate for limit in ceilings(control, route))


def _beyond(usual: float, worst: float) -> float:
    """Give the rate that is three times as far from the usual rate as the worst.

    Where hardly anything fails as a rule that is three times the worst. A revision that fails a
    quarter of all, hour in, hour out, does not make three quarters plausible. A revision
    that failed nearly everything for a time makes every rate plausible.
    """
    if worst > MOST_CEILING:
        return CERTAIN
    far = usual + CEILING_TIMES * (worst - usual)
    return min(MOST_CEILING, max(LEAST_CEILING, STEADY_TIMES * usual, far))


def _by_short_past(control: Control, rate: float) -> float:
    """Raise a ceiling, in odds, by what a past lacks of 60 s and of 100 requests (ADR 31).

    What varies within a minute is unknown in proportion to the time that is missing, but a release
    that fails most of its requests is beyond any plausible control. A rate from n requests is
    uncertain by 3/n (the rule of three), which the square of the missing share covers.
    """
    if rate >= CERTAIN:
        return rate
    odds, most = rate / (1 - rate), BRIEF_CEILING / (1 - BRIEF_CEILING)
    if control.seconds < BASELINE_SECONDS:
        longer = BASELINE_SECONDS / max(control.seconds, _SHORTEST)
        odds = max(odds, min(most, odds * longer))
    odds *= max(1.0, BASELINE_REQUESTS / max(1.0, control.pooled.requests)) ** 2
    return min(MOST_CEILING, odds / (1 + odds))


def _steady(rate: float) -> float:
    return CERTAIN if rate > MOST_CEILING else min(MOST_CEILING, STEADY_TIMES * rate)


def plausible(rate: float) -> float:
    """Give the error rate up to which a revision does as well as at this rate."""
    return min(MOST_CEILING, max(LEAST_CEILING, CEILING_TIMES * rate))


def history_on(control: Control, route: str | None) -> RouteControl:
    """Give the control's figures on a route; of all routes where the route is new."""
    if route is None:
        return control.pooled
    known = control.routes.get(route)
    return known if known is not None and known.requests >= LEAST_REQUESTS else control.pooled
