"""The counts of both revisions, and the error rates that the history of the control allows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from rollback_operator.evidence.baseline import Control, RouteControl
from rollback_operator.evidence.limits import (
    BRIEF_CEILING,
    CEILING_TIMES,
    CERTAIN,
    LEAST_CEILING,
    LEAST_REQUESTS,
    MOST_CEILING,
    STEADY_TIMES,
)
from rollback_operator.model.verdict import Thresholds
from rollback_operator.stats.windows import Counts, Increment, counted

_START = attrgetter("start")


@dataclass(frozen=True)
class Arms:
    """Both revisions' counts."""

    new: tuple[Increment, ...]
    old: tuple[Increment, ...]
    control: Control | None
    living_new: frozenset[str]
    living_old: frozenset[str]
    seen: Mapping[str, float]
    starts: Mapping[str, tuple[float, ...]]
    """When each new pod was created and when its container last started."""
    interval: float
    watch_seconds: float
    nodes: Mapping[str, str] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    """Pods whose own pages are read, between scrapes."""
    odds: Thresholds = field(default_factory=Thresholds)
    replaced: tuple[Increment, ...] = ()
    """Of the revision that ran before, where it is not the control: evidence of a prior failure."""

    @cached_property
    def counted(self) -> Counts:
        """The counts of the new revision, summed once."""
        return counted(self.new)

    def counted_on(self, route: str | None) -> Counts:
        """Give those on a route; None: all of them."""
        if route is None:
            return self.counted
        return Counts({route: self.counted.routes[route]} if route in self.counted.routes else {})

    @property
    def has_control(self) -> bool:
        """Return whether there is a control: old pods, or enough history."""
        return bool(self.living_old) or (self.control is not None and self.control.is_sufficient)


def on(increments: Iterable[Increment], route: str | None) -> list[Increment]:
    """Choose the counts on a route; None: all of them."""
    return (
        list(increments)
        if route is None
        else [increment for increment in increments if increment.route == route]
    )


def total(increments: Iterable[Increment]) -> tuple[float, float]:
    """Add requests and errors up."""
    requests = errors = 0.0
    for increment in increments:
        requests += increment.requests
        errors += increment.errors
    return requests, errors


def in_order(increments: Iterable[Increment]) -> list[tuple[float, float, float]]:
    """List (start, requests, errors) in time order."""
    return [
        (increment.start, increment.requests, increment.errors)
        for increment in sorted(increments, key=_START)
    ]


class Ceiling(NamedTuple):
    """An error rate that the control itself makes plausible over a time."""

    seconds: float
    rate: float


def mean(control: Control, route: str | None) -> float:
    """Compute the control's own error rate."""
    known = past(control, route)
    return known.errors / known.requests if known.requests else 0.0


def lasting(control: Control, route: str | None) -> float:
    """Give the highest error rate that the control had over the longest span that is known."""
    known = past(control, route)
    return known.worst[-1][1] if known.worst else known.worst_minute


def ceilings(control: Control, route: str | None) -> tuple[Ceiling, ...]:
    """List the highest error rates that the control makes plausible, by how long they last.

    A burst of some seconds makes a bad minute plausible and a bad quarter of an hour not.
    """
    known, usual = past(control, route), mean(control, route)
    if control.is_brief:
        return (Ceiling(0.0, max(BRIEF_CEILING, _beyond(usual, usual))),)
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
    return tuple(reversed(limits))


def ceiling(control: Control, route: str | None) -> float:
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


def _steady(rate: float) -> float:
    return CERTAIN if rate > MOST_CEILING else min(MOST_CEILING, STEADY_TIMES * rate)


def plausible(rate: float) -> float:
    """Give the error rate up to which a revision does as well as at this rate."""
    return min(MOST_CEILING, max(LEAST_CEILING, CEILING_TIMES * rate))


def past(control: Control, route: str | None) -> RouteControl:
    """Give the control's figures on a route; of all routes where the route is new."""
    if route is None:
        return control.pooled
    known = control.routes.get(route)
    return known if known is not None and known.requests >= LEAST_REQUESTS else control.pooled
