from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    RUNBOOK_MATRIX,
    MatrixCondition,
    MatrixRule,
    RouteSet,
    SignalName,
    TimeoutResponse,
)
from rollback_operator.decide.matrix import (
    Match,
    classify,
    deadline,
    faults,
    is_rolled_back_on_timeout,
)
from rollback_operator.model.verdict import BAD_ODDS, DEADLINE_ODDS, ENDED, Blame, Cause, Symptom
from tests.builders import PURCHASE, RESERVE, T0, make_scope, make_verdict

POOLED, ROUTE = make_scope(), make_scope(PURCHASE)


def rate(lower: float, route: str | None = None, **changes):
    return make_scope(route, rate_lower_bound=lower, has_all_failed=False, **changes)


ROWS = {
    "all purchases fail": ([rate(0.28), rate(0.96, PURCHASE)], "P1"),
    "90 % of purchases surely fail": ([rate(0.28), rate(0.90, PURCHASE)], "P1"),
    "just under": ([rate(0.28), rate(0.8999, PURCHASE, errors=95.0)], "P2"),
    "few, but all of them": (
        [rate(0.25), replace(rate(0.84, PURCHASE), has_all_failed=True)],
        "P1",
    ),
    "all routes fail, none of them purchase": ([rate(0.96)], "P2"),
    "the worst purchase route counts": (
        [rate(0.4), rate(0.1, RESERVE), rate(0.95, PURCHASE)],
        "P1",
    ),
    "above 5 %": ([rate(0.0501)], "P2"),
    "5 % is not above 5 %": ([rate(0.05)], "P4"),
    "above 1 %": ([rate(0.011)], "P4"),
    "1 %": ([rate(0.01)], None),
    "not proved: a floor": ([rate(0.5, unmet="only one sample")], None),
    "not proved: a veto": ([rate(0.5, veto=Reason.TRAFFIC_SPIKE)], None),
    "not proved: the environment": ([rate(0.5, blame=Blame(99.9, False, 20))], None),
    "to blame by a hair": ([rate(0.5, blame=Blame(100.0, False, 5))], "P2"),
    "odds too low": ([rate(0.5, odds=9_999.0)], None),
    "pooled is proved, the route is not": (
        [rate(0.28), rate(0.96, PURCHASE, odds=9_000.0)],
        "P2",
    ),
    "pooled is proved, each of eleven purchases failed": (
        [rate(0.18), rate(0.74, PURCHASE, requests=11, errors=11, unmet="11 of 20 requests")],
        "P1",
    ),
    "pooled is proved, one of twelve purchases passed": (
        [rate(0.18), rate(0.65, PURCHASE, requests=12, errors=11, unmet="12 of 20 requests")],
        "P2",
    ),
    "pooled is proved, each of nine purchases failed": (
        [rate(0.18), rate(0.7, PURCHASE, requests=9, errors=9, unmet="9 of 20 requests")],
        "P2",
    ),
    "everything failed, among it few purchases": (
        [
            replace(rate(0.84), has_all_failed=True),
            rate(0.6, PURCHASE, requests=6, errors=6, odds=50.0, unmet="6 of 20 requests"),
        ],
        "P1",
    ),
    "each of eleven purchases failed, nothing is proved": (
        [
            rate(0.18, unmet="only one sample"),
            rate(0.74, PURCHASE, requests=11, errors=11, unmet="11 of 20 requests"),
        ],
        None,
    ),
    "each of eleven purchases failed, with a veto": (
        [
            rate(0.18),
            rate(0.74, PURCHASE, requests=11, errors=11, veto=Reason.FEW_PODS_AFFECTED),
        ],
        "P2",
    ),
    "each of eleven purchases failed, and no more": (
        [rate(0.18), rate(0.74, PURCHASE, requests=11, errors=11, unmet=ENDED)],
        "P2",
    ),
    "the route is proved, pooled is not": (
        [rate(0.28, odds=9_000.0), rate(0.5, PURCHASE)],
        None,
    ),
}


