"""What pods have counted, in time order, the longer ago the coarser; and sums of it over any span.

A look asks for many sums over the same counts, and a long watch has a thousand of them: they are
gone through once a look, route by route, and all routes together are the routes' sums. A time
splits them at the cost of a search.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from operator import attrgetter, gt

from rollback_operator.stats.sequential import MINUTE_SECONDS, Minute, Odds, against_ceilings

FINE_SECONDS = 10.0
"""How long what the operator reads itself stays finer than scrapes."""
COARSE_AFTER_SECONDS = 180.0
"""Older increments are merged to minutes: the onset of a fault is looked for in fresh ones."""
COARSE_SECONDS = 60.0
EARLY_SECONDS = 240.0
"""What a release did in its first minutes stays fine: a fault that began soon after the first
request must not come to look as if it had been there from the first one."""
EARLY_GRAIN = 2.0
OLD_SECONDS = 900.0
"""What is so long ago is merged once more: a long watch is to cost no more than a short one."""
OLD_GRAIN = 300.0
OLD_EARLY_GRAIN = 10.0


@dataclass(frozen=True, slots=True)
class Increment:
    """What one pod counted on one route between two readings of it."""

    pod: str
    route: str
    start: float
    end: float
    requests: float
    errors: float


def by_route(increments: Iterable[Increment]) -> dict[str, list[Increment]]:
    """Part counts by their routes, each in the order that they have."""
    found: dict[str, list[Increment]] = {}
    for one in increments:
        found.setdefault(one.route, []).append(one)
    return found


Cell = tuple[str, str, float]
"""Pod, route and end of an increment."""


def merged(
    known: tuple[Increment, ...],
    cells: Mapping[Cell, Increment],
    grains: Mapping[str, float],
    opened: float,
) -> tuple[Increment, ...]:
    """Put new increments to the known ones; errors may come later than their requests.

    Args:
        known: in time order.
        cells: what is new.
        grains: of pods that are read more often than scraped, the seconds between two scrapes.
        opened: when the release appeared.
    """
    if not cells:
        return known
    begin = min(end for _, _, end in cells)
    tail = bisect_left(known, begin, key=lambda one: one.end)
    found = dict(cells)
    for one in known[tail:]:
        key = one.pod, one.route, one.end
        found[key] = _joined(one, found[key]) if key in found else one
    fresh = sorted(found.values(), key=lambda one: one.end)
    before = known[-1].end if known else 0.0
    early = opened + EARLY_SECONDS
    thinned = _thinned((*known[:tail], *fresh), grains, before, early)
    return _coarsened(thinned, before, early)


def _joined(one: Increment, other: Increment) -> Increment:
    return Increment(
        one.pod,
        one.route,
        min(one.start, other.start),
        max(one.end, other.end),
        one.requests + other.requests,
        one.errors + other.errors,
    )


def widened(increments: tuple[Increment, ...], width: float) -> tuple[Increment, ...]:
    """Merge all that a pod counted on a route in each so many seconds."""
    found: dict[tuple[str, str, float], Increment] = {}
    for one in increments:
        key = one.pod, one.route, one.end // width if math.isfinite(width) else 0.0
        found[key] = _joined(found[key], one) if key in found else one
    return tuple(sorted(found.values(), key=lambda one: one.end))


def _thinned(
    increments: tuple[Increment, ...], grains: Mapping[str, float], before: float, early: float
) -> tuple[Increment, ...]:
    """Merge what was read more often than scraped, once it is no longer fresh."""
    grain = max(grains.values(), default=0.0)
    if not grain or _fine_limit(increments[-1].end, grain) == _fine_limit(before, grain):
        return increments
    head = bisect_left(increments, _limit(before), key=lambda one: one.end)
    tail = bisect_left(increments, _fine_limit(increments[-1].end, grain), key=lambda one: one.end)
    found: dict[tuple[str, str, float], Increment] = {}
    for one in increments[head:tail]:
        width = EARLY_GRAIN if one.end < early else grain
        key = one.pod, one.route, one.end // width if one.pod in grains else one.end
        found[key] = _joined(found[key], one) if key in found else one
    fresh = sorted(found.values(), key=lambda one: one.end)
    return (*increments[:head], *fresh, *increments[tail:])


def _fine_limit(newest: float, grain: float) -> float:
    return (newest - FINE_SECONDS) // grain * grain


def _coarsened(
    increments: tuple[Increment, ...], before: float, early: float
) -> tuple[Increment, ...]:
    """Merge what lies long enough ago, whole minutes at a time, as each of them comes of age."""
    limit = _limit(increments[-1].end)
    if limit == _limit(before):
        return increments
    tail = bisect_left(increments, limit, key=lambda one: one.end)
    old = (limit - OLD_SECONDS) // OLD_GRAIN * OLD_GRAIN
    minutes: dict[tuple[str, str, float, int], Increment] = {}
    for one in increments[:tail]:
        if one.end < old:
            width = OLD_EARLY_GRAIN if one.end < early else OLD_GRAIN
        else:
            width = EARLY_GRAIN if one.end < early else COARSE_SECONDS
        key = (one.pod, one.route, width, int(one.end // width))
        minutes[key] = _joined(minutes[key], one) if key in minutes else one
    return (*sorted(minutes.values(), key=lambda one: one.end), *increments[tail:])


def _limit(newest: float) -> float:
    return (newest - COARSE_AFTER_SECONDS) // COARSE_SECONDS * COARSE_SECONDS


_START, _END = attrgetter("start"), attrgetter("end")


class RouteCounts:
    """One revision's counts on one route."""

    def __init__(self, increments: Iterable[Increment]) -> None:
        self.by_end = sorted(increments, key=_END)
        self.by_start = sorted(self.by_end, key=_START)
        self.ends = [one.end for one in self.by_end]
        self.starts = [one.start for one in self.by_start]
        requests = [one.requests for one in self.by_start]
        errors = [one.errors for one in self.by_start]
        # Sums of what has begun before each of them.
        self._requests = [0.0, *accumulate(requests)]
        self._errors = [0.0, *accumulate(errors)]
        self._failed_more = any(map(gt, errors, requests))
        self.requests, self.errors = self._requests[-1], self._errors[-1]
        self._against: dict[tuple[Sequence[tuple[float, float]], float], Sequence[Odds]] = {}

    @cached_property
    def _ended(self) -> tuple[list[float], list[float]]:
        """Sums of the requests and errors of what has ended before each of them."""
        return (
            [0.0, *accumulate([one.requests for one in self.by_end])],
            [0.0, *accumulate([one.errors for one in self.by_end])],
        )

    def since(self, time: float) -> tuple[float, float]:
        """Add up requests and errors of what ended later."""
        index = bisect_right(self.ends, time)
        if not index:
            return self.requests, self.errors
        requests, errors = self._ended
        return requests[-1] - requests[index], errors[-1] - errors[index]

    def first_error_since(self, time: float) -> float | None:
        """Give the end of the first count with an error that ended later."""
        later = islice(self.by_end, bisect_right(self.ends, time), None)
        return next((one.end for one in later if one.errors > 0), None)

    def between(self, first: int, last: int) -> tuple[float, float, float]:
        """Add up requests, errors and what did not fail, by the order in which they began."""
        requests = self._requests[last] - self._requests[first]
        errors = self._errors[last] - self._errors[first]
        if not self._failed_more:
            return requests, errors, requests - errors
        passed = sum(max(0.0, one.requests - one.errors) for one in self.by_start[first:last])
        return requests, errors, passed

    @cached_property
    def minutes(self) -> Sequence[Minute]:
        """Add them up by the minute, from the first one's start on."""
        return _minutes([self])

    def against(self, limits: Sequence[tuple[float, float]], enough: float) -> Sequence[Odds]:
        """Compute the odds against ceilings, once for all scopes that the route is in."""
        key = tuple(limits), enough
        if key not in self._against:
            self._against[key] = against_ceilings(self.minutes, limits, enough)
        return self._against[key]

    @cached_property
    def first_starts(self) -> Mapping[str, float]:
        """When each pod began to serve: it may have been read long before it was ready."""
        return {
            one.pod: one.start
            for one in reversed(self.by_start)
            if one.requests > 0 or one.errors > 0
        }


