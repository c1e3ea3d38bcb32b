"""The bench's figures: late faults are in recall, and every wrong rollback is in precision."""

from bench.detection import families, further
from bench.detection.figures import Judge, judges, quality, wrong
from bench.detection.judged import Outcome
from bench.detection.limits import Limit
from bench.detection.records import Record
from bench.detection.scenario import Confounder, Fault, Scenario, Truth

US: Judge = judges()[0]
BAD = Scenario(seed=1, rps=10.0, fault=Fault.TOTAL, size=1.0)
OUTAGE = Scenario(seed=2, rps=10.0, confounder=Confounder.DEPENDENCY, extent=0.5, since=-30.0)
SHARED = Scenario(
    seed=3, rps=10.0, fault=Fault.ERRORS, size=0.5, confounder=Confounder.SHARED, since=10.0
)


def record(scenario: Scenario, truth: Truth, outcome: Outcome) -> Record:
    limit = Limit(10.0, 5.0, 5.0) if scenario.is_bad else None
    return Record(scenario, truth, limit, outcome, 3.0, 8.0, is_undecidable=False)


def decided(rolled_back: float | None = None, told: float | None = None) -> Outcome:
    return Outcome(seed=1, rolled_back=rolled_back, told=told)


def test_a_late_fault_that_stays_is_missing_from_recall() -> None:
    records = [
        record(BAD, Truth.ROLLBACK, decided(20.0)),
        record(BAD, Truth.PAGE, decided()),
    ]
    found = quality(records, US)
    assert (found["recall"], found["recallWithPeople"], found["missed"]) == (0.5, 0.5, 1)
    assert found["late"] == {"releases": 1, "undone": 0, "reached": 0}
    assert wrong(records)[0] is records[1]


def test_a_late_fault_that_people_hear_of_counts_in_the_second_recall_only() -> None:
    found = quality([record(BAD, Truth.PAGE, decided(told=20.0))], US)
    assert (found["recall"], found["recallWithPeople"]) == (0.0, 1.0)
    assert found["late"] == {"releases": 1, "undone": 0, "reached": 1}


def test_a_late_fault_that_is_undone_counts_in_both_and_in_precision() -> None:
    found = quality([record(BAD, Truth.PAGE, decided(30.0, told=20.0))], US)
    assert (found["precision"], found["recall"], found["recallWithPeople"]) == (1.0, 1.0, 1.0)


def test_a_report_or_an_undo_before_the_fault_is_none() -> None:
    found = quality([record(BAD, Truth.ROLLBACK, decided(5.0, told=4.0))], US)
    assert (found["recall"], found["recallWithPeople"]) == (0.0, 0.0)


def test_a_rollback_where_both_revisions_fail_is_in_precision() -> None:
    records = [
        record(BAD, Truth.ROLLBACK, decided(20.0)),
        record(OUTAGE, Truth.NO_ROLLBACK, decided(20.0)),
    ]
    found = quality(records, US)
    assert found["precision"] == 0.5
    assert found["bothFail"]["rolledBack"] == found["falseConfounded"]["rolledBack"] == 1


def test_what_is_for_people_to_judge_is_neither_right_nor_missed() -> None:
    found = quality([record(SHARED, Truth.PAGE, decided(20.0))], US)
    assert (found["precision"], found["recall"], found["badKnowable"]) == (None, None, 0)


def test_a_baseline_reaches_nobody_but_by_its_rollback() -> None:
    outcome = decided(told=20.0)
    one = record(BAD, Truth.ROLLBACK, outcome)
    assert quality([one], US)["recallWithPeople"] == 1.0
    assert [quality([one], judge)["recallWithPeople"] for judge in judges()[1:]] == [0.0] * (
        len(judges()) - 1
    )


def test_the_reference_judge_is_one_of_those_compared() -> None:
    assert "reference (one page)" in [judge.name for judge in judges()]


def test_reported_seeds_are_others_than_those_of_development_and_of_earlier_reports() -> None:
    counts = families.Counts(plain=3, confounded=3, bad=3, bad_confounded=3, mild=3, each=3)
    development, reported = (
        {one.seed for one in families.scenarios(counts, first)} for first in (0, families.REPORTED)
    )
    assert len(development) == len(reported) == 5 * 3 + 3 * len(further.FAMILIES)
    assert max(development) < families.FIXED
    assert min(reported) >= 2_000_000
    assert min(reported) >= 3_000_000  # some of those before led to a change of the judge


def test_each_further_family_is_known_by_its_seeds() -> None:
    counts = families.Counts(plain=1, confounded=1, bad=1, bad_confounded=1, mild=1, each=2)
    names = [families.family_of(one) for one in families.scenarios(counts, families.REPORTED)]
    assert names.count("") == 5
    assert {name: names.count(name) for name in further.FAMILIES} == dict.fromkeys(
        further.FAMILIES, 2
    )
