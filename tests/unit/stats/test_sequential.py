"""Formulas against figures worked out elsewhere, and the property that makes them odds."""

import math
import random

import pytest

from rollback_operator.stats.sequential import (
    EFFECTS,
    Cell,
    against_ceiling,
    coin_flip,
    dispersion,
    persistence_odds,
    wilson_lower,
    z_of,
)

FIRST = 6 / math.pi**2
ENOUGH = 10_000.0
"""What the first count is paid."""


def flat(*errors: tuple[float, float], requests: float = 100, every: float = 5) -> list[Cell]:
    """Cells with as many requests on both sides: a fair coin."""
    return [Cell(n * every, requests, new, requests, old) for n, (new, old) in enumerate(errors)]


def fair_coin(new: float, old: float) -> float:
    """The average over k of (2k/(k+1))^new (2/(k+1))^old, written out."""
    each = [(2 * k / (k + 1)) ** new * (2 / (k + 1)) ** old for k in EFFECTS]
    return sum(each) / len(each)


@pytest.mark.parametrize(
    ("new", "old"), [(0, 0), (1, 0), (0, 1), (5, 5), (23, 0), (12, 3)], ids=str
)
def test_a_fair_coin_gives_the_odds_of_its_tosses(new, old) -> None:
    assert coin_flip(flat((new, old)), 1.0, ENOUGH).value == pytest.approx(
        FIRST * fair_coin(new, old)
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([], 0.0),
        ([Cell(0, 100, 50, 0, 0)], 0.0),
        ([Cell(0, 0, 0, 100, 50)], 0.0),
        ([Cell(0, 100, 0, 100, 0)], FIRST),
    ],
    ids=["nothing", "no old requests", "no new requests", "no errors"],
)
def test_without_a_comparison_there_are_no_odds(cells, expected) -> None:
    assert coin_flip(cells, 1.0, ENOUGH).value == pytest.approx(expected)


def test_errors_in_proportion_to_the_traffic_are_no_evidence() -> None:
    share = [Cell(n * 5, 10, 2, 90, 18) for n in range(20)]
    assert coin_flip(share, 1.0, ENOUGH).value < 1


def test_dispersion_takes_power_away() -> None:
    cells = flat((20, 0))
    assert coin_flip(cells, 1.0, ENOUGH).value > 10_000
    assert coin_flip(cells, 4.0, ENOUGH).value < 100


def test_a_late_fault_is_not_diluted_by_a_clean_hour() -> None:
    clean = flat(*[(0, 0)] * 720)
    shared = flat(*[(1, 1)] * 720)
    late = [Cell(3600 + n * 5, 100, 20, 100, 0) for n in range(3)]
    for before in (clean, shared):
        odds = coin_flip([*before, *late], 1.0, ENOUGH)
        assert odds.value > 10_000
        assert odds.since >= 3540


def test_cells_of_several_routes_in_the_same_seconds_belong_to_one_minute() -> None:
    one_route = flat(*[(0, 0)] * 30)
    two_routes = sorted([*one_route, *flat(*[(0, 0)] * 30)], key=lambda cell: cell.start)
    assert coin_flip(two_routes, 1.0, ENOUGH) == coin_flip(one_route, 1.0, ENOUGH)


def test_a_count_does_not_profit_from_what_may_lie_before_its_start() -> None:
    first = flat((0, 30), every=60)
    sure = Cell(60, 100, 30, 100, 0)
    doubtful = sure._replace(new_errors_unsure=30.0)
    alike = sure._replace(old_errors_before=30.0)
    assert coin_flip([*first, sure], 1.0, ENOUGH).value > 10_000
    assert coin_flip([*first, doubtful], 1.0, ENOUGH).value < 1
    assert coin_flip([*first, alike], 1.0, ENOUGH).value < 1


EACH = [k * 0.01 / (0.99 + k * 0.01) for k in (3, 10, 100)]
"""Rates whose odds are so many times those of one per cent."""


@pytest.mark.parametrize(
    ("requests", "errors", "ceiling", "expected"),
    [
        (100, 0, 0.01, 1.0),
        (1, 1, 0.01, sum(EACH) / 0.01 / 3),
        (2, 2, 0.01, sum(rate**2 for rate in EACH) / 0.01**2 / 3),
    ],
    ids=["no error", "one of one", "two of two"],
)
def test_against_a_ceiling(requests, errors, ceiling, expected) -> None:
    found = against_ceiling([(0.0, requests, errors)], ceiling).value
    # 100 requests without an error: each effect is refuted a little.
    bound = FIRST * expected
    assert found <= bound * 1.0001
    assert errors == 0 or found == pytest.approx(bound)


@pytest.mark.parametrize(
    ("errors", "ceiling", "is_proved"),
    [(160, 0.66, True), (106, 0.32, True), (132, 0.66, False), (66, 0.33, False)],
    ids=["80 % above 66 %", "53 % above 32 %", "as many as the ceiling", "a third"],
)
def test_what_fails_more_than_a_high_ceiling_need_not_fail_entirely(
    errors, ceiling, is_proved
) -> None:
    found = against_ceiling([(0.0, 200, errors)], ceiling).value
    assert (found >= 100) is is_proved


def test_an_effect_below_the_ceiling_proves_nothing() -> None:
    assert against_ceiling([(0.0, 10, 10)], 0.99).value == pytest.approx(FIRST)


