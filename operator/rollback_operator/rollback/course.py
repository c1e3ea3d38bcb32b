"""Course of an open Rollback in a pass: continue, retry later, or end.

Pure, and total: every state of its policy, of its Deployment and of itself has an answer, so that
no Rollback stays open because no rule covers it. A rollback that has begun continues whatever the
state of the policy, since a partial change has no name. A rollback that has not begun needs its
policy, active and with the same decision.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rollback_operator.api.reasons import IDLE, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Mode,
    Outcome,
    Rollback,
    RollbackPolicy,
    StepName,
)
from rollback_operator.decide import matrix
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment
from rollback_operator.releases import ownership
from rollback_operator.remedies import progress
from rollback_operator.remedies.progress import RollbackEnd


class PolicyAuthority(StrEnum):
    """State of a policy towards a Rollback that names it."""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    OBSERVING = "Observing"
    """Its mode is Observe, but the Rollback was decided in another mode."""
    RETARGETED = "Retargeted"
    REVISED = "Revised"
    """Its current spec would not lead to the Rollback any more."""
    AT_REST = "AtRest"
    """Inactive for any other reason; the condition Ready gives it."""
    UNREADABLE = "Unreadable"
    DELETED = "Deleted"
    RECREATED = "Recreated"
    BEING_DELETED = "BeingDeleted"


class Target(StrEnum):
    """State of the Deployment towards a Rollback, as read in this pass."""

    SAME = "Same"
    OTHER_TEMPLATE = "OtherTemplate"
    REPLACED = "Replaced"
    GONE = "Gone"
    PAUSED = "Paused"
    SCALED_TO_ZERO = "ScaledToZero"
    UNREADABLE = "Unreadable"


class RollbackStage(StrEnum):
    """Progress of a Rollback."""

    INTENT = "Intent"
    REQUESTED = "Requested"
    """A person requested it, and it is planned; nothing has begun."""
    AWAITING_APPROVAL = "AwaitingApproval"
    OWNER_SUSPENDED = "OwnerSuspended"
    ACTED = "Acted"
    VERIFYING = "Verifying"


BEGUN = frozenset({RollbackStage.OWNER_SUSPENDED, RollbackStage.ACTED, RollbackStage.VERIFYING})


@dataclass(frozen=True, slots=True)
class Carry:
    """It continues, step by step."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The state of its Deployment is unknown now."""


@dataclass(frozen=True, slots=True)
class RollbackContext:
    """The policy and the Deployment of an open Rollback."""

    state: PolicyAuthority
    target: Target
    why: str = ""
    """The reason why the policy is inactive, in words, or the Deployment is unreadable."""
    reason: Reason = Reason.POLICY_DELETED
    """The reason why the policy is inactive."""

    @property
    def withdrawal_message(self) -> str:
        """State why the policy no longer continues the Rollback."""
        withdrawal = _WITHDRAWN.get(self.state)
        return withdrawal[1] if withdrawal is not None else self.why


def context_of(
    rollback: Rollback,
    policy: RollbackPolicy | None,
    ready: Condition,
    deployment: Deployment | Missing | None,
) -> RollbackContext:
    """Describe the policy and the Deployment of an open Rollback.

    Args:
        rollback: the Rollback.
        policy: its policy, as stored now; None: it is gone or unreadable.
        ready: the policy's condition; for an absent or unreadable policy, the reason.
        deployment: the Rollback's Deployment, as read in this pass; None: it is gone.
    """
    target = _target(rollback, deployment)
    why = deployment.message if isinstance(deployment, Missing) else ""
    state = _state_of(rollback, policy, ready)
    return RollbackContext(state, target, why or ready.message, Reason(ready.reason))


