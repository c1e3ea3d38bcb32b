"""People are asked whether the release is to blame: when, and when no answer is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.checklist import (
    Approval,
    ApprovalDecision,
    ApprovalSpec,
    ApprovalTimeout,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.safety import FreezeWindow, SafetySpec
from rollback_operator.api.v1alpha1 import (
    Health,
    MatrixCondition,
    MatrixRule,
    MatrixSeverity,
    Outcome,
    Response,
    Rollback,
    RollbackStatus,
    Severity,
    SignalName,
    StepName,
    VerdictValue,
)
from rollback_operator.decide import evaluate
from rollback_operator.decide.decide import Decision, decide
from rollback_operator.model.context import Case
from rollback_operator.model.verdict import CEASED, ENDED, Blame, Verdict
from rollback_operator.releases import ledger
from rollback_operator.releases.statements import condemns
from rollback_operator.remedies.attempts import name_of
from tests.builders import (
    at,
    make_case,
    make_deployment,
    make_ended,
    make_entry,
    make_policy,
    make_rollback,
    make_scope,
    make_step,
    make_verdict,
    make_workload,
)

ASKED = 100.0


def late(blame: float = 5.0, **changes: Any) -> Verdict:
    """All requests fail from 118 s on, and the release may be to blame."""
    scope = make_scope(None, **{"blame": Blame(blame, False, 118.0), "late_share": 1.0} | changes)
    return make_verdict(
        scope, value=VerdictValue.SUSPECT, reason=Reason.ENVIRONMENT_SUSPECTED, message="it fails"
    )


def question(case: Case | None = None, verdict: Verdict | None = None, **changes: Any) -> Rollback:
    """The question as it is stored, and people are asked since ASKED."""
    plan = decide(case or make_case(), verdict or late(), at(ASKED)).plan
    assert plan is not None
    status = RollbackStatus(
        step=StepName.AWAITING_APPROVAL,
        steps=[make_step(StepName.AWAITING_APPROVAL, ASKED)],
        approval_deadline_time=at(ASKED + 3600),
    )
    return make_rollback(name_of(plan), status, **(dict(plan) | changes))


def decided(verdict: Verdict, seconds: float = 120.0, **changes: Any) -> Decision:
    """The decision so long after people were asked."""
    case = make_case(rollbacks=[question()])
    return decide(replace(case, **changes), verdict, at(ASKED + seconds))


@pytest.mark.parametrize(
    ("verdict", "is_asked"),
    [
        pytest.param(late(99), True, id="nearly to blame"),
        pytest.param(late(2), True, id="at the bound"),
        pytest.param(late(1.9), False, id="below the bound"),
        pytest.param(late(5, odds=9_000), False, id="the evidence is not Bad"),
        pytest.param(late(5, unmet="only one sample"), False, id="a floor"),
        pytest.param(late(5, veto=Reason.TRAFFIC_SPIKE), False, id="a veto"),
        pytest.param(late(5, rate_lower_bound=0.02, has_all_failed=False), False, id="a P4"),
    ],
)
def test_people_are_asked_between_two_bounds_of_blame(verdict: Verdict, is_asked: bool) -> None:
    found = decide(make_case(), verdict, at(ASKED))

    assert found.is_asked is is_asked
    assert (found.plan is not None and found.plan.requires_approval) is is_asked
    assert (found.severity in (Severity.P1, Severity.P2)) is is_asked


def test_what_is_proved_to_be_the_releases_is_undone_at_once() -> None:
    proved = make_verdict(make_scope(None, rate_lower_bound=0.2, has_all_failed=False))
    found = decide(make_case(), replace(proved, scopes=(*proved.scopes, *late().scopes)), at(ASKED))

    assert found.plan is not None
    assert not found.plan.requires_approval


def test_a_matrix_that_rolls_nothing_back_asks_nobody() -> None:
    fails = MatrixCondition(signal=SignalName.ERROR_RATE, above="0.05")
    rules = [MatrixRule(severity=MatrixSeverity.P2, when=[fails], response=Response.REPORT)]
    found = decide(make_case(make_policy(matrix=rules)), late(), at(ASKED))

    assert found.plan is None
    assert not found.is_asked


def test_the_question_is_abandoned_at_the_policys_deadline_whatever_else_proceeds() -> None:
    approval = ApprovalSpec(timeout_seconds=1800, on_timeout=ApprovalTimeout.PROCEED)
    plan = decide(make_case(make_policy(approval=approval)), late(), at(ASKED)).plan

    assert plan is not None
    assert plan.approval_policy.timeout_seconds == 1800
    assert plan.approval_policy.on_timeout is ApprovalTimeout.ABANDON
    assert plan.trigger.blame_odds == "5 : 1"


@pytest.mark.parametrize(
    ("case", "odds", "then"),
    [
        pytest.param(make_case(), 5, ApprovalTimeout.PROCEED, id="default"),
        pytest.param(make_case(), 2.9, ApprovalTimeout.ABANDON, id="too little blame"),
        pytest.param(
            make_case(workload=make_workload(deployment=make_deployment(strategy="Recreate"))),
            5,
            ApprovalTimeout.ABANDON,
            id="no pod would serve",
        ),
        pytest.param(
            make_case(
                make_policy(approval=ApprovalSpec(on_timeout_when_down=ApprovalTimeout.ABANDON))
            ),
            5,
            ApprovalTimeout.ABANDON,
            id="turned off",
        ),
    ],
)
def test_the_plan_says_what_follows_while_the_service_is_down(
    case: Case, odds: float, then: ApprovalTimeout
) -> None:
    plan = decide(case, late(odds), at(ASKED)).plan

    assert plan is not None
    assert plan.approval_policy.on_timeout_when_down is then


def test_an_open_question_proceeds_after_two_minutes_while_the_service_is_down() -> None:
    before, after = decided(late(), 119), decided(late(), 120)

    assert before.is_asked
    assert before.deadline == at(ASKED + 120).timestamp()
    assert before.response is None
    assert after.response is Response.ROLLBACK
    assert "100 % of all requests still fail" in after.proceeds


@pytest.mark.parametrize(
    ("verdict", "changes"),
    [
        pytest.param(late(late_share=0.9), {}, id="some requests pass"),
        pytest.param(late(late_share=None), {}, id="too few requests"),
        pytest.param(late(2.9), {}, id="less blame by now"),
        pytest.param(late(unmet=CEASED), {}, id="errors cease"),
        pytest.param(make_verdict(value=VerdictValue.NO_VERDICT, scopes=()), {}, id="no data"),
        pytest.param(
            late(),
            {
                "policy": make_policy(
                    approval=ApprovalSpec(on_timeout_when_down=ApprovalTimeout.ABANDON)
                )
            },
            id="the policy was changed",
        ),
        pytest.param(
            late(),
            {
                "policy": make_policy(
                    safety=SafetySpec(
                        freeze=[FreezeWindow.model_validate({"name": "x", "from": "00:00",
                                                             "until": "00:00"})]
                    )
                )
            },
            id="a freeze began",
        ),
        pytest.param(
            late(),
            {"workload": make_workload(deployment=make_deployment(max_unavailable="100%"))},
            id="no pod would serve",
        ),
    ],
)  # fmt: skip
def test_otherwise_it_waits(verdict: Verdict, changes: dict[str, Any]) -> None:
    found = decided(verdict, 600, **changes)

    assert found.is_asked
    assert found.response is None
    assert not found.proceeds
    assert found.severity is Severity.P2


@pytest.mark.parametrize("decision", list(ApprovalDecision))
def test_an_answer_that_is_not_read_yet_keeps_it_from_proceeding(
    decision: ApprovalDecision,
) -> None:
    given = Approval(decision=decision, by="jane", plan_digest="0123")
    found = decided(late(), 600, rollbacks=[question(approval=given)])

    assert not found.proceeds


def test_traffic_that_has_recovered_ends_it_with_the_share() -> None:
    over = late(unmet=ENDED, late_share=0.002)
    failing = late(unmet=ENDED, late_share=0.2)

    assert "0.2 % of the newest requests fail" in decided(over).recovered
    assert not decided(failing).recovered
    assert not decided(make_verdict(value=VerdictValue.NO_VERDICT, scopes=())).recovered


@pytest.mark.parametrize(
    ("changes", "is_over"),
    [
        pytest.param({"late_share": 0.0}, True, id="clean since"),
        pytest.param({"late_share": 0.2}, False, id="still failing"),
        pytest.param({"late_share": None}, False, id="no requests since"),
    ],
)
def test_a_question_ends_also_when_clean_counts_outweigh_a_short_fault(
    changes: dict[str, Any], is_over: bool
) -> None:
    verdict = replace(late(odds=56.0, **changes), value=VerdictValue.WATCHING)

    assert bool(decided(verdict).recovered) is is_over


@pytest.mark.parametrize(
    ("decision", "seconds", "is_over"),
    [
        (ApprovalDecision.APPROVE, 500, False),
        (ApprovalDecision.APPROVE, 700, True),
        (ApprovalDecision.REJECT, 700, False),
    ],
)
def test_traffic_that_has_recovered_ends_what_was_approved_if_that_is_read_after_the_deadline(
    decision: ApprovalDecision, seconds: float, is_over: bool
) -> None:
    given = Approval(decision=decision, by="jane", plan_digest="0123")
    status = question().status.model_copy(update={"approval_deadline_time": at(ASKED + 600)})
    asked = question(approval=given).model_copy(update={"status": status})

    found = decided(late(unmet=ENDED, late_share=0.002), seconds, rollbacks=[asked])

    assert bool(found.recovered) is is_over


@pytest.mark.parametrize(
    ("outcome", "reason", "is_asked_again"),
    [
        (Outcome.ABANDONED, Reason.TRAFFIC_RECOVERED, True),
        (Outcome.ABANDONED, Reason.APPROVAL_TIMED_OUT, False),
        (Outcome.REJECTED, Reason.REJECTED_BY_PERSON, False),
    ],
)
def test_only_a_fault_that_returns_is_asked_about_again(
    outcome: Outcome, reason: Reason, is_asked_again: bool
) -> None:
    status = make_ended(outcome, ASKED + 60)
    done = {"type": "Complete", "status": "True", "reason": reason, "message": ""}
    status = RollbackStatus.model_validate(
        {**status.model_dump(by_alias=True), "conditions": [{**done, "lastTransitionTime": at(1)}]}
    )
    ended = question().model_copy(update={"status": status})
    found = decide(make_case(rollbacks=[ended]), late(), at(ASKED + 600))

    assert (found.plan is not None) is is_asked_again
    assert found.severity is Severity.P2


def test_what_is_proved_later_is_done_beside_the_question() -> None:
    found = decided(make_verdict(), 30)

    assert found.response is Response.ROLLBACK


def test_a_question_condemns_no_release_until_it_is_answered() -> None:
    asked = question()
    begun = asked.status.model_copy(
        update={"steps": [*asked.status.steps, make_step(StepName.UNDO, ASKED + 130)]}
    )

    assert not condemns(asked)
    assert condemns(asked.model_copy(update={"status": begun}))
    known = make_entry("v2", Health.UNKNOWN), make_entry("v1")
    case = make_case(ledger=known, rollbacks=[asked])
    assert evaluate._blamed(case, decided(late()), at(ASKED + 130)) != case.ledger
    assert evaluate._blamed(case, decided(late(), 10), at(ASKED + 10)) == case.ledger


def test_a_release_is_condemned_for_the_evidence_of_its_severity() -> None:
    slow = Decision(late(), Severity.P3, basis="p99 is 3 times the old one")
    case = make_case(ledger=(make_entry("v2", Health.UNKNOWN), make_entry("v1")))
    entry = ledger.entry_of(evaluate._blamed(case, slow, at(ASKED)), make_entry("v2").release)
    assert entry is not None
    assert entry.condemned is not None
    assert entry.condemned.message == "P3: p99 is 3 times the old one"
