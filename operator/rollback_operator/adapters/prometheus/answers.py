"""Parses answers: JSON in, values of the model out; an answer of another form is Missing.

Native histograms become classic histograms: cumulative counts at bounds that never change. These
are the bounds of Prometheus' schema 2 (a factor of 2^(1/4)), which finer schemas share; a wider
bucket, or a bucket with custom bounds, is spread evenly over the bounds that it covers.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import SignalLabels
from rollback_operator.evidence.baseline import Minutes
from rollback_operator.model.samples import LATEST, Counters, CounterSeries, Missing, is_count

_SCRAPER_LABELS = frozenset(
    {"__name__", "job", "instance", "replica", "prometheus_replica", "prometheus", "namespace"}
)
NATIVE_BOUNDS = (*(2 ** (number / 4) for number in range(-56, 57)), math.inf)
"""From 0.06 ms to 4.5 h, in seconds."""
UNREADABLE = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""Exceptions of parsing an answer of an unexpected form."""

Sample = tuple[float, float]
"""Seconds since the epoch, value."""
Vector = list[tuple[Mapping[str, str], float]]


@dataclass(frozen=True, slots=True)
class Table:
    """Counters of an answer, and the names of all their labels."""

    series: tuple[CounterSeries, ...]
    labels: frozenset[str]


def table(answer: Any, labels: SignalLabels) -> Table | Missing:
    """Parse the answer of a range selector; a native histogram counts by its count."""
    try:
        counters = tuple(_counter(row, labels) for row in answer)
        return Table(counters, frozenset(name for row in answer for name in row["metric"]))
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "the answer holds no series of samples")


def clock(answer: Any) -> float | Missing:
    """Parse the answer to `time()`."""
    try:
        seconds = float(answer[1])
    except UNREADABLE:
        seconds = math.nan
    if not math.isfinite(seconds):
        return Missing(Reason.ANSWER_MALFORMED, "the query time() has no number for an answer")
    return seconds


def vector(answer: Any) -> Vector | Missing:
    """Parse the answer of an instant query: each series' labels and value; a scalar has no labels.

    A native histogram becomes a classic histogram: a count for each bound, with the label `le`.
    """
    try:
        if answer and not isinstance(answer[0], dict):
            return [({}, float(answer[1]))]
        return [row for series_ in answer for row in _rows(series_)]
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "the answer holds no values")


def vectors(answer: Any) -> dict[float, Vector] | Missing:
    """Parse a range answer: time -> the answer of an instant query at that time."""
    by_time: dict[float, Vector] = {}
    try:
        for row in answer:
            labels = _labels(row)
            for at, value in row.get("values", ()):
                by_time.setdefault(float(at), []).append((labels, float(value)))
            for at, raw in row.get("histograms", ()):
                by_time.setdefault(float(at), []).extend(
                    classic_rows(labels, native_histogram(at, raw))
                )
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "a range answer has no series in it")
    return by_time


def _rows(row: Any) -> Iterator[tuple[Mapping[str, str], float]]:
    labels = _labels(row)
    if "histogram" in row:
        yield from classic_rows(labels, native_histogram(*row["histogram"]))
    else:
        yield labels, float(row["value"][1])


def _counter(row: Any, labels: SignalLabels) -> CounterSeries:
    metric = _labels(row)
    own = {labels.pod, labels.route} | _SCRAPER_LABELS
    identity = {name: value for name, value in metric.items() if name not in own}
    instance = metric.get("instance", "")
    if not labels.pod:
        # Each replica of an ingress counts its part of the requests: its counters are separate,
        # not another view of the same counter.
        identity["instance"], instance = instance, ""
    return CounterSeries(
        pod=metric.get(labels.pod, "") if labels.pod else "",
        route=metric.get(labels.route, ""),
        identity=tuple(sorted(identity.items())),
        instance=instance,
        samples=tuple(_samples(row)),
    )


def _labels(row: Any) -> Mapping[str, str]:
    metric: Mapping[str, str] = row["metric"]
    if not all(isinstance(value, str) for value in metric.values()):
        raise TypeError("a label's value is a string")
    return metric


def _samples(row: Mapping[str, Any]) -> list[Sample]:
    if "values" not in row and "histograms" not in row:
        raise KeyError("values")
    read = [(float(at), float(value)) for at, value in row.get("values", ())]
    read += [(float(at), float(raw["count"])) for at, raw in row.get("histograms", ())]
    if not all(0 < at < LATEST for at, _ in read):
        raise ValueError("a sample's time is in seconds since the epoch")
    return sorted(read)


def minutes(answer: Any, by: str) -> Minutes | Missing:
    """Parse the counts of each minute on each route."""
    by_route: dict[str, dict[float, float]] = {}
    try:
        for row in answer:
            values = by_route.setdefault(_labels(row).get(by, ""), {})
            values |= {at: value for at, value in _samples(row) if is_count(value)}
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "a range answer has no series in it")
    return by_route


def joined(parts: Iterable[Counters]) -> Counters:
    """Join the parts of a past; a sample on their border may be in both."""
    sides: tuple[dict[Any, CounterSeries], ...] = ({}, {})
    for part in parts:
        for known, side in zip(sides, (part.requests, part.errors), strict=True):
            for counter in side:
                key = counter.pod, counter.route, counter.identity, counter.instance
                before = known[key].samples if key in known else ()
                last = before[-1][0] if before else -math.inf
                later = tuple(sample for sample in counter.samples if not sample[0] <= last)
                known[key] = replace(counter, samples=before + later)
    return Counters(tuple(sides[0].values()), tuple(sides[1].values()))


@dataclass(frozen=True, slots=True)
class NativeSample:
    """A sample of a native histogram."""

    time: float
    count: float
    total: float
    """Sum of the observations."""
    buckets: tuple[tuple[float, float, float], ...]
    """Lower bound, upper bound, count; without empty buckets."""


def native_histogram(at: Any, raw: Mapping[str, Any]) -> NativeSample:
    """Parse a sample of a native histogram.

    Raises:
        LookupError, TypeError, ValueError: it has another form.
    """
    buckets = tuple(
        (float(lower), float(upper), float(count))
        for _, lower, upper, count in raw.get("buckets") or ()
    )
    numbers = (
        float(at),
        float(raw["count"]),
        *(number for bucket in buckets for number in bucket[1:]),
    )
    if any(math.isnan(number) for number in numbers):
        raise ValueError("a histogram holds a value that is no number")
    return NativeSample(float(at), float(raw["count"]), float(raw["sum"]), buckets)


def classic_rows(
    labels: Mapping[str, str], sample: NativeSample
) -> Iterator[tuple[dict[str, str], float]]:
    """Convert to the series of a classic histogram: a count at each bound `le`."""
    buckets = sorted(sample.buckets, key=lambda bucket: bucket[1])
    below, index = 0.0, 0
    for bound in NATIVE_BOUNDS[:-1]:
        while index < len(buckets) and buckets[index][1] <= bound:
            below += buckets[index][2]
            index += 1
        part = sum(_share(bucket, bound) for bucket in buckets[index : index + 2])
        yield {**labels, "le": repr(bound)}, below + part
    yield {**labels, "le": "+Inf"}, sample.count


def _share(bucket: tuple[float, float, float], bound: float) -> float:
    lower, upper, count = bucket
    lower = max(0.0, lower)
    if bound <= lower or not math.isfinite(upper):
        return 0.0
    return count * (bound - lower) / (upper - lower)