def _state_of(  # noqa: PLR0911 (a ladder)
    rollback: Rollback, policy: RollbackPolicy | None, ready: Condition
) -> PolicyAuthority:
    if policy is None:
        is_there = ready.reason == Reason.INVALID_SPEC
        return PolicyAuthority.UNREADABLE if is_there else PolicyAuthority.DELETED
    # Another object of the same name: its author never decided this rollback.
    if policy.metadata.uid != rollback.spec.policy_ref.uid:
        return PolicyAuthority.RECREATED
    if policy.metadata.deletion_timestamp is not None:
        return PolicyAuthority.BEING_DELETED
    if policy.spec.target_ref.name != rollback.spec.target_ref.name:
        return PolicyAuthority.RETARGETED
    # Before the other idle reasons: a suspended policy still accepts requests.
    if ready.reason == Reason.SUSPENDED:
        return PolicyAuthority.SUSPENDED
    if ready.reason in IDLE:
        return PolicyAuthority.AT_REST
    # Mode Observe limits the operator, not a person who requests a rollback.
    is_observing = policy.spec.mode is Mode.OBSERVE and not rollback.is_by_hand
    if is_observing and rollback.spec.mode is Mode.ENFORCE:
        return PolicyAuthority.OBSERVING
    return PolicyAuthority.ACTIVE if is_wanted(rollback, policy) else PolicyAuthority.REVISED


def _target(rollback: Rollback, deployment: Deployment | Missing | None) -> Target:
    if deployment is None:
        return Target.GONE
    if isinstance(deployment, Missing):
        return Target.UNREADABLE
    if deployment.uid != rollback.spec.target_ref.uid:
        return Target.REPLACED
    if deployment.paused and not deployment.is_held:
        return Target.PAUSED
    if deployment.replicas == 0:
        return Target.SCALED_TO_ZERO
    return Target.SAME if _is_known(rollback, deployment) else Target.OTHER_TEMPLATE


def _is_known(rollback: Rollback, deployment: Deployment) -> bool:
    judged, target = rollback.spec.from_revision, rollback.spec.to_revision
    digests = {judged.digest, target.digest if target is not None else judged.digest}
    return deployment.template.digest in digests


def stage_of(rollback: Rollback) -> RollbackStage:
    """Return the progress of a Rollback."""
    names = {step.name for step in rollback.status.steps}
    if StepName.VERIFY in names:
        return RollbackStage.VERIFYING
    if names - {StepName.AWAITING_APPROVAL, StepName.SUSPEND_OWNER}:
        return RollbackStage.ACTED
    if StepName.SUSPEND_OWNER in names:
        return RollbackStage.OWNER_SUSPENDED
    if StepName.AWAITING_APPROVAL in names:
        return RollbackStage.AWAITING_APPROVAL
    return RollbackStage.REQUESTED if rollback.is_by_hand else RollbackStage.INTENT


def needs_no_metrics(rollback: Rollback) -> bool:
    """Return whether a Rollback continues without metrics: requested by a person, or begun.

    A Rollback that waits for a person needs them, since its plan is checked again; so does a
    verification.
    """
    return stage_of(rollback) in (
        RollbackStage.REQUESTED,
        RollbackStage.OWNER_SUSPENDED,
        RollbackStage.ACTED,
    )


def course(
    rollback: Rollback, context: RollbackContext, now: datetime
) -> Carry | Retry | RollbackEnd:
    """Decide the course of an open Rollback.

    Args:
        rollback: an open Rollback.
        context: its policy and its Deployment.
        now: the current time.
    """
    if not ownership.is_named(rollback):
        return _NOT_OURS
    if context.target in _LOST_TARGETS:
        return RollbackEnd(Outcome.ABANDONED, Reason.TARGET_DELETED, _LOST_TARGETS[context.target])
    if context.target is Target.UNREADABLE:
        return _unreadable_target(rollback, context, now)
    if stage_of(rollback) in BEGUN:
        return Carry()  # each step has its own bound, and ends the rollback after it
    unwanted = _withdrawal(rollback, context)
    if unwanted is not None:
        return unwanted
    return progress.stale(rollback, now) if progress.is_stale(rollback, now) else Carry()


