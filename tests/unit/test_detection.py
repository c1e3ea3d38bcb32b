"""200 fixed scenarios, judged as the operator would: what must never happen, and what must.

The same scenarios in every run, a fifth of them in that of `make test`. `python -m
bench.detection explain LINE` shows one look by look; the figures over thousands are made by `make
bench-detection`.
"""

from collections.abc import Sequence
from functools import cache

import pytest

from bench.detection import families
from bench.detection.figures import decision, given
from bench.detection.judged import judge_world
from bench.detection.limits import is_undecidable, limit, truth
from bench.detection.records import Record
from bench.detection.scenario import BOTH_FAIL, Confounder, Fault, Scenario, Truth
from bench.detection.world import build
from tests.sizes import is_extended, share_of

pytestmark = pytest.mark.timeout(600)
"""Each judges dozens of releases: on a busy machine that takes its time."""

PLAIN, CONFOUNDED, BAD, BESIDE, MILD = range(5)
FAMILY = 100_000
KNOWN_BOTH_FAIL = 0
"""Environment faults that are still taken for the release's."""
KNOWN_MISSED = 1
"""Bad releases that are still missed."""


@cache
def record(scenario: Scenario) -> Record:
    """What was decided about a scenario."""
    world = build(scenario)
    cast = world.cast
    return Record(
        scenario,
        truth(world),
        limit(world),
        judge_world(world),
        cast.first_request,
        cast.last_old,
        is_undecidable(world),
    )


def scenarios(family: int) -> list[Scenario]:
    return [each for each in families.fixed() if each.seed % families.FIXED // FAMILY == family]


def judged(family: int) -> list[Record]:
    """A family's scenarios with what was decided."""
    return [record(scenario) for scenario in share_of(scenarios(family))]


def is_count(found: Sequence[Record], whole: int) -> bool:
    """Tell whether there are so many, or, of a share, any."""
    return len(found) == whole if is_extended() else bool(found)


def lines(records: Sequence[Record]) -> list[str]:
    return [one.scenario.line() for one in records]


def test_no_healthy_release_is_rolled_back() -> None:
    assert is_count(judged(PLAIN), 80)
    assert lines([one for one in judged(PLAIN) if one.is_rolled_back]) == []
    assert {decision(one) for one in judged(PLAIN)} <= {"Nothing", "NoVerdict"}


def test_a_healthy_release_with_traffic_gets_a_verdict() -> None:
    # Without a single error in the hour before, 'no errors' and 'no such metric' look the same.
    busy = [one for one in judged(PLAIN) if one.scenario.rps >= 5 and one.scenario.base]
    assert len(busy) > (20 if is_extended() else 2)
    assert lines([one for one in busy if one.outcome.final == "NoVerdict"]) == []


@pytest.mark.extended
def test_what_fails_on_both_revisions_is_rolled_back_only_if_no_sample_tells() -> None:
    both = [record(one) for one in scenarios(CONFOUNDED) if one.confounder in BOTH_FAIL]
    assert len(both) == 18
    wrong = [one for one in both if one.is_rolled_back and not one.is_undecidable]
    assert len(lines(wrong)) <= KNOWN_BOTH_FAIL


def test_no_other_confounder_alone_leads_to_a_rollback() -> None:
    beside = [one for one in scenarios(CONFOUNDED) if one.confounder not in BOTH_FAIL]
    others = [one for one in map(record, share_of(beside)) if one.truth is Truth.NO_ROLLBACK]
    assert is_count(others, 33)
    assert lines([one for one in others if one.is_rolled_back]) == []


@pytest.mark.parametrize("row", [Confounder.FLAPPING, Confounder.NO_WAY_BACK])
def test_where_going_back_is_no_use_nothing_is_rolled_back(row) -> None:
    mine = [record(one) for one in scenarios(CONFOUNDED) if one.confounder is row]
    assert len(mine) == 3
    assert lines([one for one in mine if one.is_rolled_back]) == []


def test_a_bad_release_is_taken_back_if_that_can_be_known() -> None:
    wanted = [one for one in (*judged(BAD), *judged(BESIDE)) if can_be_known(one)]
    assert is_count(wanted, 37)
    missed = [one for one in wanted if not one.is_rolled_back]
    assert len(lines(missed)) <= KNOWN_MISSED


def can_be_known(one: Record) -> bool:
    """Whether the limit leaves the judge three times as long within the short horizon."""
    if one.truth is not Truth.ROLLBACK or one.limit is None:
        return False
    return one.limit.since + 3 * one.limit.floored <= one.scenario.horizon


def test_no_bad_release_is_taken_back_before_its_fault_begins() -> None:
    early = [
        one
        for one in (*judged(BAD), *judged(BESIDE))
        if one.limit and one.is_rolled_back and (one.outcome.rolled_back or 0) < one.limit.since
    ]
    assert lines(early) == []


def test_a_severity_is_never_overstated() -> None:
    taken = [one for one in (*judged(BAD), *judged(BESIDE)) if one.is_rolled_back]
    over = [one for one in taken if given(one) < one.scenario.severity]
    assert lines(over) == []


def test_nothing_is_rolled_back_for_a_few_errors() -> None:
    mild = [one for one in scenarios(MILD) if one.fault is Fault.ERRORS]
    few = [record(one) for one in share_of(mild)]
    assert few
    assert lines([one for one in few if one.is_rolled_back]) == []
