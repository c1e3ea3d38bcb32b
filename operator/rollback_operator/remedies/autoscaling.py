"""Scale where an autoscaler sets the replicas: its bounds are raised, it keeps the replicas.

Pure. The earlier bounds are on record before any change. They are restored when a person requests
it, or some time after a verified end, and only while no other client has changed the bounds.
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
from rollback_operator.remedies.refusals import refused_by

RESTORE = f"{GROUP}/restore-bounds"
"""Annotation on a Rollback: a person requests that the bounds are restored now."""
BOUNDS_POLL_SECONDS = 300.0
"""Interval of the checks whether raised bounds are still the operator's."""


# -- before the act --------------------------------------------------------------------------------


def refusal(workload: Workload, replicas: int) -> tuple[Reason, str] | None:
    """Explain why the bounds of a target's autoscaler are not raised; None: they can be."""
    autoscaler = workload.autoscaler
    if autoscaler is None:
        return None
    if (against := _obstacle(autoscaler)) is not None:
        return against
    if autoscaler.bounds.least >= replicas:
        message = f"{autoscaler} already has {autoscaler.bounds}; capacity is never reduced"
        return Reason.ALREADY_AT_TARGET, message
    return None


def _obstacle(autoscaler: Autoscaler) -> tuple[Reason, str] | None:
    if autoscaler.owner:
        message = f"{autoscaler} is managed by {autoscaler.owner}, which would restore its bounds"
        return Reason.AUTOSCALER_OWNED, f"{message}: raise them there"
    if autoscaler.rivals:
        rivals = ", ".join(autoscaler.rivals)
        message = f"{autoscaler} and {rivals} scale the same Deployment, so none takes effect"
        return Reason.AUTOSCALERS_CONTEND, f"{message}: remove all but one"
    return None


def planned(workload: Workload, policy: RollbackPolicy) -> AutoscalerPlan | None:
    """Record the autoscaler in a plan; None: the Deployment's own replicas are set."""
    autoscaler, seconds = workload.autoscaler, policy.spec.safety.watch_seconds
    if autoscaler is None:
        return None
    return AutoscalerPlan(name=autoscaler.name, uid=autoscaler.uid, restore_after_seconds=seconds)


def blocked(rollback: Rollback, autoscaler: Autoscaler | None) -> tuple[Reason, str] | None:
    """Explain why a planned Scale cannot be done; None: it can, or the plan is no Scale."""
    plan = rollback.spec.autoscaler
    if rollback.spec.remedy.type is not RemedyType.SCALE or rollback.spec.traffic is not None:
        return None
    if autoscaler is None or (plan is not None and autoscaler.uid != plan.uid):
        return (
            None
            if plan is None
            else (Reason.AUTOSCALER_GONE, f"{named(rollback)} no longer exists")
        )
    if plan is None:
        return Reason.TARGET_CHANGED, f"{autoscaler} now sets the replicas and would revert this"
    return _obstacle(autoscaler)


def outlook(rollback: Rollback, autoscaler: Autoscaler | None) -> str:
    """Announce the change of bounds; empty: none."""
    wanted = rollback.spec.remedy.replicas
    if autoscaler is None or wanted is None:
        return ""
    return f"{autoscaler} gets {raised(autoscaler.bounds, wanted)} instead of {autoscaler.bounds}"


def raised(bounds: Bounds, replicas: int) -> Bounds:
    """Raise bounds until they allow this number of replicas; neither bound ever falls."""
    return Bounds(max(bounds.least, replicas), max(bounds.most, replicas))


def named(rollback: Rollback) -> str:
    """Name the autoscaler of a plan."""
    plan = rollback.spec.autoscaler
    return f"HorizontalPodAutoscaler {plan.name if plan is not None else '(none)'}"


# -- on record -------------------------------------------------------------------------------------


def recorded(rollback: Rollback, autoscaler: Autoscaler) -> AutoscalerRecord:
    """Make the record that must exist before bounds change: the old bounds and the new bounds."""
    record = rollback.status.autoscaler
    if record is not None:
        return record  # written by an earlier leader
    bounds = raised(autoscaler.bounds, rollback.spec.remedy.replicas or 0)
    return AutoscalerRecord(
        min_replicas=autoscaler.bounds.least,
        max_replicas=autoscaler.bounds.most,
        raised_min_replicas=bounds.least,
        raised_max_replicas=bounds.most,
    )


