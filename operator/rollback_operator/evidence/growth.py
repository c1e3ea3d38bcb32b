"""Memory that grows and does not stop: the slope of a line through its points (least squares).

Every process grows in its first minutes, so a release is held against the old revision's pods when
they were as old. Where nobody knows of that, it is given time to fill what it fills, unless it
takes much of what there is before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.evidence.limits import (
    GROWTH_ALONE_SECONDS,
    GROWTH_ALONE_SHARE,
    GROWTH_ERRORS,
    GROWTH_POINTS,
    GROWTH_SECONDS,
    GROWTH_SLOWED_SHARE,
    GROWTH_WARM_UP_SECONDS,
)
from rollback_operator.evidence.trends import Point


@dataclass(frozen=True, slots=True)
class Growth:
    """A slope that is sure."""

    per_hour: float
    """Bytes; the lower bound of the slope."""
    odds: float
    since: float
    seconds: float

    def is_telling(self, limit: float) -> bool:
        """Return whether it is enough without the growth of the old revision at that age."""
        return (
            self.seconds >= GROWTH_ALONE_SECONDS
            or self.per_hour * self.seconds / HOUR_SECONDS >= GROWTH_ALONE_SHARE * limit
        )


def growth(points: Sequence[Point], started: float) -> Growth | None:
    """Fit a line to what a container used since its warm-up; None: no growth is shown.

    Args:
        points: of one pod, in time order.
        started: when its newest container started; earlier points are of another container.
    """
    known = [point for point in points if point.time >= started + GROWTH_WARM_UP_SECONDS]
    if len(known) < GROWTH_POINTS or known[-1].time - known[0].time < GROWTH_SECONDS:
        return None
    slope, error = _line(known)
    half = len(known) // 2
    early, late = _line(known[:half])[0], _line(known[half:])[0]
    if slope <= GROWTH_ERRORS * error or late < GROWTH_SLOWED_SHARE * early:
        return None
    nats = min(200.0, (slope / error) ** 2 / 2) if error > 0 else 200.0
    since = known[0].time
    return Growth((slope - 2 * error) * HOUR_SECONDS, math.exp(nats), since, known[-1].time - since)


def _line(points: Sequence[Point]) -> tuple[float, float]:
    """Give the slope of the line through the points, per second, and its standard error."""
    count = len(points)
    middle = sum(point.time for point in points) / count
    mean = sum(point.value for point in points) / count
    spread = sum((point.time - middle) ** 2 for point in points)
    if spread <= 0:
        return 0.0, 0.0
    slope = sum((point.time - middle) * (point.value - mean) for point in points) / spread
    rest = sum((point.value - mean - slope * (point.time - middle)) ** 2 for point in points)
    return slope, math.sqrt(rest / max(1, count - 2) / spread)
