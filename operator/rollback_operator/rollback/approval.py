"""Awaiting approval: whether a person has decided, whether it counts, and what follows at the end.

Pure. A decision counts for the plan that it names and no other, and only where an admission policy
sees to it that nobody decides in another's name.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.checklist import (
    Approval,
    ApprovalDecision,
    ApprovalSpec,
    ApprovalTimeout,
    Consequence,
)
from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    StepName,
)
from rollback_operator.model import commands, conditions
from rollback_operator.model.message import Notice
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies import progress, rollback_status
from rollback_operator.remedies.progress import Done, RollbackEnd, Wait
from rollback_operator.rollback.checklist import Checklist, plan_digest, told, with_checklist

POLICY_NAME = "rollback-operator-approvals"
"""Of the ValidatingAdmissionPolicy, and of its binding."""

APPROVAL_POLL_SECONDS = 10.0
"""How often the checklist is gone through anew while a person is asked."""
LATE_APPROVAL = timedelta(seconds=30)
"""So long after the deadline an approval still counts: it may have been seen late."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known when it is asked whether a plan is approved."""

    checklist: Checklist
    deployment: Deployment
    unprotected: str
    """Why decisions do not count here; empty: they do."""
    now: datetime
    terms: ApprovalSpec
    """Until when a person is asked, and what follows then."""
    frozen: str = ""
    """Which freeze keeps the operator from acting undecided; empty: none does."""


@dataclass(frozen=True, slots=True)
class ApprovalResult:
    """What follows, and how it is put on record."""

    next: Done | Wait | RollbackEnd
    approved: Condition


def may_ask(policy: RollbackPolicy) -> bool:
    """Tell whether rollbacks of a policy may ask a person before anything is done."""
    spec = policy.spec
    return (
        spec.safety.require_verified
        or spec.database is not None
        or any(one.propose for one in spec.matrix)
        or any(one.on_warned is Consequence.REQUIRE_APPROVAL for one in spec.checklist)
    )


def terms(rollback: Rollback, policy: RollbackPolicy | None) -> ApprovalSpec:
    """Give the more careful of what was planned and of what the policy says by now.

    Args:
        rollback: that asks.
        policy: that decided it, as it is stored now; None: it is gone, or cannot be read.
    """
    planned = rollback.spec.approval_policy
    if policy is None or rollback.is_by_hand:
        return planned
    current = policy.spec.approval
    is_to_proceed = planned.on_timeout is current.on_timeout is ApprovalTimeout.PROCEED
    return ApprovalSpec(
        timeout_seconds=max(planned.timeout_seconds, current.timeout_seconds),
        on_timeout=ApprovalTimeout.PROCEED if is_to_proceed else ApprovalTimeout.ABANDON,
    )


def _extended(rollback: Rollback, granted: ApprovalSpec) -> Rollback:
    """Ask for longer, where the policy says so by now."""
    known = rollback.status.approval_deadline_time
    begun = progress.step_status(rollback, StepName.AWAITING_APPROVAL)
    if known is None or begun is None:
        return rollback
    deadline = max(known, begun.started_time + timedelta(seconds=granted.timeout_seconds))
    status = rollback.status.model_copy(update={"approval_deadline_time": deadline})
    return rollback.model_copy(update={"status": status})


def take(rollback: Rollback, looked: Looked) -> tuple[Done | Wait | RollbackEnd, RollbackStatus]:
    """Look at an open question, and give what follows with how it is put on record."""
    rollback = _extended(rollback, looked.terms)
    answer = look(rollback, looked)
    found = looked.checklist, answer.approved
    status = looked_again(rollback, rollback.status, found, looked.now)
    if isinstance(answer.next, Done):
        step, said = StepName.AWAITING_APPROVAL, answer.next.message
        status = rollback_status.finished(status, step, said, looked.now)
    return answer.next, status


def look(rollback: Rollback, looked: Looked) -> ApprovalResult:
    """Look whether a person has decided, whether it still has to be asked, whether time is up."""
    refused = _refused(rollback, looked)
    given = rollback.spec.approval if refused is None else None
    is_rejected = given is not None and given.decision is ApprovalDecision.REJECT
    end = None if is_rejected else _over(rollback, looked)
    if end is not None:
        return _answer(end, False, end.reason, end.message)
    if given is not None:
        return _too_late(rollback, given) if _is_late(rollback, looked.now) else _decided(given)
    if looked.frozen:
        return _frozen(rollback, looked, refused)
    if not is_asked(rollback, looked.checklist):
        said = "what was asked about is in order by now"
        if rollback.spec.requires_approval:
            said = f"it has become {rollback.status.severity}: done without asking"
        return _answer(Done(said), True, Reason.NOT_NEEDED_ANY_MORE, said)
    if _is_over(rollback, looked.now):
        return _timed_out(rollback, looked.terms)
    return ApprovalResult(Wait(), refused or _question(rollback, looked))


