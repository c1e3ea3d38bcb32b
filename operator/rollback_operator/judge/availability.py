"""What Kubernetes shows: a release that never becomes available, or takes the service down.

Pods without metrics are judged here. Faults of the environment (no room on the nodes, a registry
that does not answer, quota) are kept apart and lead to no verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollback_operator.evidence.limits import GRACE_SECONDS, RESTARTS, SUDDEN_SECONDS
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import Cause, EvidentFault
from rollback_operator.model.workload import Workload


@dataclass(frozen=True, slots=True)
class Since:
    """When states of the release began, in seconds of the operator's clock; None: not in effect."""

    opened: float
    """The template changed."""
    unavailable: float | None = None
    """The Deployment has had no available pod."""
    restarted: float | None = None
    """A new pod has restarted."""
    resumed: float | None = None
    """A held rollout was resumed: during the hold it could make no progress."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits on the time of a rollout."""

    stuck_after: float
    startup: float
    """How long a pod of the old revision took to become ready."""


def pod_fault(
    workload: Workload, since: Since, patience: Patience, now: float
) -> EvidentFault | None:
    """Judge the release by its pods alone; None: they show no fault.

    Args:
        workload: the target with its pods.
        since: when the template changed, and since when pods fail.
        patience: limits, seconds.
        now: seconds since the epoch.
    """
    pods = [pod for pod in workload.current_of(workload.pods) if not pod.terminating]
    environment = workload.deployment.failed_create or next(
        (p.environment for p in pods if p.environment), ""
    )
    if environment:
        return EvidentFault(Cause.ENVIRONMENT, environment)
    failing = [pod for pod in pods if pod.own_failure]
    if not failing:
        return None
    fault = _outage(workload, since, patience, now) or _stuck(workload, pods, since, patience, now)
    if fault is None:
        return None
    message = f"{fault.message}: {failing[0].name} {failing[0].own_failure}"
    doubt = _doubt(workload, pods, since)
    if doubt:
        return EvidentFault(Cause.UNATTRIBUTED, f"{message}; {doubt}")
    return replace(fault, message=message)


def _outage(
    workload: Workload, since: Since, patience: Patience, now: float
) -> EvidentFault | None:
    deployment = workload.deployment
    wait = patience.startup + GRACE_SECONDS
    if deployment.strategy == "Recreate":
        wait += deployment.progress_deadline_seconds
    if deployment.replicas == 0 or since.unavailable is None or now - since.unavailable <= wait:
        return None
    message = f"no pod has been available for {now - since.unavailable:.0f} s"
    return EvidentFault(Cause.UNAVAILABLE, message, since.unavailable)


def _stuck(
    workload: Workload, pods: Sequence[Pod], since: Since, patience: Patience, now: float
) -> EvidentFault | None:
    deployment = workload.deployment
    if deployment.is_rolled_out or deployment.paused:
        return None
    if all(pod.restarts >= RESTARTS for pod in pods):
        message = f"every new pod has restarted {RESTARTS} times or more"
        return EvidentFault(Cause.STUCK_ROLLOUT, message, since.opened)
    failing = [pod for pod in pods if pod.own_failure]
    progress = max(
        [
            since.opened,
            since.resumed or 0.0,
            # The release of a rollback is old, but its pods are new.
            min((pod.created for pod in failing), default=0.0),
            *(pod.ready_since for pod in pods if pod.ready and pod.ready_since),
        ]
    )
    limit = min(float(deployment.progress_deadline_seconds), patience.stuck_after)
    if now - progress <= limit or _has_completed(workload, since):
        return None
    message = f"the rollout has made no progress for {now - progress:.0f} s"
    return EvidentFault(Cause.STUCK_ROLLOUT, message, since.opened)


def _has_completed(workload: Workload, since: Since) -> bool:
    completed = workload.deployment.completed
    return completed is not None and completed >= since.opened


def _doubt(workload: Workload, pods: Sequence[Pod], since: Since) -> str:
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
    if any(pod.is_out_of_memory for pod in pods) or not _has_completed(workload, since):
        return ""
    completed = workload.deployment.completed or since.opened
    onsets = [time for time in (since.unavailable, since.restarted) if time is not None]
    late = min(onsets, default=completed) - completed
    if late <= SUDDEN_SECONDS:
        return ""
    return (
        f"the release had been fully available for {late:.0f} s: the environment may have failed, "
        "and a rollback might not help"
    )
