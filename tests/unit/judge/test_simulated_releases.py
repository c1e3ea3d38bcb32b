"""Releases under load, judged look by look as Prometheus would show them (simulation.py).

A release whose environment fails in its first seconds, with no old pod left to compare with, cannot
be told from a bad one; nor can one whose warm-up runs into such a fault. They are left out here.
"""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, VerdictValue
from rollback_operator.decide.matrix import classify
from rollback_operator.model.verdict import BAD_ODDS
from tests.builders import PURCHASE, RESERVE
from tests.sizes import few_of
from tests.unit.judge.simulation import (
    MIX,
    Burst,
    Life,
    Look,
    Release,
    fast_rollout,
    looks,
    paused_rollout,
    slow_rollout,
)

ROLLOUTS = {"fast": fast_rollout, "slow": slow_rollout, "paused": paused_rollout}
V130: Mapping[str, float] = {PURCHASE: 1.0}
V131: Mapping[str, float] = {PURCHASE: 0.2, RESERVE: 0.2}
UNDECIDABLE = 15.0
"""Seconds before the first and after the last new pod's start in which an onset is ambiguous."""
SCRAPE = 5.0


def rolled_out(kind: str, seed: int) -> tuple[Life, ...]:
    return ROLLOUTS[kind](random.Random(seed))


def first_with(release: Release, severity: str, until: float) -> Look | None:
    """The first look at which the matrix would act with this severity."""
    for look in looks(release, until):
        match = classify(RUNBOOK_MATRIX, look.verdict, BAD_ODDS)
        if look.verdict.value is VerdictValue.BAD and match and match.rule.severity == severity:
            return look
    return None


def samples_since_failure(look: Look) -> int:
    """How many samples the pod that failed first had had since then."""
    evidence = look.watch.evidence
    by_pod: dict[str, set[float]] = {}
    for one in evidence.increments:
        if one.pod.startswith("new"):
            by_pod.setdefault(one.pod, set()).add(one.end)
    return max(len(ends) for ends in by_pod.values())


@pytest.mark.parametrize("kind", ROLLOUTS)
@pytest.mark.parametrize("seed", few_of(range(8), 2))
def test_all_purchases_fail_p1_within_two_scrapes(kind, seed) -> None:
    release = Release(seed, fails=V130, rollout=rolled_out(kind, seed))
    look = first_with(release, "P1", 40)
    assert look is not None
    # Beside old pods one new pod serves a fifth of the requests, and its sample waits for theirs.
    assert samples_since_failure(look) <= (2 if kind == "fast" else 3)
    # A pod is first scraped 5-10 s after its start, and is ready for a part of that.
    assert look.time - look.first_failed <= 10 + SCRAPE


@pytest.mark.parametrize("kind", ROLLOUTS)
@pytest.mark.parametrize("seed", few_of(range(8), 2))
def test_a_fifth_fails_p2_within_four_scrapes(kind, seed) -> None:
    release = Release(seed, fails=V131, rollout=rolled_out(kind, seed))
    look = first_with(release, "P2", 60)
    assert look is not None
    if kind == "slow":  # one new pod of five sees one failure a second
        assert look.time - look.first_failed <= 45
    else:
        assert samples_since_failure(look) <= 4
        assert look.time - look.first_failed <= 10 + 3 * SCRAPE


@pytest.mark.parametrize("base", [0.0, 0.01], ids=["clean service", "1 % fails always"])
def test_nothing_else_is_made_of_a_bad_release(base) -> None:
    release = Release(3, base=base, fails=V130, rollout=rolled_out("fast", 3))
    values = [look.verdict.value for look in looks(release, 45, every=2.5)]
    begin = values.index(VerdictValue.BAD)
    assert set(values[begin:]) == {VerdictValue.BAD}


# -- healthy releases ------------------------------------------------------------------------------


def healthy(seed: int) -> Release:
    """A release with nothing wrong.

    Every third one meets a burst of a shared dependency, every third of the others warms up.
    """
    dice = random.Random(1_000_000 + seed)
    kind = dice.choice(list(ROLLOUTS))
    rollout = ROLLOUTS[kind](dice)
    warm_up = dice.choice([0.0, 0.0, 0.3]) if seed % 3 else 0.0
    bursts = []
    if seed % 3 == 0:
        routes = dice.choice([frozenset(MIX), frozenset([PURCHASE])])
        seconds = dice.choice([1.0, 2.0, 4.0, 8.0, 15.0, 30.0])
        rate = dice.choice([0.05, 0.2, 0.5, 1.0])
        start = dice.uniform(-20, 45)
        while kind == "fast" and is_undecidable(rollout, start):
            start = dice.uniform(-20, 45)
        bursts.append(Burst(start, seconds, rate, routes))
    return Release(
        seed,
        base=dice.choice([0.0, 0.0005, 0.001, 0.003, 0.01]),
        warm_up=warm_up,
        rollout=rollout,
        bursts=tuple(bursts),
    )


def is_undecidable(rollout: tuple[Life, ...], start: float) -> bool:
    begins = [life.started for life in rollout if life.version == "v2"]
    return min(begins) - UNDECIDABLE < start < max(begins) + UNDECIDABLE