def _question(rollback: Rollback, looked: Looked) -> Condition:
    asked = needed(rollback, looked.checklist)
    return _vain(rollback, asked, looked) if looked.unprotected else asked


def _frozen(rollback: Rollback, looked: Looked, refused: Condition | None) -> ApprovalResult:
    """Go on asking in a freeze, and do nothing undecided: neither at the deadline nor before."""
    if not _is_over(rollback, looked.now):
        return ApprovalResult(Wait(), refused or _question(rollback, looked))
    said = f"{_undecided(rollback)}, and nothing is done undecided in the {looked.frozen}"
    reason = Reason.FREEZE_ACTIVE
    return _answer(RollbackEnd(Outcome.ABANDONED, reason, said), False, reason, said)


def is_asked(rollback: Rollback, checklist: Checklist) -> bool:
    """Tell whether a person is asked before anything is done."""
    is_proposed = rollback.spec.requires_approval and rollback.status.escalated_time is None
    return is_proposed or checklist.consequence is Consequence.REQUIRE_APPROVAL


def is_waiting(rollback: Rollback) -> bool:
    """Tell whether a rollback that was only proposed has not begun yet."""
    is_proposed = rollback.spec.requires_approval and rollback.status.escalated_time is None
    return is_proposed and not progress.has_acted(rollback)


def _over(rollback: Rollback, looked: Looked) -> RollbackEnd | None:
    """See whether there is anything left to decide."""
    if progress.has_gone_on(rollback, looked.deployment):
        return progress.moved(rollback, looked.deployment)
    if progress.is_stale(rollback, looked.now):
        # Not even what a person approves: nobody has looked since, or the record is a backup's.
        return progress.stale(rollback, looked.now)
    if looked.checklist.consequence is Consequence.BLOCK:
        return looked.checklist.blocked
    return None


def _is_over(rollback: Rollback, now: datetime) -> bool:
    deadline = rollback.status.approval_deadline_time
    return deadline is not None and now >= deadline


def _is_late(rollback: Rollback, now: datetime) -> bool:
    """Tell whether an approval is seen so long after the deadline that it was not given in time.

    A rejection is never late: whoever says no means it.
    """
    given, deadline = rollback.spec.approval, rollback.status.approval_deadline_time
    is_approval = given is not None and given.decision is ApprovalDecision.APPROVE
    return is_approval and deadline is not None and now >= deadline + LATE_APPROVAL


def _undecided(rollback: Rollback) -> str:
    deadline = rollback.status.approval_deadline_time
    return f"nobody has decided by {deadline:%Y-%m-%d %H:%M:%S} UTC"


def _too_late(rollback: Rollback, late: Approval) -> ApprovalResult:
    again = commands.undo(rollback.spec.policy_ref.name, rollback.metadata.namespace)
    said = f"{_undecided(rollback)}; {late.by} has approved it later. To ask anew: {again}"
    reason = Reason.APPROVAL_TIMED_OUT
    return _answer(RollbackEnd(Outcome.ABANDONED, reason, said), False, reason, said)


def _timed_out(rollback: Rollback, granted: ApprovalSpec) -> ApprovalResult:
    said, reason = _undecided(rollback), Reason.APPROVAL_TIMED_OUT
    if granted.on_timeout is ApprovalTimeout.PROCEED:
        return _answer(Done(f"{said}; onTimeout is Proceed"), True, reason, said)
    return _answer(RollbackEnd(Outcome.ABANDONED, reason, said), False, reason, said)


def _decided(given: Approval) -> ApprovalResult:
    said = f"by {given.by}" + (f": {given.reason}" if given.reason else "")
    if given.decision is ApprovalDecision.APPROVE:
        said = f"approved {said}"
        return _answer(Done(said), True, Reason.APPROVED_BY_PERSON, said)
    said = f"rejected {said}"
    reason = Reason.REJECTED_BY_PERSON
    return _answer(RollbackEnd(Outcome.REJECTED, reason, said), False, reason, said)


def _refused(rollback: Rollback, looked: Looked) -> Condition | None:
    """Say why a decision that is there does not count."""
    given, kind = rollback.spec.approval, ConditionType.APPROVED
    if given is None:
        return None
    if looked.unprotected:
        said = f"the decision in the name of {given.by} does not count: {looked.unprotected}"
        return conditions.condition(kind, False, Reason.APPROVAL_UNPROTECTED, said)
    digest = plan_digest(rollback, looked.checklist)
    if given.plan_digest != digest:
        said = (
            f"the decision of {given.by} is on plan {given.plan_digest}, the plan is {digest} now: "
            "decide on that"
        )
        return conditions.condition(kind, False, Reason.PLAN_CHANGED, said)
    return None


