"""Awaiting approval: a person's decision, its validity, and the response at the deadline.

Pure. A decision is valid only for the plan that it names, and only where an admission policy
ensures that nobody decides in another person's name. An approval counts if it was made by the
deadline, whenever the operator reads it; a rejection counts always.
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
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    StepName,
)
from rollback_operator.decide import asking
from rollback_operator.evidence.limits import DOWN_SECONDS, DOWN_SHARE
from rollback_operator.model import commands, conditions
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies import progress, rollback_status
from rollback_operator.remedies.progress import Done, RollbackEnd, Wait
from rollback_operator.rollback.checklist import Checklist, plan_digest, summarized, with_checklist

POLICY_NAME = "rollback-operator-approvals"
"""Name of the ValidatingAdmissionPolicy and of its binding."""

APPROVAL_POLL_SECONDS = 10.0
"""Interval of the checklist while a person is asked."""
WITHOUT_ANSWER = (
    f"{DOWN_SECONDS:.0f} s if over {100 * DOWN_SHARE:.0f} % of all requests still fail "
    "(approval.onTimeoutWhenDown)"
)
"""When a question whether the release is to blame needs no answer."""


@dataclass(frozen=True, slots=True)
class ApprovalFacts:
    """State in which an approval is evaluated."""

    checklist: Checklist
    deployment: Deployment
    unprotected: str
    """The reason why decisions do not count here; empty: they count."""
    now: datetime
    terms: ApprovalSpec
    """The deadline of the question, and the response at the deadline."""
    unread: str = ""
    """Why it is not known whether a decision counts; empty: it is known, or there is none."""
    frozen: str = ""
    """The freeze that keeps the operator from acting without a decision; empty: none."""


@dataclass(frozen=True, slots=True)
class ApprovalResult:
    """The result, and its record."""

    next: Done | Wait | RollbackEnd
    approved: Condition


def may_ask(policy: RollbackPolicy) -> bool:
    """Return whether rollbacks of a policy may ask a person before an act."""
    spec = policy.spec
    return (
        spec.safety.require_verified
        or spec.database is not None
        or any(rule.propose for rule in spec.matrix)
        or any(rule.on_warned is Consequence.REQUIRE_APPROVAL for rule in spec.checklist)
    )


def terms(rollback: Rollback, policy: RollbackPolicy | None) -> ApprovalSpec:
    """Return the stricter terms of the plan and of the current policy.

    Args:
        rollback: the Rollback that asks.
        policy: its policy, as stored now; None: it is gone or unreadable.
    """
    planned = rollback.spec.approval_policy
    if policy is None or rollback.is_by_hand:
        return planned
    current = policy.spec.approval
    is_to_proceed = planned.on_timeout is current.on_timeout is ApprovalTimeout.PROCEED
    when_down = asking.is_to_proceed(rollback, policy)
    return ApprovalSpec(
        timeout_seconds=max(planned.timeout_seconds, current.timeout_seconds),
        on_timeout=ApprovalTimeout.PROCEED if is_to_proceed else ApprovalTimeout.ABANDON,
        on_timeout_when_down=ApprovalTimeout.PROCEED if when_down else ApprovalTimeout.ABANDON,
    )


def _extended(rollback: Rollback, granted: ApprovalSpec) -> Rollback:
    """Extend the deadline if the policy's is now later."""
    stored = rollback.status.approval_deadline_time
    begun = progress.step_status(rollback, StepName.AWAITING_APPROVAL)
    if stored is None or begun is None:
        return rollback
    deadline = max(stored, begun.started_time + timedelta(seconds=granted.timeout_seconds))
    status = rollback.status.model_copy(update={"approval_deadline_time": deadline})
    return rollback.model_copy(update={"status": status})


