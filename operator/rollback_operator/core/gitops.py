"""Who else steers a Deployment, and what follows: refuse, suspend them first, or act all the same.

Pure. Who is suspended stays so until a person releases them, or they want by themselves what runs:
only then does it change nothing that they go on. A suspension of somebody else's is never lifted.
"""

import json
from datetime import datetime, timedelta

from rollback_operator.api.checklist import CheckItem, CheckName, CheckResult, Consequence
from rollback_operator.api.gitops import GitOps, OwnerKind, OwnerPlan, OwnerRecord
from rollback_operator.api.group import OWNER_FINALIZER
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Mode,
    RemedyType,
    Rollback,
    RollbackPolicy,
    RollbackSpec,
    StepName,
    StepStatus,
)
from rollback_operator.core import conditions
from rollback_operator.core.owner import Owner, OwnerObject, OwnerState, Steered
from rollback_operator.core.reading import Missing
from rollback_operator.core.workload import Deployment

SETTLE = timedelta(seconds=10)
"""An owner's comparison that is younger than this against the act may not have seen it."""
SUSPENDED_BY = "rollback.tickettoken.io/suspended-by"
"""Annotation on what is suspended: the Rollback that it is suspended for, namespace/name."""
_ACTS = (StepName.UNDO, StepName.PIN_IMAGE, StepName.SCALE, StepName.DISABLE_FLAG)
_FLUX = {OwnerKind.KUSTOMIZATION: "kustomization", OwnerKind.HELM_RELEASE: "helmrelease"}


# -- the policy's answer ---------------------------------------------------------------------------


def refusal(owner: Owner, response: GitOps) -> tuple[Reason, str] | None:
    """Say who keeps a rollback from being made, how that was seen, and what helps.

    None: by the policy, nobody does.
    """
    steers = f"{owner.kind} steers this Deployment ({owner.evidence})"
    if owner.is_rollout_tool:
        return Reason.ROLLOUT_OWNER, f"{steers} and {owner.then}: {owner.remedy}"
    match response:
        case GitOps.PROCEED:
            return None
        case GitOps.SUSPEND if owner.object is not None:
            return None
        case GitOps.SUSPEND:
            return Reason.GITOPS_OWNER, (
                f"{steers}, and spec.safety.gitOps is Suspend, but it is not known by which object "
                f"it could be suspended: {owner.remedy}; Proceed acts all the same"
            )
        case GitOps.REFUSE:
            way = "suspend it first" if owner.object is not None else "be Proceed: it is done then"
            return Reason.GITOPS_OWNER, (
                f"{steers} and would revert an undo: {owner.remedy}; or let spec.safety.gitOps "
                f"{way}"
            )


def outlook(owner: Owner, response: GitOps) -> str:
    """Say beforehand what happens to an owner that keeps nothing from being done."""
    steers = f"{owner.kind} steers this Deployment ({owner.evidence})"
    if response is GitOps.SUSPEND and owner.object is not None:
        return f"{steers}: {named(owner.object)} is suspended before an undo (spec.safety.gitOps)"
    return f"{steers} and may revert an undo, which is then not done again (spec.safety.gitOps)"


def planned(owner: Owner | None, response: GitOps) -> OwnerPlan | None:
    """Put into a plan who else steers the Deployment, and what is done about it."""
    if owner is None:
        return None
    found = owner.object
    return OwnerPlan(
        tool=owner.kind[:64],
        kind=found.kind if found is not None else None,
        namespace=found.namespace if found is not None else "",
        name=found.name if found is not None else "",
        response=response,
    )


def named(found: OwnerObject | OwnerPlan, namespace: str = "") -> str:
    """Name an owner's object as people do."""
    where = namespace or found.namespace
    return f"{found.kind} {where}/{found.name}" if where else f"{found.kind} {found.name}"


def steered(rollback: Rollback) -> Steered | None:
    """Give what is to be suspended for a rollback; None: nothing."""
    plan, spec = rollback.spec.owner, rollback.spec
    if plan is None or plan.response is not GitOps.SUSPEND or plan.kind is None:
        return None
    found = OwnerObject(plan.kind, plan.namespace, plan.name)
    return Steered(found, rollback.metadata.namespace, spec.target_ref.name)


def to_suspend(policy: RollbackPolicy, deployment: Deployment) -> Steered | None:
    """Give what would be suspended if the running release were bad; None: nothing."""
    owner, safety = deployment.owner, policy.spec.safety
    is_wanted = safety.git_ops is GitOps.SUSPEND and policy.spec.mode is Mode.ENFORCE
    if owner is None or owner.object is None or owner.is_rollout_tool or not is_wanted:
        return None
    return Steered(owner.object, deployment.namespace, deployment.name)


def needs_suspension(spec: RollbackSpec) -> bool:
    """Tell whether somebody is suspended before the act."""
    return spec.owner is not None and spec.owner.response is GitOps.SUSPEND