def _unreadable_target(
    rollback: Rollback, context: RollbackContext, now: datetime
) -> Retry | RollbackEnd:
    if not progress.is_stale(rollback, now):
        return Retry()
    is_begun = stage_of(rollback) in BEGUN
    outcome = Outcome.UNKNOWN if is_begun else Outcome.ABANDONED
    message = f"the Deployment cannot be read: {context.why}"
    return RollbackEnd(outcome, Reason.READ_FAILED, message)


def _withdrawal(rollback: Rollback, context: RollbackContext) -> RollbackEnd | None:
    """Explain why a rollback that has not begun is no longer wanted; None: it is wanted."""
    if rollback.metadata.deletion_timestamp is not None:
        return (
            _QUESTION_DELETED if stage_of(rollback) is RollbackStage.AWAITING_APPROVAL else _DELETED
        )
    if context.state is PolicyAuthority.SUSPENDED and rollback.is_by_hand:
        return None  # people may request rollbacks of a suspended policy
    if context.reason is Reason.TARGET_SCALED_TO_ZERO and rollback.is_by_hand:
        return None  # ... and of a Deployment without replicas
    if context.state in _WITHDRAWN:
        reason, message = _WITHDRAWN[context.state]
        return RollbackEnd(Outcome.ABANDONED, reason, message)
    is_idle = context.state in _IDLE_STATES
    return RollbackEnd(Outcome.ABANDONED, context.reason, context.why) if is_idle else None


# To delete a question is to reject it; without a question, that would be a guess.
_QUESTION_DELETED = RollbackEnd(
    Outcome.REJECTED, Reason.ROLLBACK_DELETED, "the Rollback was deleted while it awaited approval"
)
_DELETED = RollbackEnd(
    Outcome.ABANDONED, Reason.ROLLBACK_DELETED, "the Rollback was deleted before it started"
)
_NOT_OURS = RollbackEnd(
    Outcome.FAILED,
    Reason.NOT_OF_THIS_POLICY,
    "no policy planned this Rollback: a manual request sets only policyRef.name, remedy, reason "
    "and seen",
)

_WITHDRAWN: dict[PolicyAuthority, tuple[Reason, str]] = {
    PolicyAuthority.RETARGETED: (
        Reason.TARGET_CHANGED,
        "spec.targetRef of the policy now names another Deployment",
    ),
    PolicyAuthority.OBSERVING: (
        Reason.MODE_CHANGED,
        "spec.mode of the policy is now Observe",
    ),
    PolicyAuthority.REVISED: (
        Reason.POLICY_CHANGED,
        "the policy's matrix, remedies, database or safety.gitOps changed: the release is "
        "evaluated again",
    ),
    PolicyAuthority.RECREATED: (
        Reason.POLICY_DELETED,
        "the policy that planned it was deleted and recreated",
    ),
    PolicyAuthority.BEING_DELETED: (Reason.POLICY_DELETED, "the policy is being deleted"),
    PolicyAuthority.DELETED: (Reason.POLICY_DELETED, "the policy was deleted"),
}
REPLACED_MESSAGE = "the Deployment was deleted and recreated: it is another object"
_LOST_TARGETS = {Target.GONE: "the Deployment no longer exists", Target.REPLACED: REPLACED_MESSAGE}
_IDLE_STATES = frozenset(
    {PolicyAuthority.SUSPENDED, PolicyAuthority.AT_REST, PolicyAuthority.UNREADABLE}
)


def is_wanted(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Return whether the current policy would still lead to its Rollback.

    A person's request does not depend on the policy.
    """
    if rollback.is_by_hand:
        return True
    spec, plan = policy.spec, rollback.spec
    severities = {plan.severity, rollback.status.severity}
    return (
        plan.remedy in spec.remedies
        and any(matrix.acts(rule) for rule in spec.matrix if rule.severity in severities)
        and (plan.owner is None or plan.owner.response is spec.safety.git_ops)
        and (plan.database is None or plan.database == spec.database)
    )
