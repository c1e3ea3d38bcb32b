"""Latency against the old revision: bounds of the quantile, and odds by the coin flip.

A request slower than the quantile of the old revision is an event like an error, and the same tests
weigh it. The lower bound of the quantile measures the latency, the odds its certainty.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, SignalName
from rollback_operator.evidence.limits import (
    LEAST_CEILING,
    LEAST_TIMED_REQUESTS,
    MOST_CEILING,
    SLOWER_ODDS,
    SLOWER_TIMES,
    SPIKE_TIMES,
    SUSTAINED_TREND_SECONDS,
    TIMED_POD_REQUESTS,
)
from rollback_operator.evidence.trends import LatencySample, Trends
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import Symptom
from rollback_operator.stats.histogram import Histogram, added
from rollback_operator.stats.sequential import Cell, against_ceiling, coin_flip, dispersion


@dataclass(frozen=True, slots=True)
class Slowness:
    """The latency of the release, against its control."""

    quantile: float
    value: float
    """Seconds: the quantile's lower bound."""
    recent: float
    """... the quantile in the newest minute."""
    first: float
    """... of its first counted requests."""
    reference: float
    """Seconds, of the old revision: its upper bound. 0: not known."""
    is_simultaneous: bool
    """The old revision's pods were measured in the same minutes."""
    odds: float
    requests: float
    over: str
    """The requests beyond the objective, in words; empty: none is set."""
    pods: Mapping[str, float]
    """Each pod's own quantile."""
    is_spike: bool
    since: float


@dataclass(frozen=True, slots=True)
class LatencyGoal:
    """What of the durations counts."""

    quantile: float
    """As 0.99."""
    objective: float | None = None
    """Seconds in which a request should be answered."""


def slowness(
    trends: Trends,
    arms: tuple[Mapping[str, Pod], Mapping[str, Pod]],
    goal: LatencyGoal,
    busiest: float,
) -> Slowness | None:
    """Compare durations; None: too little is known.

    Args:
        trends: the durations read.
        arms: living pods of the release, and of the revision before it.
        goal: which quantile, and the objective.
        busiest: requests a second in the busiest minute before; 0: not known.
    """
    if not trends.latency:
        return None
    now, q = trends.latency[-1], goal.quantile
    new, old = (_since_base(trends, now, pods) for pods in arms)
    total = added(new.values())
    value = total.at_least(q)
    if value is None or total.total < LEAST_TIMED_REQUESTS:
        return None
    begin = min(trends.bases[name].time for name in new)
    until = now.time - SUSTAINED_TREND_SECONDS
    earlier = [sample for sample in trends.latency if begin <= sample.time <= until]
    if not earlier:
        return None
    recent = added(_between(trends, earlier[-1], now, name) for name in new).quantile(q)
    first = added(_first(trends, name) for name in new).quantile(q)
    before = added(old.values())
    is_simultaneous = before.total >= LEAST_TIMED_REQUESTS
    known = before if is_simultaneous else (trends.past_latency or Histogram())
    reference = known.at_most(q) or 0.0
    rate = total.total / max(1.0, now.time - begin)
    return Slowness(
        quantile=q,
        value=value,
        recent=recent or 0.0,
        first=first or 0.0,
        reference=reference,
        is_simultaneous=is_simultaneous,
        odds=(
            _odds_beside(total, old, reference)
            if is_simultaneous
            else _odds_since(total, known, reference)
        ),
        requests=total.total,
        over=_over(total, goal.objective),
        pods={
            name: histogram.quantile(q) or 0.0
            for name, histogram in new.items()
            if histogram.total >= TIMED_POD_REQUESTS
        },
        is_spike=not is_simultaneous and 0 < SPIKE_TIMES * busiest < rate,
        since=begin,
    )


def _over(total: Histogram, objective: float | None) -> str:
    if objective is None:
        return ""
    over = total.above(objective)
    return f"; {over:.0f} of them took longer than the objective of {seconds(objective)}"


