"""Reads answers: JSON in, values of the core out. What has not the expected form is Missing."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollback_operator.adapters.prometheus.native import histogram, rows
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import SignalLabels
from rollback_operator.evidence.baseline import Minutes
from rollback_operator.model.samples import LATEST, Counters, CounterSeries, Missing, is_count

_SCRAPER_LABELS = frozenset(
    {"__name__", "job", "instance", "replica", "prometheus_replica", "prometheus", "namespace"}
)
UNREADABLE = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What reading an answer of another form than expected raises."""

Sample = tuple[float, float]
"""Seconds since the epoch, value."""
Vector = list[tuple[Mapping[str, str], float]]


def series(answer: Any, labels: SignalLabels) -> tuple[CounterSeries, ...] | Missing:
    """Read the counters of a range selector's answer; of a native histogram, its count."""
    try:
        return tuple(_each(answer, labels))
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "the answer holds no series of samples")


@dataclass(frozen=True, slots=True)
class Table:
    """The counters of an answer, and the names of all labels that they have."""

    series: tuple[CounterSeries, ...]
    labels: frozenset[str]


def table(answer: Any, labels: SignalLabels) -> Table | Missing:
    """Read counters, and by which labels they are told apart."""
    found = series(answer, labels)
    if isinstance(found, Missing):
        return found
    return Table(found, frozenset(name for one in answer for name in one["metric"]))


def clock(answer: Any) -> float | Missing:
    """Read the answer to `time()`."""
    try:
        found = float(answer[1])
    except UNREADABLE:
        found = math.nan
    if not math.isfinite(found):
        return Missing(Reason.ANSWER_MALFORMED, "the query time() has no number for an answer")
    return found


def vector(answer: Any) -> Vector | Missing:
    """Read the answer of an instant query: labels and value of each series; a scalar has none.

    A native histogram is told as a classic one: a count for each bound, with the label `le`.
    """
    try:
        if answer and not isinstance(answer[0], dict):
            return [({}, float(answer[1]))]
        return [row for one in answer for row in _rows(one)]
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "the answer holds no values")


def vectors(answer: Any) -> dict[float, Vector] | Missing:
    """Read a range answer: time -> what an instant query of that time would have answered."""
    found: dict[float, Vector] = {}
    try:
        for one in answer:
            labels = _labels(one)
            for at, value in one.get("values", ()):
                found.setdefault(float(at), []).append((labels, float(value)))
            for at, raw in one.get("histograms", ()):
                found.setdefault(float(at), []).extend(rows(labels, histogram(at, raw)))
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "a range answer has no series in it")
    return found


def _rows(one: Any) -> Iterator[tuple[Mapping[str, str], float]]:
    labels = _labels(one)
    if "histogram" in one:
        yield from rows(labels, histogram(*one["histogram"]))
    else:
        yield labels, float(one["value"][1])


def _each(answer: Any, labels: SignalLabels) -> Iterator[CounterSeries]:
    for one in answer:
        yield _counter(_labels(one), labels, tuple(_samples(one)))


def _counter(
    metric: Mapping[str, str], labels: SignalLabels, samples: tuple[Sample, ...]
) -> CounterSeries:
    own = {labels.pod, labels.route} | _SCRAPER_LABELS
    identity = {name: value for name, value in metric.items() if name not in own}
    instance = metric.get("instance", "")
    if not labels.pod:
        # Each replica of an ingress counts its part of the requests: they are counters of their
        # own, not two views of one.
        identity["instance"], instance = instance, ""
    return CounterSeries(
        pod=metric.get(labels.pod, "") if labels.pod else "",
        route=metric.get(labels.route, ""),
        identity=tuple(sorted(identity.items())),
        instance=instance,
        samples=samples,
    )


def _labels(one: Any) -> Mapping[str, str]:
    metric: Mapping[str, str] = one["metric"]
    if not all(isinstance(value, str) for value in metric.values()):
        raise TypeError("a label's value is a string")
    return metric


def _samples(one: Mapping[str, Any]) -> list[Sample]:
    if "values" not in one and "histograms" not in one:
        raise KeyError("values")
    read = [(float(at), float(value)) for at, value in one.get("values", ())]
    read += [(float(at), float(raw["count"])) for at, raw in one.get("histograms", ())]
    if not all(0 < at < LATEST for at, _ in read):
        raise ValueError("a sample's time is in seconds since the epoch")
    return sorted(read)


def minutes(answer: Any, by: str) -> Minutes | Missing:
    """Read what was counted minute by minute on each route."""
    found: dict[str, dict[float, float]] = {}
    try:
        for one in answer:
            values = found.setdefault(_labels(one).get(by, ""), {})
            values |= {at: value for at, value in _samples(one) if is_count(value)}
    except UNREADABLE:
        return Missing(Reason.ANSWER_MALFORMED, "a range answer has no series in it")
    return found


def joined(parts: Iterable[Counters]) -> Counters:
    """Put the parts of a past together; a sample on their border is in both or in one."""
    found: tuple[dict[Any, CounterSeries], ...] = ({}, {})
    for part in parts:
        for known, side in zip(found, (part.requests, part.errors), strict=True):
            for one in side:
                key = one.pod, one.route, one.identity, one.instance
                before = known[key].samples if key in known else ()
                last = before[-1][0] if before else -math.inf
                later = tuple(sample for sample in one.samples if not sample[0] <= last)
                known[key] = replace(one, samples=before + later)
    return Counters(tuple(found[0].values()), tuple(found[1].values()))