def _minutes(parts: Sequence[RouteCounts]) -> Sequence[Minute]:
    places = [0] * len(parts)
    lengths = [len(one.starts) for one in parts]
    found: list[Minute] = []
    while places != lengths:
        start = min(
            part.starts[place]
            for part, place, length in zip(parts, places, lengths, strict=True)
            if place < length
        )
        requests = errors = passed = 0.0
        for number, part in enumerate(parts):
            first = places[number]
            places[number] = last = bisect_left(part.starts, start + MINUTE_SECONDS, first)
            if last > first:
                served, failed, well = part.between(first, last)
                requests, errors, passed = requests + served, errors + failed, passed + well
        found.append(Minute(start, requests, errors, passed))
    return found


class Counts:
    """One revision's counts in a scope: a route, or several together."""

    def __init__(self, routes: Mapping[str, RouteCounts]) -> None:
        self.routes = {name: one for name, one in routes.items() if one.ends}

    def __bool__(self) -> bool:
        """Tell whether anything was counted."""
        return bool(self.routes)

    @cached_property
    def increments(self) -> Sequence[Increment]:
        """All of them, by their ends."""
        parts = [one.by_end for one in self.routes.values()]
        return parts[0] if len(parts) == 1 else sorted((i for p in parts for i in p), key=_END)

    @cached_property
    def begin(self) -> float:
        """Start of the first; 0 without any."""
        return min((one.starts[0] for one in self.routes.values()), default=0.0)

    @cached_property
    def newest_start(self) -> float:
        """Start of the last; 0 without any."""
        return max((one.starts[-1] for one in self.routes.values()), default=0.0)

    @cached_property
    def first_starts(self) -> Mapping[str, float]:
        """When each pod began to serve."""
        found: dict[str, float] = {}
        for part in self.routes.values():
            for pod, start in part.first_starts.items():
                if start < found.get(pod, float("inf")):
                    found[pod] = start
        return found

    def begun_before(self, time: float) -> list[Increment]:
        """List what had begun by then."""
        return [
            one
            for part in self.routes.values()
            for one in part.by_start[: bisect_left(part.starts, time)]
        ]

    def ended_by(self, time: float) -> list[Increment]:
        """List what had ended by then."""
        return [
            one
            for part in self.routes.values()
            for one in part.by_end[: bisect_right(part.ends, time)]
        ]

    def since(self, time: float) -> tuple[float, float]:
        """Add up requests and errors of what ended later."""
        requests = errors = 0.0
        for part in self.routes.values():
            served, failed = part.since(time)
            requests, errors = requests + served, errors + failed
        return requests, errors

    def first_error_since(self, time: float) -> float | None:
        """Give the end of the first count with an error that ended later."""
        found = (one.first_error_since(time) for one in self.routes.values())
        return min((one for one in found if one is not None), default=None)

    @cached_property
    def minutes(self) -> Sequence[Minute]:
        """Add them up by the minute, from the first one's start on."""
        return _minutes(list(self.routes.values()))

    def against(self, limits: Sequence[tuple[float, float]], enough: float) -> Sequence[Odds]:
        """Compute the odds against ceilings, each with the latest start of a count that holds."""
        if len(self.routes) == 1:
            (part,) = self.routes.values()
            return part.against(limits, enough)
        return against_ceilings(self.minutes, limits, enough)

    def without(self, left_out: Sequence[Increment]) -> "Counts":
        """Leave some of them out."""
        if not left_out:
            return self
        dropped = {id(one) for one in left_out}
        changed = {one.route for one in left_out}
        return Counts(
            {
                name: RouteCounts(one for one in part.by_end if id(one) not in dropped)
                if name in changed
                else part
                for name, part in self.routes.items()
            }
        )


def counted(increments: Iterable[Increment]) -> Counts:
    """Sum counts up, route by route."""
    routes: dict[str, list[Increment]] = defaultdict(list)
    for one in increments:
        routes[one.route].append(one)
    return Counts({name: RouteCounts(all_) for name, all_ in sorted(routes.items())})
