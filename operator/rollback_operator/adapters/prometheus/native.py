"""Native histograms: sparse buckets of any width -> cumulative counts at bounds that never change.

The bounds are those of Prometheus' schema 2 (a factor of 2^(1/4)), which finer schemas share; a
wider bucket, or one with bounds of its own, is spread evenly over those that it covers.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NATIVE_BOUNDS = (*(2 ** (number / 4) for number in range(-56, 57)), math.inf)
"""From 0.06 ms to 4.5 h, in seconds."""


@dataclass(frozen=True, slots=True)
class NativeSample:
    """One sample of a native histogram."""

    time: float
    count: float
    total: float
    """Sum of what was observed."""
    buckets: tuple[tuple[float, float, float], ...]
    """Lower and upper bound, and how many lie between them; only buckets that hold some."""


def histogram(at: Any, raw: Mapping[str, Any]) -> NativeSample:
    """Read a sample as the HTTP API writes it.

    Raises:
        LookupError, TypeError, ValueError: it has another form.
    """
    buckets = tuple(
        (float(lower), float(upper), float(count))
        for _, lower, upper, count in raw.get("buckets") or ()
    )
    numbers = (float(at), float(raw["count"]), *(one for bucket in buckets for one in bucket[1:]))
    if any(math.isnan(one) for one in numbers):
        raise ValueError("a histogram holds a value that is no number")
    return NativeSample(float(at), float(raw["count"]), float(raw["sum"]), buckets)


def rows(labels: Mapping[str, str], one: NativeSample) -> Iterator[tuple[dict[str, str], float]]:
    """Write a native histogram as the series of a classic one: a count at each bound `le`."""
    buckets = sorted(one.buckets, key=lambda bucket: bucket[1])
    below, index = 0.0, 0
    for bound in NATIVE_BOUNDS[:-1]:
        while index < len(buckets) and buckets[index][1] <= bound:
            below += buckets[index][2]
            index += 1
        part = sum(_share(bucket, bound) for bucket in buckets[index : index + 2])
        yield {**labels, "le": repr(bound)}, below + part
    yield {**labels, "le": "+Inf"}, one.count


def _share(bucket: tuple[float, float, float], bound: float) -> float:
    lower, upper, count = bucket
    lower = max(0.0, lower)
    if bound <= lower or not math.isfinite(upper):
        return 0.0
    return count * (bound - lower) / (upper - lower)