@pytest.mark.parametrize("block", few_of(range(30), 3))
def test_three_hundred_healthy_releases_none_is_bad(block) -> None:
    for seed in range(10 * block, 10 * block + 10):
        for look in looks(healthy(seed), 60, every=4):
            assert look.verdict.value is not VerdictValue.BAD, (seed, look)


@pytest.mark.parametrize("seed", few_of(range(6), 2))
def test_a_dependency_that_fails_both_revisions_is_not_the_release(seed) -> None:
    burst = Burst(25 + seed, 30, 0.3)
    release = Release(seed, bursts=(burst,), rollout=rolled_out("paused", seed))
    for look in looks(release, 60):
        assert look.verdict.value in (VerdictValue.WATCHING, VerdictValue.NO_VERDICT)


@pytest.mark.parametrize("seed", few_of(range(6), 2))
def test_a_dependency_that_fails_later_with_no_old_pod_left_is_suspect(seed) -> None:
    release = Release(seed, bursts=(Burst(35, 60, 0.3),), rollout=rolled_out("fast", seed))
    found = [look.verdict for look in looks(release, 60)]
    assert {one.value for one in found} >= {VerdictValue.SUSPECT}
    assert VerdictValue.BAD not in {one.value for one in found}
    assert Reason.ENVIRONMENT_SUSPECTED in {one.reason for one in found}


@pytest.mark.parametrize("seed", few_of(range(4), 2))
def test_a_fault_of_both_before_and_after_the_rollout_is_not_the_release(seed) -> None:
    release = Release(seed, bursts=(Burst(-25, 200, 0.3),), rollout=rolled_out("fast", seed))
    for look in looks(release, 40):
        assert look.verdict.value is not VerdictValue.BAD


@pytest.mark.parametrize("seed", few_of(range(4), 2))
def test_one_bad_pod_is_told_and_not_rolled_back(seed) -> None:
    release = Release(
        seed,
        base=0.005,
        fails=dict.fromkeys(MIX, 1.0),
        bad_pods=frozenset([0]),
        rollout=rolled_out("fast", seed),
    )
    found = [look.verdict for look in looks(release, 60)]
    assert VerdictValue.BAD not in {one.value for one in found}
    assert Reason.FEW_PODS_AFFECTED in {one.reason for one in found}


@pytest.mark.parametrize("seed", few_of(range(4), 2))
def test_a_burst_at_much_traffic_read_at_offsets_is_not_evidence(seed) -> None:
    dice = random.Random(seed)
    burst = Burst(dice.uniform(15, 30), dice.choice([0.5, 1, 2]), 0.5)
    release = Release(seed, rps=2000, base=0, bursts=(burst,), rollout=rolled_out("paused", seed))
    for look in looks(release, 45):
        assert look.verdict.value is not VerdictValue.BAD


@pytest.mark.parametrize("seed", few_of(range(4), 2))
def test_hardly_any_traffic_is_no_verdict(seed) -> None:
    release = Release(seed, rps=0.2, fails=V130, rollout=rolled_out("fast", seed))
    assert {look.verdict.value for look in looks(release, 60)} <= {
        VerdictValue.NO_VERDICT,
        VerdictValue.WATCHING,
    }


@pytest.mark.parametrize("seed", range(3))
def test_without_a_past_and_without_old_pods_nothing_is_bad(seed) -> None:
    release = Release(seed, fails=V131, has_control=False, rollout=rolled_out("fast", seed))
    assert VerdictValue.BAD not in {look.verdict.value for look in looks(release, 40)}


# -- pods that are read between scrapes ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fast", "paused"])
@pytest.mark.parametrize("seed", few_of(range(6), 2))
def test_all_purchases_fail_p1_before_a_second_scrape(kind, seed) -> None:
    release = Release(seed, fails=V130, rollout=rolled_out(kind, seed), read_every=0.5)
    look = first_with(release, "P1", 30)
    assert look is not None
    # Twenty requests on a route with a third of fifty a second take the new pods a while.
    assert look.time - look.first_failed <= SCRAPE + 2


@pytest.mark.parametrize("seed", few_of(range(6), 2))
def test_a_fifth_fails_p2_with_pods_that_are_read(seed) -> None:
    release = Release(seed, fails=V131, rollout=rolled_out("fast", seed), read_every=0.5)
    assert first_with(release, "P2", 40) is not None


@pytest.mark.parametrize("block", few_of(range(15), 1))
def test_healthy_releases_whose_pods_are_read_are_not_bad(block) -> None:
    for seed in range(4 * block, 4 * block + 4):
        release = replace(healthy(seed), read_every=0.5)
        for look in looks(release, 50, every=10):
            assert look.verdict.value is not VerdictValue.BAD, (seed, look)


@pytest.mark.parametrize("seed", few_of(range(6), 2))
def test_a_burst_at_much_traffic_is_no_evidence_however_pods_answer(seed) -> None:
    dice = random.Random(seed)
    burst = Burst(dice.uniform(8, 20), dice.choice([0.5, 1, 2]), 0.5)
    release = Release(
        seed,
        rps=2000,
        base=0,
        bursts=(burst,),
        rollout=rolled_out("paused", seed),
        read_every=0.5,
        read_seconds=dice.choice([0.02, 0.25]),
    )
    for look in looks(release, 25):
        assert look.verdict.value is not VerdictValue.BAD
