"""The steps of a rollback, in their order."""

from typing import assert_never

from rollback_operator.api.database.rolling_back import MigrationOrder, MigrationRecord
from rollback_operator.api.remedy import FlagTaking, TrafficPlan
from rollback_operator.api.v1alpha1 import (
    Mode,
    Pace,
    Remedy,
    RemedyType,
    RevisionRef,
    RollbackSpec,
    SignalName,
    StepName,
    TrafficStop,
)
from rollback_operator.remedies import gitops
from rollback_operator.remedies.database.migration_order import StepParts, ordered


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
    suspend = (StepName.SUSPEND_OWNER,) if gitops.needs_suspension(spec) else ()
    diagnose = (StepName.DIAGNOSE,) if spec.diagnosis is not None else ()
    traffic = traffic_stop(spec, migrations)
    before = (*suspend, *diagnose, *_stop_of(traffic))
    if is_lasting_stop(spec):
        return before
    parts = StepParts(
        before=before,
        act=_acts_of(spec),
        complete=(*_rollout_of(traffic), *restore),
        after=(StepName.VERIFY,),
    )
    return ordered(migrations.order if migrations is not None else None, parts)


def traffic_stop(spec: RollbackSpec, migrations: MigrationRecord | None) -> TrafficPlan | None:
    """Return how a rollback stops the traffic; None: it does not.

    A plan may have it only for migrations whose order requires it, which the checklist finds out.

    Args:
        spec: the plan.
        migrations: to roll back; None: none, or not known yet.
    """
    if is_lasting_stop(spec) or spec.trigger.signal is SignalName.INTEGRITY:
        return spec.traffic
    is_required = migrations is not None and migrations.order is MigrationOrder.TRAFFIC_STOPPED
    return spec.traffic if is_required else None


def is_lasting_stop(spec: RollbackSpec) -> bool:
    """Return whether a rollback only stops the traffic, until a person restores it."""
    return spec.remedy.replicas == 0


def _stop_of(plan: TrafficPlan | None) -> tuple[StepName, ...]:
    if plan is None:
        return ()
    return (StepName.STOP_TRAFFIC, *((StepName.ASSESS_DAMAGE,) if plan.assess else ()))


def _rollout_of(plan: TrafficPlan | None) -> tuple[StepName, ...]:
    """List the rollout and the restoration of the traffic.

    Without replicas there is nothing to roll out; a Service gets its pods back once they are good.
    """
    rollout = StepName.ROLLOUT_COMPLETE
    match plan.stop if plan is not None else None:
        case TrafficStop.REPLICAS:
            return (StepName.RESTORE_TRAFFIC, rollout)
        case TrafficStop.SERVICE:
            return (rollout, StepName.RESTORE_TRAFFIC)
        case _:
            return (rollout,)


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
            | StepName.DIAGNOSE
            | StepName.STOP_TRAFFIC
            | StepName.ASSESS_DAMAGE
            | StepName.RESTORE_TRAFFIC
            | StepName.DISABLE_FLAG
            | StepName.ROLLOUT_COMPLETE
            | StepName.VERIFY
        ):
            return "the Deployment was changed"
        case _:
            assert_never(step)
