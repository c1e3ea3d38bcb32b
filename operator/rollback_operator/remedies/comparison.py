"""Compares the goal of a step with the live Deployment, just before the change.

Pure. A step whose goal is reached is complete, so that a replay is harmless.
"""

from datetime import datetime
from typing import assert_never

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName
from rollback_operator.api.verification import VerificationCheck, VerificationResult
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies import gitops, stopped_traffic
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.database.migration_order import MIGRATION_STEPS
from rollback_operator.remedies.progress import (
    EXPRESS_SURGE,
    Act,
    Done,
    Next,
    RollbackEnd,
    Wait,
    has_gone_on,
    has_moved,
    is_out_of_time,
    moved,
)
from rollback_operator.remedies.rollouts import (
    is_configuration_only,
    runs_judged,
    runs_target,
)
from rollback_operator.remedies.steps import keeps_release

_WHILE_PAUSED = (
    StepName.DIAGNOSE,
    StepName.ASSESS_DAMAGE,
    StepName.RESTORE_TRAFFIC,
)
"""Steps that a person's pause of the Deployment does not keep."""


def compare(rollback: Rollback, step: StepName, deployment: Deployment, now: datetime) -> Next:
    """Compare the step's goal with the live Deployment, just before the change."""
    match step:
        case StepName.SUSPEND_OWNER:
            return _compare_owner(rollback, deployment)
        case StepName.ROLLOUT_COMPLETE:
            return _compare_rollout(rollback, deployment, now)
        case StepName.RESTORE_STRATEGY:
            return _compare_strategy(rollback, deployment)
        case StepName.VERIFY:
            return _compare_verification(rollback, deployment)
        case StepName.AWAITING_APPROVAL:
            return Wait()
        case (
            StepName.BACKUP
            | StepName.MIGRATE_DOWN
            | StepName.DISABLE_FLAG
            | StepName.RESTART_PODS
            | StepName.RESTORE_CONFIGURATION
        ):
            result = _compare_judged(rollback, step, deployment)
        case (
            StepName.DIAGNOSE
            | StepName.STOP_TRAFFIC
            | StepName.ASSESS_DAMAGE
            | StepName.RESTORE_TRAFFIC
        ):
            result = _compare_beside(rollback, step, deployment)
        case StepName.UNDO:
            result = _compare_undo(rollback, deployment)
        case StepName.PIN_IMAGE | StepName.SCALE:
            result = _compare_in_place(rollback, deployment)
        case _:
            assert_never(step)
    is_paused = deployment.paused and not deployment.is_held
    is_free = _is_free_while_paused(rollback, step, deployment)
    is_stopped = is_paused and isinstance(result, Act) and not is_free
    return _wait_for_resume(rollback, step, now) if is_stopped else result


def _is_free_while_paused(rollback: Rollback, step: StepName, deployment: Deployment) -> bool:
    if step is StepName.STOP_TRAFFIC:
        # It is stopped: what remains is to report it, and to wait for the pods.
        is_stopped = deployment.is_stopped and stopped_traffic.is_open(rollback)
        return is_stopped or stopped_traffic.is_reported(rollback)
    if step is StepName.DISABLE_FLAG:
        return rollback.spec.flag_digest is None  # a ConfigMap is changed, not the Deployment
    return step in _WHILE_PAUSED or migrations.is_started(rollback, step)


def _wait_for_resume(rollback: Rollback, step: StepName, now: datetime) -> Next:
    """Respect a person's pause. Not final at once: a patch in flight may still land."""
    if not is_out_of_time(rollback, step, now):
        return Wait()
    seconds = rollback.spec.verification.timeout_seconds
    message = f"another client paused the Deployment, and it could not be changed for {seconds} s"
    return RollbackEnd(Outcome.ABANDONED, Reason.TARGET_PAUSED, message)


def _compare_owner(rollback: Rollback, deployment: Deployment) -> Next:
    """Check that the rollback still has work that needs the suspension."""
    is_judged = deployment.template.digest == rollback.spec.from_revision.digest
    is_done = not has_moved(rollback, deployment)
    return Act(StepName.SUSPEND_OWNER) if is_judged or is_done else moved(rollback, deployment)


