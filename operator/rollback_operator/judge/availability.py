"""Evidence from Kubernetes: a release that never becomes available, or takes the service down.

Pods without metrics are judged here. Faults of the environment (no capacity on the nodes, a
registry that does not answer, quota) are kept apart and lead to no verdict.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from rollback_operator.evidence.arms import Question, is_adopted
from rollback_operator.evidence.limits import GRACE_SECONDS, RESTARTS, SUDDEN_SECONDS
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.pod import NOT_READY, Pod
from rollback_operator.model.verdict import Cause, EvidentFault
from rollback_operator.model.workload import Workload


def pod_fault(
    watch: Watch, workload: Workload, question: Question, now: float
) -> EvidentFault | None:
    """Judge the release by its pods alone; None: they show no fault.

    Args:
        watch: the times at which the template changed, and pods began to fail.
        workload: the target with its pods.
        question: the limits of the policy.
        now: seconds since the epoch.
    """
    pods = _new_pods(workload)
    environment = workload.deployment.failed_create or next(
        (p.environment for p in pods if p.environment), ""
    )
    if environment:
        return EvidentFault(Cause.ENVIRONMENT, environment)
    failing = [pod for pod in pods if pod.own_failure]
    silent = [pod for pod in pods if not pod.ready and pod.started is None]
    if not failing and not silent:
        return None
    fault = _outage(watch, workload, now) or _stuck(watch, workload, question, now)
    if fault is None:
        return None
    if not failing:
        # Its kubelet or the scheduler is silent; that is as a rule not the release's doing.
        message = f"{fault.message}: {silent[0].name} reports no container and no reason"
        return EvidentFault(Cause.UNATTRIBUTED, message)
    message = f"{fault.message}: {failing[0].name} {failing[0].own_failure}"
    doubt = _doubt(watch, workload, pods)
    if doubt:
        return EvidentFault(Cause.UNATTRIBUTED, f"{message}; {doubt}")
    return replace(fault, message=message)


def pod_failing(watch: Watch, workload: Workload, question: Question) -> str:
    """Describe a new pod that cannot start, before the rollout counts as stuck; empty: none.

    A container that runs and is not ready yet is starting as a rule.
    """
    deployment = workload.deployment
    if deployment.is_rolled_out or deployment.paused or _has_completed(watch, workload):
        return ""
    pods = _new_pods(workload)
    failing = next((pod for pod in pods if _is_held_up(pod)), None)
    if failing is None:
        return ""
    due = datetime.fromtimestamp(_stuck_from(watch, workload, question), UTC)
    return (
        f"{failing.name} {failing.own_failure}. If no new pod becomes ready, the rollout counts as "
        f"stuck from {due:%H:%M:%S} UTC on"
    )


def _is_held_up(pod: Pod) -> bool:
    return bool(pod.own_failure) and not pod.own_failure.endswith(NOT_READY)


def _new_pods(workload: Workload) -> list[Pod]:
    return [pod for pod in workload.current_of(workload.pods) if not pod.terminating]


def _outage(watch: Watch, workload: Workload, now: float) -> EvidentFault | None:
    deployment = workload.deployment
    wait = watch.startup + GRACE_SECONDS
    if deployment.strategy == "Recreate":
        wait += deployment.progress_deadline_seconds
    if (
        deployment.replicas == 0
        or watch.unavailable_since is None
        or now - watch.unavailable_since <= wait
    ):
        return None
    message = f"no pod has been available for {now - watch.unavailable_since:.0f} s"
    return EvidentFault(Cause.UNAVAILABLE, message, watch.unavailable_since)


def _stuck(watch: Watch, workload: Workload, question: Question, now: float) -> EvidentFault | None:
    deployment = workload.deployment
    if deployment.is_rolled_out or deployment.paused or _had_no_rollout(watch, workload):
        return None
    pods = _new_pods(workload)
    if all(pod.restarts >= RESTARTS for pod in pods):
        message = f"every new pod has restarted {RESTARTS} times or more"
        return EvidentFault(Cause.STUCK_ROLLOUT, message, watch.opened)
    if now <= _stuck_from(watch, workload, question) or _has_completed(watch, workload):
        return None
    seconds = now - _progress(watch, workload, question)
    message = f"the rollout has made no progress for {seconds:.0f} s"
    return EvidentFault(Cause.STUCK_ROLLOUT, message, watch.opened)


def _stuck_from(watch: Watch, workload: Workload, question: Question) -> float:
    """Return the time from which the rollout counts as stuck without further progress."""
    deadline = float(workload.deployment.progress_deadline_seconds)
    return _progress(watch, workload, question) + min(deadline, question.stuck_after)


def _progress(watch: Watch, workload: Workload, question: Question) -> float:
    """Return the time of the rollout's last progress."""
    pods = _new_pods(workload)
    return max(
        [
            watch.opened,
            question.resumed or 0.0,
            # The release of a rollback is old, but its pods are new.
            min((pod.created for pod in pods if pod.own_failure), default=0.0),
            *(pod.ready_since for pod in pods if pod.ready and pod.ready_since),
        ]
    )


def _has_completed(watch: Watch, workload: Workload) -> bool:
    completed = workload.deployment.completed
    is_of_watch = completed is not None and completed >= watch.opened
    return is_of_watch or _had_no_rollout(watch, workload)


def _had_no_rollout(watch: Watch, workload: Workload) -> bool:
    """Return whether the revision was rolled out before the watch began, as at adoption.

    It has no rollout that could be stuck, unlike a revision that is restored. Without pods from
    before the watch, an earlier time is that of the previous revision, which the controller shows
    until it sees the new template.
    """
    completed = workload.deployment.completed
    return completed is not None and completed < watch.opened and is_adopted(watch, workload)


def _doubt(watch: Watch, workload: Workload, pods: Sequence[Pod]) -> str:
    """Describe why the release may not be the cause of failing pods; empty: it is.

    A release that was fully available and fails all at once later is as likely a victim: a database
    became unavailable, and with it the readiness of every pod. By the odds of blame.py that holds
    from a few seconds on. A release that runs out of memory is the cause at any time.
    """
    current = workload.current
    others = [
        pod
        for pod in workload.pods
        if not pod.terminating and (current is None or pod.pod_hash != current.pod_hash)
    ]
    if others and not any(pod.ready for pod in others):
        return "the old pods fail too, so a rollback would not help"
    if any(pod.is_out_of_memory for pod in pods) or not _has_completed(watch, workload):
        return ""
    completed = workload.deployment.completed or watch.opened
    onsets = [time for time in (watch.unavailable_since, watch.restarted_since) if time is not None]
    late = min(onsets, default=completed) - completed
    if late <= SUDDEN_SECONDS:
        return ""
    return (
        f"the release had been fully available for {late:.0f} s: the environment may have failed, "
        "and a rollback might not help"
    )
