"""Course of an open Rollback in a pass: continue, retry later, or end.

Pure, and total: every state of its policy, of its Deployment and of itself has an answer, so that
no Rollback stays open because nobody is responsible for it. What has begun is carried on whatever
has become of the policy, since a half-way state has no name. What has not begun is done only while
the policy that decided it stands and wants it.
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
    """How a policy stands to a Rollback that names it."""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    OBSERVING = "Observing"
    """Its mode is Observe, and the Rollback was decided to be carried out."""
    RETARGETED = "Retargeted"
    REVISED = "Revised"
    """What it says now would not lead to the Rollback any more."""
    AT_REST = "AtRest"
    """Anything else for which it does nothing; the condition Ready says what."""
    UNREADABLE = "Unreadable"
    DELETED = "Deleted"
    RECREATED = "Recreated"
    BEING_DELETED = "BeingDeleted"


class Target(StrEnum):
    """How the Deployment stands to a Rollback, as it was read in this pass."""

    SAME = "Same"
    OTHER_TEMPLATE = "OtherTemplate"
    REPLACED = "Replaced"
    GONE = "Gone"
    PAUSED = "Paused"
    SCALED_TO_ZERO = "ScaledToZero"
    UNREADABLE = "Unreadable"


class RollbackStage(StrEnum):
    """How far a Rollback is."""

    INTENT = "Intent"
    REQUESTED = "Requested"
    """Asked for by a person and planned; nothing has begun."""
    AWAITING_APPROVAL = "AwaitingApproval"
    OWNER_SUSPENDED = "OwnerSuspended"
    ACTED = "Acted"
    VERIFYING = "Verifying"


BEGUN = frozenset({RollbackStage.OWNER_SUSPENDED, RollbackStage.ACTED, RollbackStage.VERIFYING})


@dataclass(frozen=True, slots=True)
class Carry:
    """It goes on, step by step."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing can be said of its Deployment now."""


@dataclass(frozen=True, slots=True)
class RollbackContext:
    """What there is around an open Rollback."""

    state: PolicyAuthority
    target: Target
    why: str = ""
    """Why the policy does nothing, in words, or why the Deployment cannot be read."""
    reason: Reason = Reason.POLICY_DELETED
    """Why the policy does nothing."""

    @property
    def told(self) -> str:
        """State why the policy no longer continues the Rollback."""
        known = _LEFT.get(self.state)
        return known[1] if known is not None else self.why


def context_of(
    rollback: Rollback,
    policy: RollbackPolicy | None,
    ready: Condition,
    found: Deployment | Missing | None,
) -> RollbackContext:
    """Describe what there is around an open Rollback.

    Args:
        rollback: the Rollback.
        policy: that it names, as it is stored now; None: it is gone, or cannot be read.
        ready: the policy's condition; of one that is gone or unreadable, why nothing is done.
        found: the Deployment that the Rollback names, as it was read in this pass; None: it is
            gone.
    """
    target = _target(rollback, found)
    why = found.message if isinstance(found, Missing) else ""
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
    known = {judged.digest, target.digest if target is not None else judged.digest}
    return deployment.template.digest in known


def stage_of(rollback: Rollback) -> RollbackStage:
    """Tell how far a Rollback is."""
    names = {one.name for one in rollback.status.steps}
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
    """Return whether a Rollback goes on without metrics: a person's, or one that has begun.

    Not one that waits for a person, whose plan is looked at with what is known, nor one whose
    success is to be seen.
    """
    return stage_of(rollback) in (
        RollbackStage.REQUESTED,
        RollbackStage.OWNER_SUSPENDED,
        RollbackStage.ACTED,
    )


