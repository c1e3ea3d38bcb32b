"""When a staged release is proved no worse: how soon, and never wrongly more often than told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_operator.api.v1alpha1 import RUNBOOK_MATRIX, MatrixCondition, MatrixRule
from rollback_operator.decide.hold_end import PROOF_ODDS
from rollback_operator.evidence.arms import Arms
from rollback_operator.judge.non_inferiority import (
    margin_of,
    non_inferiority_odds,
    odds_against_worse,
)
from rollback_operator.stats.sequential import Cell
from tests.builders import LIST, PURCHASE, T0, make_increment
from tests.sizes import examples, is_extended

law = settings(max_examples=examples(60), database=None)
MARGIN = 0.05
SHARE, RATE = 0.4, 50
"""Two new pods and three old ones, 50 requests a second."""
LONGEST = 120


def counted(new: tuple[float, float], old: tuple[float, float]) -> list[Cell]:
    """(errors, requests) of both revisions in the same seconds."""
    return [Cell(T0, new[1], new[0], old[1], old[0])]


def proved_after(rates: tuple[float, float], seed: int, seconds: int = LONGEST) -> int | None:
    """Look each second at a rollout whose old and new pods fail at these rates."""
    draw = random.Random(seed)
    sizes = round(RATE * (1 - SHARE)), round(RATE * SHARE)
    errors = [0, 0]
    for second in range(1, seconds + 1):
        for side, rate in enumerate(rates):
            errors[side] += sum(draw.random() < rate for _ in range(sizes[side]))
        old, new = ((errors[side], sizes[side] * second) for side in (0, 1))
        if odds_against_worse(counted(new, old), MARGIN) >= PROOF_ODDS:
            return second
    return None


@pytest.mark.parametrize(("rate", "most"), [(0.0, 6), (0.001, 10), (0.01, 25), (0.048, 80)])
def test_a_healthy_release_is_proved_within_seconds(rate: float, most: int) -> None:
    found = sorted(proved_after((rate, rate), seed) or LONGEST for seed in range(examples(60)))

    assert found[len(found) // 2] <= most


@pytest.mark.parametrize("rates", [(0.0, 0.2), (0.001, 0.2), (0.05, 0.25), (0.3, 0.5)])
def test_a_fifth_more_errors_are_never_proved_to_be_none(rates: tuple[float, float]) -> None:
    assert [seed for seed in range(examples(100)) if proved_after(rates, seed, 60)] == []


@pytest.mark.parametrize("rates", [(0.0, 0.05), (0.001, 0.051), (0.05, 0.1), (0.2, 0.25)])
def test_the_margin_itself_is_proved_away_as_seldom_as_the_odds_say(
    rates: tuple[float, float],
) -> None:
    wrong = sum(proved_after(rates, seed, 60) is not None for seed in range(examples(200)))

    # 1 in 100 at most; more than 7 of 200, or 3 of 50, would be a chance of 1 in 500.
    assert wrong <= (7 if is_extended() else 3)


rate = st.floats(0.0, 0.7)
requests = st.integers(1, 400)


@law
@given(rate, requests, requests, st.floats(0.2, 1.0))
def test_counts_of_a_release_that_fails_a_fifth_more_prove_nothing(
    old_rate: float, new: int, old: int, more: float
) -> None:
    new_rate = min(1.0, old_rate + more)
    cells = counted((new_rate * new, new), (old_rate * old, old))

    assert odds_against_worse(cells, MARGIN) < 1


@law
@given(requests, requests, st.data())
def test_an_error_more_of_the_new_pods_never_helps(new: int, old: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, new - 1))
    old_errors = data.draw(st.integers(0, old // 4))
    fewer, more = (
        odds_against_worse(counted((one, new), (old_errors, old)), MARGIN)
        for one in (errors, errors + 1)
    )

    # Where the new pods do better than the old ones, one common rate fits the less the fewer fail.
    assert more <= max(1.0, fewer) or errors / new < old_errors / old


def test_without_both_revisions_in_the_same_seconds_nothing_is_proved() -> None:
    assert odds_against_worse([], MARGIN) == 0.0
    assert odds_against_worse(counted((0, 500), (0, 0)), MARGIN) == 0.0
    assert odds_against_worse(counted((0, 0), (0, 500)), MARGIN) == 0.0


# -- from the counts of pods -----------------------------------------------------------------------


def arms(
    new: dict[str, tuple[float, float]], old: dict[str, tuple[float, float]], **changes: object
) -> Arms:
    """Route -> (errors, requests) of a new and of an old pod in the same minute."""

    def increments(pod: str, routes: dict[str, tuple[float, float]]) -> tuple:
        return tuple(
            make_increment(pod=pod, route=route, start=30, end=90, errors=errors, requests=requests)
            for route, (errors, requests) in routes.items()
        )

    fields = {
        "new": increments("new-0", new),
        "old": increments("old-0", old),
        "control": None,
        "living_new": frozenset({"new-0"}),
        "living_old": frozenset({"old-0"}),
        "seen": {"new-0": T0 + 90, "old-0": T0 + 90},
        "starts": {"new-0": (T0,)},
        "interval": 5.0,
        "watch_seconds": 3600.0,
    }
    return Arms(**(fields | changes))  # type: ignore[arg-type]


CLEAN = {LIST: (0, 200), PURCHASE: (0, 100)}


def test_clean_counts_prove_it() -> None:
    assert non_inferiority_odds(arms(CLEAN, CLEAN), (PURCHASE,), MARGIN) >= PROOF_ODDS


@pytest.mark.parametrize(
    "found",
    [
        arms({LIST: (0, 900), PURCHASE: (20, 100)}, CLEAN),
        arms({LIST: (40, 200), PURCHASE: (0, 100)}, CLEAN),
        arms({LIST: (0, 300)}, CLEAN),
        arms({LIST: (0, 300), PURCHASE: (0, 5)}, CLEAN),
        arms({}, CLEAN),
        arms(CLEAN, {}),
        arms(CLEAN, CLEAN, living_old=frozenset()),
        arms(CLEAN, CLEAN, seen={"new-0": T0 + 90, "old-0": T0 + 29}),
    ],
    ids=[
        "a fifth of the purchases fails, diluted by the rest",
        "a fifth of all others fails",
        "nobody has bought anything from the new pods",
        "few have",
        "no counts of the new pods",
        "no counts of the old ones",
        "no old pod lives",
        "the old pod has not been read in these seconds",
    ],
)
def test_is_not_proved(found: Arms) -> None:
    assert non_inferiority_odds(found, (PURCHASE,), MARGIN) < PROOF_ODDS


def test_a_route_that_nobody_asks_for_delays_nothing() -> None:
    assert (
        non_inferiority_odds(arms({LIST: (0, 300)}, {LIST: (0, 300)}), (PURCHASE,), MARGIN)
        >= PROOF_ODDS
    )


def test_errors_of_both_revisions_alike_are_no_reason_against_it() -> None:
    both = {LIST: (1800, 6000)}

    assert non_inferiority_odds(arms(both, both), (), MARGIN) >= PROOF_ODDS


def test_the_margin_is_the_least_rate_that_is_undone() -> None:
    purchases = MatrixCondition(signal="ErrorRate", at_least="0.90", routes="Purchase")
    p1 = MatrixRule(severity="P1", when=[purchases], response="Rollback")
    strict = MatrixCondition(signal="ErrorRate", above="0.02")
    p2 = MatrixRule(severity="P2", when=[strict], response="Rollback")

    assert margin_of(RUNBOOK_MATRIX) == 0.05
    assert margin_of([p1, p2]) == 0.02
    assert margin_of([p1]) == 0.05
