"""Other tools that manage a Deployment: the response to each, and the messages about it.

Pure. The operator never acts against a rollout tool. A GitOps owner is refused, suspended first
(suspension.py) or ignored. An image updater may deploy the bad image again: a warning names it
before a rollback and a next step after it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import assert_never

from rollback_operator.api.checklist import CheckItem, CheckName, CheckResult, Consequence
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import MOST_UPDATERS, GitOps, OwnerPlan, UpdaterPlan
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Mode,
    RemedyType,
    Rollback,
    RollbackPolicy,
    RollbackSpec,
    StepName,
    StepStatus,
)
from rollback_operator.model.controllers import (
    Claims,
    OwnedDeployment,
    Owner,
    OwnerObject,
    OwnerState,
    Updater,
)
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies.rollouts import runs_judged


def refusal(owner: Owner, response: GitOps) -> tuple[Reason, str] | None:
    """Name the owner that prevents a rollback, the evidence, and the remedy.

    None: the policy permits the rollback.
    """
    manages = f"{owner.kind} manages this Deployment ({owner.evidence})"
    if owner.is_rollout_tool:
        return Reason.ROLLOUT_OWNER, f"{manages} and {owner.then}: {owner.remedy}"
    match response:
        case GitOps.PROCEED:
            return None
        case GitOps.SUSPEND if owner.object is not None:
            return None
        case GitOps.SUSPEND:
            return Reason.GITOPS_OWNER, (
                f"{manages}, and spec.safety.gitOps is Suspend, but the object to suspend is not "
                f"known: {owner.remedy}; or set spec.safety.gitOps to Proceed"
            )
        case GitOps.REFUSE:
            value = "Suspend" if owner.object is not None else "Proceed"
            return Reason.GITOPS_OWNER, (
                f"{manages} and would revert a rollback: {owner.remedy}; or set spec.safety.gitOps "
                f"to {value}"
            )


def outlook(owner: Owner, response: GitOps) -> str:
    """Announce the response to an owner that does not prevent the rollback."""
    manages = f"{owner.kind} manages this Deployment ({owner.evidence})"
    if response is GitOps.SUSPEND and owner.object is not None:
        return (
            f"{manages}: {named(owner.object)} is suspended before a rollback (spec.safety.gitOps)"
        )
    return f"{manages} and may revert a rollback, which is not repeated (spec.safety.gitOps)"


def planned(owner: Owner | None, response: GitOps) -> OwnerPlan | None:
    """Record the Deployment's owner in a plan, with the response to it."""
    if owner is None:
        return None
    owner_object = owner.object
    return OwnerPlan(
        tool=owner.kind[:64],
        kind=owner_object.kind if owner_object is not None else None,
        namespace=owner_object.namespace if owner_object is not None else "",
        name=owner_object.name if owner_object is not None else "",
        response=response,
    )


def named(owner_object: OwnerObject | OwnerPlan, namespace: str = "") -> str:
    """Name an owner's object for people."""
    place = namespace or owner_object.namespace
    return (
        f"{owner_object.kind} {place}/{owner_object.name}"
        if place
        else f"{owner_object.kind} {owner_object.name}"
    )


def planned_suspension(rollback: Rollback) -> OwnedDeployment | None:
    """Return the object that a rollback suspends; None: none."""
    plan, spec = rollback.spec.owner, rollback.spec
    if plan is None or plan.response is not GitOps.SUSPEND or plan.kind is None:
        return None
    owner_object = OwnerObject(plan.kind, plan.namespace, plan.name)
    return OwnedDeployment(owner_object, rollback.metadata.namespace, spec.target_ref.name)


def expected_suspension(policy: RollbackPolicy, deployment: Deployment) -> OwnedDeployment | None:
    """Return the object to suspend if the running release were bad; None: none."""
    owner, safety = deployment.owner, policy.spec.safety
    is_wanted = safety.git_ops is GitOps.SUSPEND and policy.spec.mode is Mode.ENFORCE
    if owner is None or owner.object is None or owner.is_rollout_tool or not is_wanted:
        return None
    return OwnedDeployment(owner.object, deployment.namespace, deployment.name)


def needs_suspension(spec: RollbackSpec) -> bool:
    """Return whether an owner is suspended before the act."""
    return spec.owner is not None and spec.owner.response is GitOps.SUSPEND


def checked(
    owner: Owner | None,
    rollback: Rollback,
    policy: RollbackPolicy | None,
    state: OwnerState | Missing | None,
) -> CheckItem | None:
    """Check whether the plan covers the Deployment's owner; None: there is no owner.

    Args:
        owner: the current owner.
        rollback: its plan has the owner at the decision, and the response to it.
        policy: its current response; None: it is gone, and the plan remains valid.
        state: state of the owner's object; None: it was not read.
    """
    if owner is None:
        return None
    plan, manages = rollback.spec.owner, f"{owner.kind} manages this Deployment ({owner.evidence})"
    if plan is None or planned(owner, _response(policy, plan)) != plan:
        return _item(CheckResult.FAILED, f"{manages}: {owner.remedy}", Consequence.BLOCK)
    if plan.response is not GitOps.SUSPEND:
        message = f"{manages} and may revert the rollback, which is not repeated: {owner.remedy}"
        return _item(CheckResult.WARNED, message)
    if isinstance(state, OwnerState):
        return _suspension_item(plan, state, manages)
    why = state.message if state is not None else "not checked"
    return _item(CheckResult.WARNED, f"{manages}; {named(plan)} could not be read: {why}")


def _response(policy: RollbackPolicy | None, plan: OwnerPlan) -> GitOps:
    return policy.spec.safety.git_ops if policy is not None else plan.response


