"""The findings that an investigation starts with: symptoms, routes, pods and changes.

They are collected once, when a release first has a symptom, and stored in the policy until the next
release: later the affected pods may not exist any more.
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
"""Routes, pods or changes that are listed; the rest is counted."""
LONGEST_FINDING = 1024


@dataclass(frozen=True, slots=True)
class RouteLatency:
    """Durations by route, of both revisions; empty if they could not be read."""

    new: Mapping[str, Histogram] = field(default_factory=dict)
    old: Mapping[str, Histogram] = field(default_factory=dict)


def diagnose(
    decision: Decision, workload: Workload, watch: Watch, latency: RouteLatency, now: datetime
) -> Investigation:
    """Collect the findings.

    Args:
        decision: with a severity that requires an investigation.
        workload: the target.
        watch: with the counted evidence.
        latency: durations by route.
        now: the time of the observation.
    """
    current = workload.current
    control = next(
        (item for item in workload.replica_sets if item.pod_hash in watch.control_hashes), None
    )
    new = {pod.name for pod in workload.current_of(watch.pods)}
    old = {pod.name for pod in watch.pods if pod.pod_hash in watch.control_hashes}
    findings = [
        InvestigationFinding(name="Symptom", message=clipped(item.message, LONGEST_FINDING))
        for item in decision.verdict.symptoms
        if item.veto is None
    ]
    findings += [
        *_finding("Latency", _latencies(latency)),
        *_finding("ErrorRate", _rates(watch.evidence.increments, new, old)),
        *_finding("Pods", _pods(workload.current_of(workload.pods))),
        *_finding("Changes", changes(control, current) if control and current else []),
    ]
    return Investigation(
        severity=MatrixSeverity(decision.severity),
        release=workload.deployment.template.release,
        since=now,
        findings=findings,
    )


def _finding(name: str, lines: Sequence[str]) -> list[InvestigationFinding]:
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
    for increment in increments:
        if increment.pod in new or increment.pod in old:
            sums = counted.setdefault(increment.route, [0.0] * 4)
            begin = 0 if increment.pod in new else 2
            sums[begin] += increment.requests
            sums[begin + 1] += increment.errors
    return [
        f"{route or 'all routes'}: {errors:.0f} of {requests:.0f} failed, of the old revision "
        f"{before_errors:.0f} of {before:.0f} since the release"
        for route, (requests, errors, before, before_errors) in sorted(counted.items())
    ]


def _pods(pods: Iterable[Pod]) -> list[str]:
    lines = []
    for pod in sorted(pods, key=lambda item: (-item.restarts, item.name)):
        line = f"{pod.name} on {pod.node or 'no node'}"
        if pod.restarts:
            why = ", the last for its memory" if pod.is_out_of_memory else ""
            line += f": {pod.restarts} restarts{why}"
        if pod.own_failure:
            line += f": {pod.own_failure}"
        lines.append(line)
    return lines


def changes(before: ReplicaSet, after: ReplicaSet) -> list[str]:
    """List the differences between two templates; values of variables are never shown."""
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
"""Prefix of a fact whose value is only known by a digest."""


def _shown(value: str | None) -> str:
    return "" if value is None or value.startswith(HIDDEN) else f": {value}"
