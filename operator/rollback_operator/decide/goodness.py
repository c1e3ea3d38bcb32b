"""Whether a release has earned to be Good: clean for its time, by every signal of the matrix.

Pure. `goodAfterSeconds` is the least. A leak shows after a quarter of an hour, a slow release once
its first minute is over; a P4, a doubt and a fault that is not the release's doing put it off
until they have been gone for as long. A signal that has no series is not waited for: it never comes
(SlowSignalsAvailable says so). One that cannot be read for now is.
"""

from collections.abc import Iterable
from dataclasses import replace

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, Severity, SignalName, VerdictValue
from rollback_operator.decide.decide import Decision
from rollback_operator.evidence.limits import (
    GROWTH_ALONE_SECONDS,
    GROWTH_SECONDS,
    GROWTH_WARM_UP_SECONDS,
    SUSTAINED_TREND_SECONDS,
)
from rollback_operator.evidence.trends import Trends
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import Workload

_AGAINST = (VerdictValue.SUSPECT, VerdictValue.BAD)
_LATENCY = frozenset({SignalName.LATENCY, SignalName.LATENCY_RATIO})
_SLOW = _LATENCY | {SignalName.MEMORY_GROWTH, SignalName.QUERY}


def with_clean_since(watch: Watch, decision: Decision, now: float) -> Watch:
    """Remember since when nothing has been seen that speaks against the release.

    Whoever begins to look later, after a crash for example, begins to wait then: what was before is
    not known well enough.
    """
    if not _is_clean(decision):
        return replace(watch, clean_since=None)
    return watch if watch.clean_since is not None else replace(watch, clean_since=now)


def _is_clean(decision: Decision) -> bool:
    verdict = decision.verdict
    is_told = decision.severity is not Severity.NONE or decision.doubted is not Severity.NONE
    is_near = verdict.reason is Reason.EVIDENCE_GATHERING
    return not (is_told or is_near or verdict.symptoms or verdict.value in _AGAINST)


def is_ripe(
    watch: Watch, workload: Workload, conditions: Iterable[MatrixCondition], since: float
) -> bool:
    """Return whether a release has been clean since a time, by all that the matrix names.

    Args:
        watch: what has been counted of it.
        workload: the target now.
        conditions: of the policy's matrix.
        since: `goodAfterSeconds` ago.
    """
    if watch.clean_since is None or watch.clean_since > since:
        return False
    signals, trends = {one.signal for one in conditions}, watch.trends
    if signals & _SLOW and trends.read is None:
        return False
    if any(one.reason is not Reason.NO_SERIES for one in trends.missing.values()):
        return False
    if any(one.failures for one in trends.trials.values()):
        return False
    pods = [one for one in workload.current_of(workload.pods) if not one.terminating]
    limit = workload.deployment.template.memory_limit
    if SignalName.MEMORY_GROWTH in signals and limit and not _would_have_grown(trends, pods):
        return False
    return not signals & _LATENCY or _would_be_slow(trends, pods)


def _would_have_grown(trends: Trends, pods: Iterable[Pod]) -> bool:
    """Return whether a leak of a pod would have been proved by now."""
    past = trends.past_growth
    is_known = past is not None and past.per_hour is not None
    needed = GROWTH_SECONDS if is_known else GROWTH_ALONE_SECONDS
    for pod in pods:
        began = (pod.started or pod.created) + GROWTH_WARM_UP_SECONDS
        points = [one for one in trends.memory.get(pod.name, ()) if one.time >= began]
        # Of a pod without series nothing will ever be known: the others speak for it.
        if trends.memory.get(pod.name) and (
            not points or points[-1].time - points[0].time < needed
        ):
            return False
    return True


def _would_be_slow(trends: Trends, pods: Iterable[Pod]) -> bool:
    """Return whether each pod's durations were read for a minute after its warm-up."""
    if not trends.latency:
        return True
    newest = trends.latency[-1]
    return all(
        pod.name in trends.bases
        and newest.time - trends.bases[pod.name].time >= SUSTAINED_TREND_SECONDS
        for pod in pods
        if pod.name in newest.pods
    )