def _vain(rollback: Rollback, asked: Condition, looked: Looked) -> Condition:
    """Say beforehand that no decision would count, and what can be done all the same."""
    target = rollback.spec.to_revision
    said = (
        f"no decision counts here: {looked.unprotected}; the chart's admission.create installs it"
    )
    if target is not None:
        name, namespace = rollback.spec.target_ref.name, rollback.metadata.namespace
        said += (
            f". To go back without the operator: kubectl rollout undo deployment/{name} "
            f"-n {namespace} --to-revision={target.number}"
        )
    return conditions.condition(
        ConditionType.APPROVED,
        False,
        Reason.APPROVAL_UNPROTECTED,
        f"{said}. Asked: {asked.message}",
    )


def needed(rollback: Rollback, checklist: Checklist) -> Condition:
    """Say what a person is asked about."""
    said = told(checklist.of(Consequence.REQUIRE_APPROVAL))
    if rollback.spec.requires_approval:
        proposed = f"{rollback.spec.severity} proposes it: {rollback.spec.trigger.message}"
        said = f"{proposed}; {said}" if said else proposed
    return conditions.condition(ConditionType.APPROVED, None, Reason.APPROVAL_NEEDED, said)


def _answer(
    following: Done | RollbackEnd, status: bool, reason: Reason, message: str
) -> ApprovalResult:
    return ApprovalResult(
        following, conditions.condition(ConditionType.APPROVED, status, reason, message)
    )


def next_look(rollback: Rollback, now: datetime) -> float:
    """Give the seconds until the next look: the list is gone through anew, or time is up."""
    deadline = rollback.status.approval_deadline_time
    left = (deadline - now).total_seconds() if deadline is not None else APPROVAL_POLL_SECONDS
    return max(0.05, min(APPROVAL_POLL_SECONDS, left))


# -- on record -------------------------------------------------------------------------------------


def asked(rollback: Rollback, checklist: Checklist, now: datetime) -> RollbackStatus:
    """Store that a person is asked: about what, until when."""
    seconds = rollback.spec.approval_policy.timeout_seconds
    begun = rollback_status.begun(
        with_checklist(rollback.status, checklist), StepName.AWAITING_APPROVAL, now
    )
    deadline = rollback.status.approval_deadline_time or now + timedelta(seconds=seconds)
    timed = begun.model_copy(update={"approval_deadline_time": deadline})
    return looked_again(rollback, timed, (checklist, needed(rollback, checklist)), now)


def looked_again(
    rollback: Rollback,
    status: RollbackStatus,
    found: tuple[Checklist, Condition],
    now: datetime,
) -> RollbackStatus:
    """Store what another look has changed; equal to what is stored if it has changed nothing."""
    checklist, approved = found
    known = {one.name: one for one in status.checklist}
    # Figures in messages tick; what they say is stored anew only with what it leads to.
    is_same = all(
        one.name in known
        and (known[one.name].result, known[one.name].consequence) == (one.result, one.consequence)
        for one in checklist.items
    )
    digest = plan_digest(rollback, checklist)
    if not is_same or digest != status.plan_digest:
        status = with_checklist(status, checklist)
    return status.model_copy(
        update={
            "plan_digest": digest,
            "conditions": conditions.upsert(status.conditions, [approved], 1, now),
        }
    )


def notice(rollback: Rollback, status: RollbackStatus) -> Notice | None:
    """Tell of a decision, of one that does not count, of a question: each once.

    Args:
        rollback: as it is stored.
        status: its new one.
    """
    before, meta = rollback.status, rollback.metadata
    new, old = (conditions.find(one.conditions, ConditionType.APPROVED) for one in (status, before))
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return None
    match new.reason:
        case Reason.APPROVAL_NEEDED:
            until = f"{status.approval_deadline_time:%Y-%m-%d %H:%M:%S} UTC"
            decide = commands.approve(meta.name, meta.namespace)
            said = f"until {until}: {decide} (or reject). {new.message}"
            return Notice(EventReason.APPROVAL_NEEDED, said, True)
        case Reason.APPROVAL_UNPROTECTED | Reason.PLAN_CHANGED:
            return Notice(EventReason.APPROVAL_REFUSED, f"{new.reason}: {new.message}", True)
        case _ if new.status == "True":
            return Notice(EventReason.ROLLBACK_APPROVED, f"{new.reason}: {new.message}")
    return None