def take(
    rollback: Rollback, facts: ApprovalFacts
) -> tuple[Done | Wait | RollbackEnd, RollbackStatus]:
    """Evaluate an open question; return the result and its record."""
    rollback = _extended(rollback, facts.terms)
    evaluate = _unread if facts.unread else evaluate_approval
    answer = evaluate(rollback, facts)
    evaluation = facts.checklist, answer.approved
    status = with_evaluation(rollback, rollback.status, evaluation, facts.now)
    if isinstance(answer.next, Done):
        step, message = StepName.AWAITING_APPROVAL, answer.next.message
        status = rollback_status.finished(status, step, message, facts.now)
    return answer.next, status


def evaluate_approval(rollback: Rollback, facts: ApprovalFacts) -> ApprovalResult:
    """Check whether a person has decided, the question is still needed, or its time is up."""
    refused = _ignored_decision(rollback, facts)
    approval = rollback.spec.approval if refused is None else None
    is_rejected = approval is not None and approval.decision is ApprovalDecision.REJECT
    end = None if is_rejected else _obsolete(rollback, facts)
    if end is not None:
        return _result(end, False, end.reason, end.message)
    if approval is not None and not _is_late(rollback, facts.now):
        return _decided(rollback, approval)
    if facts.frozen:
        return _frozen(rollback, facts, refused)
    if not is_asked(rollback, facts.checklist):
        message = "the checks that required approval now pass"
        if rollback.spec.requires_approval:
            message = _escalated(rollback)
        return _result(Done(message), True, Reason.NOT_NEEDED_ANY_MORE, message)
    if _is_over(rollback, facts.now):
        return _timed_out(rollback, facts.terms)
    return ApprovalResult(Wait(), refused or _question(rollback, facts))


def _unread(rollback: Rollback, facts: ApprovalFacts) -> ApprovalResult:
    """Wait until it is known whether a decision counts, also past the deadline: it may be valid."""
    end = _obsolete(rollback, facts)
    if end is not None:
        return _result(end, False, end.reason, end.message)
    by = rollback.spec.approval.by if rollback.spec.approval is not None else "a person"
    message = (
        f"the decision of {by} takes effect once it is known whether decisions are protected: "
        f"{facts.unread}; it is read again"
    )
    kind = ConditionType.APPROVED
    return ApprovalResult(Wait(), conditions.condition(kind, None, Reason.APPROVAL_UNREAD, message))


def _escalated(rollback: Rollback) -> str:
    """Explain why a proposed rollback starts without approval."""
    if rollback.status.escalated_message:
        return rollback.status.escalated_message
    if rollback.spec.is_blame_open:
        return "the release is now proved to be the cause: approval is not required"
    return f"the severity is now {rollback.status.severity}: approval is not required"


def _question(rollback: Rollback, facts: ApprovalFacts) -> Condition:
    condition = needed(rollback, facts.checklist)
    return _unprotected_condition(rollback, condition, facts) if facts.unprotected else condition


def _frozen(rollback: Rollback, facts: ApprovalFacts, refused: Condition | None) -> ApprovalResult:
    """Continue to ask during a freeze, and never act without a decision, even at the deadline."""
    if not _is_over(rollback, facts.now):
        return ApprovalResult(Wait(), refused or _question(rollback, facts))
    message = f"{_undecided(rollback)}, and nothing starts without a decision in the {facts.frozen}"
    reason = Reason.FREEZE_ACTIVE
    return _result(RollbackEnd(Outcome.ABANDONED, reason, message), False, reason, message)


def is_asked(rollback: Rollback, checklist: Checklist) -> bool:
    """Return whether a person is asked before any act."""
    is_proposed = rollback.spec.requires_approval and rollback.status.escalated_time is None
    return is_proposed or checklist.consequence is Consequence.REQUIRE_APPROVAL


