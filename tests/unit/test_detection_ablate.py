"""The bench's ablation: a rule is taken away, what that changes is counted, and it is put back."""

import importlib

import pytest

from bench.detection import ablate
from bench.detection.ablate import RULES, WHOLE, Case, Rule, judge_without, table
from bench.detection.judged import Outcome, judge_world
from bench.detection.limits import Limit
from bench.detection.scenario import Confounder, Fault, Scenario, Truth, parse
from bench.detection.world import build

BY_NAME = {rule.name: rule for rule in RULES}
ALIKE = BY_NAME["prior failure (alike)"]
SPIKE = BY_NAME["veto: traffic spike"]
OUTAGE = parse(
    '{"seed":1300190,"rps":9.9622,"pods":6,"scrape":15.0,"jitter":0.05,"loss":0.02,"base":0.01,'
    '"clump":10,"confounder":"DependencyOutage","extent":0.657,"since":-10.0,"lasts":600.0,'
    '"horizon":150.0}'
)
"""Both revisions fail, the old pods from their last seconds on."""
BAD = Scenario(1, 10.0, fault=Fault.TOTAL, size=1.0)
GOOD = Scenario(2, 10.0, confounder=Confounder.SPIKE)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_rule_is_where_it_is_said_to_be_and_is_put_back(rule: Rule) -> None:
    module, name = rule.place.split(":")
    owner = importlib.import_module(f"rollback_operator.{module}")
    kept = getattr(owner, name)
    with rule.put(rule.made):
        assert getattr(owner, name) is not kept
    assert getattr(owner, name) is kept


def test_no_two_rules_have_one_name() -> None:
    assert len(BY_NAME) == len(RULES)


def test_without_the_rule_that_saw_the_outage_before_it_is_rolled_back() -> None:
    case = judge_without(OUTAGE, [ALIKE, SPIKE])
    assert case.whole.rolled_back is None
    assert case.outcome(ALIKE.name).rolled_back is not None
    rows = {row["without"]: row for row in table([case], [ALIKE, SPIKE])}
    assert [rows[name]["wrong"] for name in (WHOLE, ALIKE.name, SPIKE.name)] == [0, 1, 0]


@pytest.mark.extended
def test_a_rule_that_never_answers_otherwise_is_not_judged_without() -> None:
    case = judge_without(OUTAGE, [SPIKE])
    assert case.without == {}
    with SPIKE.put(SPIKE.made):
        other = judge_world(build(OUTAGE))
    assert (other.rolled_back, other.told) == (case.whole.rolled_back, case.whole.told)


def test_seconds_are_compared_on_releases_that_both_undo() -> None:
    limit = Limit(10.0, 3.0, 5.0)
    cases = [
        case(BAD, Truth.ROLLBACK, limit, Outcome(1, 20.0, "P1"), Outcome(1, 14.0, "P2")),
        case(BAD, Truth.PAGE, limit, Outcome(1, 30.0, "P1"), Outcome(1)),
        case(GOOD, Truth.NO_ROLLBACK, None, Outcome(2, told=9.0), Outcome(2, 8.0, "P2")),
    ]
    whole, without = table(cases, [ALIKE])
    assert (whole["bad"], whole["right"], whole["healthy"], whole["wrong"]) == (2, 2, 1, 0)
    assert (without["right"], without["wrong"], without["wrongPlain"]) == (1, 1, 0)
    assert (without["medianSeconds"], without["secondsMore"]) == (4.0, -6.0)
    assert (whole["severityRight"], without["severityRight"]) == (2, 0)
    assert (whole["differ"], without["differ"]) == (0, 3)


def case(
    scenario: Scenario, truth: Truth, limit: Limit | None, whole: Outcome, other: Outcome
) -> Case:
    return Case(scenario, truth, limit, whole, {ALIKE.name: other})


def test_a_run_is_resumed_and_judges_nothing_twice(tmp_path) -> None:
    path = tmp_path / "runs.jsonl"
    scenarios = [
        Scenario(610_101, 20.0, fault=Fault.TOTAL, size=1.0, horizon=40.0),
        Scenario(610_102, 20.0, horizon=20.0),
    ]
    first = list(ablate.run(scenarios[:1], [ALIKE], path))
    both = list(ablate.run(scenarios, [ALIKE], path))
    assert [one.scenario for one in both] == scenarios
    assert both[0] == first[0]
    assert len(path.read_text().splitlines()) == 2


def test_the_table_has_a_line_for_each_rule() -> None:
    limit = Limit(10.0, 3.0, 5.0)
    cases = [case(BAD, Truth.ROLLBACK, limit, Outcome(1, 20.0, "P1"), Outcome(1))]
    text = ablate.markdown(table(cases, [ALIKE, SPIKE]), "python -m bench.detection ablate", 0)
    assert f"| {ALIKE.name} | 0 | 0 (0) | 0 | 0 | 0 | None | +0.00 | 1 |" in text
    assert f"| {SPIKE.name} | 1 | 0 (0) | 0 | 0 | 1 | 10.0 | +0.00 | 0 |" in text
