"""Live counts: who asks for them, what they say, and how seldom they are put on record."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.policy_status import WATCHED_UNTIL, ObservedCounts
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RollbackPolicyStatus
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.watch import open_watch
from rollback_operator.model.verdict import Verdict
from rollback_operator.report.live_counts import (
    EVERY,
    MOST_A_SECOND,
    MOST_OF_NAMESPACE,
    RecordRateLimit,
    evaluate,
    is_current,
    is_due,
    is_watched,
)
from rollback_operator.report.status import StatusInputs, next_status, ready
from tests.builders import (
    PURCHASE,
    T0,
    at,
    make_case,
    make_control,
    make_entry,
    make_increment,
    make_pods,
    make_question,
    make_scope,
    make_verdict,
    make_watching,
    make_workload,
)

NEW, OLD = make_pods(2), make_pods(3, "v1")


def until(text: str) -> dict[str, str]:
    return {WATCHED_UNTIL: text}


def stamp(seconds: float) -> dict[str, str]:
    return until(f"{at(seconds):%Y-%m-%dT%H:%M:%SZ}")


def looked(verdict: Verdict | None = None, **changes: object) -> EvaluationResult:
    """A look at v2, of which two pods were counted, beside three of v1."""
    counted = (
        make_increment(pod=NEW[0].name, requests=100, errors=40),
        make_increment(pod=NEW[1].name, requests=50, errors=41),
        make_increment(pod=NEW[1].name, route="/metrics", requests=900),
        make_increment(pod=OLD[0].name, requests=300, errors=1),
    )
    seen = {pod.name: T0 + 5 for pod in (*NEW, OLD[0])}
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))
    watch = replace(
        watch,
        pods=(*NEW, *OLD),
        control=make_control(),
        evidence=Evidence(T0, increments=counted, seen=seen),
    )
    workload = make_workload(pods=(*NEW, *OLD))
    verdict = verdict or make_verdict()
    found = EvaluationResult(
        make_case(workload=workload), make_question(), verdict, Decision(verdict), None, watch
    )
    return replace(found, **changes)


# -- who asks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 60, 120])
def test_counts_are_asked_for_until_a_time(left: int) -> None:
    assert is_watched(stamp(left), at())


@pytest.mark.parametrize("left", [-3600, 0, 121, 10**8])
def test_a_time_that_is_over_or_far_ahead_asks_for_nothing(left: int) -> None:
    assert not is_watched(stamp(left), at())


@pytest.mark.parametrize(
    "text",
    [
        *("", "true", "60", "forever", "2027-01-15", "0001-01-01T00:00:00+23:59"),
        *("9999-12-31T23:59:59-23:59", f"{at(30):%Y-%m-%dT%H:%M:%S}", "9" * 100_000),
    ],
)
def test_what_is_no_time_with_its_zone_asks_for_nothing(text: str) -> None:
    assert not is_watched(until(text), at())


@given(st.text(max_size=60))
def test_no_value_raises(text: str) -> None:
    is_watched(until(text), at())


def test_nobody_asks_where_there_is_no_annotation() -> None:
    assert not is_watched({}, at())


# -- how seldom ------------------------------------------------------------------------------------


def test_an_evaluation_stands_for_two_seconds() -> None:
    known = evaluate(looked(), at(10))
    verdict = looked().verdict
    assert is_due(None, verdict, at(10))
    assert not is_due(known, verdict, at(11.9))
    assert is_due(known, verdict, at(10) + EVERY)


def test_an_evaluation_of_the_future_is_replaced() -> None:
    known = evaluate(looked(), at(10))
    assert is_due(known, looked().verdict, at(9))


def test_what_has_changed_the_verdict_is_told_at_once() -> None:
    """The status is written for it anyway, and a second later an undo may have replaced it."""
    known = evaluate(looked(make_watching()), at(10))
    assert not is_due(known, make_watching(), at(10.5))
    assert is_due(known, make_verdict(), at(10.5))


def test_an_evaluation_of_another_release_does_not_stand() -> None:
    known = evaluate(looked(), at(10))
    assert is_current(known, looked())
    later = looked()
    assert not is_current(known, replace(later, watch=replace(later.watch, opened=T0 + 60)))
    assert not is_current(known.model_copy(update={"revision": 1}), looked())


def taken(namespaces: list[str], spread: float = 0.0) -> list[str]:
    """Ask for one after another; those that were let through."""
    pace, through = RecordRateLimit(), []
    for number, name in enumerate(namespaces):
        found = pace.after(name, at(number * spread))
        if found is not None:
            pace = found
            through.append(name)
    return through


def test_all_policies_together_are_bounded() -> None:
    assert len(taken([f"team-{one}" for one in range(100)])) == MOST_A_SECOND


def test_a_namespace_leaves_writes_for_others() -> None:
    through = taken(["greedy"] * 100 + ["other"])
    assert through == ["greedy"] * MOST_OF_NAMESPACE + ["other"]


def test_writes_come_back_with_time_and_nothing_is_kept_for_long() -> None:
    assert len(taken(["team"] * 40, spread=0.25)) == 40
    pace: RecordRateLimit | None = RecordRateLimit()
    for second in range(1000):
        assert pace is not None
        pace = pace.after("team", at(second))
    assert pace is not None
    assert len(pace.taken) == 1


def test_a_clock_that_is_set_back_does_not_stop_it() -> None:
    full = RecordRateLimit(tuple((at(3600), f"team-{one}") for one in range(MOST_A_SECOND)))
    assert full.after("team", at()) is not None


# -- what it says ----------------------------------------------------------------------------------


def test_both_revisions_are_counted_since_the_release_began() -> None:
    found = evaluate(looked(), at(10))

    assert (found.revision, found.since_time, found.time) == (2, at(0), at(10))
    assert found.new == ObservedCounts(pods=2, requests=150, errors=81)
    assert found.old == ObservedCounts(pods=1, requests=300, errors=1)
    assert found.past is not None
    assert (found.past.seconds, found.past.requests, found.past.errors) == (3600, 180_000, 180)


def test_it_says_the_odds_of_the_worst_route_and_both_bounds() -> None:
    found = evaluate(looked(), at(10))

    assert (found.odds, found.route, found.blame_odds) == ("100000000", PURCHASE, "9331")
    assert (found.suspect_odds, found.bad_odds) == (100, 10_000)
    assert found.reason == Reason.ERROR_RATE_ABOVE_CONTROL
    assert found.message == "all purchases fail"


@pytest.mark.parametrize(
    ("odds", "said"),
    [(0.0, "0.00"), (3.14159, "3.14"), (350.4, "350"), (1e300, "1000000000"),
     (float("inf"), "1000000000"), (float("nan"), "0")],
)  # fmt: skip
def test_odds_are_decimals_within_bounds(odds: float, said: str) -> None:
    verdict = make_verdict(make_scope(odds=odds))
    assert evaluate(looked(verdict), at(10)).odds == said


def test_where_nothing_is_weighed_yet_there_are_no_odds() -> None:
    none = replace(make_watching(), scopes=(), message="x" * 5000)
    watch = replace(looked().watch, control=None, evidence=Evidence(T0))
    found = evaluate(looked(none, watch=watch), at(10))
    assert (found.odds, found.route, found.blame_odds, found.past) == ("0.00", None, None, None)
    assert found.new == ObservedCounts(pods=0, requests=0, errors=0)
    assert len(found.message) == 1024


# -- on record -------------------------------------------------------------------------------------


def test_it_is_on_record_as_it_was_seen_and_gone_with_the_next_status() -> None:
    seen = StatusInputs(
        ready(Reason.WATCHING_TARGET),
        workload=make_workload(),
        ledger=(make_entry("v1"),),
        decision=Decision(make_watching()),
        opened=at(0),
    )
    without = next_status(RollbackPolicyStatus(), seen, 1, at(10))
    known = evaluate(looked(), at(10))
    watched = next_status(without, replace(seen, evaluation=known), 1, at(10))

    assert without.evaluation is None
    assert watched.evaluation == known
    assert next_status(watched, replace(seen, evaluation=known), 1, at(11)) == watched
    assert next_status(watched, seen, 1, at(20)) == without