def _obsolete(rollback: Rollback, facts: ApprovalFacts) -> RollbackEnd | None:
    """Check whether the question is obsolete."""
    if progress.has_gone_on(rollback, facts.deployment):
        return progress.moved(rollback, facts.deployment)
    if progress.is_stale(rollback, facts.now):
        # Even an approval does not help: nobody has checked since, or the record is from a backup.
        return progress.stale(rollback, facts.now)
    if facts.checklist.consequence is Consequence.BLOCK:
        return facts.checklist.blocked
    return None


def _is_over(rollback: Rollback, now: datetime) -> bool:
    deadline = rollback.status.approval_deadline_time
    return deadline is not None and now >= deadline


def _is_late(rollback: Rollback, now: datetime) -> bool:
    """Return whether an approval was made after the deadline.

    An approval that is read by the deadline was made by then, and so was an approval whose time is
    recorded as such, although the operator reads it later. A rejection is never late: it is always
    intended.
    """
    approval = rollback.spec.approval
    if approval is None or approval.decision is ApprovalDecision.REJECT:
        return False
    deadline = rollback.status.approval_deadline_time
    made = rollback.decision_time
    return _is_over(rollback, now) and (made is None or deadline is None or made > deadline)


def _undecided(rollback: Rollback) -> str:
    """State that nobody decided by the deadline, and who approved after it."""
    deadline, late = rollback.status.approval_deadline_time, rollback.spec.approval
    message = f"no decision by {deadline:%Y-%m-%d %H:%M:%S} UTC"
    if late is None or deadline is None or not _is_late(rollback, deadline):
        return message
    if rollback.decision_time is None:
        return f"{message}; the approval of {late.by} was read later, and its time is not recorded"
    return f"{message}; {late.by} approved at {rollback.decision_time:%Y-%m-%d %H:%M:%S} UTC"


def _timed_out(rollback: Rollback, granted: ApprovalSpec) -> ApprovalResult:
    message, reason = _undecided(rollback), Reason.APPROVAL_TIMED_OUT
    if granted.on_timeout is ApprovalTimeout.PROCEED:
        return _result(Done(f"{message}; onTimeout is Proceed"), True, reason, message)
    end = RollbackEnd(Outcome.ABANDONED, reason, f"{message}. {_still_runs(rollback)}")
    return _result(end, False, reason, message)


def _still_runs(rollback: Rollback) -> str:
    """State what runs after an end before any change, what was known of it, and the command."""
    ref, trigger = rollback.spec.from_revision, rollback.spec.trigger
    then = f"{trigger.decided_time:%Y-%m-%d %H:%M:%S} UTC"
    counts = f"; {trigger.errors} of {trigger.requests} requests had failed at {then}"
    release = f"revision {ref.number} ({', '.join(ref.images)})"
    back = commands.by_person(rollback)
    return (
        f"Nothing was rolled back: {release} still runs"
        f"{counts if trigger.requests else ''}{f'. To roll back: {back}' if back else ''}"
    )


def _decided(rollback: Rollback, approval: Approval) -> ApprovalResult:
    message = f"by {approval.by}" + (f": {approval.reason}" if approval.reason else "")
    if approval.decision is ApprovalDecision.APPROVE:
        message = f"approved {message}"
        return _result(Done(message), True, Reason.APPROVED_BY_PERSON, message)
    message = f"rejected {message}"
    reason = Reason.REJECTED_BY_PERSON
    end = RollbackEnd(Outcome.REJECTED, reason, f"{message}. {_still_runs(rollback)}")
    return _result(end, False, reason, message)


def _ignored_decision(rollback: Rollback, facts: ApprovalFacts) -> Condition | None:
    """Explain why an existing decision does not count."""
    approval, kind = rollback.spec.approval, ConditionType.APPROVED
    if approval is None:
        return None
    if facts.unprotected:
        message = f"the decision in the name of {approval.by} is ignored: {facts.unprotected}"
        return conditions.condition(kind, False, Reason.APPROVAL_UNPROTECTED, message)
    digest = plan_digest(rollback, facts.checklist)
    if approval.plan_digest != digest:
        message = (
            f"the decision of {approval.by} is for plan {approval.plan_digest}, and the plan is "
            f"now {digest}: decide on the current plan"
        )
        return conditions.condition(kind, False, Reason.PLAN_CHANGED, message)
    return None


