"""Requests by duration: bounds of a quantile from cumulative buckets.

A quantile inside a bucket is interpolated, as Prometheus' histogram_quantile does. Its bounds are
those of the order statistic: of n requests, the share that is faster than the true q-quantile is
q +- z sqrt(q (1 - q) / n) (Wilson 1927 is for a rate, this is the same normal approximation).
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

CONFIDENCE = 1.96


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts at upper bounds in seconds; the last bound is infinite."""

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """All requests."""
        return self.counts[-1] if self.counts else 0.0

    def minus(self, earlier: "Histogram") -> "Histogram":
        """Give what came since an earlier reading; a counter that fell has begun anew."""
        before = dict(zip(earlier.bounds, earlier.counts, strict=True))
        since = [
            count - before.get(bound, 0.0)
            for bound, count in zip(self.bounds, self.counts, strict=True)
        ]
        if any(count < 0 for count in since):
            return self
        return Histogram(self.bounds, _rising(since))

    def above(self, seconds: float) -> float:
        """Count the requests that took longer, those of the bucket around it shared out evenly."""
        return max(0.0, self.total - self._at_most(seconds))

    def _at_most(self, seconds: float) -> float:
        left, below = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if seconds < bound:
                width = bound - left
                share = (seconds - left) / width if math.isfinite(width) and width > 0 else 0.0
                return below + (count - below) * max(0.0, share)
            left, below = bound, count
        return self.total

    def quantile(self, q: float) -> float | None:
        """Give the duration that a share q of the requests does not exceed; None: no requests."""
        if self.total <= 0:
            return None
        rank, left, below = min(1.0, max(0.0, q)) * self.total, 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank and count > below:
                if not math.isfinite(bound):
                    return left  # all that is known is that it is longer than the last bound
                return left + (bound - left) * (rank - below) / (count - below)
            left, below = bound, count
        return left

    def at_least(self, q: float) -> float | None:
        """Give the lower bound of the q-quantile."""
        return self._bound(q, -1.0)

    def at_most(self, q: float) -> float | None:
        """Give the upper bound of the q-quantile."""
        return self._bound(q, 1.0)

    def _bound(self, q: float, side: float) -> float | None:
        if self.total <= 0:
            return None
        return self.quantile(q + side * CONFIDENCE * math.sqrt(q * (1 - q) / self.total))


def added(histograms: Iterable[Histogram]) -> Histogram:
    """Add histograms up; bounds that only some of them have are filled in from the one below."""
    listed = [histogram for histogram in histograms if histogram.bounds]
    bounds = sorted({bound for histogram in listed for bound in histogram.bounds})
    sides = [_filled(histogram, bounds) for histogram in listed]
    return Histogram(tuple(bounds), _rising([sum(each) for each in zip(*sides, strict=True)]))


def _filled(histogram: Histogram, bounds: Sequence[float]) -> Sequence[float]:
    """Give the counts at other bounds, its own among them, all in rising order."""
    highest = [0.0, *accumulate(histogram.counts, max)]
    return [highest[bisect_right(histogram.bounds, bound)] for bound in bounds]


def _rising(counts: list[float]) -> tuple[float, ...]:
    """Make counts rise: the buckets of one histogram are not stored in the same instant."""
    rising = counts[:1]
    for before, count in pairwise(counts):
        rising.append(max(rising[-1], before, count))
    return tuple(rising)
