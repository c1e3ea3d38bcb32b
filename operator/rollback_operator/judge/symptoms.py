"""Symptoms, the P3 signals of the matrix: slower signs of a bad release than its error rate.

Each is compared with the old pods in the same minutes or, where none is left, with the hour of the
old revision before the release. A symptom that the release is not shown to cause carries a veto.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, SignalName
from rollback_operator.evidence import growth
from rollback_operator.evidence.limits import RESTARTS
from rollback_operator.evidence.trends import Trends
from rollback_operator.judge import integrity_trials, latency, matrix_probes
from rollback_operator.judge.latency import LatencyGoal, Slowness
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import Symptom

_LATENCY = (SignalName.LATENCY, SignalName.LATENCY_RATIO)


@dataclass(frozen=True, slots=True)
class SymptomFacts:
    """The facts in which symptoms are searched."""

    trends: Trends
    new: Mapping[str, Pod]
    """Living pods of the release."""
    old: Mapping[str, Pod]
    opened: float
    goal: LatencyGoal
    memory_limit: float | None
    """Bytes; None: the template sets none."""
    busiest: float
    """Requests a second in the busiest minute before the release; 0: not known."""
    ran_before: bool = False
    """The revision ran before the watch: it was adopted, or restored."""


def find_symptoms(
    subject: SymptomFacts, conditions: Iterable[MatrixCondition]
) -> tuple[Symptom, ...]:
    """List the symptoms of the conditions that are present."""
    wanted = list(conditions)
    slow = None
    if any(condition.signal in _LATENCY for condition in wanted):
        slow = latency.slowness(
            subject.trends, (subject.new, subject.old), subject.goal, subject.busiest
        )
    candidates = (_symptom(subject, condition, slow) for condition in wanted)
    return tuple(symptom for symptom in candidates if symptom is not None)


def _symptom(
    subject: SymptomFacts, condition: MatrixCondition, slow: Slowness | None
) -> Symptom | None:
    if condition.signal in _LATENCY:
        return None if slow is None else latency.latency_symptom(slow, condition)
    finder = _FINDERS.get(condition.signal)
    return None if finder is None else finder(subject, condition)


def _killed(subject: SymptomFacts, condition: MatrixCondition) -> Symptom | None:
    kills = {name: subject.trends.kills[name].out_of_memory for name in _known(subject)}
    hit = {name: count for name, count in kills.items() if count}
    total = sum(hit.values())
    if total < condition.count:
        return None
    killed_too = [pod for pod in _old_restarts(subject) if pod.is_out_of_memory]
    message = f"containers were OOM-killed {total} times on {len(hit)} new pods"
    return Symptom(
        condition.signal,
        f"{message}{_limit(subject.memory_limit)}",
        pods=tuple(sorted(hit)),
        since=subject.opened,
        veto=_veto_of(subject, len(hit), killed_too),
        # A single pod may be killed once or twice by chance, not as often as in a stuck rollout.
        is_on_every_pod=len(hit) == len(subject.new) and (len(hit) > 1 or total >= RESTARTS),
    )


def _restarted(subject: SymptomFacts, condition: MatrixCondition) -> Symptom | None:
    before = {name: subject.trends.kills[name].before for name in _known(subject)}
    counts = {name: pod.restarts - before.get(name, 0) for name, pod in subject.new.items()}
    restarts = {name: count for name, count in counts.items() if count > 0}
    total = sum(restarts.values())
    if total < condition.count:
        return None
    veto = _veto_of(subject, len(restarts), _old_restarts(subject))
    if veto is None and subject.ran_before:
        # A node or a runtime is upgraded, and each container restarts once: it ran without that.
        veto = Reason.ENVIRONMENT_SUSPECTED
    return Symptom(
        condition.signal,
        f"containers have restarted {total} times on {len(restarts)} "
        f"{'pods' if subject.ran_before else 'new pods'}",
        pods=tuple(sorted(restarts)),
        since=subject.opened,
        veto=veto,
    )


def _known(subject: SymptomFacts) -> list[str]:
    return [name for name in subject.new if name in subject.trends.kills]


def _limit(limit: float | None) -> str:
    return f", with a memory limit of {limit / 2**20:.0f} MiB" if limit else ""


def _old_restarts(subject: SymptomFacts) -> list[Pod]:
    """List the old pods that have restarted since the release."""
    return [
        pod
        for pod in subject.old.values()
        if pod.restarts and (pod.started or 0.0) > subject.opened
    ]


def _veto_of(subject: SymptomFacts, count: int, old: Sequence[Pod]) -> Reason | None:
    """Return the veto where as large a share of the old pods has a symptom of so many new pods."""
    is_alike = bool(old) and len(old) * len(subject.new) >= count * len(subject.old)
    return Reason.OLD_REVISION_FAILS_TOO if is_alike else None


def _grown(subject: SymptomFacts, condition: MatrixCondition) -> Symptom | None:
    limit = subject.memory_limit
    if limit is None:
        return None
    threshold, past = condition.limit, subject.trends.past_growth
    usual = past.per_hour if past is not None else None
    new, old = (_growths(subject.trends, pods) for pods in (subject.new, subject.old))
    beyond = threshold * limit + (usual or 0.0)
    hit = {
        name: slope
        for name, slope in new.items()
        if slope.per_hour > beyond and (usual is not None or slope.is_telling(limit))
    }
    if not hit or len(hit) < min(2, len(subject.new)):
        return None
    share = sorted(slope.per_hour / limit for slope in hit.values())[len(hit) // 2]
    message = (
        f"memory grows by {100 * share:.0f} % of its limit of {limit / 2**20:.0f} MiB an hour on "
        f"{len(hit)} of {len(subject.new)} new pods"
    )
    if usual is not None:
        message += f"; the old revision's pods grew by {100 * usual / limit:.0f} % at the same age"
    is_old_too = any(slope.per_hour / limit > threshold / 2 for slope in old.values())
    return Symptom(
        condition.signal,
        message,
        pods=tuple(sorted(hit)),
        value=share,
        odds=min(slope.odds for slope in hit.values()),
        since=min(slope.since for slope in hit.values()),
        veto=Reason.OLD_REVISION_FAILS_TOO if is_old_too else None,
        is_on_every_pod=len(hit) == len(subject.new) > 1,
    )


def _growths(trends: Trends, pods: Mapping[str, Pod]) -> dict[str, growth.Growth]:
    slopes = {
        name: growth.growth(trends.memory.get(name, ()), pod.started or pod.created)
        for name, pod in pods.items()
    }
    return {name: slope for name, slope in slopes.items() if slope is not None}


def _queried(subject: SymptomFacts, condition: MatrixCondition) -> Symptom | None:
    text = condition.query or ""
    points = subject.trends.queries.get(text, ())[-condition.looks :]
    before = subject.trends.before.get(text)
    hits = [point for point in points if _exceeds(condition, point.value, before)]
    if len(hits) < condition.times:
        return None
    value = hits[-1].value
    message = f"the query {condition.name or text} gives {value:.4g}"
    message += f", {before:.4g} before the release" if before is not None else ""
    was_there = before is not None and _is_beyond(condition, before)
    return Symptom(
        condition.signal,
        f"{message}, {len(hits)} of {len(points)} times beyond the limit",
        value=value,
        since=hits[0].time,
        veto=Reason.THERE_BEFORE if was_there and condition.change_above is None else None,
        name=condition.name or text,
    )


def _exceeds(condition: MatrixCondition, value: float, before: float | None) -> bool:
    if not math.isfinite(value) or not _is_beyond(condition, value):
        return False
    if condition.change_above is None:
        return True
    # A factor: after a value of zero, as of a count of errors, any value is an increase.
    return before is not None and before >= 0 and value > float(condition.change_above) * before


def _is_beyond(condition: MatrixCondition, value: float) -> bool:
    if condition.below is not None:
        return value < float(condition.below)
    return value > condition.limit


def _tried(subject: SymptomFacts, condition: MatrixCondition) -> Symptom | None:
    return matrix_probes.probe_symptom(subject.trends.trials, condition)


def _damaged(subject: SymptomFacts, condition: MatrixCondition) -> Symptom | None:
    return integrity_trials.damage(subject.trends.integrity, condition)


_FINDERS: Mapping[SignalName, Callable[[SymptomFacts, MatrixCondition], Symptom | None]] = {
    SignalName.OOM_KILLS: _killed,
    SignalName.RESTARTS: _restarted,
    SignalName.MEMORY_GROWTH: _grown,
    SignalName.QUERY: _queried,
    SignalName.PROBE: _tried,
    SignalName.INTEGRITY: _damaged,
}


def worst(candidates: Sequence[Symptom]) -> Symptom | None:
    """Choose the symptom for the verdict: without a veto first."""
    return min(candidates, key=lambda symptom: symptom.veto is not None, default=None)
