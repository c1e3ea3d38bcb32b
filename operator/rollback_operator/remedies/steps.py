"""The steps of a rollback, in their order."""

from typing import assert_never

from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.api.remedy import FlagTaking
from rollback_operator.api.v1alpha1 import (
    Mode,
    Pace,
    Remedy,
    RemedyType,
    RevisionRef,
    RollbackSpec,
    StepName,
)
from rollback_operator.remedies import gitops
from rollback_operator.remedies.migration_order import StepParts, ordered


def keeps_release(remedy: RemedyType) -> bool:
    """Return whether a remedy keeps the release running, so that it has no target."""
    match remedy:
        case RemedyType.SCALE | RemedyType.DISABLE_FLAG:
            return True
        case RemedyType.UNDO | RemedyType.PIN_IMAGE:
            return False
        case _:
            assert_never(remedy)


KEEP_THE_RELEASE = tuple(remedy for remedy in RemedyType if keeps_release(remedy))
"""Remedies that keep the release running."""


def steps_of(spec: RollbackSpec, migrations: MigrationRecord | None = None) -> tuple[StepName, ...]:
    """List the steps of a rollback in their order; none in mode Observe.

    Args:
        spec: the plan.
        migrations: to roll back, by the checklist; None: none, or not known yet.
    """
    if spec.mode is Mode.OBSERVE:
        return ()
    restore = (StepName.RESTORE_STRATEGY,) if spec.pace is Pace.EXPRESS else ()
    parts = StepParts(
        before=(StepName.SUSPEND_OWNER,) if gitops.needs_suspension(spec) else (),
        act=_acts_of(spec),
        complete=(StepName.ROLLOUT_COMPLETE, *restore),
        after=(StepName.VERIFY,),
    )
    return ordered(migrations.order if migrations is not None else None, parts)


def _acts_of(spec: RollbackSpec) -> tuple[StepName, ...]:
    match spec.remedy.type:
        case RemedyType.DISABLE_FLAG:
            is_later = spec.flag is None or spec.flag.taken_by is FlagTaking.RESTART
            restart = (StepName.RESTART_PODS,) if is_later else ()
            return (StepName.DISABLE_FLAG, *restart)
        case RemedyType.UNDO:
            restore = (StepName.RESTORE_CONFIGURATION,) if spec.config_maps else ()
            return (*restore, StepName.UNDO)
        case RemedyType.PIN_IMAGE:
            return (StepName.PIN_IMAGE,)
        case RemedyType.SCALE:
            return (StepName.SCALE,)
        case remedy:
            assert_never(remedy)


def done_in_words(spec: RollbackSpec, step: StepName) -> str:
    """Describe the change that a step has just made to the Deployment."""
    remedy, target, flag = spec.remedy, spec.to_revision, spec.remedy.flag
    if flag is not None and spec.flag is not None and step is StepName.DISABLE_FLAG:
        return f"{flag.name} was set; it was {spec.flag.old_value[:64]!r}"
    return _changed_in_words(remedy, target, step)


def _changed_in_words(remedy: Remedy, target: RevisionRef | None, step: StepName) -> str:
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
        case (
            StepName.UNDO
            | StepName.AWAITING_APPROVAL
            | StepName.SUSPEND_OWNER
            | StepName.BACKUP
            | StepName.MIGRATE_DOWN
            | StepName.RESTORE_CONFIGURATION
            | StepName.DISABLE_FLAG
            | StepName.ROLLOUT_COMPLETE
            | StepName.VERIFY
        ):
            return "the Deployment was changed"
        case _:
            assert_never(step)
