"""What pods have counted, in time order; the longer ago, the coarser."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
