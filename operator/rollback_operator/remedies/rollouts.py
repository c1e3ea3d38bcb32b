"""Rollouts since the judgement, as the numbers of the ReplicaSets show them. Pure."""

from rollback_operator.api.v1alpha1 import Rollback
from rollback_operator.model.workload import Workload


def was_another_between(rollback: Rollback, begun: int, workload: Workload) -> bool:
    """Return whether another template ran after the judgement and before the act began.

    The controller has not yet numbered the judged template anew, as shortly after a restore.
    """
    judged = rollback.spec.from_revision
    return workload.deployment.template.digest == judged.digest and any(
        judged.number < replica_set.revision <= begun
        and replica_set.template.digest != judged.digest
        for replica_set in workload.replica_sets
    )


def may_have_run(rollback: Rollback, since: int, workload: Workload) -> bool:
    """Return whether the Deployment may have borne the act's template after a revision."""
    target = rollback.spec.to_revision
    if target is None:
        # Any template may have the pinned image: if only one rollout came, and it is the running
        # rollout, there was none in between.
        current = workload.current
        return current is None or current.revision != since + 1
    targets = [
        replica_set
        for replica_set in workload.replica_sets
        if replica_set.template.digest == target.digest
    ]
    return not targets or any(replica_set.revision > since for replica_set in targets)
