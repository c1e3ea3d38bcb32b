"""What was read of request counters, or why there is nothing to be read."""

from dataclasses import dataclass

from rollback_operator.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class CounterSeries:
    """One counter of one pod, as somebody read it: samples in time order."""

    pod: str
    route: str
    identity: tuple[tuple[str, str], ...]
    """The counter's own labels, without those that only tell who scraped it."""
    instance: str
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Counters:
    """An answer: request and error counters, read together."""

    requests: tuple[CounterSeries, ...]
    errors: tuple[CounterSeries, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """No usable answer, and which of the four kinds: none of them is good, none is bad."""

    reason: Reason
    message: str


Reading = Counters | Missing