def course(
    rollback: Rollback, context: RollbackContext, now: datetime
) -> Carry | Retry | RollbackEnd:
    """Decide what becomes of an open Rollback.

    Args:
        rollback: that has not ended.
        context: its policy and its Deployment.
        now: the current time.
    """
    if not ownership.is_named(rollback):
        return NOT_OURS
    if context.target in _LOST:
        return RollbackEnd(Outcome.ABANDONED, Reason.TARGET_DELETED, _LOST[context.target])
    if context.target is Target.UNREADABLE:
        return _unread(rollback, context, now)
    if stage_of(rollback) in BEGUN:
        return Carry()  # each step has its own bound, and ends the rollback when that is over
    unwanted = _unwanted(rollback, context)
    if unwanted is not None:
        return unwanted
    return progress.stale(rollback, now) if progress.is_stale(rollback, now) else Carry()


def _unread(rollback: Rollback, context: RollbackContext, now: datetime) -> Retry | RollbackEnd:
    if not progress.is_stale(rollback, now):
        return Retry()
    is_begun = stage_of(rollback) in BEGUN
    outcome = Outcome.UNKNOWN if is_begun else Outcome.ABANDONED
    message = f"the Deployment cannot be read: {context.why}"
    return RollbackEnd(outcome, Reason.READ_FAILED, message)


def _unwanted(rollback: Rollback, context: RollbackContext) -> RollbackEnd | None:
    """Tell why what has not begun is not wanted any more; None: it is."""
    if rollback.metadata.deletion_timestamp is not None:
        return (
            _QUESTION_DELETED if stage_of(rollback) is RollbackStage.AWAITING_APPROVAL else _DELETED
        )
    if context.state is PolicyAuthority.SUSPENDED and rollback.is_by_hand:
        return None  # people may ask of a suspended policy
    if context.state in _LEFT:
        reason, message = _LEFT[context.state]
        return RollbackEnd(Outcome.ABANDONED, reason, message)
    is_idle = context.state in _IDLE
    return RollbackEnd(Outcome.ABANDONED, context.reason, context.why) if is_idle else None


# Whoever deletes a question says no; of what nobody was asked about that would be a guess.
_QUESTION_DELETED = RollbackEnd(
    Outcome.REJECTED, Reason.ROLLBACK_DELETED, "the Rollback was deleted while it awaited approval"
)
_DELETED = RollbackEnd(
    Outcome.ABANDONED, Reason.ROLLBACK_DELETED, "the Rollback was deleted before it started"
)
NOT_OURS = RollbackEnd(
    Outcome.FAILED,
    Reason.NOT_OF_THIS_POLICY,
    "no policy planned this Rollback: a manual request sets only policyRef.name, remedy, reason "
    "and seen",
)

_LEFT: dict[PolicyAuthority, tuple[Reason, str]] = {
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
        "the policy's matrix, remedies or safety.gitOps changed: the release is evaluated again",
    ),
    PolicyAuthority.RECREATED: (
        Reason.POLICY_DELETED,
        "the policy that planned it was deleted and recreated",
    ),
    PolicyAuthority.BEING_DELETED: (Reason.POLICY_DELETED, "the policy is being deleted"),
    PolicyAuthority.DELETED: (Reason.POLICY_DELETED, "the policy was deleted"),
}
REPLACED_MESSAGE = "the Deployment was deleted and recreated: it is another object"
_LOST = {Target.GONE: "the Deployment no longer exists", Target.REPLACED: REPLACED_MESSAGE}
_IDLE = frozenset({PolicyAuthority.SUSPENDED, PolicyAuthority.AT_REST, PolicyAuthority.UNREADABLE})


def is_wanted(rollback: Rollback, policy: RollbackPolicy) -> bool:
    """Return whether a policy, as it is by now, would lead to a Rollback that it has decided.

    What a person has asked for is theirs.
    """
    if rollback.is_by_hand:
        return True
    spec, plan = policy.spec, rollback.spec
    severities = {plan.severity, rollback.status.severity}
    return (
        plan.remedy in spec.remedies
        and any(matrix.acts(one) for one in spec.matrix if one.severity in severities)
        and (plan.owner is None or plan.owner.response is spec.safety.git_ops)
    )
