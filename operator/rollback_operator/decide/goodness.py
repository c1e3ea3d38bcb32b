"""Whether a release has earned Good: clean for long enough, by every signal of the matrix.

Pure. `goodAfterSeconds` is the minimum. A leak shows after a quarter of an hour, a slow release
after its first minute. A P4, a doubt, or a fault with another cause postpones Good until it has
been absent for as long. A release does not wait for a signal without series, which never comes
(SlowSignalsAvailable reports it). It waits for a signal that is temporarily unreadable.
"""

from collections.abc import Iterable
from dataclasses import replace

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, Severity, SignalName, VerdictValue
from rollback_operator.decide.decide import Decision
from rollback_operator.evidence.limits import (
    GROWTH_ALONE_SECONDS,
    GROWTH_SECONDS,
    GROWTH_WARM_UP_SECONDS,
    HYSTERESIS_TIMES,
    SUSTAINED_TREND_SECONDS,
)
from rollback_operator.evidence.trends import Trends
from rollback_operator.evidence.watch import Watch
from rollback_operator.model import conditions
from rollback_operator.model.context import Case
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import AGAINST_RELEASE, Cause, Verdict
from rollback_operator.model.workload import Workload
from rollback_operator.releases.usefulness import FAILS_ALIKE

_LATENCY = frozenset({SignalName.LATENCY, SignalName.LATENCY_RATIO})
_BY_OTHER_EVIDENCE = frozenset(
    {
        Reason.FOUND_BAD,
        Reason.STUCK_ROLLOUT,
        Reason.SYMPTOM_FOUND,
        Reason.TRAFFIC_LOST,
        Reason.UNAVAILABLE,
    }
)
_SLOW = _LATENCY | {SignalName.MEMORY_GROWTH, SignalName.QUERY}


def with_clean_since(watch: Watch, decision: Decision, now: float) -> Watch:
    """Store the time since which no evidence speaks against the release.

    After a late start, for example a crash, the wait begins at that start: the time before it is
    not known well enough.
    """
    if not _is_clean(decision):
        return replace(watch, clean_since=None)
    return watch if watch.clean_since is not None else replace(watch, clean_since=now)


def with_against(watch: Watch, verdict: Verdict, suspect_odds: float) -> Watch:
    """Store the verdict against the release by its counts, which then takes less to keep.

    Missing data does not lift it.

    Args:
        watch: of the release.
        verdict: on it.
        suspect_odds: the policy's odds of a suspicion.
    """
    if verdict.value is VerdictValue.NO_VERDICT:
        return watch
    odds = max((scope.odds for scope in verdict.scopes), default=0.0)
    is_by_counts = verdict.cause is Cause.COUNTS and odds >= suspect_odds / HYSTERESIS_TIMES
    is_against = verdict.value in AGAINST_RELEASE and is_by_counts
    return replace(watch, against=verdict.value if is_against else None)


def stored_against(case: Case) -> VerdictValue | None:
    """Return the verdict against the running release by its counts that an operator has stored.

    A new leader, or a restarted operator, keeps it on the same terms: people see no flap.
    """
    status, digest = case.policy.status, case.workload.deployment.template.digest
    healthy = conditions.find(status.conditions, ConditionType.HEALTHY)
    is_same = status.revision is not None and status.revision.digest == digest
    if healthy is None or not is_same or healthy.reason in _BY_OTHER_EVIDENCE:
        return None
    if healthy.message.startswith(FAILS_ALIKE):
        return None
    return status.verdict if status.verdict in AGAINST_RELEASE else None


def _is_clean(decision: Decision) -> bool:
    verdict = decision.verdict
    is_told = decision.severity is not Severity.NONE or decision.doubted is not Severity.NONE
    is_near = verdict.reason is Reason.EVIDENCE_GATHERING
    return not (is_told or is_near or verdict.symptoms or verdict.value in AGAINST_RELEASE)


def is_ripe(
    watch: Watch, workload: Workload, wanted: Iterable[MatrixCondition], since: float
) -> bool:
    """Return whether a release has been clean since a time, by every signal of the matrix.

    Args:
        watch: its counts.
        workload: the target now.
        wanted: conditions of the policy's matrix.
        since: `goodAfterSeconds` ago.
    """
    signals, trends = {one.signal for one in wanted}, watch.trends
    is_clean = watch.clean_since is not None and watch.clean_since <= since
    if not is_clean or (signals & _SLOW and trends.read is None):
        return False
    if any(one.reason is not Reason.NO_SERIES for one in trends.missing.values()):
        return False
    is_unread = trends.unread_integrity is not None or not trends.integrity
    if SignalName.INTEGRITY in signals and is_unread:
        return False
    if any(one.failures for one in (*trends.trials.values(), *trends.integrity.values())):
        return False
    pods = [one for one in workload.current_of(workload.pods) if not one.terminating]
    limit = workload.deployment.template.memory_limit
    if SignalName.MEMORY_GROWTH in signals and limit and not _would_have_grown(trends, pods):
        return False
    return not signals & _LATENCY or _would_be_slow(trends, pods)


def _would_have_grown(trends: Trends, pods: Iterable[Pod]) -> bool:
    """Return whether a leak of each pod would be proved by now."""
    past = trends.past_growth
    is_known = past is not None and past.per_hour is not None
    needed = GROWTH_SECONDS if is_known else GROWTH_ALONE_SECONDS
    for pod in pods:
        began = (pod.started or pod.created) + GROWTH_WARM_UP_SECONDS
        points = [one for one in trends.memory.get(pod.name, ()) if one.time >= began]
        # A pod without series never has data: the other pods represent it.
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