# -- before the act --------------------------------------------------------------------------------


def checked(
    owner: Owner | None,
    rollback: Rollback,
    policy: RollbackPolicy | None,
    found: OwnerState | Missing | None,
) -> CheckItem | None:
    """See whether who else steers the Deployment is dealt with; None: nobody does.

    Args:
        owner: as it is found now.
        rollback: its plan says who was found at the decision, and what is done about them.
        policy: what it lets be done by now; None: it is gone, and the plan stands.
        found: how the owner's object stands; None: nobody looked.
    """
    if owner is None:
        return None
    plan, steers = rollback.spec.owner, f"{owner.kind} steers this Deployment ({owner.evidence})"
    if plan is None or planned(owner, _response(policy, plan)) != plan:
        return _item(CheckResult.FAILED, f"{steers}: {owner.remedy}", Consequence.BLOCK)
    if plan.response is not GitOps.SUSPEND:
        said = f"{steers} and may revert the rollback, which is then not done again: {owner.remedy}"
        return _item(CheckResult.WARNED, said)
    if isinstance(found, OwnerState):
        return _to_be_suspended(plan, found, steers)
    why = found.message if found is not None else "nobody looked"
    return _item(CheckResult.WARNED, f"{steers}; {named(plan)} was not seen: {why}")


def _response(policy: RollbackPolicy | None, plan: OwnerPlan) -> GitOps:
    return policy.spec.safety.git_ops if policy is not None else plan.response


def _to_be_suspended(plan: OwnerPlan, found: OwnerState, steers: str) -> CheckItem:
    what = named(plan, found.namespace)
    if found.is_suspended:
        return _item(CheckResult.PASSED, f"{steers}; {what} is suspended already")
    if found.obstacle:
        return _item(CheckResult.FAILED, f"{steers}: {found.obstacle}", Consequence.BLOCK)
    return _item(CheckResult.PASSED, f"{steers}; {what} is suspended before the act")


def _item(
    result: CheckResult, message: str, consequence: Consequence = Consequence.PROCEED
) -> CheckItem:
    name = CheckName.NOBODY_ELSE_STEERS
    return CheckItem(name=name, result=result, consequence=consequence, message=message[:1024])


def recorded(rollback: Rollback, found: OwnerState) -> OwnerRecord:
    """Make what has to be on record before an owner is touched: how it was.

    Found suspended for this very rollback, it is as a leader before us has left it: what is on
    record stands.
    """
    known = rollback.status.owner
    if known is not None and found.is_suspended and _is_for(rollback, found):
        return known
    return OwnerRecord(
        namespace=found.namespace,
        was_suspended=found.is_suspended,
        # What was on record is kept where it is gone by now: a person may want it back.
        automated=found.automated or (known.automated if known is not None else ""),
    )


def suspended(
    rollback: Rollback, record: OwnerRecord, now: datetime
) -> tuple[OwnerRecord, Condition]:
    """Put on record that an owner is suspended now."""
    if not record.was_suspended:
        record = record.model_copy(update={"suspended_time": record.suspended_time or now})
    reason = Reason.SUSPENDED_BEFORE if record.was_suspended else Reason.SUSPENDED_FOR_ROLLBACK
    said = told(rollback, record)
    return record, conditions.condition(ConditionType.OWNER_SUSPENDED, True, reason, said)


def told(rollback: Rollback, record: OwnerRecord) -> str:
    """Say that an owner is suspended, and how it is released."""
    plan = rollback.spec.owner
    assert plan is not None
    what = f"{plan.tool}: {named(plan, record.namespace)}"
    if record.was_suspended:
        return f"{what} was suspended by somebody else, and is left so"
    by_itself = plan.kind is OwnerKind.APPLICATION
    then = ", which is done by itself once Git wants what runs" if by_itself else ""
    return (
        f"{what} is suspended for this rollback. Release it when Git is in order{then}: "
        f"{command(plan, record)}"
    )


def command(plan: OwnerPlan, record: OwnerRecord) -> str:
    """Give the command by which a person releases an owner."""
    if plan.kind is not OwnerKind.APPLICATION:
        kind = _FLUX.get(plan.kind, "") if plan.kind is not None else ""
        return f"flux resume {kind} {plan.name} -n {record.namespace}"
    automated = json.loads(record.automated or "{}")
    patch = {
        "metadata": {"annotations": {SUSPENDED_BY: None}},
        "spec": {"syncPolicy": {"automated": automated}},
    }
    return (
        f"kubectl patch applications.argoproj.io {plan.name} -n {record.namespace} --type merge "
        f"-p '{json.dumps(patch, separators=(',', ':'))}'"
    )


def _is_for(rollback: Rollback, found: OwnerState) -> bool:
    """Tell whether an owner is suspended for this rollback; a mark may have been taken off it."""
    return found.is_ours and found.suspended_for in ("", _name(rollback))


def _name(rollback: Rollback) -> str:
    return f"{rollback.metadata.namespace}/{rollback.metadata.name}"


