from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    MatrixRule,
    Mode,
    Outcome,
    Response,
    SafetySpec,
    Severity,
    SignalName,
    VerdictValue,
)
from rollback_operator.decide.decide import decide
from rollback_operator.decide.evaluate import evaluate_release
from rollback_operator.evidence.watch import open_watch
from rollback_operator.model.verdict import ENDED, Blame, Cause, Symptom, Thresholds
from rollback_operator.remedies.attempts import rollback_name
from tests.builders import (
    PURCHASE,
    T0,
    at,
    make_case,
    make_ended,
    make_policy,
    make_ref,
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
            replace(make_verdict(), scopes=(), cause=Cause.UNAVAILABLE),
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


TIMED = [
    MatrixRule(
        severity="P3",
        when=[{"signal": "LatencyRatio", "above": "2"}],
        response="Investigate",
        withinSeconds=600,
        onTimeout="Rollback",
    )
]
SLOW = Symptom(SignalName.LATENCY_RATIO, "p99 is 3 times the old one's", value=3.0)


@pytest.mark.parametrize(
    ("now", "response", "is_planned"),
    [(599, Response.INVESTIGATE, False), (601, Response.ROLLBACK, True)],
)
def test_an_investigation_may_end_in_a_rollback_at_its_time(now, response, is_planned) -> None:
    verdict = replace(make_verdict(), scopes=(), symptoms=(SLOW,), first_bad=T0)
    found = decide(make_case(make_policy(matrix=TIMED)), verdict, at(now))
    assert (found.response, found.plan is not None) == (response, is_planned)


@pytest.mark.parametrize(
    ("odds", "is_planned"), [(19_999.0, False), (20_000.0, True)], ids=["below", "reached"]
)
def test_the_policy_says_from_which_odds_on_is_acted(odds, is_planned) -> None:
    case = make_case(make_policy(safety=SafetySpec(bad_odds=20_000)))
    made = decide(case, make_verdict(rate(0.2, odds=odds)), at(10))
    assert (made.plan is not None) == is_planned
    assert made.severity is Severity.P2


def test_the_policy_says_from_which_odds_on_a_release_is_suspect_and_bad() -> None:
    case = make_case(make_policy(safety=SafetySpec(suspect_odds=50, bad_odds=20_000)))
    watch = open_watch("digest-v2", T0, frozenset())
    assert evaluate_release(case, watch, at(10)).question.odds == Thresholds(50, 20_000)


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


# -- what is suspect and not acted on --------------------------------------------------------------

SLOW = Symptom(SignalName.LATENCY_RATIO, "p99 three times as long", odds=1e8)
VETOED = rate(0.2, veto=Reason.OLD_REVISION_FAILS_TOO)


@pytest.mark.parametrize(
    ("verdict", "seconds", "doubted"),
    [
        pytest.param(suspect(VETOED), 0, Severity.P2, id="proved, and not the release's doing"),
        pytest.param(suspect(replace(VETOED, odds=5_000)), 0, Severity.NONE, id="not proved yet"),
        pytest.param(suspect(rate(0.2, odds=500)), 0, Severity.NONE, id="there is time left"),
        pytest.param(suspect(rate(0.2, odds=500)), 1000, Severity.P2, id="its time is up"),
        pytest.param(suspect(replace(VETOED, rate_lower_bound=0.005)), 0, Severity.NONE, id="few"),
        pytest.param(
            suspect(rate(0.2, odds=50), cause=Cause.UNATTRIBUTED),
            0,
            Severity.P1,
            id="plain without any odds",
        ),
        pytest.param(
            suspect(rate(0.2, blame=Blame(1.5, False, 420.0))), 0, Severity.P2, id="a late onset"
        ),
        pytest.param(
            make_verdict(
                rate(0.2, blame=Blame(1.5, False, 420.0)), rate(0.3, route=PURCHASE, errors=40.0)
            ),
            0,
            Severity.P2,
            id="proved on a route for which there is no rule, not on all together",
        ),
        pytest.param(
            suspect(rate(0.2, odds=50), symptoms=(replace(SLOW, veto=Reason.TRAFFIC_SPIKE),)),
            0,
            Severity.P3,
            id="a symptom that is not the release's doing",
        ),
    ],
)
def test_people_are_told_of_a_suspicion_that_waits_for_nothing(verdict, seconds, doubted) -> None:
    found = decide(CASE, verdict, at((verdict.first_bad or T0) - T0 + seconds))

    assert found.doubted is doubted
    assert found.plan is None


HALF = replace(rate(0.5, odds=0.0), late_lower_bound=0.5)
RESTORED = {"from_revision": make_ref("v3"), "to_revision": make_ref("v2")}


def alike(scope=HALF, reason=Reason.NO_CONTROL, value=VerdictValue.NO_VERDICT):
    return make_verdict(scope, value=value, reason=reason)


@pytest.mark.parametrize(
    ("verdict", "seconds", "doubted"),
    [
        (alike(), 20, Severity.P1),
        (alike(value=VerdictValue.WATCHING, reason=Reason.NO_EVIDENCE_AGAINST), 20, Severity.P1),
        (alike(replace(HALF, rate_lower_bound=0.01)), 20, Severity.P1),
        (alike(), 19, Severity.NONE),
        (alike(rate(0.49, odds=0.0)), 1000, Severity.NONE),
        (alike(reason=Reason.TOO_FEW_REQUESTS), 1000, Severity.NONE),
    ],
    ids=[
        "nothing to compare with",
        "what it is compared with fails as much",
        "of late",
        "in its first seconds",
        "less than half",
        "too few requests",
    ],
)
def test_people_are_told_of_what_fails_half_whatever_it_is_compared_with(
    verdict, seconds, doubted
) -> None:
    found = decide(CASE, verdict, at(verdict.first_bad - T0 + seconds))

    assert (found.doubted, found.severity, found.plan) == (doubted, Severity.NONE, None)


@pytest.mark.parametrize(
    ("outcome", "doubted"),
    [
        (Outcome.NOT_RECOVERED, Severity.NONE),
        (Outcome.UNKNOWN, Severity.NONE),
        (Outcome.VERIFIED, Severity.P1),
        (Outcome.ABANDONED, Severity.P1),
    ],
)
def test_what_a_rollback_has_told_of_what_it_restored_is_not_told_again(outcome, doubted) -> None:
    case = make_case(rollbacks=[make_rollback("r-1", make_ended(outcome), **RESTORED)])

    assert decide(case, alike(), at(1000)).doubted is doubted


def test_what_a_rollback_that_goes_on_has_restored_is_for_it_to_tell() -> None:
    case = make_case(rollbacks=[make_rollback("r-1", **RESTORED)])

    assert decide(case, alike(), at(1000)).doubted is Severity.NONE


@pytest.mark.parametrize(
    ("scope", "seconds", "doubted"),
    [
        (rate(0.5, odds=500, unmet="7 of 20 requests"), 1000, Severity.P2),
        (rate(0.5, odds=500, unmet="7 of 20 requests"), 30, Severity.NONE),
        (rate(0.5, odds=50, unmet="7 of 20 requests"), 1000, Severity.NONE),
        (rate(0.5, odds=500, unmet=ENDED), 1000, Severity.NONE),
    ],
    ids=["its time is up", "there is time left", "it may be chance", "it is over"],
)
def test_too_few_requests_are_told_when_there_is_no_time_for_more(scope, seconds, doubted) -> None:
    few = make_verdict(scope, value=VerdictValue.NO_VERDICT, reason=Reason.TOO_FEW_REQUESTS)

    found = decide(CASE, few, at((few.first_bad or T0) - T0 + seconds))

    assert (found.doubted, found.plan) == (doubted, None)


def test_a_proved_symptom_does_not_wait_for_an_error_rate_that_is_not() -> None:
    found = decide(CASE, suspect(rate(0.2, odds=5_000), symptoms=(SLOW,)), at(60))

    assert (found.severity, found.response) == (Severity.P3, Response.INVESTIGATE)
    assert found.evidence == SLOW.message


def test_pods_that_are_all_killed_for_their_memory_are_undone_whatever_else_is_suspect() -> None:
    killed = Symptom(SignalName.OOM_KILLS, "killed", is_on_every_pod=True)

    found = decide(CASE, suspect(rate(0.2, odds=500), symptoms=(killed,)), at(60))

    assert found.severity is Severity.P2
    assert found.plan is not None
    assert (found.evidence, found.plan.trigger.message) == ("killed", "killed")
