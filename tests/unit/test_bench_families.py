"""The families of the detection bench that draw short pasts, few requests, ramps and starts."""

import pytest

from bench.detection import families, floors
from bench.detection.lives import cast
from bench.detection.scenario import BOTH_FAIL, Confounder, Fault, parse
from bench.detection.target import case
from rollback_operator.api.v1alpha1 import Starts
from rollback_operator.judge import vetoes
from tests.builders import make_workload

DRAWN = [
    make(start + number)
    for make, start in (
        (families.short, 450_000),
        (families.idle, 460_000),
        (families.ramp, 470_000),
        (families.starting, 480_000),
    )
    for number in range(60)
]


def test_a_line_holds_all_of_a_scenario() -> None:
    assert [parse(scenario.line()) for scenario in DRAWN] == DRAWN


@pytest.mark.parametrize("make", [families.short, families.ramp, families.starting])
def test_each_family_holds_bad_and_healthy_releases(make) -> None:
    drawn = [make(number) for number in range(60)]
    assert any(scenario.is_bad for scenario in drawn)
    assert any(scenario.fault is Fault.NONE for scenario in drawn)
    assert any(scenario.confounder in BOTH_FAIL for scenario in drawn)


def test_old_pods_of_a_short_past_have_served_for_as_long_as_it() -> None:
    scenario = families.short(3)
    old = [life for life in cast(scenario).lives if not life.is_new]
    assert {life.ready for life in old} == {-scenario.past}
    assert all(life.started < life.ready < life.gone for life in old)


def test_the_ledger_knows_earlier_starts() -> None:
    for scenario in DRAWN:
        (entry,) = case(scenario, make_workload()).ledger
        assert entry.starts == (Starts(scenario.starts) if scenario.starts else None)
    known = [scenario for scenario in DRAWN if scenario.starts == "Failing"]
    assert {scenario.confounder for scenario in known} == {Confounder.WARM_UP}


def test_a_sweep_leaves_the_floors_as_they_were() -> None:
    names = {name for change in floors.FLOORS.values() for name in change}
    before = {name: getattr(vetoes, name) for name in names}
    swept = floors.sweep([families.fixed()[0]])
    assert {name: getattr(vetoes, name) for name in names} == before
    assert [line["floors"] for line in swept["floors"]] == list(floors.FLOORS)
    assert floors.table(swept).count("\n") == len(floors.FLOORS) + 1
