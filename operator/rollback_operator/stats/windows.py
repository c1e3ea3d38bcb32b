"""Counts of pods in time order, coarser with age, and sums of them over any span.

An evaluation needs many sums over the same counts, and a long watch has a thousand counts: they are
summed once per evaluation, route by route. A sum over a span then costs a search.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from operator import attrgetter, gt
from typing import TypeVar

from rollback_operator.stats.sequential import MINUTE_SECONDS, Minute, Odds, against_ceilings

FINE_SECONDS = 10.0
"""How long the operator's own reads stay finer than scrapes."""
COARSE_AFTER_SECONDS = 180.0
"""Older increments are merged to minutes: onsets are searched in fresh increments."""
COARSE_SECONDS = 60.0
EARLY_SECONDS = 240.0
"""The first minutes of a release stay fine: a fault that began soon after the first request must
not later appear to begin with it."""
EARLY_GRAIN = 2.0
OLD_SECONDS = 900.0
"""Older increments are merged once more, so that a long watch costs no more than a short watch."""
OLD_GRAIN = 300.0
OLD_EARLY_GRAIN = 10.0
Key = TypeVar("Key")
_START, _END = attrgetter("start"), attrgetter("end")


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
    """Group increments by route, in their order."""
    routes: dict[str, list[Increment]] = {}
    for increment in increments:
        routes.setdefault(increment.route, []).append(increment)
    return routes


CellKey = tuple[str, str, float]
"""Pod, route and end of an increment."""


def merged(
    known: tuple[Increment, ...],
    cells: Mapping[CellKey, Increment],
    grains: Mapping[str, float],
    opened: float,
) -> tuple[Increment, ...]:
    """Add new increments to known increments; errors may arrive later than their requests.

    Args:
        known: in time order.
        cells: the new increments.
        grains: of pods that are read more often than scraped, the seconds between two scrapes.
        opened: when the release appeared.
    """
    if not cells:
        return known
    begin = min(end for _, _, end in cells)
    tail = bisect_left(known, begin, key=_END)
    fresh_by_key = dict(cells)
    for increment in known[tail:]:
        add(fresh_by_key, (increment.pod, increment.route, increment.end), increment)
    fresh = sorted(fresh_by_key.values(), key=_END)
    before = known[-1].end if known else 0.0
    early = opened + EARLY_SECONDS
    thinned = _thinned((*known[:tail], *fresh), grains, before, early)
    return _coarsened(thinned, before, early)


def add(cells: dict[Key, Increment], key: Key, increment: Increment) -> None:
    """Add an increment to the increment that is known under a key, if any."""
    known = cells.get(key)
    if known is not None:
        increment = Increment(
            known.pod,
            known.route,
            min(known.start, increment.start),
            max(known.end, increment.end),
            known.requests + increment.requests,
            known.errors + increment.errors,
        )
    cells[key] = increment


def widened(increments: tuple[Increment, ...], width: float) -> tuple[Increment, ...]:
    """Merge all that a pod counted on a route in each so many seconds."""
    joined: dict[tuple[str, str, float], Increment] = {}
    for increment in increments:
        end = increment.end // width if math.isfinite(width) else 0.0
        add(joined, (increment.pod, increment.route, end), increment)
    return tuple(sorted(joined.values(), key=_END))


def _thinned(
    increments: tuple[Increment, ...], grains: Mapping[str, float], before: float, early: float
) -> tuple[Increment, ...]:
    """Merge reads that are more frequent than scrapes, once they are no longer fresh."""
    grain = max(grains.values(), default=0.0)
    if not grain or _fine_limit(increments[-1].end, grain) == _fine_limit(before, grain):
        return increments
    head = bisect_left(increments, _limit(before), key=_END)
    tail = bisect_left(increments, _fine_limit(increments[-1].end, grain), key=_END)
    joined: dict[tuple[str, str, float], Increment] = {}
    for increment in increments[head:tail]:
        width = EARLY_GRAIN if increment.end < early else grain
        end = increment.end // width if increment.pod in grains else increment.end
        add(joined, (increment.pod, increment.route, end), increment)
    fresh = sorted(joined.values(), key=_END)
    return (*increments[:head], *fresh, *increments[tail:])


def _fine_limit(newest: float, grain: float) -> float:
    return (newest - FINE_SECONDS) // grain * grain


