"""Scale where an autoscaler sets the replicas: its bounds are raised, the replicas left to it.

Pure. What the bounds were is on record before they are changed. They are put back when a person
asks for it, or some time after a verified end, and only as long as they are still ours.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.crd import BOUNDS_FINALIZER, GROUP
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import AutoscalerPlan, AutoscalerRecord
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Condition,
    Outcome,
    RemedyType,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    StepName,
)
from rollback_operator.model import commands, conditions
from rollback_operator.model.workload import Autoscaler, Bounds, Deployment, Workload
from rollback_operator.remedies import progress
from rollback_operator.remedies.progress import Act, Done, Next, RollbackEnd, Wait

RESTORE = f"{GROUP}/restore-bounds"
"""Annotation on a Rollback: a person wants the bounds put back now."""
BOUNDS_POLL_SECONDS = 300.0
"""How often it is looked whether bounds that are raised are still ours."""


# -- before the act --------------------------------------------------------------------------------


def refusal(workload: Workload, replicas: int) -> tuple[Reason, str] | None:
    """Say why the bounds of who scales a target are not raised; None: nothing stands against it."""
    found = workload.autoscaler
    if found is None:
        return None
    if (against := _obstacle(found)) is not None:
        return against
    if found.bounds.least >= replicas:
        message = f"{found} already has {found.bounds}; capacity is never reduced"
        return Reason.ALREADY_AT_TARGET, message
    return None


def _obstacle(found: Autoscaler) -> tuple[Reason, str] | None:
    if found.owner:
        message = f"{found} is managed by {found.owner}, which would restore its bounds"
        return Reason.AUTOSCALER_OWNED, f"{message}: raise them there"
    if found.rivals:
        message = (
            f"{found} and {', '.join(found.rivals)} scale the same Deployment, so none takes effect"
        )
        return Reason.AUTOSCALERS_CONTEND, f"{message}: remove all but one"
    return None


def planned(workload: Workload, policy: RollbackPolicy) -> AutoscalerPlan | None:
    """Put into a plan whose bounds are raised; None: the Deployment's own replicas are set."""
    found, seconds = workload.autoscaler, policy.spec.safety.watch_seconds
    if found is None:
        return None
    return AutoscalerPlan(name=found.name, uid=found.uid, restore_after_seconds=seconds)


def blocked(rollback: Rollback, found: Autoscaler | None) -> tuple[Reason, str] | None:
    """Say why a Scale cannot be done as it was planned; None: it can, or it is none."""
    plan = rollback.spec.autoscaler
    if rollback.spec.remedy.type is not RemedyType.SCALE:
        return None
    if found is None or (plan is not None and found.uid != plan.uid):
        return (
            None
            if plan is None
            else (Reason.AUTOSCALER_GONE, f"{named(rollback)} no longer exists")
        )
    if plan is None:
        return Reason.TARGET_CHANGED, f"{found} now sets the replicas and would revert this"
    return _obstacle(found)


def outlook(rollback: Rollback, found: Autoscaler | None) -> str:
    """Say what is about to be done to whose bounds; empty: nothing is."""
    wanted = rollback.spec.remedy.replicas
    if found is None or wanted is None:
        return ""
    return f"{found} gets {raised(found.bounds, wanted)} instead of {found.bounds}"


def raised(bounds: Bounds, replicas: int) -> Bounds:
    """Raise bounds so far that there are so many replicas; neither ever falls."""
    return Bounds(max(bounds.least, replicas), max(bounds.most, replicas))


def named(rollback: Rollback) -> str:
    """Name whose bounds a plan raises."""
    plan = rollback.spec.autoscaler
    return f"HorizontalPodAutoscaler {plan.name if plan is not None else '(none)'}"


# -- on record -------------------------------------------------------------------------------------


