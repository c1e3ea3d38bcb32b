"""Whether the latency is back at its level."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.rollback.recovery import latency, since_base
from rollback_operator.stats.histogram import Histogram

BOUNDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, float("inf"))


def served(*counts: float) -> Histogram:
    """Requests by bucket, not cumulative."""
    total, cumulative = 0.0, []
    for one in counts:
        total += one
        cumulative.append(total)
    return Histogram(BOUNDS, tuple(cumulative))


PAST = served(9000, 900, 90, 10, 0, 0, 0)
QUICK, SLOW = served(180, 18, 2, 0, 0, 0, 0), served(0, 0, 0, 20, 180, 0, 0)
FEW, WARMING = served(40, 5, 0, 0, 0, 0, 0), served(170, 15, 2, 3, 10, 0, 0)


@pytest.mark.parametrize(
    ("whole", "recent", "past", "result", "said"),
    [
        ([QUICK], [QUICK], PAST, "Passed", "p99 is"),
        ([SLOW], [SLOW], PAST, "Failed", "at most in the hour before"),
        ([WARMING], [QUICK], PAST, "Passed", "over 200 requests"),
        ([QUICK, QUICK, QUICK], [WARMING], PAST, "Passed", "over 600 requests"),
        ([FEW, FEW, FEW], [FEW], PAST, "Passed", "over 135 requests"),
        ([FEW], [FEW], PAST, "Unknown", "45 requests since the rollback are too few"),
        ([], [], PAST, "Unknown", "0 requests since the rollback are too few"),
        ([QUICK], [QUICK], FEW, "Unknown", "45 requests before the release are too few"),
        ([QUICK], [QUICK], Histogram(), "Unknown", "0 requests before the release"),
    ],
    ids=[
        "as before",
        "slower",
        "slow while it warmed up",
        "slow for a minute",
        "few in a minute, enough in all",
        "too few",
        "none",
        "too short a past",
        "no past",
    ],
)
def test_latency(whole, recent, past, result, said) -> None:
    named = [{f"pod-{n}": one for n, one in enumerate(all_)} for all_ in (whole, recent)]
    found = latency(named, past, 0.99, named)
    assert (found.result, found.is_final) == (result, False)
    assert said in found.message


def test_what_is_in_between_is_unknown() -> None:
    between = served(94, 3, 1, 0, 2, 0, 0)
    found = latency([{"a": between}], PAST, 0.99, [{"a": between}])
    assert found.result == "Unknown"
    assert "too uncertain" in found.message


@pytest.mark.parametrize(
    ("warm", "result", "said"),
    [
        ([], "Unknown", "still warming up"),
        ([FEW], "Unknown", "too few requests after the warm-up"),
        ([FEW, SLOW], "Failed", "at most in the hour before"),
        ([QUICK, SLOW], "Unknown", "too uncertain"),
    ],
)
def test_only_what_was_slow_after_the_warm_up_is_held_against_a_release(warm, result, said) -> None:
    found = latency([{"a": SLOW}], PAST, 0.99, [{"a": one} for one in warm])
    assert (found.result, found.is_final) == (result, False)
    assert said in found.message
    assert latency([{"a": QUICK}], PAST, 0.99, []).result == "Passed"


ORDER = {"Passed": 0, "Unknown": 1, "Failed": 2}


@given(st.lists(st.integers(0, 300), min_size=7, max_size=7), st.integers(0, 5))
def test_slower_is_never_better(counts, bucket) -> None:
    better = served(*counts)
    moved = [*counts]
    moved[bucket + 1] += moved[bucket]
    moved[bucket] = 0
    one, other = (
        latency([{"a": each}], PAST, 0.99, [{"a": each}]) for each in (better, served(*moved))
    )
    assert ORDER[one.result] <= ORDER[other.result]


def test_a_new_pod_counts_from_zero_and_an_old_one_from_its_base() -> None:
    read = {"new": served(10), "old": served(100), "idle": Histogram(BOUNDS, (0.0,) * 7)}
    read = {name: Histogram(BOUNDS, one.counts + one.counts[-1:] * 6) for name, one in read.items()}
    bases = {"old": Histogram(BOUNDS, (60.0,) * 7)}
    found = since_base({**read, "idle": Histogram(BOUNDS, (0.0,) * 7)}, bases)
    assert {name: one.total for name, one in found.items()} == {"new": 10.0, "old": 40.0}


def test_nothing_read_is_nothing_known() -> None:
    assert latency([], PAST, 0.99, []).result == "Unknown"
