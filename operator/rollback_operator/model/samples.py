"""Readings of request counters, or the reason why there are none."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rollback_operator.api.reasons import Reason

LATEST = 1e10
"""Seconds since 1970 in the year 2286: a later time has another unit."""
MOST_COUNTED = 1e15
"""Above it, a float cannot distinguish a count from the next."""
LONGEST_REST_SECONDS = 30.0
"""Longest pause before a silent server is requested again."""


@dataclass(frozen=True, slots=True)
class CounterSeries:
    """One counter of one pod as read by one scraper: samples in time order."""

    pod: str
    route: str
    identity: tuple[tuple[str, str], ...]
    """The counter's own labels, without labels that identify the scraper."""
    instance: str
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Counters:
    """An answer: request and error counters, read together."""

    requests: tuple[CounterSeries, ...]
    errors: tuple[CounterSeries, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """No usable answer, and its kind of four: none is good, none is bad."""

    reason: Reason
    message: str


Reading = Counters | Missing


def usable(series: Iterable[CounterSeries]) -> tuple[CounterSeries, ...] | Missing:
    """Leave out earlier invalid values; a newest invalid value leaves nothing to judge from.

    Beside other series, one invalid value is left out, alone or after valid values: VictoriaMetrics
    marks the end of a series with it.
    """
    found, ended = [], []
    for one in series:
        samples = tuple(sample for sample in one.samples if is_count(sample[1]))
        if not samples and len(one.samples) == 1:
            ended.append(one)
        elif one.samples and not any(is_count(value) for _, value in one.samples[-2:]):
            return _no_count(one)
        else:
            found.append(one if len(samples) == len(one.samples) else replace(one, samples=samples))
    if ended and not any(one.samples for one in found):
        return _no_count(ended[0])
    return tuple(found)


def _no_count(one: CounterSeries) -> Missing:
    labels = {"pod": one.pod, "route": one.route, **dict(one.identity)}
    return Missing(
        Reason.NOT_A_NUMBER,
        f"series {labels} has a value that is invalid for a counter (NaN, infinite, negative or "
        "too large)",
    )


def is_count(value: float) -> bool:
    """Return whether a counter can have this value."""
    return 0 <= value <= MOST_COUNTED  # a NaN is neither