def never_crosses(seed: int, looks: int, odds_of) -> bool:
    dice = random.Random(seed)
    return all(odds <= 10_000 for odds in odds_of(dice, looks))


def fair_looks(dice: random.Random, looks: int):
    cells = []
    for n in range(looks):
        share = dice.choice((0.1, 0.5, 0.8))
        errors = [dice.random() < share for _ in range(dice.choice((0, 0, 1, 5, 20)))]
        new, old = sum(errors), len(errors) - sum(errors)
        cells.append(Cell(n * 5, 100 * share, new, 100 * (1 - share), old))
        yield coin_flip(cells, 1.0, ENOUGH).value


def steady_looks(dice: random.Random, looks: int):
    counts = []
    for n in range(looks):
        counts.append((n * 5.0, 100.0, float(sum(dice.random() < 0.01 for _ in range(100)))))
        yield against_ceiling(counts, 0.01).value


@pytest.mark.parametrize("odds_of", [fair_looks, steady_looks], ids=["coin", "ceiling"])
def test_ville_odds_of_equals_never_reach_ten_thousand(odds_of) -> None:
    # alpha = 1e-4: that more than one of 100 releases crosses is as good as impossible.
    crossed = sum(not never_crosses(seed, 30, odds_of) for seed in range(100))
    assert crossed <= 1


def test_odds_of_equals_average_one_at_most() -> None:
    dice, sums = random.Random(7), 0.0
    for _ in range(4000):
        new = sum(dice.random() < 0.5 for _ in range(4))
        sums += coin_flip(flat((new, 4 - new)), 1.0, ENOUGH).value
    assert sums / 4000 < 1.0


@pytest.mark.parametrize(
    ("requests", "errors", "lower"),
    [
        (0, 0, 0.0),
        (10, 0, 0.0),
        (10, 5, 0.2366),
        (100, 100, 0.9630),
        (20, 20, 0.8389),
        (1000, 50, 0.0381),
        (10, 11, 0.7225),
    ],
)
def test_wilson(requests, errors, lower) -> None:
    assert wilson_lower(requests, errors) == pytest.approx(lower, abs=1e-4)


@pytest.mark.parametrize(
    ("before", "after", "least", "most"),
    [
        ((100, 20), (100, 19), 1e5, 1e12),
        ((100, 20), (100, 35), 1e5, 1e20),
        ((100, 20), (60, 12), 100, 1e5),
        ((100, 20), (60, 8), 1, 100),
        ((100, 20), (20, 2), 0.01, 100),
        ((100, 20), (100, 5), 1e-6, 1e-3),
        ((100, 20), (100, 0), 0, 1e-6),
        ((100, 20), (5, 1), 1, 10),
        ((100, 20), (0, 0), 1, 1),
        ((0, 0), (100, 20), 1, 1),
        ((100, 0), (100, 0), 1, 1),
        ((100, 100), (100, 100), 1e50, 1e300),
        ((1e6, 1e6), (1e6, 0), 0, 1e-200),
    ],
    ids=[
        "the same",
        "more",
        "the same, fewer requests",
        "perhaps the same",
        "cannot be told",
        "a quarter",
        "none any more",
        "too few requests",
        "nothing later",
        "nothing before",
        "no errors",
        "everything",
        "beyond all figures",
    ],
)
def test_lasting(before, after, least, most) -> None:
    assert least <= persistence_odds(before, after) <= most


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], 1.0),
        ([[(100, 5)]], 1.0),
        ([[(100, 0), (100, 0)]], 1.0),
        ([[(0, 0), (100, 5)]], 1.0),
        ([[(100, 100), (100, 100)]], 1.0),
        ([[(100, 10), (100, 10)]], 1.0),
        ([[(100, 20), (100, 0)]], 22.2),
        ([[(100, 50), (100, 50)], [(100, 0), (100, 0)]], 1.0),
    ],
    ids=[
        "nothing",
        "one pod",
        "no errors",
        "one served",
        "all failed",
        "alike",
        "clumped on one",
        "a burst on both: the pods do not differ",
    ],
)
def test_dispersion(groups, expected) -> None:
    assert dispersion(groups) == pytest.approx(expected, abs=0.1)


def test_each_later_count_needs_a_surer_bound() -> None:
    assert z_of(1) == pytest.approx(1.96, abs=0.001)
    assert z_of(2) == pytest.approx(2.498, abs=0.001)
    assert z_of(30) == pytest.approx(4.032, abs=0.01)


def test_the_worst_bound_of_many_minutes_holds() -> None:
    """Of 300 watches of 30 minutes at a constant 3 %, 5 % at most show more."""
    dice = random.Random(5)
    exceeded = 0
    for _ in range(300):
        errors = [sum(dice.random() < 0.03 for _ in range(200)) for _ in range(30)]
        bounds = [
            wilson_lower(200.0 * (30 - index), sum(errors[index:]), z_of(index + 1))
            for index in range(30)
        ]
        exceeded += max(bounds) > 0.03
    assert exceeded <= 15


@pytest.mark.parametrize("few", [1.0, 1e-6, 1e-9])
def test_a_side_with_nearly_no_requests_decides_nothing_by_a_rounded_share(few) -> None:
    busy = [Cell(0.0, 1e9, 1e5, few, 0.0), Cell(5.0, few, 0.0, 1e9, 1e5)]
    assert coin_flip(busy, 1.0, 1e4).value <= 1.0
