"""The bench's further families: each draws the situation that its name says."""

from dataclasses import replace

import numpy as np
import pytest

from bench.detection import families, further
from bench.detection.judged import Outcome, judge_world
from bench.detection.lives import EVER
from bench.detection.scenario import Fault, Scenario
from bench.detection.world import World, build

SEED = 610_000


def drawn(name: str, number: int) -> Scenario:
    return further.FAMILIES[name](families.plain(SEED + number), number)


def judged(name: str, number: int, least_rps: float = 0.0) -> tuple[World, Outcome]:
    scenario = drawn(name, number)
    world = build(replace(scenario, rps=max(least_rps, scenario.rps), loss=0.0, scrape=5.0))
    return world, judge_world(world)


@pytest.mark.parametrize("name", [*further.FAMILIES])
def test_a_family_has_both_sides_unless_it_is_of_late_faults_or_ramps(name) -> None:
    faults = [drawn(name, number).fault for number in range(8)]
    is_one_sided = name in ("late fault", "ramp of 120-400 s")
    assert (Fault.NONE in faults) is not is_one_sided
    assert any(fault is not Fault.NONE for fault in faults)
    assert {fault is Fault.NONE for fault in faults[1::2]} == {False}


def test_a_single_new_pod_shares_its_node_with_an_old_pod_that_fails_too() -> None:
    world = build(drawn("single new pod", 0))
    (new,) = world.cast.new
    fails = {life.name for life, rate in _rates(world) if rate > 0.05}
    beside = {life.name for life in world.cast.lives if life.node == new.node}
    assert fails == beside
    assert len(beside) > 1
    assert len({life.node for life in world.cast.lives}) > 1
    assert world.cast.last_old == EVER


def _rates(world: World):
    late = world.edges[:-1] > world.scenario.since + 20
    for index, life in enumerate(world.cast.lives):
        yield life, float(world.failing[index][:, late].mean())


def test_an_idle_service_has_requests_long_before_and_none_at_the_release() -> None:
    world = build(drawn("idle", 1))
    scenario = world.scenario
    begins = world.edges[:-1]
    counts = world.served.sum(axis=(0, 1))
    until = scenario.since + scenario.lasts
    assert counts[begins < scenario.since - 5].sum() > 0
    assert counts[(begins > scenario.since) & (begins < until - 5)].sum() == 0
    assert counts[begins > until].sum() > 0
    assert until > 0


def test_late_faults_begin_six_seconds_to_fifteen_minutes_after_the_release() -> None:
    onsets = [drawn("late fault", number).onset for number in range(40)]
    assert min(onsets) >= 6
    assert max(onsets) <= 900
    assert sum(onset > 60 for onset in onsets) > 10


def test_a_short_past_holds_no_request_before_it() -> None:
    scenario = drawn("past of 30-120 s", 0)
    world = build(scenario)
    begins = world.edges[1:]
    assert 30 <= scenario.past <= 120
    assert world.served[:, :, begins < -scenario.past].sum() == 0
    assert world.served[:, :, (begins > -scenario.past + 2) & (begins < 0)].sum() > 0


@pytest.mark.extended
def test_a_slow_release_is_named_p3_and_a_usual_one_is_not() -> None:
    outcomes = [judged("slow (P3)", number, 20.0)[1] for number in (0, 1)]
    assert [outcome.severity for outcome in outcomes] == ["None", "P3"]
    assert [outcome.rolled_back for outcome in outcomes] == [None, None]


@pytest.mark.extended
def test_a_leak_is_named_p3_and_a_cache_that_fills_is_not() -> None:
    outcomes = [judged("leak (P3)", number)[1] for number in (0, 1)]
    assert [outcome.severity for outcome in outcomes] == ["None", "P3"]


def test_a_stage_goes_on_for_a_good_release_only() -> None:
    good, bad = (judged("staged", number, 50.0) for number in (0, 1))
    assert good[1].let_go is not None
    assert good[1].rolled_back is None
    assert bad[1].rolled_back is not None
    assert bad[1].let_go is None
    assert len(bad[0].cast.new) < bad[0].scenario.pods or bad[0].scenario.pods < 2


@pytest.mark.extended
def test_pages_show_a_fault_before_the_next_scrape() -> None:
    scenario = replace(
        drawn("pages read", 1),
        fault=Fault.TOTAL,
        size=1.0,
        scrape=30.0,
        rps=100.0,
        loss=0.0,
        base=0.001,
        horizon=90.0,
    )
    with_pages = judge_world(build(scenario))
    without = judge_world(build(replace(scenario, pages=False)))
    assert with_pages.rolled_back is not None
    assert without.rolled_back is not None
    assert with_pages.rolled_back < without.rolled_back - 5


def test_an_old_fault_of_few_requests_is_minutes_old() -> None:
    world = build(drawn("few requests, old fault", 0))
    begins = world.edges[:-1]
    before = (begins < 0) & (begins >= world.scenario.since)
    assert world.scenario.since <= -120
    assert world.scenario.rps <= 2
    assert np.all(world.failing[:, :, before] >= world.scenario.extent - 1e-9)
