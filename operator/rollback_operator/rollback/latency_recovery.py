"""Is the latency back at the level that the restored revision had before the bad release?

By the same bounds on quantiles as the judge's (histogram.py). The pods of an undo are new: all that
they have counted is since the rollback, warm-up included, which can only make them look slower. So
what passes early has passed; against it counts only what the pods have served since they are warm.
"""

from collections.abc import Mapping, Sequence

from rollback_operator.evidence.limits import LEAST_TIMED_REQUESTS
from rollback_operator.model.check import Check, failed, passed, unknown
from rollback_operator.rollback.verification import LATENCY
from rollback_operator.stats.histogram import Histogram, added

LEVEL_TIMES = 1.5
"""A quantile is read off buckets, and caches are cold: so much above the past is still its level.
The matrix calls a release slow from twice the past on."""

Counted = Mapping[str, Histogram]
"""By pod."""


def since_base(
    read: Mapping[str, Histogram], bases: Mapping[str, Histogram]
) -> dict[str, Histogram]:
    """Give what pods have counted since their bases; who has none is new and counts from zero."""
    return {
        name: one.minus(bases[name]) if name in bases else one
        for name, one in read.items()
        if one.total > 0
    }


def latency(spans: Sequence[Counted], past: Histogram, q: float, warm: Sequence[Counted]) -> Check:
    """Compare the quantile with the past's upper bound.

    Args:
        spans: what each pod that serves now has counted: of late, and since the rollback.
        past: of the same revision, in the hour before the release that was taken back.
        q: which quantile, as 0.99.
        warm: the same spans without the pods' warm-up; none: they are still warming up.
    """
    reference = past.at_most(q)
    if reference is None or past.total < LEAST_TIMED_REQUESTS:
        said = f"{past.total:.0f} requests of its past are too few to compare with"
        return unknown(LATENCY, said)
    limit = LEVEL_TIMES * reference
    enough = _enough(spans)
    if not enough:
        counted = max((added(one.values()).total for one in spans), default=0.0)
        said = f"{counted:.0f} requests since the rollback are too few to tell p{100 * q:g}"
        return unknown(LATENCY, said)
    # What was slow while it warmed up is slow in the longer spans for long: one of them will do.
    value, total = min(((one.quantile(q) or 0.0), one.total) for one in enough)
    said = (
        f"p{100 * q:g} is {_seconds(value)} over {total:.0f} requests, "
        f"{_seconds(reference)} at most in the hour before the release"
    )
    if value <= limit:
        return passed(LATENCY, said)
    proof = _enough(warm)
    if not proof:
        why = "too few of them since the pods are warm" if warm else "the pods are still warming up"
        return unknown(LATENCY, f"{said}: {why}")
    if all((one.at_least(q) or 0.0) > limit for one in proof):
        return failed(LATENCY, said)
    return unknown(LATENCY, f"{said}: too uncertain to tell")


def _enough(spans: Sequence[Counted]) -> list[Histogram]:
    counted = (added(one.values()) for one in spans)
    return [one for one in counted if one.total >= LEAST_TIMED_REQUESTS]


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2g} s"
