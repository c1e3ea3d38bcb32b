"""What Kubernetes itself shows: a release that never comes up, or takes the service down.

Silence is judged from here, not from metrics. What the release has not done (no room on the nodes,
a registry that does not answer, quota) is told apart and leads to no verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rollback_operator.core.model import Pod, Workload

GRACE_SECONDS = 30.0
RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Availability:
    """Unavailable and StuckRollout, with since when and why."""

    is_unavailable: bool = False
    is_stuck: bool = False
    since: float | None = None
    environment: str = ""
    """What keeps pods from running that is not the release's doing; then neither is claimed."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what may take."""

    stuck_after: float
    startup: float
    """How long a pod of the old revision took to become ready."""


def availability(
    workload: Workload,
    opened: float,
    unavailable_since: float | None,
    patience: Patience,
    now: float,
) -> Availability:
    """Judge the release by its pods alone.

    Args:
        workload: the target with its pods.
        opened: when the template changed.
        unavailable_since: since when the Deployment has had no available pod; None: it has one.
        patience: limits, seconds.
        now: seconds since the epoch.
    """
    deployment = workload.deployment
    current = workload.current
    pods = [
        pod
        for pod in workload.pods
        if current is not None and pod.pod_hash == current.pod_hash and not pod.terminating
    ]
    environment = deployment.failed_create or next(
        (p.environment for p in pods if p.environment), ""
    )
    failing = [pod for pod in pods if pod.own_failure]
    if environment:
        return Availability(environment=environment)
    wait = patience.startup + GRACE_SECONDS
    if deployment.strategy == "Recreate":
        wait += deployment.progress_deadline_seconds
    if (
        deployment.replicas > 0
        and unavailable_since is not None
        and now - unavailable_since > wait
        and failing
    ):
        return Availability(
            is_unavailable=True,
            since=unavailable_since,
            message=f"no pod has been available for {now - unavailable_since:.0f} s: "
            f"{failing[0].name} {failing[0].own_failure}",
        )
    return _stuck(workload, pods, opened, patience, now)


def _stuck(
    workload: Workload, pods: Sequence[Pod], opened: float, patience: Patience, now: float
) -> Availability:
    deployment = workload.deployment
    failing = [pod for pod in pods if pod.own_failure]
    if deployment.is_rolled_out or deployment.paused or not failing:
        return Availability()
    if all(pod.restarts >= RESTARTS for pod in pods):
        return Availability(
            is_stuck=True,
            since=opened,
            message=f"every new pod has restarted {RESTARTS} times or more: "
            f"{failing[0].name} {failing[0].own_failure}",
        )
    progress = max([opened, *(pod.ready_since for pod in pods if pod.ready and pod.ready_since)])
    limit = min(float(deployment.progress_deadline_seconds), patience.stuck_after)
    if now - progress > limit:
        return Availability(
            is_stuck=True,
            since=opened,
            message=f"the rollout has made no progress for {now - progress:.0f} s: "
            f"{failing[0].name} {failing[0].own_failure}",
        )
    return Availability()