@pytest.mark.parametrize(("scopes", "expected"), ROWS.values(), ids=ROWS)
def test_severity_by_rate(scopes, expected) -> None:
    match = classify(RUNBOOK_MATRIX, make_verdict(*scopes), BAD_ODDS)
    assert (match.rule.severity if match else None) == expected
    assert match is None or match.scope is None or match.scope.is_proved


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"cause": Cause.UNAVAILABLE}, "P1"), ({"cause": Cause.STUCK_ROLLOUT}, "P2"), ({}, None)],
    ids=["outage", "standstill", "neither"],
)
def test_severity_by_kubernetes(changes, expected) -> None:
    verdict = replace(make_verdict(), scopes=(), **changes)
    match = classify(RUNBOOK_MATRIX, verdict, BAD_ODDS)
    assert (match.rule.severity if match else None) == expected
    assert match is None or match.scope is None


KILLED = Symptom(SignalName.OOM_KILLS, "killed for its memory", is_on_every_pod=True)


@pytest.mark.parametrize(
    ("symptom", "expected"),
    [
        (KILLED, "P2"),
        (replace(KILLED, is_on_every_pod=False), "P3"),
        (replace(KILLED, veto=Reason.OLD_REVISION_FAILS_TOO), None),
        (replace(KILLED, signal=SignalName.RESTARTS), "P3"),
    ],
    ids=["every new pod", "some of them", "old ones too", "restarts are no kills"],
)
def test_out_of_memory_on_every_new_pod_is_rolled_back(symptom, expected) -> None:
    verdict = replace(make_verdict(), scopes=(), symptoms=(symptom,))
    match = classify(RUNBOOK_MATRIX, verdict, BAD_ODDS)
    assert (match.rule.severity if match else None) == expected


TIMED = RUNBOOK_MATRIX[2].model_copy(update={"on_timeout": TimeoutResponse.ROLLBACK})


@pytest.mark.parametrize(
    ("rule", "signal", "odds", "expected"),
    [
        (TIMED, SignalName.LATENCY_RATIO, 10_000.0, True),
        (TIMED, SignalName.LATENCY, 10_000.0, True),
        (TIMED, SignalName.MEMORY_GROWTH, 10_000.0, True),
        (TIMED, SignalName.LATENCY_RATIO, 9_999.0, False),
        (TIMED, SignalName.RESTARTS, 1e9, False),
        (TIMED, SignalName.OOM_KILLS, 1e9, False),
        (TIMED, SignalName.QUERY, 1e9, False),
        (RUNBOOK_MATRIX[2], SignalName.LATENCY_RATIO, 1e9, False),
    ],
)
def test_which_investigation_ends_in_a_rollback(rule, signal, odds, expected) -> None:
    match = Match(rule, symptom=Symptom(signal, "said", odds=odds))
    assert is_rolled_back_on_timeout(match) is expected


def test_weaker_evidence_will_do_at_the_deadline() -> None:
    verdict = make_verdict(rate(0.5, odds=2_000.0))
    assert classify(RUNBOOK_MATRIX, verdict, BAD_ODDS) is None
    assert classify(RUNBOOK_MATRIX, verdict, DEADLINE_ODDS).rule.severity == "P2"


P1, P2, P3, P4 = RUNBOOK_MATRIX


@pytest.mark.parametrize(
    ("match", "first_bad", "expected"),
    [
        (Match(P1, ROUTE), 5, 65),
        (Match(P2, rate(0.05)), 5, 905),
        (Match(P2, rate(0.20)), 5, 230),
        (Match(P2, rate(1.0)), 5, 50),
        (Match(P2, rate(0.04)), 5, 905),
        (Match(P2, rate(0.0)), 5, 905),
        (Match(P2), 0, 900),
        (Match(P4, rate(0.02)), 5, None),
        (Match(P2, POOLED), None, None),
    ],
    ids=[
        "P1: a minute",
        "at the threshold: all of it",
        "four times the threshold: a quarter",
        "everything fails: a twentieth",
        "below the threshold it is not longer",
        "without a bound it does not shrink",
        "a standstill has no rate",
        "a report has no deadline",
        "nothing bad was seen",
    ],
)
def test_deadline(match, first_bad, expected) -> None:
    verdict = make_verdict(first_bad=None if first_bad is None else T0 + first_bad)
    found = deadline(match, verdict)
    assert found == (None if expected is None else pytest.approx(T0 + expected))


