"""Both revisions' counts, and what the old one's past allows: what a judgement is made from."""

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
    """Of the revision that ran before, where the old one is another: no control, but a witness."""

    @cached_property
    def counted(self) -> Counts:
        """The new revision's counts, added up once for all that asks for sums of them."""
        return counted(self.new)

    def counted_on(self, route: str | None) -> Counts:
        """Give those on a route; None: all of them."""
        if route is None:
            return self.counted
        return Counts({route: self.counted.routes[route]} if route in self.counted.routes else {})

    @property
    def has_control(self) -> bool:
        """Tell whether there is anything to compare with: old pods, or enough of a past."""
        return bool(self.living_old) or (self.control is not None and self.control.is_sufficient)


def on(increments: Iterable[Increment], route: str | None) -> list[Increment]:
    """Choose the counts on a route; None: all of them."""
    return list(increments) if route is None else [one for one in increments if one.route == route]


def total(increments: Iterable[Increment]) -> tuple[float, float]:
    """Add requests and errors up."""
    requests = errors = 0.0
    for one in increments:
        requests += one.requests
        errors += one.errors
    return requests, errors


def in_order(increments: Iterable[Increment]) -> list[tuple[float, float, float]]:
    """List (start, requests, errors) in time order."""
    return [(one.start, one.requests, one.errors) for one in sorted(increments, key=_START)]


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
    found: list[Ceiling] = []
    highest = 0.0
    for seconds, rate in reversed(spans):
        # What failed over a long span failed so in some shorter one of it, too, if that had too few
        # requests to be told of. How far beyond is not known: it was steady.
        highest = max(highest, rate)
        inherited = _steady(highest) if rate < highest else 0.0
        found.append(Ceiling(seconds, max(_beyond(usual, max(usual, rate)), inherited)))
    # The shortest span that is known bounds the beginning, where nothing has lasted yet.
    found[-1] = Ceiling(0.0, found[-1].rate)
    return tuple(reversed(found))


def ceiling(control: Control, route: str | None) -> float:
    """Give the highest error rate that the control makes plausible at all."""
    return max(one.rate for one in ceilings(control, route))


def _beyond(usual: float, worst: float) -> float:
    """Give the rate that is three times as far from the usual one as the worst was.

    Where hardly anything fails as a rule that is three times the worst. A revision that fails a
    quarter of all, hour in, hour out, does not make three quarters plausible. One of which nearly
    everything has failed for a time makes everything plausible.
    """
    if worst > MOST_CEILING:
        return CERTAIN
    far = usual + CEILING_TIMES * (worst - usual)
    return min(MOST_CEILING, max(LEAST_CEILING, STEADY_TIMES * usual, far))


def _steady(rate: float) -> float:
    return CERTAIN if rate > MOST_CEILING else min(MOST_CEILING, STEADY_TIMES * rate)


def plausible(rate: float) -> float:
    """Give the error rate up to which a revision does as well as one that had this rate."""
    return min(MOST_CEILING, max(LEAST_CEILING, CEILING_TIMES * rate))


def past(control: Control, route: str | None) -> RouteControl:
    """Give the control's figures on a route; of all routes where the route is new."""
    if route is None:
        return control.pooled
    known = control.routes.get(route)
    return known if known is not None and known.requests >= LEAST_REQUESTS else control.pooled
