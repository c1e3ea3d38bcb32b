"""Verdict -> decision: wait, notify people, or a plan. Data only; reconcile executes it."""

from dataclasses import dataclass, replace
from datetime import datetime

from rollback_operator.api.checklist import LEAST_APPROVAL_SECONDS, ApprovalSpec, ApprovalTimeout
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Response,
    RollbackSpec,
    Severity,
    VerdictValue,
)
from rollback_operator.decide import asking, matrix, superseding
from rollback_operator.decide.matrix import Match
from rollback_operator.decide.plan import make_plan, make_trigger, tried
from rollback_operator.evidence.limits import WARM_UP_SECONDS
from rollback_operator.model.context import Case, Refusal
from rollback_operator.model.verdict import Thresholds, Verdict
from rollback_operator.releases import records
from rollback_operator.releases.usefulness import fails_alike
from rollback_operator.remedies import stopped_traffic


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict's severity, the matrix's response, and the plan or the reason for its absence."""

    verdict: Verdict
    severity: Severity = Severity.NONE
    response: Response | None = None
    plan: RollbackSpec | None = None
    refusal: Refusal | None = None
    deadline: float | None = None
    """From this time on, weaker evidence is sufficient if the suspicion persists."""
    doubted: Severity = Severity.NONE
    """Severity if the release is to blame; people are notified. None: no doubt, or not yet."""
    is_asked: bool = False
    """People are asked, or are to be asked, whether the release is to blame."""
    proceeds: str = ""
    """Why an open question needs no answer any more; empty: it waits."""
    recovered: str = ""
    """Why an open question is obsolete: the traffic has recovered; empty: it has not."""
    supersedes: str = ""
    """Name of the Rollback whose open question the plan replaces; empty: none."""
    basis: str = ""
    """The evidence for the severity, if the verdict's message is about other evidence."""

    @property
    def evidence(self) -> str:
        """The evidence for the severity."""
        return self.basis or self.verdict.message


def decide(case: Case, verdict: Verdict, now: datetime) -> Decision:
    """Derive the decision from a verdict.

    Proof leads to immediate action. A suspicion waits for more evidence until the rule's deadline,
    and then needs a tenth of the odds.
    """
    safety = case.policy.spec.safety
    odds = Thresholds(safety.suspect_odds, safety.bad_odds)
    asked = asking.in_question(case.policy.spec.matrix, verdict, odds)
    question = asking.question_of(case)
    if question is not None and not asking.is_answered(question, now):
        over = asking.recovered(verdict, odds.suspect)
        if over:
            return Decision(verdict, recovered=over)
    decision = _by_verdict(case, verdict, odds, now)
    if asked is not None and not _is_as_severe(decision, asked):
        return _ask(case, verdict, asked, now)
    if question is None or decision.severity is not Severity.NONE:
        return decision
    # Its evidence is paused, not withdrawn: people are still asked.
    severity = Severity(question.status.severity or question.spec.severity)
    return replace(decision, severity=severity, doubted=Severity.NONE, is_asked=True)


def _is_as_severe(decision: Decision, asked: Match) -> bool:
    """Return whether proved evidence leads to an act, or to a severity at least as bad."""
    if decision.response is Response.ROLLBACK:
        return True
    is_known = decision.severity is not Severity.NONE
    return is_known and decision.severity <= Severity(asked.rule.severity)


def _by_verdict(case: Case, verdict: Verdict, odds: Thresholds, now: datetime) -> Decision:
    if verdict.value is VerdictValue.BAD:
        proved = _by_proof(case, verdict, odds, now)
        if proved is not None:
            return proved
        # Proved only on a route for which the matrix has no rule, not on all routes together:
        # people are notified of the open question as of any other suspicion.
    if verdict.value is VerdictValue.SUSPECT:
        match = matrix.classify(case.policy.spec.matrix, verdict, odds.deadline)
        due = matrix.deadline(match, verdict) if match is not None else None
        if match is not None and due is not None and now.timestamp() >= due:
            return _respond(case, verdict, match, now)
        # Other evidence may be proved beside an unproved rate: it does not wait.
        shown = matrix.classify(case.policy.spec.matrix, verdict, odds.bad)
        if shown is not None:
            return _respond(case, verdict, shown, now)
        doubted = matrix.doubted(case.policy.spec.matrix, verdict, odds, now.timestamp())
        return Decision(verdict, deadline=due, doubted=doubted)
    if _is_useless(case, verdict, now):
        return Decision(verdict, doubted=Severity.P1)
    doubted = matrix.doubted(case.policy.spec.matrix, verdict, odds, now.timestamp())
    return Decision(verdict, doubted=doubted)


def _by_proof(case: Case, verdict: Verdict, odds: Thresholds, now: datetime) -> Decision | None:
    """Respond to a bad release; None: the matrix has no rule for what is proved.

    A release stays bad at the odds of a deadline. What could be done at once was done, or refused,
    when it became bad; after that a deadline is needed.
    """
    match = matrix.classify(case.policy.spec.matrix, verdict, odds.bad)
    if match is not None:
        return _respond(case, verdict, match, now)
    is_kept = verdict.reason is Reason.ERROR_RATE_ABOVE_CONTROL and all(
        scope.odds < odds.bad for scope in verdict.scopes
    )
    kept = matrix.classify(case.policy.spec.matrix, verdict, odds.deadline) if is_kept else None
    due = matrix.deadline(kept, verdict) if kept is not None else None
    if kept is None:
        return None
    if due is not None and now.timestamp() >= due:
        return _respond(case, verdict, kept, now)
    return Decision(verdict, Severity(kept.rule.severity), deadline=due)