def latency_symptom(slow: Slowness, condition: MatrixCondition) -> Symptom | None:
    """Find the slowness that the condition describes; None: it is not there, or not readable."""
    is_ratio = condition.signal is SignalName.LATENCY_RATIO
    if is_ratio and not slow.reference:
        return None
    limit = condition.limit * (slow.reference if is_ratio else 1.0)
    if min(slow.value, slow.recent) <= limit or (slow.reference and slow.odds < SLOWER_ODDS):
        return None
    slow_pods = tuple(sorted(name for name, quantile in slow.pods.items() if quantile > limit))
    message = (
        f"p{100 * slow.quantile:g} is at least {seconds(slow.value)} over "
        f"{slow.requests:.0f} requests of the new pods"
    )
    if slow.reference:
        when = "in the same minutes" if slow.is_simultaneous else "in the hour before"
        message += f", {slow.value / slow.reference:.1f} times that of the old revision {when}"
    message += slow.over
    return Symptom(
        condition.signal,
        message,
        odds=slow.odds,
        value=slow.value / slow.reference if is_ratio else slow.value,
        pods=slow_pods,
        since=slow.since,
        veto=_veto(slow, limit, slow_pods),
        is_on_every_pod=len(slow_pods) == len(slow.pods) > 1,
    )


def _veto(slow: Slowness, limit: float, slow_pods: tuple[str, ...]) -> Reason | None:
    if slow.reference > limit:
        return Reason.OLD_REVISION_FAILS_TOO
    if len(slow_pods) < min(2, len(slow.pods)):
        return Reason.FEW_PODS_AFFECTED
    if slow.is_spike:
        return Reason.TRAFFIC_SPIKE
    # Without old pods: a release that is slow from its first request on is the cause; a sudden
    # latency is as likely that of a dependency (judge/blame.py has the odds).
    if not slow.is_simultaneous and slow.first <= limit:
        return Reason.ENVIRONMENT_SUSPECTED
    return None


def _since_base(
    trends: Trends, now: LatencySample, pods: Mapping[str, Pod]
) -> dict[str, Histogram]:
    grown = {
        name: now.pods[name].minus(trends.bases[name].pods[name])
        for name in pods
        if name in now.pods and name in trends.bases
    }
    return {name: histogram for name, histogram in grown.items() if histogram.total > 0}


def _between(trends: Trends, earlier: LatencySample, now: LatencySample, name: str) -> Histogram:
    base = trends.bases[name]
    begin = earlier if name in earlier.pods and earlier.time > base.time else base
    return now.pods[name].minus(begin.pods[name])


def _first(trends: Trends, name: str) -> Histogram:
    first = trends.firsts.get(name)
    if first is None:
        return Histogram()
    return first.pods[name].minus(trends.bases[name].pods[name])


def _odds_beside(fresh: Histogram, old: Mapping[str, Histogram], reference: float) -> float:
    """Compute the odds that requests are slow more often than on old pods at the same time."""
    before = added(old.values())
    if not reference:
        return 0.0
    spread = dispersion(
        [[(histogram.total, histogram.above(reference)) for histogram in old.values()]]
    )
    slow, slow_before = fresh.above(reference), before.above(reference)
    cell = Cell(0.0, fresh.total, slow, before.total, slow_before)
    return coin_flip([cell], spread, 1.0).value


def _odds_since(fresh: Histogram, past: Histogram, reference: float) -> float:
    """Compute the odds that requests are slow more often than before the release."""
    if not past.total or not reference:
        return 0.0
    usual = past.above(reference) / past.total
    ceiling = min(MOST_CEILING, SLOWER_TIMES * max(LEAST_CEILING, usual))
    counts = [(0.0, fresh.total, fresh.above(reference))]
    return against_ceiling(counts, ceiling).value


def seconds(value: float) -> str:
    """Write a duration as people read it."""
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2g} s"
