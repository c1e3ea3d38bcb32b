"""The step Scale where an autoscaler sets the replicas: what a look at it and its target means.

Pure. The bounds on record say whether they are raised already; the Deployment's replicas say
whether the autoscaler has followed.
"""

from datetime import datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName
from rollback_operator.core import autoscaling, progress
from rollback_operator.core.autoscaler import Autoscaler
from rollback_operator.core.progress import Act, Done, End, Next, Wait
from rollback_operator.core.workload import Deployment


def is_left_to_autoscaler(rollback: Rollback, step: StepName) -> bool:
    """Tell whether a step scales, and an autoscaler sets the replicas."""
    return step is StepName.SCALE and rollback.spec.autoscaler is not None


def look(
    rollback: Rollback, found: Autoscaler | None, deployment: Deployment, now: datetime
) -> Next:
    """Compare bounds and replicas with what is wanted, just before any damage."""
    record, wanted = rollback.status.autoscaler, rollback.spec.remedy.replicas or 0
    against = autoscaling.blocked(rollback, found)
    if against is not None:
        return End(Outcome.ABANDONED if record is None else Outcome.FAILED, *against)
    assert found is not None  # or the plan would be blocked
    if found.bounds.least >= wanted:
        return _followed(rollback, found, deployment, now)
    if record is not None and found.bounds != autoscaling.before(record):
        # Whoever has set them may have put back ours: that is not fought.
        by = found.set_by or "somebody else"
        said = f"{by} has set {found.bounds} for {found} meanwhile: they are left alone"
        return End(Outcome.FAILED, Reason.BOUNDS_CHANGED, said)
    if deployment.template.release != rollback.spec.from_revision.release:
        return progress.moved(rollback, deployment)
    if rollback.metadata.deletion_timestamp is not None and not autoscaling.is_guarded(rollback):
        # Nothing could keep the record of what they were until they are put back.
        said = f"the Rollback is being deleted: {found} is left as it is"
        return End(Outcome.ABANDONED, Reason.ROLLBACK_DELETED, said)
    return Act(StepName.SCALE)


def _followed(rollback: Rollback, found: Autoscaler, deployment: Deployment, now: datetime) -> Next:
    """See whether the autoscaler has set the replicas: it looks every 15 seconds."""
    wanted = rollback.spec.remedy.replicas or 0
    if deployment.replicas >= wanted:
        return Done(f"{found} keeps {found.bounds}, {deployment.replicas} replicas are wanted")
    if deployment.template.release != rollback.spec.from_revision.release:
        return progress.moved(rollback, deployment)
    seconds = progress.seconds_in(rollback, StepName.SCALE, now)
    if seconds <= rollback.spec.verification.timeout_seconds:
        return Wait()
    said = (
        f"{found} has set {deployment.replicas} replicas and not {wanted} in {seconds:.0f} s. Why: "
        f"kubectl describe hpa {found.name} -n {deployment.namespace}"
    )
    return End(Outcome.NOT_RECOVERED, Reason.AUTOSCALER_IDLE, said)
