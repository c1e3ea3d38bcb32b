"""The steps of a rollback, in their order."""

from rollback_operator.api.remedy import FlagTaking
from rollback_operator.api.v1alpha1 import Mode, Pace, RemedyType, RollbackSpec, StepName
from rollback_operator.remedies import gitops

_ACTS = {
    RemedyType.DISABLE_FLAG: (StepName.DISABLE_FLAG, StepName.RESTART_PODS),
    RemedyType.UNDO: (StepName.UNDO,),
    RemedyType.PIN_IMAGE: (StepName.PIN_IMAGE,),
    RemedyType.SCALE: (StepName.SCALE,),
}

KEEP_THE_RELEASE = (RemedyType.SCALE, RemedyType.DISABLE_FLAG)
"""Remedies that keep the release running: they have no target."""


def steps_of(spec: RollbackSpec) -> tuple[StepName, ...]:
    """List the steps of a rollback in their order; none in mode Observe."""
    if spec.mode is Mode.OBSERVE:
        return ()
    acts = _ACTS[spec.remedy.type]
    if spec.flag is not None and spec.flag.taken_by is FlagTaking.MOUNT:
        acts = (StepName.DISABLE_FLAG,)
    restore = (StepName.RESTORE_STRATEGY,) if spec.pace is Pace.EXPRESS else ()
    suspend = (StepName.SUSPEND_OWNER,) if gitops.needs_suspension(spec) else ()
    return (*suspend, *acts, StepName.ROLLOUT_COMPLETE, *restore, StepName.VERIFY)


def done_in_words(spec: RollbackSpec, step: StepName) -> str:
    """Describe the change that a step has just made to the Deployment."""
    remedy, target = spec.remedy, spec.to_revision
    match step:
        case StepName.UNDO if target is not None:
            images = f" ({', '.join(target.images)})" if target.images else ""
            return f"the template of revision {target.number}{images} was restored"
        case StepName.PIN_IMAGE:
            return f"the image of container {remedy.container} was set to {remedy.image}"
        case StepName.SCALE:
            return f"replicas were set to {remedy.replicas}"
        case StepName.RESTART_PODS:
            return "the pods are being replaced, because only new pods read the flag"
        case StepName.RESTORE_STRATEGY:
            return "the rollout strategy was restored"
        case _:
            return "the Deployment was changed"
