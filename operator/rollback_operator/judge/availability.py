"""What Kubernetes itself shows: a release that never comes up, or takes the service down.

Silence is judged from here, not from metrics. What the release has not done (no room on the nodes,
a registry that does not answer, quota) is told apart and leads to no verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollback_operator.evidence.limits import GRACE_SECONDS, RESTARTS, SUDDEN_SECONDS
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import Cause, EvidentFault
from rollback_operator.model.workload import Workload


@dataclass(frozen=True, slots=True)
class Since:
    """Since when, in seconds of the operator's clock; None: not so."""

    opened: float
    """The template changed."""
    unavailable: float | None = None
    """The Deployment has had no available pod."""
    restarted: float | None = None
    """A new pod has restarted."""
    resumed: float | None = None
    """A rollout that had been held goes on: held, it could make no progress."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what may take."""

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
            # A release that is gone back to has been there for long, and its pods have not.
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
    """Tell why the failing of the new pods may not be the release's doing; empty: it is.

    A release that has been fully available and fails all at once later on is as likely a victim: a
    database went away, and every pod's readiness with it. By the odds of blame.py that is so from
    a few seconds on. What a release does to itself, running out of memory, is its own at any time.
    """
    current = workload.current
    others = [
        pod
        for pod in workload.pods
        if not pod.terminating and (current is None or pod.pod_hash != current.pod_hash)
    ]
    if others and not any(pod.ready for pod in others):
        return "the old pods fail as well, so going back would not help"
    if any(pod.is_out_of_memory for pod in pods) or not _has_completed(workload, since):
        return ""
    completed = workload.deployment.completed or since.opened
    onsets = [one for one in (since.unavailable, since.restarted) if one is not None]
    late = min(onsets, default=completed) - completed
    if late <= SUDDEN_SECONDS:
        return ""
    return (
        f"it had been fully available for {late:.0f} s before: something around it may have "
        "failed, and going back might not help"
    )
