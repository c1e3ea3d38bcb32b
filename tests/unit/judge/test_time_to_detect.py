"""How soon a fault can be proved: the tables of the method, redone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.evidence.baseline import Ceiling
from rollback_operator.judge.time_to_detect import (
    Sampling,
    Traffic,
    against_history,
    against_old_pods,
    divergence,
    reach,
)

USUAL = (Ceiling(0.0, 0.01),)
CLEAN = Traffic(rate=100, error_rate=0.001, ceilings=USUAL, pods=4)
EXACT = Sampling(5.0, discovery=0.0)


@pytest.mark.parametrize(
    ("fault", "share", "odds", "expected"),
    [
        # Requests of the new revision, base 0.1 %: table of the method, odds 1e4 and 1e6.
        (0.05, 0.5, 1e4, 303),
        (0.05, 0.5, 1e6, 454),
        (0.20, 0.5, 1e4, 69),
        (0.20, 0.1, 1e4, 22),
        (0.20, 0.9, 1e6, 678),
        (1.0, 0.5, 1e4, 13.4),
        (1.0, 0.1, 1e6, 6.1),
    ],
)
def test_the_coin_flip_needs_what_its_table_says(fault, share, odds, expected) -> None:
    found = against_old_pods(fault, CLEAN, odds, share)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("fault", "expected"),
    # "Surely above 1 %" at odds of 1e6: the null is what history makes plausible.
    [(0.05, 335), (0.20, 32), (1.0, 3)],
)
def test_history_needs_what_its_table_says(fault, expected) -> None:
    assert against_history(fault, CLEAN, 1e6) == pytest.approx(expected, rel=0.02)


def test_a_fault_within_what_history_makes_plausible_is_never_proved() -> None:
    shaky = Traffic(rate=100, error_rate=0.01, ceilings=(Ceiling(0, 0.06),), pods=4)
    assert against_history(0.05, shaky, 1e4) == math.inf
    assert reach(math.inf, 0.05, shaky, EXACT).mean == math.inf
    assert against_old_pods(0.05, shaky, 1e4) < math.inf
    assert against_old_pods(0.01, shaky, 1e4) == math.inf


def test_what_lasts_is_held_against_what_the_past_had_for_as_long() -> None:
    bursts = (Ceiling(0.0, 0.3), Ceiling(300.0, 0.06))
    shaky = Traffic(rate=100, error_rate=0.01, ceilings=bursts, pods=4)
    assert against_history(1.0, shaky, 1e4) == pytest.approx(math.log(1e4) / -math.log(0.3))
    # 20 % for five minutes is more than any five minutes had, if no more than a bad minute.
    assert against_history(0.2, shaky, 1e4) == 300 * 100


@pytest.mark.parametrize(
    ("requests", "fault", "needed", "floor"),
    [
        (3, 1.0, 20, "20 requests"),
        (3, 0.2, 50, "10 errors"),
        (300, 0.2, 300, "evidence"),
        (3, 0.9, 20, "20 requests"),
    ],
)
def test_floors_are_kept(requests, fault, needed, floor) -> None:
    found = reach(requests, fault, CLEAN, EXACT)
    assert (found.requests, found.floor) == (needed, floor)


def test_time_is_served_requests_and_half_a_scrape() -> None:
    found = reach(200, 0.2, CLEAN, EXACT)
    assert found.mean == pytest.approx(2 + 2.5 + 0.3)
    assert found.most == pytest.approx(2 + 5 + 0.3)


@pytest.mark.parametrize(("pods", "mean", "most"), [(1, 7.5, 10), (4, 2.5, 5)])
def test_two_samples_are_waited_for(pods, mean, most) -> None:
    busy = Traffic(rate=1e6, error_rate=0.0, ceilings=USUAL, pods=pods)
    found = reach(20, 1.0, busy, EXACT)
    assert found.mean == pytest.approx(mean + 0.3, abs=0.01)
    assert found.most == pytest.approx(most + 0.3, abs=0.01)


def test_without_traffic_nothing_is_ever_proved() -> None:
    silent = Traffic(rate=0.0, error_rate=0.0, ceilings=USUAL, pods=4)
    assert reach(20, 1.0, silent, EXACT).mean == math.inf


RATES = st.floats(0.001, 0.999)


@given(RATES, RATES)
def test_divergence_is_positive_and_zero_only_for_equals(rate, other) -> None:
    assert divergence(rate, other) >= -1e-12
    assert divergence(rate, rate) == pytest.approx(0, abs=1e-12)


@given(st.floats(0.06, 0.99), st.floats(0.01, 0.2), st.floats(0.1, 1000), st.floats(0.5, 60))
def test_a_greater_fault_or_more_traffic_is_never_seen_later(fault, more, rate, interval) -> None:
    traffic = Traffic(rate, 0.001, USUAL, 3)
    sampling = Sampling(interval)

    def seconds(size: float, served: Traffic) -> float:
        return reach(against_history(size, served, 1e4), size, served, sampling).mean

    greater = min(0.999, fault + more)
    busier = Traffic(rate * 2, 0.001, USUAL, 3)
    assert seconds(greater, traffic) <= seconds(fault, traffic) + 1e-9
    assert seconds(fault, busier) <= seconds(fault, traffic) + 1e-9


@given(st.sampled_from([0.01, 0.05, 0.2, 0.5, 1.0]), st.floats(0.0001, 1), st.integers(0, 40))
def test_rates_that_are_all_but_the_same_are_never_told_apart(fault, base, steps) -> None:
    """Just below the fault the gain of a request is lost in rounding."""
    for _ in range(steps):
        base = math.nextafter(min(base, fault), 0.0)
    traffic = Traffic(100, base, (Ceiling(0.0, base),), 4)
    for found in (against_old_pods(fault, traffic, 1e4), against_history(fault, traffic, 1e4)):
        assert found > 0


@pytest.mark.parametrize("fault", [0.01, 0.05, 0.2, 0.5])
def test_a_base_just_below_the_fault(fault) -> None:
    base = math.nextafter(fault, 0.0)
    traffic = Traffic(100, base, (Ceiling(0.0, base),), 4)
    assert against_old_pods(fault, traffic, 1e4) > 1e9
    assert against_history(fault, traffic, 1e4) > 1e9
