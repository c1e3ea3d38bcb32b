"""What an investigation begins with: what is worse, where, on which pods, and what has changed.

Collected once, when a release is first found to have a symptom, and kept on the policy until the
next release: at 3 a.m. the pods that showed it may be gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Investigation, InvestigationFinding, MatrixSeverity
from rollback_operator.decide.decide import Decision
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.stats.histogram import Histogram
from rollback_operator.stats.windows import Increment

MOST_FINDING_LINES = 8
"""Routes, pods or changes that are named one by one; the rest is counted."""
LONGEST_FINDING = 1024


@dataclass(frozen=True, slots=True)
class RouteLatency:
    """Durations by route, of both revisions; empty where they could not be read."""

    new: Mapping[str, Histogram] = field(default_factory=dict)
    old: Mapping[str, Histogram] = field(default_factory=dict)


def diagnose(
    decision: Decision, workload: Workload, watch: Watch, latency: RouteLatency, now: datetime
) -> Investigation:
    """Put together what is known.

    Args:
        decision: whose severity asks for an investigation.
        workload: the target now.
        watch: what has been counted.
        latency: durations by route.
        now: the time of the look.
    """
    current = workload.current
    control = next(
        (one for one in workload.replica_sets if one.pod_hash in watch.control_hashes), None
    )
    new = {pod.name for pod in workload.current_of(watch.pods)}
    old = {pod.name for pod in watch.pods if pod.pod_hash in watch.control_hashes}
    found = [
        InvestigationFinding(name="Symptom", message=clipped(one.message, LONGEST_FINDING))
        for one in decision.verdict.symptoms
        if one.veto is None
    ]
    found += [
        *_told("Latency", _latencies(latency)),
        *_told("ErrorRate", _rates(watch.evidence.increments, new, old)),
        *_told("Pods", _pods(workload.current_of(workload.pods))),
        *_told("Changes", changes(control, current) if control and current else []),
    ]
    return Investigation(
        severity=MatrixSeverity(decision.severity),
        release=workload.deployment.template.release,
        since=now,
        findings=found,
    )


def _told(name: str, lines: Sequence[str]) -> list[InvestigationFinding]:
    if not lines:
        return []
    more = len(lines) - MOST_FINDING_LINES
    shown = [*lines[:MOST_FINDING_LINES], *([f"and {more} more"] if more > 0 else [])]
    return [InvestigationFinding(name=name, message=clipped("; ".join(shown), LONGEST_FINDING))]


def _latencies(latency: RouteLatency) -> list[str]:
    worst = sorted(latency.new, key=lambda route: -(latency.new[route].quantile(0.99) or 0.0))
    return [
        f"{route or 'all routes'}: p99 {_duration(latency.new[route])}, the old revision's "
        f"{_duration(latency.old.get(route, Histogram()))}"
        for route in worst
    ]


def _duration(histogram: Histogram) -> str:
    value = histogram.quantile(0.99)
    return "unknown" if value is None else f"{1000 * value:.0f} ms"


def _rates(increments: Iterable[Increment], new: set[str], old: set[str]) -> list[str]:
    counted: dict[str, list[float]] = {}
    for one in increments:
        if one.pod in new or one.pod in old:
            sums = counted.setdefault(one.route, [0.0] * 4)
            begin = 0 if one.pod in new else 2
            sums[begin] += one.requests
            sums[begin + 1] += one.errors
    return [
        f"{route or 'all routes'}: {errors:.0f} of {requests:.0f} failed, of the old revision "
        f"{before_errors:.0f} of {before:.0f} since the release"
        for route, (requests, errors, before, before_errors) in sorted(counted.items())
    ]


def _pods(pods: Iterable[Pod]) -> list[str]:
    lines = []
    for pod in sorted(pods, key=lambda one: (-one.restarts, one.name)):
        said = f"{pod.name} on {pod.node or 'no node'}"
        if pod.restarts:
            why = ", the last for its memory" if pod.is_out_of_memory else ""
            said += f": {pod.restarts} restarts{why}"
        if pod.own_failure:
            said += f": {pod.own_failure}"
        lines.append(said)
    return lines


def changes(before: ReplicaSet, after: ReplicaSet) -> list[str]:
    """List what differs between two templates; values of variables are never shown."""
    old, new = dict(before.facts), dict(after.facts)
    lines = []
    for path in sorted(old.keys() | new.keys()):
        was, is_now = old.get(path), new.get(path)
        if was == is_now:
            continue
        if was is None:
            lines.append(f"{path} added{_shown(is_now)}")
        elif is_now is None:
            lines.append(f"{path} removed")
        elif was.startswith(HIDDEN) or is_now.startswith(HIDDEN):
            lines.append(f"{path} changed")
        else:
            lines.append(f"{path} changed from {was} to {is_now}")
    return lines


HIDDEN = "#"
"""Begins a fact whose value is only known by a digest."""


def _shown(value: str | None) -> str:
    return "" if value is None or value.startswith(HIDDEN) else f": {value}"
