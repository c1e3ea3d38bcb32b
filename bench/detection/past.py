"""Samples in memory as a Metrics port: what the Prometheus adapter would read, at any time.

`increase` is Prometheus' own (promql/functions.go, extrapolatedRate, 2.53): the bench's baselines
and the judge's control see what a real one shows. `whole_path.py` checks that against a real one.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.detection.scenario import Confounder, Scenario
from bench.detection.world import T0, Floats, Series, World
from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.baseline import Control, control_of
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.metrics import CounterQuery, Prometheus

HOUR, MINUTE = 3600.0, 60.0
INGESTED = 0.3
"""A scrape can be queried that much later than it is timed."""


def increase(one: Series, until: Floats, window: float) -> Floats:
    """Compute increase(series[window]) at each of the times; NaN where there is no answer."""
    times, values = one.times, one.values
    drops = np.concatenate([[0.0], np.where(values[1:] < values[:-1], values[:-1], 0.0)])
    total = values + np.cumsum(drops)
    first = np.searchsorted(times, until - window, side="right")
    last = np.searchsorted(times, until, side="right") - 1
    is_known = last > first
    found = np.full(len(until), np.nan)
    if not is_known.any():
        return found
    a, b, end = first[is_known], last[is_known], until[is_known]
    result = total[b] - total[a]
    sampled = times[b] - times[a]
    average = sampled / (b - a)
    to_start, to_end = times[a] - (end - window), end - times[b]
    threshold = average * 1.1
    to_start = np.where(to_start >= threshold, average / 2, to_start)
    # A counter cannot have been negative: no further back than where it would have been zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = np.where(result > 0, sampled * values[a] / result, np.inf)
    to_start = np.where((result > 0) & (values[a] >= 0), np.minimum(to_start, zero), to_start)
    to_end = np.where(to_end >= threshold, average / 2, to_end)
    found[is_known] = result * (sampled + to_start + to_end) / sampled
    return found


@dataclass(frozen=True, slots=True)
class _Stored:
    pod: str
    route: str
    times: list[float]
    samples: list[tuple[float, float]]

    def within(self, after: float, until: float) -> tuple[tuple[float, float], ...]:
        return tuple(
            self.samples[bisect_right(self.times, after) : bisect_right(self.times, until)]
        )


def _stored(series: Sequence[Series]) -> list[_Stored]:
    found = []
    for one in series:
        times = [T0 + float(time) for time in one.times]
        values = [float(value) for value in one.values]
        found.append(_Stored(one.pod, one.route, times, list(zip(times, values, strict=True))))
    return found


@dataclass
class Past:
    """A Prometheus that holds a scenario's samples; `now` is the virtual clock."""

    world: World
    now: float = 0.0
    reads: int = 0
    other_reads: int = 0
    """Queries for the clock and for the hour before (two)."""
    _requests: list[_Stored] = field(init=False)
    _errors: list[_Stored] = field(init=False)

    def __post_init__(self) -> None:
        self._requests = _stored(self.world.requests)
        self._errors = _stored(self.world.errors)

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters of the last `seconds`."""
        self.reads += 1
        missing = outage(self.world.scenario, self.now)
        if missing is not None:
            return missing
        until = T0 + self.now - INGESTED
        after = T0 + self.now - seconds
        requests = _cut(self._requests, after, until)
        if not requests:
            return Missing(Reason.NO_SERIES, "there are no series")
        errors = _cut(self._errors, after, until)
        if not errors and not any(one.within(until - HOUR, until) for one in self._errors):
            return Missing(Reason.ERROR_SERIES_MISSING, "no error has ever been counted")
        return Counters(requests, errors)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the error rates, minute by minute, of the hour up to `until`."""
        self.other_reads += 2
        missing = outage(self.world.scenario, self.now)
        if missing is not None:
            return missing
        pods = re.compile("|".join(query.pods))
        ends = np.arange(until - T0 - HOUR + MINUTE, until - T0 + 1, MINUTE)
        return control(
            [one for one in self.world.requests if pods.fullmatch(one.pod)],
            [one for one in self.world.errors if pods.fullmatch(one.pod)],
            ends,
        )

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the provider's time: both clocks are one."""
        self.other_reads += 1
        return T0 + self.now

    def has_news(self, after: float, until: float) -> bool:
        """Tell whether a sample has come in between."""
        arrivals = self.world.arrivals
        return bisect_right(arrivals, after - INGESTED) < bisect_right(arrivals, until - INGESTED)

    def next_arrival(self, now: float) -> float:
        """Tell when the next sample can be read."""
        index = bisect_right(self.world.arrivals, now - INGESTED)
        known = self.world.arrivals
        return known[index] + INGESTED + 1e-3 if index < len(known) else np.inf

    def new_errors(self, pods: frozenset[str], after: float, until: float) -> bool:
        """Tell whether an error of these pods has been read in between."""
        for one in self._errors:
            if one.pod in pods:
                first = bisect_left(one.times, T0 + after)
                last = bisect_right(one.times, T0 + until) - 1
                if last >= first:
                    before = one.samples[first - 1][1] if first else 0.0
                    if one.samples[last][1] != before:
                        return True
        return False


def _cut(series: Sequence[_Stored], after: float, until: float) -> tuple[CounterSeries, ...]:
    found = []
    for one in series:
        samples = one.within(after, until)
        if samples:
            found.append(CounterSeries(one.pod, one.route, (), f"{one.pod}:8080", samples))
    return tuple(found)


def outage(scenario: Scenario, now: float) -> Missing | None:
    """Give what a Prometheus answers that is there and of no use."""
    is_out = scenario.since <= now < scenario.since + scenario.lasts
    if scenario.confounder is not Confounder.MISSING or not is_out:
        return None
    return {
        1.0: Missing(Reason.PROVIDER_ERROR, "Prometheus answers 503"),
        2.0: Missing(Reason.NO_SERIES, "there are no series"),
        3.0: Missing(Reason.NOT_A_NUMBER, "a series holds NaN"),
    }.get(scenario.extent)


def is_replayable(scenario: Scenario) -> bool:
    """Tell whether samples and rollouts can say all of it.

    They cannot say what an API answered instead of samples, what the ledger knew before, how a hold
    stopped a rollout, nor what was read from pods.
    """
    if scenario.stage or scenario.pages or scenario.trends:
        return False
    if scenario.confounder is Confounder.MISSING:
        return scenario.extent == 0
    return scenario.confounder not in (
        Confounder.FLAPPING,
        Confounder.NO_WAY_BACK,
        Confounder.NEVER_SERVES,
    )


def control(requests: Sequence[Series], errors: Sequence[Series], ends: Floats) -> Control:
    """Compute the old revision's hour from what increase() gives for each minute."""
    return control_of(_minutes(requests, ends), _minutes(errors, ends), float(ends[-1]))


def _minutes(series: Sequence[Series], ends: Floats) -> dict[str, dict[float, float]]:
    found: dict[str, dict[float, float]] = {}
    for one in series:
        minutes = found.setdefault(one.route, {})
        for end, amount in zip(ends, increase(one, ends, MINUTE), strict=True):
            if not np.isnan(amount):
                minutes[float(end)] = minutes.get(float(end), 0.0) + float(amount)
    return {route: minutes for route, minutes in found.items() if minutes}