# -- after the act ---------------------------------------------------------------------------------


def is_reverted(rollback: Rollback, deployment: Deployment) -> bool:
    """Tell whether somebody has put back what the act has changed."""
    act, wanted = _act(rollback), rollback.spec.remedy.replicas
    if act is None or rollback.spec.remedy.flag is not None:
        return False  # whether a flag stays as it was set is looked at in its ConfigMap
    if wanted is not None:
        return act.finished_time is not None and deployment.replicas < wanted
    # An answer that was lost leaves an act without an end: a later revision shows that it was done.
    is_later = act.revision is not None and deployment.revision > act.revision
    is_done = act.finished_time is not None or is_later
    return is_done and deployment.template.release == rollback.spec.from_revision.release


def reverted(rollback: Rollback, deployment: Deployment) -> str:
    """Say that the act was reverted, by whom, and what helps."""
    act, plan = rollback.spec.remedy.type, rollback.spec.owner
    who = deployment.changed_by or "somebody"
    done = {
        RemedyType.UNDO: "the undo",
        RemedyType.PIN_IMAGE: "the image pin",
        RemedyType.SCALE: "the change of replicas",
        RemedyType.DISABLE_FLAG: "the flag",
    }[act]
    of = f" ({plan.tool} steers the Deployment)" if plan is not None else ""
    runs = "" if act is RemedyType.SCALE else " and the bad release runs again"
    return (
        f"{done} was reverted by {who}{of}{runs}: it is not done again; put it right at its source"
    )


def is_open(rollback: Rollback) -> bool:
    """Tell whether an owner is suspended for a rollback, as far as is known."""
    record = rollback.status.owner
    return record is not None and record.is_open


def is_guarded(rollback: Rollback) -> bool:
    """Tell whether a Rollback that is deleted stays until who it has suspended is looked after."""
    return OWNER_FINALIZER in rollback.metadata.finalizers


def is_left(rollback: Rollback) -> bool:
    """Tell whether a rollback that is over has somebody suspended, or is to be let go."""
    is_kept = rollback.metadata.deletion_timestamp is None and is_open(rollback)
    return rollback.status.outcome is not None and (is_kept or is_guarded(rollback))


def left(rollback: Rollback, why: str = "") -> str:
    """Say that an owner stays suspended though the record of it is deleted, and what helps."""
    plan, record = rollback.spec.owner, rollback.status.owner
    assert plan is not None
    assert record is not None
    because = why or "Git is not known to want what runs"
    return (
        f"{plan.tool}: {named(plan, record.namespace)} stays suspended while {_name(rollback)} is "
        f"deleted, and is looked after no more: {because}. Release it when Git is in order: "
        f"{command(plan, record)}"
    )


def release(rollback: Rollback, found: OwnerState, deployment: Deployment) -> str:
    """Say why an owner that is suspended for a rollback can go on; empty: it is not to be yet.

    Only where it wants by itself what runs: then nothing changes by it.
    """
    act = _act(rollback)
    if rollback.status.outcome is None or act is None or act.finished_time is None:
        return ""
    is_left = rollback.spec.remedy.type in (RemedyType.SCALE, RemedyType.DISABLE_FLAG)
    if not is_left and deployment.template.release == rollback.spec.from_revision.release:
        return ""
    seen = found.in_sync_at
    if seen is None or seen < (act.finished_time + SETTLE).timestamp():
        return ""
    return "Git wants what runs"


def taken_over(rollback: Rollback, found: OwnerState) -> str:
    """Say that an owner is no longer suspended for a rollback; empty: it is."""
    record = rollback.status.owner
    assert record is not None
    if not found.is_suspended:
        return record.release_message or "somebody has released it"
    since = record.suspended_time
    went_on = since is not None and (found.auto_synced or 0.0) > (since + SETTLE).timestamp()
    if not _is_for(rollback, found) or went_on:
        return "somebody else keeps it suspended by now: it is left so"
    return ""


def released(
    rollback: Rollback, why: str, now: datetime | None
) -> tuple[OwnerRecord, Condition | None]:
    """Put on record why an owner goes on, and if it does by now, when it was seen to.

    Args:
        rollback: for which it was suspended.
        why: by whom it is released, or why.
        now: the time at which it goes on; None: that is about to be made so.
    """
    record, plan = rollback.status.owner, rollback.spec.owner
    assert record is not None
    assert plan is not None
    changes = {"release_message": why[:512], "released_time": now}
    if now is None:
        return record.model_copy(update=changes), None
    kind, reason = ConditionType.OWNER_SUSPENDED, Reason.OWNER_RELEASED
    said = f"{plan.tool}: {named(plan, record.namespace)}: {why}"
    return record.model_copy(update=changes), conditions.condition(kind, False, reason, said)


def _act(rollback: Rollback) -> StepStatus | None:
    return next((one for one in rollback.status.steps if one.name in _ACTS), None)
