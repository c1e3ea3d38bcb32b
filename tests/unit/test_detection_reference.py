"""The bench's reference judge: what it rolls back, and what its vetoes leave alone."""

from dataclasses import replace

import pytest

from bench.detection import reference
from bench.detection.scenario import Confounder, Fault, Rollout, Scenario
from bench.detection.world import build

GOOD = Scenario(seed=601_001, rps=40.0, pods=4, horizon=240.0)
TOTAL = replace(GOOD, fault=Fault.TOTAL, size=1.0)
BAD = {
    "every purchase fails": TOTAL,
    "a fifth of all requests fails": replace(GOOD, fault=Fault.ERRORS, size=0.2),
    "... beside old pods": replace(
        GOOD, fault=Fault.ERRORS, size=0.2, rollout=Rollout.CANARY, horizon=200.0
    ),
    "it begins after two minutes": replace(TOTAL, onset=120.0, horizon=300.0),
    "a single new pod": replace(TOTAL, rollout=Rollout.SINGLE),
    "its pods crash": replace(GOOD, fault=Fault.CRASH_LOOP, size=1.0, horizon=400.0),
    "its pods never become ready": replace(GOOD, fault=Fault.SILENT, size=1.0, horizon=400.0),
}
LEFT = {
    "nothing fails": GOOD,
    "it warms up": replace(GOOD, confounder=Confounder.WARM_UP, extent=0.5),
    "an eighth fails as all the hour": replace(
        GOOD, confounder=Confounder.OLD_TOO, extent=0.12, since=-3700.0
    ),
    "the old pods fail in the same seconds": replace(
        GOOD,
        confounder=Confounder.DEPENDENCY,
        extent=0.4,
        since=10.0,
        rollout=Rollout.CANARY,
        horizon=120.0,
    ),
    "the old pods had begun to fail alike": replace(
        GOOD, confounder=Confounder.DEPENDENCY, extent=0.4, since=-40.0
    ),
    "five times the requests": replace(
        GOOD, confounder=Confounder.SPIKE, extent=0.2, since=60.0, horizon=200.0
    ),
    "one bad pod": replace(GOOD, confounder=Confounder.POD, extent=1.0),
    "one bad node": replace(GOOD, confounder=Confounder.NODE, extent=1.0),
    "one bad node, and a single new pod on it": replace(
        GOOD, confounder=Confounder.NODE, extent=0.5, rollout=Rollout.SINGLE, since=-60.0
    ),
    "an outage after six minutes": replace(
        GOOD, confounder=Confounder.COINCIDENCE, extent=0.5, since=360.0, horizon=450.0
    ),
    "no room for its pods": replace(GOOD, confounder=Confounder.NEVER_SERVES, horizon=400.0),
    "too few requests": replace(TOTAL, rps=0.02, horizon=200.0),
}


@pytest.mark.parametrize("scenario", BAD.values(), ids=BAD)
def test_it_rolls_a_bad_release_back_after_its_fault(scenario) -> None:
    world = build(scenario)
    time = reference.decide(world, scenario.horizon)
    assert time is not None
    assert time >= (0.0 if world.cast.first_request > 1e9 else world.cast.first_request)


@pytest.mark.parametrize("scenario", LEFT.values(), ids=LEFT)
def test_it_leaves_alone_what_the_release_did_not_cause_or_nobody_can_know(scenario) -> None:
    assert reference.decide(build(scenario), scenario.horizon) is None


def test_it_decides_nothing_after_the_horizon() -> None:
    world = build(TOTAL)
    time = reference.decide(world, TOTAL.horizon)
    assert time is not None
    assert reference.decide(world, time - 0.01) is None
