"""From the first failing response to the undo, in virtual time: what is spent beyond the floors."""

from __future__ import annotations

import math
from statistics import median

import pytest

from rollback_operator.evidence.limits import LEAST_REQUESTS
from tests.builders import PURCHASE
from tests.race import MIX, Latencies, Race

SEEDS = range(12)
ALL = dict.fromkeys(MIX, 1.0)
PURCHASES = {PURCHASE: 1.0}


def enough(race: Race) -> float:
    """Seconds from the first failing response to the one with which a floor of requests is met."""
    return race.failures[LEAST_REQUESTS - 1] - race.failures[0]


@pytest.mark.parametrize("fails", [ALL, PURCHASES], ids=["every request", "every purchase"])
def test_little_is_spent_beyond_the_requests_that_are_needed(fails: dict[str, float]) -> None:
    races = [Race(seed, fails).run() for seed in SEEDS]

    spent = [one.reaction - enough(one) for one in races]
    assert median(spent) <= 0.8
    assert max(spent) <= 3.0


def test_neither_pods_that_go_nor_prometheus_are_waited_for() -> None:
    quick = [Race(seed, ALL).run().reaction for seed in SEEDS]
    slow = [
        Race(seed, ALL, latencies=Latencies(prometheus=0.4, lost=30)).run().reaction
        for seed in SEEDS
    ]

    assert median(slow) <= median(quick) + 0.3


def test_a_good_release_stays() -> None:
    races = [Race(seed, {}).run() for seed in SEEDS]

    assert {one.reaction for one in races} == {math.inf}
