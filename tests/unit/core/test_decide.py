from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Mode, Response, Severity, VerdictValue
from rollback_operator.core.decide import decide
from rollback_operator.core.names import rollback_name
from rollback_operator.core.verdict import Blame
from tests.builders import (
    PURCHASE,
    T0,
    at,
    make_case,
    make_ended,
    make_policy,
    make_rollback,
    make_scope,
    make_verdict,
    make_watching,
)

CASE = make_case()


def rate(lower: float, odds: float = 1e8, **changes):
    return make_scope(rate_lower_bound=lower, has_all_failed=False, odds=odds, **changes)


def suspect(*scopes, **changes):
    fields = {"value": VerdictValue.SUSPECT} | changes
    return make_verdict(*scopes, **fields)


@pytest.mark.parametrize(
    ("verdict", "severity", "response", "is_planned"),
    [
        (make_verdict(), Severity.P1, Response.ROLLBACK, True),
        (make_verdict(rate(0.2)), Severity.P2, Response.ROLLBACK, True),
        (make_verdict(rate(0.02)), Severity.P4, Response.REPORT, False),
        (make_verdict(rate(0.005)), Severity.NONE, None, False),
        (make_watching(), Severity.NONE, None, False),
        (make_watching(value=VerdictValue.NO_VERDICT), Severity.NONE, None, False),
        (
            replace(make_verdict(), scopes=(), is_unavailable=True),
            Severity.P1,
            Response.ROLLBACK,
            1,
        ),
    ],
    ids=["P1", "P2", "P4: reported", "below the matrix", "clean", "no verdict", "outage"],
)
def test_what_is_proved_is_acted_on_at_once(verdict, severity, response, is_planned) -> None:
    found = decide(CASE, verdict, at(10))
    assert (found.severity, found.response) == (severity, response)
    assert (found.plan is not None) == bool(is_planned)
    assert found.refusal is None
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("scope", "now", "is_planned"),
    [
        (rate(0.2, odds=2_000.0), 229, False),
        (rate(0.2, odds=2_000.0), 231, True),
        (rate(0.2, odds=999.0), 10_000, False),
        (rate(0.2, odds=2_000.0, blame=Blame(28, False, 20)), 10_000, False),
        (rate(0.2, odds=2_000.0, veto=Reason.TRAFFIC_SPIKE), 10_000, False),
    ],
    ids=[
        "before the deadline",
        "at the deadline a tenth of the odds will do",
        "but not less",
        "nor a fault of the environment",
        "nor against a veto",
    ],
)
def test_a_suspicion_waits_for_its_deadline(scope, now, is_planned) -> None:
    found = decide(CASE, suspect(scope), at(now))
    assert (found.plan is not None) == is_planned
    assert is_planned or found.severity is Severity.NONE


def test_the_deadline_is_told_so_that_it_can_be_waited_for() -> None:
    found = decide(CASE, suspect(rate(0.2, odds=2_000.0)), at(10))
    assert found.deadline == pytest.approx(T0 + 5 + 225)
    assert decide(CASE, suspect(rate(0.2, odds=500.0)), at(10)).deadline is None


def test_the_plan_records_when_it_was_due() -> None:
    plan = decide(CASE, make_verdict(), at(10)).plan
    assert plan.trigger.deadline_time == at(65)
    assert plan.trigger.decided_time == at(10)
    assert plan.severity == "P1"


def test_a_refusal_is_told_with_its_severity() -> None:
    case = make_case(rollbacks=[make_rollback("another")])
    found = decide(case, make_verdict(), at(10))
    assert (found.severity, found.response) == (Severity.P1, Response.ROLLBACK)
    assert found.refusal.reason is Reason.ROLLBACK_ACTIVE


def test_deciding_again_makes_the_same_plan_until_it_is_stored() -> None:
    first, second = (decide(CASE, make_verdict(), at(10)).plan for _ in range(2))
    assert first == second
    stored = make_case(rollbacks=[make_rollback(rollback_name(CASE), make_ended())])
    assert decide(stored, make_verdict(), at(11)).refusal.reason is Reason.ALREADY_ROLLED_BACK


def test_observing_plans_too() -> None:
    observing = make_case(policy=make_policy(mode=Mode.OBSERVE))
    assert decide(observing, make_verdict(), at(10)).plan.mode is Mode.OBSERVE


def test_the_route_that_meets_the_rule_is_what_is_recorded() -> None:
    scopes = make_scope(rate_lower_bound=0.3), make_scope(PURCHASE, requests=77, errors=77)
    assert decide(CASE, make_verdict(*scopes), at(10)).plan.trigger.requests == 77
