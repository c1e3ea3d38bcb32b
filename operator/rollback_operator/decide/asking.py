"""Whether people are asked if the release is to blame, and when a question needs no answer.

Pure. Where no old pod is left, a late fault may be the release's or its environment's: evidence
shows that it fails, blame only how likely the release is the cause. A Rollback is then prepared
and waits for a person. While the service is down, waiting costs more than a wrong undo: ADR 29.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rollback_operator.api.checklist import ApprovalDecision, ApprovalSpec, ApprovalTimeout
from rollback_operator.api.v1alpha1 import MatrixRule, Rollback, RollbackPolicy, StepName
from rollback_operator.decide import guards, matrix
from rollback_operator.decide.matrix import Match
from rollback_operator.evidence.limits import (
    CEILING_TIMES,
    DOWN_BLAME,
    DOWN_SECONDS,
    DOWN_SHARE,
    LEAST_CEILING,
)
from rollback_operator.judge.explain import ratio
from rollback_operator.model.context import Case, Refusal, is_active
from rollback_operator.model.verdict import CEASED, ENDED, ScopeVerdict, Thresholds, Verdict
from rollback_operator.model.workload import Deployment, floor_of
from rollback_operator.releases import ownership
from rollback_operator.remedies import progress


def is_waiting(rollback: Rollback) -> bool:
    """Return whether a rollback that was only proposed has not begun yet."""
    is_proposed = rollback.spec.requires_approval and rollback.status.escalated_time is None
    return is_proposed and not progress.has_acted(rollback)


def question_of(case: Case) -> Rollback | None:
    """Find the open question whether the running release is to blame; None: nobody is asked."""
    opened = (
        rollback
        for rollback in case.rollbacks
        if is_active(rollback) and rollback.spec.is_blame_open
    )
    digest = case.workload.deployment.template.digest
    return next(
        (
            rollback
            for rollback in opened
            if is_waiting(rollback)
            and rollback.spec.from_revision.digest == digest
            and ownership.is_open(rollback, case.policy)
        ),
        None,
    )


def in_question(rules: Sequence[MatrixRule], verdict: Verdict, odds: Thresholds) -> Match | None:
    """Return the rule of a proved fault that is not clearly caused by the release.

    Args:
        rules: the policy's matrix.
        verdict: the verdict.
        odds: the policy's thresholds.
    """
    match = matrix.in_question(rules, verdict, odds.bad)
    return match if match is not None and matrix.is_asked(match.rule) else None


def terms(case: Case, match: Match) -> ApprovalSpec:
    """Return how long people are asked, and what follows without an answer.

    It is stored with the question: what people read there does not change with the counts.
    """
    policy = case.policy.spec.approval
    blame = match.scope.blame if match.scope is not None else None
    proceeds = (
        policy.on_timeout_when_down is ApprovalTimeout.PROCEED
        and blame is not None
        and blame.odds >= DOWN_BLAME
        and keeps_serving(case.workload.deployment)
    )
    then = ApprovalTimeout.PROCEED if proceeds else ApprovalTimeout.ABANDON
    return policy.model_copy(
        update={"on_timeout": ApprovalTimeout.ABANDON, "on_timeout_when_down": then}
    )


def keeps_serving(deployment: Deployment) -> bool:
    """Return whether pods keep serving while a rollout replaces them."""
    return deployment.strategy == "RollingUpdate" and floor_of(deployment) > 0


def is_to_proceed(question: Rollback, policy: RollbackPolicy | None) -> bool:
    """Return whether a question is answered for people while the service is down."""
    planned = question.spec.approval_policy.on_timeout_when_down
    current = policy.spec.approval.on_timeout_when_down if policy is not None else planned
    return planned is current is ApprovalTimeout.PROCEED


def due(question: Rollback, policy: RollbackPolicy) -> datetime | None:
    """Return when a question is answered if the service is down; None: never, or not asked yet."""
    asked = progress.step_status(question, StepName.AWAITING_APPROVAL)
    if asked is None or not is_to_proceed(question, policy):
        return None
    return asked.started_time + timedelta(seconds=DOWN_SECONDS)


def unanswered(case: Case, question: Rollback, verdict: Verdict, now: datetime) -> str | Refusal:
    """Return why a question proceeds without an answer; empty: it waits.

    Args:
        case: policy, target, ledger and rollbacks.
        question: the open question.
        verdict: the current verdict.
        now: the current time.
    """
    time, deadline = due(question, case.policy), question.status.approval_deadline_time
    # An answer that does not count yet is still an answer.
    is_late = deadline is None or now >= deadline or question.spec.approval is not None
    if time is None or now < time or is_late or not keeps_serving(case.workload.deployment):
        return ""
    failing = _down(verdict, case.policy.spec.safety.bad_odds)
    if failing is None or failing.late_share is None or failing.blame is None:
        return ""
    refused = guards.refusal_to_proceed(case, question, now)
    if refused is not None:
        return refused
    return (
        f"no decision within {DOWN_SECONDS:.0f} s, and {100 * failing.late_share:.0f} % of all "
        f"requests still fail; {ratio(failing.blame.odds)} that the release is to blame; "
        "onTimeoutWhenDown is Proceed"
    )


def _down(verdict: Verdict, bad_odds: float) -> ScopeVerdict | None:
    """Return the evidence that nearly all requests fail now and the release may be to blame."""
    return next(
        (
            scope
            for scope in verdict.scopes
            if scope.route is None
            and scope.odds >= bad_odds
            and scope.blame is not None
            and scope.blame.odds >= DOWN_BLAME
            and scope.late_share is not None
            and scope.late_share > DOWN_SHARE
            and scope.veto is None
            and not scope.unmet
        ),
        None,
    )


def is_answered(question: Rollback, now: datetime) -> bool:
    """Return whether a person has decided, and newer evidence does not matter.

    An approval that is read only after the deadline may be old: the evidence counts again.
    """
    approval, deadline = question.spec.approval, question.status.approval_deadline_time
    if approval is None:
        return False
    is_rejected = approval.decision is ApprovalDecision.REJECT
    return is_rejected or deadline is None or now < deadline


def recovered(verdict: Verdict, suspect_odds: float) -> str:
    """Return how the traffic shows that a fault is over; empty: it does not.

    Missing data shows nothing. A full window of the newest requests fails no more than a control
    may, and where something speaks against the release, it is known to have ended. After a short
    fault nothing may speak against it any more: the counts since then outweigh it.
    """
    whole = next((scope for scope in verdict.scopes if scope.route is None), None)
    if whole is None or whole.late_share is None:
        return ""
    if not all(_is_over(scope, suspect_odds) for scope in verdict.scopes):
        return ""
    worst = max(scope.late_share or 0.0 for scope in verdict.scopes)
    return f"{100 * worst:.1f} % of the newest requests fail: the fault is over"


def _is_over(scope: ScopeVerdict, suspect_odds: float) -> bool:
    if scope.odds >= suspect_odds and (
        scope.unmet not in (ENDED, CEASED) or scope.late_share is None
    ):
        return False
    usual = scope.control_errors / scope.control_requests if scope.control_requests else 0.0
    return (scope.late_share or 0.0) <= max(LEAST_CEILING, CEILING_TIMES * usual)
