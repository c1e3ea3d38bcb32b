"""A rule that investigates may propose a Rollback: what is planned, and until when it waits."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rollback_operator.api.checklist import ApprovalSpec, ApprovalTimeout
from rollback_operator.api.v1alpha1 import (
    MatrixCondition,
    MatrixRule,
    MatrixSeverity,
    Outcome,
    Response,
    RollbackSpec,
    SignalName,
    TimeoutResponse,
)
from rollback_operator.decide.decide import Decision, decide
from rollback_operator.remedies.attempts import name_of
from tests.builders import at, make_case, make_ended, make_policy, make_rollback, make_verdict

FAILS = MatrixCondition(signal=SignalName.ERROR_RATE, above="0.05")


def rule(**changes: Any) -> MatrixRule:
    fields = {
        "severity": MatrixSeverity.P3,
        "when": [FAILS],
        "response": Response.INVESTIGATE,
        "propose": True,
    }
    return MatrixRule(**(fields | changes))


def decided(seconds: float = 10.0, **changes: Any) -> Decision:
    approval = ApprovalSpec(timeout_seconds=1800, on_timeout=ApprovalTimeout.PROCEED)
    case = make_case(make_policy(matrix=[rule(**changes)], approval=approval))
    return decide(case, make_verdict(), at(seconds))


def planned(decision: Decision) -> RollbackSpec:
    assert decision.plan is not None
    return decision.plan


def test_people_are_told_and_a_plan_waits_for_them_as_the_policy_says() -> None:
    found = decided()

    assert found.response is Response.INVESTIGATE
    assert planned(found).requires_approval
    assert planned(found).approval_policy.timeout_seconds == 1800
    assert planned(found).approval_policy.on_timeout is ApprovalTimeout.PROCEED


def test_it_waits_until_the_time_of_the_investigation_is_up_and_is_dropped_then() -> None:
    found = decided(within_seconds=600, on_timeout=TimeoutResponse.REPORT)

    left = planned(found).approval_policy
    assert 10 <= left.timeout_seconds <= 600
    assert left.on_timeout is ApprovalTimeout.ABANDON
    assert found.deadline is not None


def test_without_propose_nothing_is_planned() -> None:
    assert decided(propose=False).plan is None


def test_what_is_on_record_is_not_proposed_again() -> None:
    policy = make_policy(matrix=[rule()])
    case = make_case(policy)
    first = planned(decide(case, make_verdict(), at(10)))
    known = make_rollback(name_of(first), make_ended(Outcome.ABANDONED), **dict(first))

    again = decide(make_case(policy, rollbacks=[known]), make_verdict(), at(15))

    assert again.plan is None
    assert again.refusal is not None
    assert again.response is Response.INVESTIGATE


def test_what_nobody_approved_is_done_when_it_becomes_worse() -> None:
    proposed = planned(decide(make_case(make_policy(matrix=[rule()])), make_verdict(), at(10)))
    known = make_rollback(name_of(proposed), make_ended(Outcome.ABANDONED), **dict(proposed))
    worse = make_case(make_policy(), rollbacks=[known])

    found = decide(worse, make_verdict(), at(700))

    assert found.response is Response.ROLLBACK
    assert not planned(found).requires_approval
    assert name_of(planned(found)) != known.metadata.name


@pytest.mark.parametrize("response", [Response.ROLLBACK, Response.REPORT])
def test_only_an_investigation_proposes(response: Response) -> None:
    with pytest.raises(ValidationError, match="propose requires response Investigate"):
        rule(response=response)