def rule(severity: str, *conditions: MatrixCondition) -> MatrixRule:
    return MatrixRule(severity=severity, when=list(conditions), response="Rollback")


def above(value: str, routes: RouteSet | None = None) -> MatrixCondition:
    return MatrixCondition(signal=SignalName.ERROR_RATE, above=value, routes=routes)


STUCK = MatrixCondition(signal=SignalName.STUCK_ROLLOUT)


@pytest.mark.parametrize(
    ("rules", "hidden"),
    [
        (RUNBOOK_MATRIX, None),
        ([rule("P1", above("0.5")), rule("P2", above("0.1"))], None),
        ([rule("P1", above("0.1")), rule("P2", above("0.5"))], "spec.matrix[1].when[0]"),
        ([rule("P1", above("0.1")), rule("P2", above("0.1"))], "spec.matrix[1].when[0]"),
        ([rule("P1", above("0.1")), rule("P2", above("0.5", RouteSet.PURCHASE))], None),
        ([rule("P1", STUCK), rule("P2", above("0.1"), STUCK)], "spec.matrix[1].when[1]"),
        ([rule("P1", above("0.1"), above("0.5"))], None),
    ],
    ids=[
        "the runbook",
        "falling thresholds",
        "rising thresholds",
        "equal thresholds",
        "other routes",
        "the same symptom twice",
        "within one rule any of them will do",
    ],
)
def test_what_can_never_match_is_named(rules, hidden) -> None:
    found = faults(rules)
    assert [one.split(" ")[0] for one in found] == ([] if hidden is None else [hidden])
    assert all("spec.matrix[0]" in one and "thresholds must decrease" in one for one in found)


UP = "sum(up)"


@pytest.mark.parametrize(
    ("first", "second", "is_hidden"),
    [
        ({"above": "5"}, {"above": "9"}, True),
        ({"above": "9"}, {"above": "5"}, False),
        ({"below": "9"}, {"below": "5"}, True),
        ({"below": "5"}, {"below": "9"}, False),
        ({"above": "0"}, {"below": "5"}, False),
        ({"above": "5", "times": 5}, {"above": "9", "times": 1}, False),
        ({"above": "5", "times": 1}, {"above": "9", "times": 5}, True),
        ({"above": "5", "looks": 5}, {"above": "9", "looks": 9}, False),
        ({"above": "5", "looks": 9}, {"above": "9", "looks": 5}, True),
        ({"above": "5", "change_above": "2"}, {"above": "9"}, False),
        ({"above": "5"}, {"above": "9", "change_above": "2"}, True),
        ({"above": "5"}, {"above": "9", "query": "sum(down)"}, False),
    ],
)
def test_an_own_query_hides_one_that_is_met_only_where_it_is_met(
    first: dict[str, Any], second: dict[str, Any], is_hidden: bool
) -> None:
    rules = [
        MatrixRule(
            severity=severity,
            when=[MatrixCondition(**{"signal": "Query", "query": UP, **one})],
            response="Rollback",
        )
        for severity, one in (("P1", first), ("P2", second))
    ]
    assert bool(faults(rules)) is is_hidden


def test_two_probes_do_not_hide_each_other() -> None:
    rules = [
        MatrixRule(
            severity=severity,
            when=[MatrixCondition(signal=SignalName.PROBE, name=name)],
            response="Rollback",
        )
        for severity, name in (("P1", "buy"), ("P2", "list"), ("P3", "buy"))
    ]
    (found,) = faults(rules)
    assert found.startswith("spec.matrix[2].when[0] can never match because spec.matrix[0].when[0]")
