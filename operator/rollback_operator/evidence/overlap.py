"""The counts of both revisions over the same seconds, route by route.

Pods are read at different times, up to an interval apart. A burst of errors that hits both
revisions must not appear on one of them first: counts are spread evenly over their time, only time
that every living old pod has been read over is compared, and errors that the samples cannot place
at a border are decided against suspicion.
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
    """Compare the counts of both revisions over the same seconds.

    Args:
        new: the new revision's counts.
        old: the old revision's.
        read_until: up to when every living old pod has been read.
        interval: seconds between two samples of a pod.
        moment: by how much later a new pod may have been read, seconds.
    """
    until = min(read_until, max([increment.end for increment in old], default=0.0))
    new = [increment for increment in new if increment.end <= until + moment]
    if not new:
        return []
    until = max([increment.end for increment in new])
    edges = _edges(new, old, until, interval)
    result: list[Cell] = []
    fresh, stale = by_route(new), by_route(old)
    for route in sorted(fresh):
        of_both = _spread(fresh[route], edges), _spread(stale.get(route, ()), edges)
        result += _joined(edges, *of_both)
    return sorted(result, key=lambda cell: cell.start)


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
    begin = min([increment.start for increment in new])
    firsts: dict[str, float] = {}
    lasts: dict[str, float] = {}
    for side in (new, old):
        for increment in side:
            pod, start, end = increment.pod, increment.start, increment.end
            first = firsts.get(pod)
            if first is None or start < first:
                firsts[pod] = start
            last = lasts.get(pod)
            if last is None or end > last:
                lasts[pod] = end
    cuts = {time for time in (*firsts.values(), *lasts.values()) if begin < time < until}
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
    spread = _Spread([0.0] * count, [0.0] * count, [0.0] * count, [0.0] * count)
    requests, errors = spread.requests, spread.errors
    for increment in increments:
        begin, end, served, failed = (
            increment.start,
            increment.end,
            increment.requests,
            increment.errors,
        )
        index = bisect_right(edges, begin) - 1
        if index < 0:
            index = 0
        elif index < count and end <= edges[index + 1]:
            # Most counts lie within one cell.
            if end > begin:
                requests[index] += served
                errors[index] += failed
            continue
        length = max(end - begin, _SHORTEST)
        while index < count and (edge := edges[index]) < end:
            following = edges[index + 1]
            # In place of max and min, which take most of the time of a count of many cells.
            left = begin if begin > edge else edge
            right = end if end < following else following
            share = (right - left) / length if right > left else 0.0
            requests[index] += served * share
            if failed:
                errors[index] += failed * share
                if begin < edge:
                    spread.errors_across[index] += failed * (end - edge) / length
                    spread.errors_before[index] += failed * (edge - begin) / length
            index += 1
        if begin < edges[-1] < end:
            spread.errors_after += failed * (end - edges[-1]) / length
    return spread
