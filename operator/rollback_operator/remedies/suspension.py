"""Suspension of a GitOps owner for a rollback: the record of it, and when it ends.

Pure. The owner stays suspended until a person resumes it or Git contains the restored state: only
then resuming changes nothing. The operator never lifts a suspension of another client.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from rollback_operator.api.crd import OWNER_FINALIZER
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import OwnerKind, OwnerPlan, OwnerRecord
from rollback_operator.api.shape import clipped
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.api.v1alpha1 import Condition, Rollback
from rollback_operator.model import conditions
from rollback_operator.model.controllers import OwnerState
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies.gitops import act_of, named
from rollback_operator.remedies.progress import was_done
from rollback_operator.remedies.rollouts import runs_judged
from rollback_operator.remedies.steps import KEEP_THE_RELEASE
from rollback_operator.remedies.stopped_traffic import is_open as is_traffic_open

SETTLE = timedelta(seconds=10)
"""A comparison by the owner less than this after the act may not include it."""
SUSPENDED_BY = "rollback.tickettoken.io/suspended-by"
"""Annotation on a suspended object: the Rollback for which it is suspended, namespace/name."""
_FLUX_KINDS = {OwnerKind.KUSTOMIZATION: "kustomization", OwnerKind.HELM_RELEASE: "helmrelease"}


def recorded(rollback: Rollback, state: OwnerState) -> OwnerRecord:
    """Make the record that must exist before an owner changes: its earlier state.

    If it is already suspended for this very rollback, an earlier leader did that: the record
    remains.
    """
    record = rollback.status.owner
    if record is not None and state.is_suspended and _is_suspended_for(rollback, state):
        return record
    return OwnerRecord(
        namespace=state.namespace,
        was_suspended=state.is_suspended,
        # The record of a deleted value is kept: a person may want it back.
        automated=state.automated or (record.automated if record is not None else ""),
    )


def suspended(
    rollback: Rollback, record: OwnerRecord, now: datetime
) -> tuple[OwnerRecord, Condition]:
    """Record that an owner is suspended now."""
    if not record.was_suspended:
        record = record.model_copy(update={"suspended_time": record.suspended_time or now})
    reason = Reason.SUSPENDED_BEFORE if record.was_suspended else Reason.SUSPENDED_FOR_ROLLBACK
    message = suspension_message(rollback, record)
    return record, conditions.condition(ConditionType.OWNER_SUSPENDED, True, reason, message)


def suspension_message(rollback: Rollback, record: OwnerRecord) -> str:
    """Report that an owner is suspended, and how to resume it."""
    plan = rollback.spec.owner
    assert plan is not None
    object_name = f"{plan.tool}: {named(plan, record.namespace)}"
    if record.was_suspended:
        return f"{object_name} was already suspended by another client and stays suspended"
    is_application = plan.kind is OwnerKind.APPLICATION
    automatic = " (automatic when Git contains the restored state)" if is_application else ""
    return (
        f"{object_name} is suspended for this rollback. Resume it after Git is corrected"
        f"{automatic}: {command(plan, record)}"
    )


def command(plan: OwnerPlan, record: OwnerRecord) -> str:
    """Return the command by which a person resumes an owner."""
    if plan.kind is not OwnerKind.APPLICATION:
        kind = _FLUX_KINDS.get(plan.kind, "") if plan.kind is not None else ""
        return f"flux resume {kind} {plan.name} -n {record.namespace}"
    automated = automation(record.automated)
    patch = {
        "metadata": {"annotations": {SUSPENDED_BY: None}},
        "spec": {"syncPolicy": {"automated": automated}},
    }
    return (
        f"kubectl patch applications.argoproj.io {plan.name} -n {record.namespace} --type merge "
        f"-p '{json.dumps(patch, separators=(',', ':'))}'"
    )


def automation(kept: str) -> dict[str, Any]:
    """Parse the recorded automation of Argo CD; unreadable text is empty."""
    try:
        value = parsed(kept or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_suspended_for(rollback: Rollback, state: OwnerState) -> bool:
    """Return whether an owner is suspended for this rollback, even without its annotation."""
    return state.is_ours and state.suspended_for in ("", _name(rollback))


def _name(rollback: Rollback) -> str:
    return f"{rollback.metadata.namespace}/{rollback.metadata.name}"


def is_open(rollback: Rollback) -> bool:
    """Return whether an owner is suspended for a rollback, as far as is known."""
    record = rollback.status.owner
    return record is not None and record.is_open


def is_guarded(rollback: Rollback) -> bool:
    """Return whether a deleted Rollback stays until the owner that it suspended is handled."""
    return OWNER_FINALIZER in rollback.metadata.finalizers


def is_being_deleted(rollback: Rollback) -> bool:
    """Return whether a person deletes the record."""
    return rollback.metadata.deletion_timestamp is not None


def is_left(rollback: Rollback) -> bool:
    """Return whether an ended rollback has a suspended owner, or a finalizer to remove."""
    is_kept = not is_being_deleted(rollback) and is_open(rollback)
    return rollback.status.outcome is not None and (is_kept or is_guarded(rollback))


def left(rollback: Rollback, why: str = "") -> str:
    """Report that an owner stays suspended though its record is deleted, and the remedy."""
    plan, record = rollback.spec.owner, rollback.status.owner
    assert plan is not None
    assert record is not None
    because = why or "Git may not contain the restored state"
    return (
        f"{plan.tool}: {named(plan, record.namespace)} stays suspended after {_name(rollback)} is "
        f"deleted, and the operator no longer resumes it: {because}. Resume it after Git is "
        f"corrected: {command(plan, record)}"
    )


def release(rollback: Rollback, state: OwnerState, deployment: Deployment) -> str:
    """Explain why an owner that is suspended for a rollback can resume; empty: not yet.

    Only if its own source has the running state: then resuming changes nothing. That is so before
    the act, unless the traffic is stopped, which the owner would revert.
    """
    act = act_of(rollback)
    if rollback.status.outcome is None:
        return ""
    is_judged = deployment.template.digest == rollback.spec.from_revision.digest
    if is_judged and not was_done(rollback) and not is_traffic_open(rollback):
        return "the rollback ended before its act, and the release that it had deployed still runs"
    if act is None or act.finished_time is None:
        return ""
    is_left = rollback.spec.remedy.type in KEEP_THE_RELEASE
    if not is_left and runs_judged(rollback.spec, deployment.template):
        return ""
    synced = state.in_sync_at
    if synced is None or synced < (act.finished_time + SETTLE).timestamp():
        return ""
    return "Git contains the restored state"


def replaced(rollback: Rollback, deployment: Deployment) -> str:
    """Report that the Deployment of a suspended owner is gone; empty: it exists.

    The owner can revert nothing of the rollback any more. Its new Deployment is judged as any
    release.
    """
    if deployment.uid == rollback.spec.target_ref.uid:
        return ""
    return "the Deployment was deleted and recreated"


def taken_over(rollback: Rollback, state: OwnerState) -> str:
    """Report that an owner is no longer suspended for a rollback; empty: it is."""
    record = rollback.status.owner
    assert record is not None
    if not state.is_suspended:
        return record.release_message or "another client resumed it"
    since = record.suspended_time
    went_on = since is not None and (state.auto_synced or 0.0) > (since + SETTLE).timestamp()
    if not _is_suspended_for(rollback, state) or went_on:
        return "another client now keeps it suspended: it stays suspended"
    return ""


def released(
    rollback: Rollback, why: str, now: datetime | None
) -> tuple[OwnerRecord, Condition | None]:
    """Record why an owner resumes and, once it has resumed, the time of that observation.

    Args:
        rollback: the Rollback of the suspension.
        why: the author or the reason.
        now: the time at which it resumes; None: the resume is still to be written.
    """
    record, plan = rollback.status.owner, rollback.spec.owner
    assert record is not None
    assert plan is not None
    changes = {"release_message": clipped(why, 512), "released_time": now}
    if now is None:
        return record.model_copy(update=changes), None
    kind, reason = ConditionType.OWNER_SUSPENDED, Reason.OWNER_RELEASED
    message = f"{plan.tool}: {named(plan, record.namespace)}: {why}"
    return record.model_copy(update=changes), conditions.condition(kind, False, reason, message)