def _is_useless(case: Case, verdict: Verdict, now: datetime) -> bool:
    """Return whether people are notified of a release that fails half, whatever its baseline.

    Its older ReplicaSets are deleted, it is the first, or its predecessor fails as much. For a
    restored release the rollback's own outcome notifies people, unless that outcome is Verified.
    """
    began = verdict.first_bad
    if not fails_alike(verdict) or began is None or now.timestamp() - began < WARM_UP_SECONDS:
        return False
    release = case.workload.deployment.template.release
    led = [
        one
        for one in records.of_target(case, now)
        if one.to_release == release and one.mode is Mode.ENFORCE and records.is_done(one)
    ]
    newest = max(led, key=lambda one: one.decided_time, default=None)
    return newest is None or newest.outcome is Outcome.VERIFIED


def _propose(case: Case, verdict: Verdict, match: Match, now: datetime) -> Decision:
    """Plan a rollback that a person may approve during the investigation."""
    severity, due = Severity(match.rule.severity), matrix.deadline(match, verdict)
    deadline = datetime.fromtimestamp(due, now.tzinfo) if due is not None else None
    trigger = make_trigger(verdict, match, deadline, now)
    planned = make_plan(case, match.rule, trigger, now)
    decision = Decision(verdict, severity, Response.INVESTIGATE, deadline=due)
    if isinstance(planned, Refusal):
        return replace(decision, refusal=planned)
    approval = planned.approval_policy
    if due is not None:
        goes_on = matrix.is_rolled_back_on_timeout(match)
        then = ApprovalTimeout.PROCEED if goes_on else ApprovalTimeout.ABANDON
        left = max(LEAST_APPROVAL_SECONDS, round(due - now.timestamp()))
        approval = ApprovalSpec(timeout_seconds=left, on_timeout=then)
    asks = {"requires_approval": True, "approval_policy": approval}
    proposed = tried(case, planned.model_copy(update=asks), now)
    if isinstance(proposed, Refusal):
        return replace(decision, refusal=proposed)
    return replace(decision, plan=proposed)


def _ask(case: Case, verdict: Verdict, match: Match, now: datetime) -> Decision:
    """Plan a rollback that waits for a person: the release may be to blame, and need not be."""
    severity, question = Severity(match.rule.severity), asking.question_of(case)
    if question is not None:
        time = asking.due(question, case.policy)
        due = time.timestamp() if time is not None else None
        decision = Decision(verdict, severity, deadline=due, is_asked=True)
        because = asking.unanswered(case, question, verdict, now)
        if isinstance(because, Refusal):
            return replace(decision, refusal=because)
        if not because:
            return decision
        return replace(
            decision, response=Response.ROLLBACK, deadline=None, is_asked=False, proceeds=because
        )
    planned = make_plan(case, match.rule, make_trigger(verdict, match, None, now), now)
    if isinstance(planned, Refusal):
        return Decision(verdict, severity, refusal=planned)
    terms = asking.terms(case, match)
    asks = planned.model_copy(update={"requires_approval": True, "approval_policy": terms})
    proposed = tried(case, asks, now)
    if isinstance(proposed, Refusal):
        return Decision(verdict, severity, refusal=proposed)
    return Decision(verdict, severity, plan=proposed, is_asked=True)


def _respond(case: Case, verdict: Verdict, match: Match, now: datetime) -> Decision:
    evidence = match.evidence(verdict)
    basis = evidence if evidence != verdict.message else ""
    return replace(_response(case, verdict, match, now), basis=basis)


def _response(case: Case, verdict: Verdict, match: Match, now: datetime) -> Decision:
    severity, response = Severity(match.rule.severity), match.rule.response
    due = matrix.deadline(match, verdict)
    is_due = due is not None and now.timestamp() >= due
    if response is Response.INVESTIGATE and match.rule.propose and not is_due:
        return _propose(case, verdict, match, now)
    signal = match.symptom.signal if match.symptom is not None else None
    if response is Response.ROLLBACK and stopped_traffic.is_asked(case.policy, signal):
        return _propose(case, verdict, match, now)
    if response is Response.INVESTIGATE and matrix.is_rolled_back_on_timeout(match):
        if not is_due:
            return Decision(verdict, severity, response, deadline=due)
        response = Response.ROLLBACK
    if response is not Response.ROLLBACK:
        return Decision(verdict, severity, response)
    deadline = datetime.fromtimestamp(due, now.tzinfo) if due is not None else None
    question = superseding.replaceable(case)
    case = superseding.without(case, question, now)
    planned = make_plan(case, match.rule, make_trigger(verdict, match, deadline, now), now)
    if isinstance(planned, Refusal):
        refused = superseding.refused_too(planned, question)
        return Decision(verdict, severity, response, refusal=refused)
    name = question.metadata.name if question is not None else ""
    return Decision(verdict, severity, response, plan=planned, supersedes=name)