def _suspension_item(plan: OwnerPlan, state: OwnerState, manages: str) -> CheckItem:
    object_name = named(plan, state.namespace)
    if state.is_suspended and state.is_proved:
        return _item(CheckResult.PASSED, f"{manages}; {object_name} is already suspended")
    if state.obstacle:
        return _item(CheckResult.FAILED, f"{manages}: {state.obstacle}", Consequence.BLOCK)
    return _item(CheckResult.PASSED, f"{manages}; {object_name} is suspended before the rollback")


def _item(
    result: CheckResult, message: str, consequence: Consequence = Consequence.PROCEED
) -> CheckItem:
    name = CheckName.NOBODY_ELSE_STEERS
    return CheckItem(
        name=name, result=result, consequence=consequence, message=clipped(message, 1024)
    )


def is_reverted(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether another client has reverted the act."""
    act, wanted = act_of(rollback), rollback.spec.remedy.replicas
    flag = rollback.spec.remedy.flag
    if act is None or (flag is not None and flag.env is None):
        return False  # a flag is compared in its ConfigMap
    if wanted is not None:
        return act.finished_time is not None and deployment.replicas < wanted
    # A lost answer leaves an act without an end: a later revision proves that it was done.
    is_later = act.revision is not None and deployment.revision > act.revision
    is_done = act.finished_time is not None or is_later
    return is_done and runs_judged(rollback.spec, deployment.template)


def reverted(rollback: Rollback, deployment: Deployment) -> str:
    """Report that the act was reverted, by which client, and the remedy."""
    act, plan = rollback.spec.remedy.type, rollback.spec.owner
    client = deployment.changed_by or "another client"
    of = f" ({plan.tool} manages the Deployment)" if plan is not None else ""
    runs = "" if act is RemedyType.SCALE else " and the bad release is running again"
    return (
        f"{_act_in_words(act)} was reverted by {client}{of}{runs}. It is not repeated: correct it "
        "at its source"
    )


def _act_in_words(remedy: RemedyType) -> str:
    match remedy:
        case RemedyType.UNDO:
            return "the undo"
        case RemedyType.PIN_IMAGE:
            return "the image pin"
        case RemedyType.SCALE:
            return "the change of replicas"
        case RemedyType.DISABLE_FLAG:
            return "the flag"
        case _:
            assert_never(remedy)


def act_of(rollback: Rollback) -> StepStatus | None:
    """Find the progress of the act itself; None: it has not begun."""
    return next((step for step in rollback.status.steps if _is_act(step.name)), None)


def _is_act(step: StepName) -> bool:
    """Return whether a step is the act of a remedy; the other steps prepare or complete it."""
    match step:
        case StepName.UNDO | StepName.PIN_IMAGE | StepName.SCALE | StepName.DISABLE_FLAG:
            return True
        case (
            StepName.AWAITING_APPROVAL
            | StepName.SUSPEND_OWNER
            | StepName.BACKUP
            | StepName.MIGRATE_DOWN
            | StepName.RESTORE_CONFIGURATION
            | StepName.DIAGNOSE
            | StepName.STOP_TRAFFIC
            | StepName.ASSESS_DAMAGE
            | StepName.RESTORE_TRAFFIC
            | StepName.RESTART_PODS
            | StepName.ROLLOUT_COMPLETE
            | StepName.RESTORE_STRATEGY
            | StepName.VERIFY
        ):
            return False
        case _:
            assert_never(step)


NEW_RELEASE = "would treat a rollback as a new release"
"""Effect of an undo on a rollout tool."""
_TEMPLATE_REMEDIES = (RemedyType.UNDO, RemedyType.PIN_IMAGE)


def claimed(deployment: Deployment, claims: Claims) -> Deployment:
    """Combine other tools' objects with the evidence on the Deployment itself."""
    return replace(
        deployment,
        owner=claims.driver or _owner(deployment.owner, claims),
        updaters=tuple(dict.fromkeys((*deployment.updaters, *claims.updaters))),
    )


def _owner(owner: Owner | None, claims: Claims) -> Owner | None:
    """Look behind a field that a tool has left, if none of its objects names the Deployment."""
    is_past = owner is not None and owner.is_trace and owner.kind in claims.denied
    return owner.behind if owner is not None and is_past else owner


def joined(parts: Iterable[Claims]) -> Claims:
    """Join the references of several tools; the first driver counts."""
    all_claims = tuple(parts)
    return Claims(
        driver=next((part.driver for part in all_claims if part.driver is not None), None),
        updaters=tuple(updater for part in all_claims for updater in part.updaters),
        denied=frozenset(tool for part in all_claims for tool in part.denied),
        unseen=tuple(text for part in all_claims for text in part.unseen),
    )


def warning(updaters: Iterable[Updater]) -> str:
    """Warn of updaters that may deploy the bad image again, with the remedy; empty: none."""
    return "; ".join(
        f"{updater.tool} updates images of this Deployment ({updater.evidence}) and may deploy the "
        f"bad image again: {updater.remedy}"
        for updater in updaters
    )


def planned_updaters(deployment: Deployment) -> list[UpdaterPlan]:
    """Record the updaters that may deploy the bad image again: messages use records alone."""
    return [
        UpdaterPlan(tool=updater.tool[:64], advice=clipped(updater.remedy, 512))
        for updater in deployment.updaters[:MOST_UPDATERS]
    ]


def next_steps(rollback: Rollback) -> Iterator[str]:
    """List the steps that prevent another deployment of the bad image."""
    if rollback.spec.remedy.type in _TEMPLATE_REMEDIES:
        for updater in rollback.spec.updaters:
            yield f"Prevent {updater.tool} from deploying the image again: {updater.advice}"