def _compare_judged(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    if step in MIGRATION_STEPS:
        return _compare_migrations(rollback, step, deployment)
    if step is StepName.RESTORE_CONFIGURATION:
        return _compare_configuration(rollback, deployment)
    return _compare_pods(rollback, step, deployment)


def _compare_beside(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    """Check that the traffic of the judged release stops, and is not restored to it.

    What another client does to the traffic itself is seen by the act.
    """
    is_judged = deployment.template.digest == rollback.spec.from_revision.digest
    if step is StepName.STOP_TRAFFIC and not is_judged:
        return moved(rollback, deployment)
    if step is StepName.RESTORE_TRAFFIC and _is_back(rollback, deployment):
        return moved(rollback, deployment)
    return Act(step)


def _is_back(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether the bad release was put back while its traffic was stopped."""
    spec = rollback.spec
    return not keeps_release(spec.remedy.type) and runs_judged(spec, deployment.template)


def _compare_pods(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    """Check that the pods are the judged pods; another template replaces them.

    The flag's own step compares the flag.
    """
    judged, now, wanted = (
        rollback.spec.from_revision,
        deployment.template,
        rollback.spec.flag_digest,
    )
    if wanted is not None and wanted == now.bare:
        return Done("the pod template has the flag's value")
    if wanted is not None and has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    if now.digest == judged.digest:
        return Act(step)
    if step is StepName.RESTART_PODS and now.bare == judged.bare:
        return Done("the pods of the release are replaced")
    return moved(rollback, deployment)


def _compare_migrations(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    if migrations.is_started(rollback, step):
        return Act(step)  # whatever happens to the Deployment: the end of its Job is to be recorded
    act = gitops.act_of(rollback)
    is_other = has_gone_on if act is None or act.finished_time is None else has_moved
    return moved(rollback, deployment) if is_other(rollback, deployment) else Act(step)


def _compare_configuration(rollback: Rollback, deployment: Deployment) -> Next:
    """Check that the judged release still runs; the step itself compares the ConfigMaps."""
    is_target = runs_target(rollback, deployment.template)
    # Where the templates are equal, only the ConfigMaps make it the target.
    if is_target and not is_configuration_only(rollback.spec):
        return Done("the target runs already: ConfigMaps that were not restored stay as they are")
    if is_target or has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    return Act(StepName.RESTORE_CONFIGURATION)


def _compare_undo(rollback: Rollback, deployment: Deployment) -> Next:
    spec = rollback.spec
    if spec.to_revision is not None and runs_target(rollback, deployment.template):
        return Done(f"the template is that of revision {spec.to_revision.number}")
    if has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    return Act(StepName.UNDO)


def _compare_in_place(rollback: Rollback, deployment: Deployment) -> Next:
    remedy = rollback.spec.remedy
    if remedy.replicas is not None:
        if deployment.replicas >= remedy.replicas:
            return Done(f"{deployment.replicas} replicas are set")
        is_ours = deployment.template.bare == rollback.spec.from_revision.bare
        return Act(StepName.SCALE) if is_ours else moved(rollback, deployment)
    if deployment.template.image_of(remedy.container) == remedy.image:
        return Done(f"{remedy.container} is set to {remedy.image}")
    if has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    return Act(StepName.PIN_IMAGE)


def _compare_verification(rollback: Rollback, deployment: Deployment) -> Wait | RollbackEnd:
    """End a verification that can show nothing; without replicas no pod shows whether it helps."""
    if has_moved(rollback, deployment):
        return moved(rollback, deployment)
    if deployment.replicas or not rollback.is_by_hand:
        return Wait()
    message = (
        "the pod template is changed, and the Deployment has no replicas: nothing was verified. "
        "After it is scaled up the release is evaluated as any other: kubectl scale "
        f"deployment/{deployment.name} -n {deployment.namespace} --replicas=N"
    )
    return RollbackEnd(Outcome.UNKNOWN, Reason.TARGET_SCALED_TO_ZERO, message)


def _compare_rollout(rollback: Rollback, deployment: Deployment, now: datetime) -> Next:
    if has_moved(rollback, deployment):
        return moved(rollback, deployment)
    if deployment.is_rolled_out:
        return Done(f"{deployment.available} of {deployment.replicas} replicas are available")
    if is_out_of_time(rollback, StepName.ROLLOUT_COMPLETE, now):
        message = f"{deployment.available} of {deployment.replicas} replicas are available"
        name = StepName.ROLLOUT_COMPLETE.value
        return RollbackEnd(
            Outcome.NOT_RECOVERED,
            Reason.ROLLOUT_TIMED_OUT,
            f"the rollout did not complete in {rollback.spec.verification.timeout_seconds} s: "
            f"{message}",
            (VerificationCheck(name=name, result=VerificationResult.FAILED, message=message),),
        )
    return Wait()


def _compare_strategy(rollback: Rollback, deployment: Deployment) -> Next:
    stored = rollback.status.strategy
    if stored is None or stored.max_surge == EXPRESS_SURGE:
        return Done("the strategy was not changed")
    if deployment.max_surge != EXPRESS_SURGE:
        return Done("another client changed the strategy since: it stays unchanged")
    return Act(StepName.RESTORE_STRATEGY)