def recorded(rollback: Rollback, found: Autoscaler) -> AutoscalerRecord:
    """Make what has to be on record before bounds are touched: how they were, how they will be."""
    known = rollback.status.autoscaler
    if known is not None:
        return known  # as a leader before us has found them
    bounds = raised(found.bounds, rollback.spec.remedy.replicas or 0)
    return AutoscalerRecord(
        min_replicas=found.bounds.least,
        max_replicas=found.bounds.most,
        raised_min_replicas=bounds.least,
        raised_max_replicas=bounds.most,
    )


def before(record: AutoscalerRecord) -> Bounds:
    """Return the bounds as they were."""
    return Bounds(record.min_replicas, record.max_replicas)


def after(record: AutoscalerRecord) -> Bounds:
    """Return the bounds as they are set for the rollback."""
    return Bounds(record.raised_min_replicas, record.raised_max_replicas)


def stored(
    status: RollbackStatus, record: AutoscalerRecord, told: Condition, now: datetime
) -> RollbackStatus:
    """Put on record how it is with an autoscaler's bounds."""
    known = conditions.upsert(status.conditions, [told], 1, now)
    return status.model_copy(update={"autoscaler": record, "conditions": known})


def is_open(rollback: Rollback) -> bool:
    """Return whether bounds are still to be put back, as far as is known."""
    record = rollback.status.autoscaler
    return record is not None and record.is_open


def is_guarded(rollback: Rollback) -> bool:
    """Return whether a Rollback that is deleted stays until its bounds are put back."""
    return BOUNDS_FINALIZER in rollback.metadata.finalizers


def is_left(rollback: Rollback) -> bool:
    """Return whether a rollback that is over has something to be put back, or to be let go."""
    is_over = rollback.status.outcome is not None
    return is_over and (is_open(rollback) or is_guarded(rollback))


def is_wanted_back(rollback: Rollback) -> bool:
    """Tell whether a person wants the bounds put back: has asked for it, or deletes the record."""
    meta = rollback.metadata
    return RESTORE in meta.annotations or meta.deletion_timestamp is not None


def raised_condition(rollback: Rollback, record: AutoscalerRecord) -> Condition:
    """Say whose bounds are raised, and how they are put back."""
    plan = rollback.spec.autoscaler
    assert plan is not None
    message = (
        f"{named(rollback)} has {after(record)} instead of {before(record)} until "
        f"{plan.restore_after_seconds} s after a Verified outcome. To restore it now: "
        f"{command(rollback)}"
    )
    reason = Reason.RAISED_FOR_ROLLBACK
    return conditions.condition(ConditionType.BOUNDS_RAISED, True, reason, message)


def command(rollback: Rollback) -> str:
    """Return the command by which a person has the bounds put back."""
    policy, namespace = rollback.spec.policy_ref.name, rollback.metadata.namespace
    return commands.resume(policy, namespace)


# -- after the end ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing is left to be put back."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Due:
    """The bounds are to be put back now."""

    bounds: Bounds
    why: str


def settled(rollback: Rollback, found: Autoscaler | None, now: datetime) -> Closed | Due | None:
    """Tell what is to be done about bounds that a rollback has raised; None: not yet anything.

    Args:
        rollback: which has ended, its record open.
        found: the autoscaler as it was read just now; None: it is gone.
        now: the current time.
    """
    plan, record = rollback.spec.autoscaler, rollback.status.autoscaler
    assert plan is not None
    assert record is not None
    if found is None or found.uid != plan.uid:
        return Closed(Reason.AUTOSCALER_GONE, "it no longer exists")
    if found.bounds == before(record):
        return Closed(Reason.BOUNDS_RESTORED, f"it has {found.bounds} again")
    if found.bounds != after(record) or not found.is_ours:
        by = found.set_by or "another client"
        message = f"{by} set {found.bounds} since: the bounds stay unchanged"
        return Closed(Reason.BOUNDS_CHANGED, message)
    why = _due(rollback, now)
    return Due(before(record), why) if why else None