def before(record: AutoscalerRecord) -> Bounds:
    """Return the bounds before the rollback."""
    return Bounds(record.min_replicas, record.max_replicas)


def after(record: AutoscalerRecord) -> Bounds:
    """Return the bounds that the rollback sets."""
    return Bounds(record.raised_min_replicas, record.raised_max_replicas)


def stored(
    status: RollbackStatus, record: AutoscalerRecord, condition: Condition, now: datetime
) -> RollbackStatus:
    """Record the state of an autoscaler's bounds."""
    updated = conditions.upsert(status.conditions, [condition], 1, now)
    return status.model_copy(update={"autoscaler": record, "conditions": updated})


def is_open(rollback: Rollback) -> bool:
    """Return whether bounds are still to be restored, as far as is known."""
    record = rollback.status.autoscaler
    return record is not None and record.is_open


def is_reported(rollback: Rollback) -> bool:
    """Return whether people know that the bounds are raised."""
    known = conditions.find(rollback.status.conditions, ConditionType.BOUNDS_RAISED)
    return known is not None and known.status == "True"


def is_guarded(rollback: Rollback) -> bool:
    """Return whether a deleted Rollback stays until its bounds are restored."""
    return BOUNDS_FINALIZER in rollback.metadata.finalizers


def is_left(rollback: Rollback) -> bool:
    """Return whether an ended rollback has bounds to restore, or a finalizer to remove."""
    is_over = rollback.status.outcome is not None
    return is_over and (is_open(rollback) or is_guarded(rollback))


def is_wanted_back(rollback: Rollback) -> bool:
    """Return whether a person wants the bounds restored: requested it, or deletes the record."""
    meta = rollback.metadata
    return RESTORE in meta.annotations or meta.deletion_timestamp is not None


def raised_condition(rollback: Rollback, record: AutoscalerRecord) -> Condition:
    """Name the raised bounds and the command that restores them."""
    plan = rollback.spec.autoscaler
    assert plan is not None
    message = (
        f"{named(rollback)} has {after(record)} instead of {before(record)} until "
        f"{plan.restore_after_seconds} s after a Verified outcome. To restore it now: "
        f"{command(rollback)}"
    )
    reason = Reason.RAISED_FOR_ROLLBACK
    return conditions.condition(ConditionType.BOUNDS_RAISED, True, reason, message)


def intended_condition(rollback: Rollback, record: AutoscalerRecord) -> Condition:
    """Announce the change of bounds, before it is made."""
    message = f"{named(rollback)} is to get {after(record)} instead of {before(record)}"
    return conditions.condition(ConditionType.BOUNDS_RAISED, None, Reason.IN_PROGRESS, message)


def refused_condition(rollback: Rollback, record: AutoscalerRecord, answer: str) -> Condition:
    """Report that the bounds are unchanged, because their change was refused."""
    who = refused_by(answer, named(rollback))
    message = f"{named(rollback)} keeps {before(record)}: {who}: {answer}"
    return conditions.condition(ConditionType.BOUNDS_RAISED, False, Reason.BOUNDS_REFUSED, message)


def command(rollback: Rollback) -> str:
    """Return the command by which a person restores the bounds."""
    policy, namespace = rollback.spec.policy_ref.name, rollback.metadata.namespace
    return commands.resume(policy, namespace)