def _unprotected_condition(
    rollback: Rollback, condition: Condition, facts: ApprovalFacts
) -> Condition:
    """Warn in advance that no decision would count, and name the alternatives."""
    target = rollback.spec.to_revision
    message = (
        f"decisions are ignored: {facts.unprotected}; the chart's admission.create installs it"
    )
    if target is not None:
        name, namespace = rollback.spec.target_ref.name, rollback.metadata.namespace
        message += (
            f". To roll back without the operator: kubectl rollout undo deployment/{name} "
            f"-n {namespace} --to-revision={target.number}"
        )
    return conditions.condition(
        ConditionType.APPROVED,
        False,
        Reason.APPROVAL_UNPROTECTED,
        f"{message}. Pending: {condition.message}",
    )


def needed(rollback: Rollback, checklist: Checklist) -> Condition:
    """Describe the question to a person."""
    message = summarized(checklist.of(Consequence.REQUIRE_APPROVAL))
    if rollback.spec.requires_approval:
        proposed = f"{rollback.spec.severity} proposes it: {rollback.spec.trigger.message}"
        if rollback.spec.is_blame_open:
            proposed = _in_question(rollback)
        message = f"{proposed}; {message}" if message else proposed
    return conditions.condition(ConditionType.APPROVED, None, Reason.APPROVAL_NEEDED, message)


def _in_question(rollback: Rollback) -> str:
    """Describe the question whether the release is to blame, and what follows without an answer."""
    message = (
        f"{rollback.spec.severity} if the release is to blame: {rollback.spec.trigger.message}"
    )
    if rollback.spec.approval_policy.on_timeout_when_down is ApprovalTimeout.PROCEED:
        message += f"; it proceeds without a decision after {WITHOUT_ANSWER}"
    return message


def _result(
    following: Done | RollbackEnd, status: bool, reason: Reason, message: str
) -> ApprovalResult:
    return ApprovalResult(
        following, conditions.condition(ConditionType.APPROVED, status, reason, message)
    )


def next_check(rollback: Rollback, now: datetime) -> float:
    """Return the seconds until the next look: the next checklist, or the deadline."""
    deadline = rollback.status.approval_deadline_time
    remaining = (deadline - now).total_seconds() if deadline is not None else APPROVAL_POLL_SECONDS
    if remaining <= 0:
        return APPROVAL_POLL_SECONDS  # a decision waits to be read
    return max(0.05, min(APPROVAL_POLL_SECONDS, remaining))


# -- on record -------------------------------------------------------------------------------------


def asked(rollback: Rollback, checklist: Checklist, now: datetime) -> RollbackStatus:
    """Record that a person is asked: the question and its deadline."""
    seconds = rollback.spec.approval_policy.timeout_seconds
    begun = rollback_status.begun(
        with_checklist(rollback.status, checklist), StepName.AWAITING_APPROVAL, now
    )
    deadline = rollback.status.approval_deadline_time or now + timedelta(seconds=seconds)
    timed = begun.model_copy(update={"approval_deadline_time": deadline})
    return with_evaluation(rollback, timed, (checklist, needed(rollback, checklist)), now)


def with_evaluation(
    rollback: Rollback,
    status: RollbackStatus,
    evaluation: tuple[Checklist, Condition],
    now: datetime,
) -> RollbackStatus:
    """Record the changes of another look; equal to the stored status if there are none."""
    checklist, approved = evaluation
    stored = {item.name: item for item in status.checklist}
    # Figures in messages change constantly; a message is stored anew only with a new result.
    is_same = all(
        item.name in stored
        and (stored[item.name].result, stored[item.name].consequence)
        == (item.result, item.consequence)
        for item in checklist.items
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