def _due(rollback: Rollback, now: datetime) -> str:
    if RESTORE in rollback.metadata.annotations:
        return "a person requested it"
    if rollback.metadata.deletion_timestamp is not None:
        return f"Rollback {rollback.metadata.name}, which raised them, is deleted"
    time = restore_time(rollback)
    if time is not None and now >= time:
        return "the release stayed healthy since it was Verified"
    return ""


def restore_time(rollback: Rollback) -> datetime | None:
    """Return the time at which bounds are put back without being asked; None: never."""
    plan, status = rollback.spec.autoscaler, rollback.status
    if plan is None or status.outcome is not Outcome.VERIFIED or status.finished_time is None:
        return None
    return status.finished_time + timedelta(seconds=plan.restore_after_seconds)


def next_check(rollback: Rollback, now: datetime) -> float:
    """Return the seconds until bounds that are raised are looked at again."""
    time = restore_time(rollback)
    left = (time - now).total_seconds() if time is not None else BOUNDS_POLL_SECONDS
    return max(0.05, min(BOUNDS_POLL_SECONDS, left))


def closed(rollback: Rollback, end: Closed, now: datetime) -> tuple[AutoscalerRecord, Condition]:
    """Put on record that bounds are put back, or why they are left."""
    record = rollback.status.autoscaler
    assert record is not None
    changes = {"restored_time": now, "restore_message": clipped(end.message, 512)}
    message = f"{named(rollback)}: {end.message}"
    made = conditions.condition(ConditionType.BOUNDS_RAISED, False, end.reason, message)
    return record.model_copy(update=changes), made


def is_left_to_autoscaler(rollback: Rollback, step: StepName) -> bool:
    """Return whether a step scales, and an autoscaler sets the replicas."""
    return step is StepName.SCALE and rollback.spec.autoscaler is not None


def compare(
    rollback: Rollback, found: Autoscaler | None, deployment: Deployment, now: datetime
) -> Next:
    """Compare bounds and replicas with what is wanted, just before any damage."""
    record, wanted = rollback.status.autoscaler, rollback.spec.remedy.replicas or 0
    against = blocked(rollback, found)
    if against is not None:
        return RollbackEnd(Outcome.ABANDONED if record is None else Outcome.FAILED, *against)
    assert found is not None  # or the plan would be blocked
    if found.bounds.least >= wanted:
        return _followed(rollback, found, deployment, now)
    if record is not None and found.bounds != before(record):
        # Whoever has set them may have put back ours: that is not fought.
        by = found.set_by or "another client"
        message = f"{by} set {found.bounds} for {found}: the bounds stay unchanged"
        return RollbackEnd(Outcome.FAILED, Reason.BOUNDS_CHANGED, message)
    if deployment.template.release != rollback.spec.from_revision.release:
        return progress.moved(rollback, deployment)
    if rollback.metadata.deletion_timestamp is not None and not is_guarded(rollback):
        # Nothing could keep the record of what they were until they are put back.
        message = f"the Rollback is being deleted: {found} stays unchanged"
        return RollbackEnd(Outcome.ABANDONED, Reason.ROLLBACK_DELETED, message)
    return Act(StepName.SCALE)


def _followed(rollback: Rollback, found: Autoscaler, deployment: Deployment, now: datetime) -> Next:
    """See whether the autoscaler has set the replicas: it looks every 15 seconds."""
    wanted = rollback.spec.remedy.replicas or 0
    if deployment.replicas >= wanted:
        return Done(f"{found} has {found.bounds}, {deployment.replicas} replicas are set")
    if deployment.template.release != rollback.spec.from_revision.release:
        return progress.moved(rollback, deployment)
    seconds = progress.seconds_in(rollback, StepName.SCALE, now)
    if seconds <= rollback.spec.verification.timeout_seconds:
        return Wait()
    message = (
        f"{found} set {deployment.replicas} replicas, not {wanted}, in {seconds:.0f} s. "
        f"For details: kubectl describe hpa {found.name} -n {deployment.namespace}"
    )
    return RollbackEnd(Outcome.NOT_RECOVERED, Reason.AUTOSCALER_IDLE, message)
