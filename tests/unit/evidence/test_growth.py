import random

import pytest

from rollback_operator.evidence.growth import growth
from rollback_operator.evidence.trends import MOST_POINTS, Point, thinned

MIB = 2.0**20


def points(seconds, value, noise=0.0, seed=1):
    drawn = random.Random(seed)
    return [
        Point(float(at), value(float(at)) + drawn.gauss(0, noise)) for at in range(0, seconds, 15)
    ]


def test_a_leak_is_measured() -> None:
    found = growth(points(900, lambda at: 50 * MIB + at * 10_000, noise=MIB / 10), 0.0)
    assert found is not None
    assert found.per_hour == pytest.approx(36e6, rel=0.1)
    assert found.since == 60
    assert found.odds > 1e4


@pytest.mark.parametrize(
    "series",
    [
        points(900, lambda at: 50 * MIB, noise=MIB),
        points(900, lambda at: 50 * MIB + min(at, 300) * 100_000),
        points(300, lambda at: 50 * MIB + at * 10_000),
        points(900, lambda at: 50 * MIB - at * 10_000),
        [Point(1000.0, MIB)] * 20,
        [],
    ],
    ids=["noise", "a heap that fills", "too short", "falling", "one time", "nothing"],
)
def test_no_growth_is_shown(series) -> None:
    assert growth(series, 0.0) is None


@pytest.mark.parametrize(
    ("seconds", "per_second", "expected"),
    [(600, 10_000, False), (1000, 10_000, True), (600, 60_000, True)],
    ids=["soon and little", "for long", "much"],
)
def test_what_says_enough_by_itself(seconds, per_second, expected) -> None:
    found = growth(points(seconds, lambda at: 50 * MIB + at * per_second), 0.0)
    assert found is not None
    assert found.is_telling(128 * MIB) is expected


def test_what_the_container_before_used_does_not_count() -> None:
    rising = points(900, lambda at: 50 * MIB + at * 10_000)
    assert growth(rising, 700.0) is None


def test_of_a_thousand_flat_series_with_noise_none_grows() -> None:
    flat = (points(900, lambda at: 50 * MIB, noise=MIB, seed=seed) for seed in range(1000))
    assert not [one for one in flat if growth(one, 0.0) is not None]


def test_a_long_series_is_kept_short_with_its_newest_point() -> None:
    series: tuple[Point, ...] = ()
    for at in range(1000):
        series = thinned((*series, Point(float(at), float(at))))
    assert len(series) <= MOST_POINTS
    assert series[-1].time == 999
    assert list(series) == sorted(series, key=lambda one: one.time)