def _coarsened(
    increments: tuple[Increment, ...], before: float, early: float
) -> tuple[Increment, ...]:
    """Merge old increments, a whole minute at a time, as each minute comes of age."""
    limit = _limit(increments[-1].end)
    if limit == _limit(before):
        return increments
    tail = bisect_left(increments, limit, key=_END)
    old = (limit - OLD_SECONDS) // OLD_GRAIN * OLD_GRAIN
    minutes: dict[tuple[str, str, float, int], Increment] = {}
    for increment in increments[:tail]:
        if increment.end < old:
            width = OLD_EARLY_GRAIN if increment.end < early else OLD_GRAIN
        else:
            width = EARLY_GRAIN if increment.end < early else COARSE_SECONDS
        key = (increment.pod, increment.route, width, int(increment.end // width))
        add(minutes, key, increment)
    return (*sorted(minutes.values(), key=_END), *increments[tail:])


def _limit(newest: float) -> float:
    return (newest - COARSE_AFTER_SECONDS) // COARSE_SECONDS * COARSE_SECONDS


class RouteCounts:
    """One revision's counts on one route."""

    def __init__(self, increments: Iterable[Increment]) -> None:
        self.by_end = sorted(increments, key=_END)
        self.by_start = sorted(self.by_end, key=_START)
        self.ends = [increment.end for increment in self.by_end]
        self.starts = [increment.start for increment in self.by_start]
        requests = [increment.requests for increment in self.by_start]
        errors = [increment.errors for increment in self.by_start]
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
            [0.0, *accumulate([increment.requests for increment in self.by_end])],
            [0.0, *accumulate([increment.errors for increment in self.by_end])],
        )

    @cached_property
    def longest(self) -> float:
        """The time of the longest increment."""
        return max(increment.end - increment.start for increment in self.by_end)

    def sums_until(self, time: float) -> tuple[float, float]:
        """Add up requests and errors of the increments that had ended by then."""
        index = bisect_right(self.ends, time)
        requests, errors = self._ended
        return requests[index], errors[index]

    def sums_from(self, time: float) -> tuple[float, float]:
        """Add up requests and errors of the increments that began then or later."""
        index = bisect_left(self.starts, time)
        return self.requests - self._requests[index], self.errors - self._errors[index]

    def across(self, time: float, until: float) -> list[Increment]:
        """List the increments that ended after `time` and began before `until`, no earlier."""
        first = bisect_left(self.starts, time - self.longest)
        last = bisect_left(self.starts, until)
        return [increment for increment in self.by_start[first:last] if increment.end > time]

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
        return next((increment.end for increment in later if increment.errors > 0), None)

    def between(self, first: int, last: int) -> tuple[float, float, float]:
        """Add up requests, errors and what did not fail, by the order in which they began."""
        requests = self._requests[last] - self._requests[first]
        errors = self._errors[last] - self._errors[first]
        if not self._failed_more:
            return requests, errors, requests - errors
        passed = sum(
            max(0.0, increment.requests - increment.errors)
            for increment in self.by_start[first:last]
        )
        return requests, errors, passed

    @cached_property
    def minutes(self) -> Sequence[Minute]:
        """Add them up by the minute, from the start of the first on."""
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
            increment.pod: increment.start
            for increment in reversed(self.by_start)
            if increment.requests > 0 or increment.errors > 0
        }


def _minutes(parts: Sequence[RouteCounts]) -> Sequence[Minute]:
    places = [0] * len(parts)
    lengths = [len(part.starts) for part in parts]
    result: list[Minute] = []
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
        result.append(Minute(start, requests, errors, passed))
    return result


class Counts:
    """One revision's counts in a scope: a route, or several together."""

    def __init__(self, routes: Mapping[str, RouteCounts]) -> None:
        self.routes = {name: part for name, part in routes.items() if part.ends}

    def __bool__(self) -> bool:
        """Return whether anything was counted."""
        return bool(self.routes)

    @cached_property
    def increments(self) -> Sequence[Increment]:
        """All of them, by their ends."""
        parts = [part.by_end for part in self.routes.values()]
        return parts[0] if len(parts) == 1 else sorted((i for p in parts for i in p), key=_END)

    @cached_property
    def begin(self) -> float:
        """Start of the first; 0 without any."""
        return min((part.starts[0] for part in self.routes.values()), default=0.0)

    @cached_property
    def newest_start(self) -> float:
        """Start of the last; 0 without any."""
        return max((part.starts[-1] for part in self.routes.values()), default=0.0)

    @cached_property
    def first_starts(self) -> Mapping[str, float]:
        """When each pod began to serve."""
        starts: dict[str, float] = {}
        for part in self.routes.values():
            for pod, start in part.first_starts.items():
                if start < starts.get(pod, float("inf")):
                    starts[pod] = start
        return starts

    def begun_before(self, time: float) -> list[Increment]:
        """List what had begun by then."""
        return [
            increment
            for part in self.routes.values()
            for increment in part.by_start[: bisect_left(part.starts, time)]
        ]

    def ended_by(self, time: float) -> list[Increment]:
        """List what had ended by then."""
        return [
            increment
            for part in self.routes.values()
            for increment in part.by_end[: bisect_right(part.ends, time)]
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
        times = (part.first_error_since(time) for part in self.routes.values())
        return min((time for time in times if time is not None), default=None)

    @cached_property
    def minutes(self) -> Sequence[Minute]:
        """Add them up by the minute, from the start of the first on."""
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
        dropped = {id(increment) for increment in left_out}
        changed = {increment.route for increment in left_out}
        return Counts(
            {
                name: RouteCounts(each for each in part.by_end if id(each) not in dropped)
                if name in changed
                else part
                for name, part in self.routes.items()
            }
        )


def counts_of(increments: Iterable[Increment]) -> Counts:
    """Sum increments up, route by route."""
    routes = by_route(increments)
    return Counts({name: RouteCounts(routes[name]) for name in sorted(routes)})


def on(increments: Iterable[Increment], route: str | None) -> list[Increment]:
    """Choose the counts on a route; None: all of them."""
    return [each for each in increments if route is None or each.route == route]


def total(increments: Iterable[Increment]) -> tuple[float, float]:
    """Add requests and errors up."""
    requests = errors = 0.0
    for increment in increments:
        requests += increment.requests
        errors += increment.errors
    return requests, errors


def in_order(increments: Iterable[Increment]) -> list[tuple[float, float, float]]:
    """List (start, requests, errors) in time order."""
    ordered = sorted(increments, key=_START)
    return [(each.start, each.requests, each.errors) for each in ordered]