# -- after the end ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Closed:
    """No bounds are left to restore."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Due:
    """The bounds are to be restored now."""

    bounds: Bounds
    why: str


def settled(
    rollback: Rollback, autoscaler: Autoscaler | None, now: datetime
) -> Closed | Due | None:
    """Decide on the bounds that a rollback has raised; None: no action yet.

    Args:
        rollback: an ended rollback with an open record.
        autoscaler: the autoscaler as read just now; None: it is gone.
        now: the current time.
    """
    plan, record = rollback.spec.autoscaler, rollback.status.autoscaler
    assert plan is not None
    assert record is not None
    if autoscaler is None or autoscaler.uid != plan.uid:
        return Closed(Reason.AUTOSCALER_GONE, "it no longer exists")
    if autoscaler.bounds == before(record):
        return Closed(Reason.BOUNDS_RESTORED, f"it has {autoscaler.bounds} again")
    if autoscaler.bounds != after(record) or not autoscaler.is_ours:
        by = autoscaler.set_by or "another client"
        message = f"{by} set {autoscaler.bounds} since: the bounds stay unchanged"
        return Closed(Reason.BOUNDS_CHANGED, message)
    why = _restore_reason(rollback, now)
    return Due(before(record), why) if why else None


def _restore_reason(rollback: Rollback, now: datetime) -> str:
    if RESTORE in rollback.metadata.annotations:
        return "a person requested it"
    if rollback.metadata.deletion_timestamp is not None:
        return f"Rollback {rollback.metadata.name}, which raised them, is deleted"
    time = restore_time(rollback)
    if time is not None and now >= time:
        return "the release stayed healthy since it was Verified"
    return ""


def restore_time(rollback: Rollback) -> datetime | None:
    """Return the time at which bounds are restored without a request; None: never."""
    plan, status = rollback.spec.autoscaler, rollback.status
    if plan is None or status.outcome is not Outcome.VERIFIED or status.finished_time is None:
        return None
    return status.finished_time + timedelta(seconds=plan.restore_after_seconds)


def next_check(rollback: Rollback, now: datetime) -> float:
    """Return the seconds until the next check of raised bounds."""
    time = restore_time(rollback)
    remaining = (time - now).total_seconds() if time is not None else BOUNDS_POLL_SECONDS
    return max(0.05, min(BOUNDS_POLL_SECONDS, remaining))


def closed(rollback: Rollback, end: Closed, now: datetime) -> tuple[AutoscalerRecord, Condition]:
    """Record that bounds are restored, or why they are left."""
    record = rollback.status.autoscaler
    assert record is not None
    changes = {"restored_time": now, "restore_message": clipped(end.message, 512)}
    message = f"{named(rollback)}: {end.message}"
    condition = conditions.condition(ConditionType.BOUNDS_RAISED, False, end.reason, message)
    return record.model_copy(update=changes), condition


def is_left_to_autoscaler(rollback: Rollback, step: StepName) -> bool:
    """Return whether a step scales, and an autoscaler sets the replicas."""
    return step is StepName.SCALE and rollback.spec.autoscaler is not None


def compare(
    rollback: Rollback, autoscaler: Autoscaler | None, deployment: Deployment, now: datetime
) -> Next:
    """Compare bounds and replicas with the plan, just before the change."""
    record, wanted = rollback.status.autoscaler, rollback.spec.remedy.replicas or 0
    against = blocked(rollback, autoscaler)
    if against is not None:
        return RollbackEnd(Outcome.ABANDONED if record is None else Outcome.FAILED, *against)
    assert autoscaler is not None  # else the plan is blocked
    if autoscaler.bounds.least >= wanted:
        return _compare_replicas(rollback, autoscaler, deployment, now)
    if record is not None and autoscaler.bounds != before(record):
        # Another client may have reverted our bounds: the operator does not fight it.
        by = autoscaler.set_by or "another client"
        message = f"{by} set {autoscaler.bounds} for {autoscaler}: the bounds stay unchanged"
        return RollbackEnd(Outcome.FAILED, Reason.BOUNDS_CHANGED, message)
    if deployment.template.bare != rollback.spec.from_revision.bare:
        return progress.moved(rollback, deployment)
    if rollback.metadata.deletion_timestamp is not None and not is_guarded(rollback):
        # Without the record, the old bounds could not be restored later.
        message = f"the Rollback is being deleted: {autoscaler} stays unchanged"
        return RollbackEnd(Outcome.ABANDONED, Reason.ROLLBACK_DELETED, message)
    return Act(StepName.SCALE)


def _compare_replicas(
    rollback: Rollback, autoscaler: Autoscaler, deployment: Deployment, now: datetime
) -> Next:
    """Check whether the autoscaler has set the replicas: it syncs every 15 seconds."""
    wanted = rollback.spec.remedy.replicas or 0
    if deployment.replicas >= wanted:
        return Done(f"{autoscaler} has {autoscaler.bounds}, {deployment.replicas} replicas are set")
    if deployment.template.bare != rollback.spec.from_revision.bare:
        return progress.moved(rollback, deployment)
    seconds = progress.seconds_in(rollback, StepName.SCALE, now)
    if seconds <= rollback.spec.verification.timeout_seconds:
        return Wait()
    message = (
        f"{autoscaler} set {deployment.replicas} replicas, not {wanted}, in {seconds:.0f} s. "
        f"For details: kubectl describe hpa {autoscaler.name} -n {deployment.namespace}"
    )
    return RollbackEnd(Outcome.NOT_RECOVERED, Reason.AUTOSCALER_IDLE, message)
