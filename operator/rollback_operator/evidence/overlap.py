"""Both revisions' counts laid over the same seconds, route by route.

Pods are read at different times, up to an interval apart. A burst of errors that hits both
revisions must not be seen on one of them first: counts are spread evenly over their time, only time
that every living old pod has been read over is compared, and what the samples leave open at a
border is decided against suspicion.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rollback_operator.stats.sequential import Cell
from rollback_operator.stats.windows import (
    COARSE_AFTER_SECONDS,
    COARSE_SECONDS,
    Increment,
    by_route,
)

_SHORTEST = 1e-9


def cells(
    new: Sequence[Increment],
    old: Sequence[Increment],
    read_until: float,
    interval: float,
    moment: float = 0.0,
) -> list[Cell]:
    """Lay both revisions' counts over the same seconds.

    Args:
        new: the new revision's counts.
        old: the old revision's.
        read_until: up to when every living old pod has been read.
        interval: seconds between two samples of a pod.
        moment: by how much later a new pod may have been read, seconds.
    """
    until = min(read_until, max((one.end for one in old), default=0.0))
    new = [one for one in new if one.end <= until + moment]
    if not new:
        return []
    until = max(one.end for one in new)
    edges = _edges(new, old, until, interval)
    found: list[Cell] = []
    fresh, stale = by_route(new), by_route(old)
    for route in sorted(fresh):
        of_both = _spread(fresh[route], edges), _spread(stale.get(route, ()), edges)
        found += _joined(edges, *of_both)
    return sorted(found, key=lambda one: one.start)


def _joined(edges: Sequence[float], new: "_Spread", old: "_Spread") -> Iterator[Cell]:
    for index, start in enumerate(edges[:-1]):
        is_last = index == len(edges) - 2
        yield Cell(
            start,
            new.requests[index],
            new.errors[index],
            old.requests[index],
            old.errors[index] + (old.errors_after if is_last else 0.0),
            new.errors_across[index],
            old.errors_before[index],
        )


def _edges(
    new: Sequence[Increment], old: Sequence[Increment], until: float, interval: float
) -> list[float]:
    """Cut time by the interval, and wherever a pod begins or ceases to be counted.

    Within a cell the same pods are counted all the time: else errors at its end would be held
    against the share that a pod had at its beginning.
    """
    begin = min(one.start for one in new)
    firsts: dict[str, float] = {}
    lasts: dict[str, float] = {}
    for one in (*new, *old):
        firsts[one.pod] = min(one.start, firsts.get(one.pod, one.start))
        lasts[one.pod] = max(one.end, lasts.get(one.pod, one.end))
    cuts = {one for one in (*firsts.values(), *lasts.values()) if begin < one < until}
    while begin < until:
        cuts.add(begin)
        is_old = begin < until - COARSE_AFTER_SECONDS
        begin += COARSE_SECONDS if is_old else max(1.0, interval)
    return [*sorted(cuts), until]


@dataclass
class _Spread:
    requests: list[float]
    errors: list[float]
    errors_across: list[float]
    """Of counts that begin before a cell's start: the part that was put after it."""
    errors_before: list[float]
    """... and the part that was put before it."""
    errors_after: float = 0.0
    """Of counts that reach beyond the last edge: the part that was put there."""


def _spread(increments: Iterable[Increment], edges: Sequence[float]) -> _Spread:
    count = len(edges) - 1
    found = _Spread([0.0] * count, [0.0] * count, [0.0] * count, [0.0] * count)
    for one in increments:
        begin, end = one.start, one.end
        index = max(0, bisect_right(edges, begin) - 1)
        if begin >= edges[index] and index < count and end <= edges[index + 1]:
            # Most counts lie within one cell.
            if end > begin:
                found.requests[index] += one.requests
                found.errors[index] += one.errors
            continue
        length = max(end - begin, _SHORTEST)
        while index < count and edges[index] < end:
            left, right = max(begin, edges[index]), min(end, edges[index + 1])
            share = max(0.0, right - left) / length
            found.requests[index] += one.requests * share
            found.errors[index] += one.errors * share
            if begin < edges[index]:
                found.errors_across[index] += one.errors * (end - edges[index]) / length
                found.errors_before[index] += one.errors * (edges[index] - begin) / length
            index += 1
        if begin < edges[-1] < end:
            found.errors_after += one.errors * (end - edges[-1]) / length
    return found
