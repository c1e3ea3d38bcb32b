import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.stats.histogram import Histogram, added
from tests.growth import growth

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, math.inf)


def made(*each: float) -> Histogram:
    """So many requests in each bucket."""
    counts, total = [], 0.0
    for one in each:
        total += one
        counts.append(total)
    return Histogram(BOUNDS[: len(counts)] if len(counts) < len(BOUNDS) else BOUNDS, tuple(counts))


EVEN = made(100, 100, 100, 100, 100, 0)


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0.1, 0.025), (0.2, 0.05), (0.5, 0.175), (0.8, 0.5), (0.9, 0.75), (1.0, 1.0)],
)
def test_a_quantile_is_interpolated_as_prometheus_does(q, expected) -> None:
    assert EVEN.quantile(q) == pytest.approx(expected)


def test_beyond_the_last_bound_only_that_bound_is_known() -> None:
    assert made(0, 0, 0, 0, 0, 10).quantile(0.99) == 1.0
    assert made(0, 0, 0, 0, 0, 10).above(1.0) == 10


def test_nothing_is_known_of_no_requests() -> None:
    assert Histogram().quantile(0.99) is None
    assert made(0, 0, 0).at_least(0.99) is None


def test_what_was_slower_is_counted() -> None:
    assert EVEN.above(0.5) == 100
    assert EVEN.above(0.75) == pytest.approx(50)
    assert EVEN.above(0.0) == 500
    assert EVEN.above(9.0) == 0


def test_the_difference_is_what_came_since() -> None:
    assert made(5, 5, 5).minus(made(1, 2, 3)).counts == (4, 7, 9)


def test_a_counter_that_fell_has_begun_anew() -> None:
    assert made(1, 1, 1).minus(made(5, 5, 5)) == made(1, 1, 1)


def test_bounds_that_only_one_has_are_filled_in() -> None:
    coarse = Histogram((0.1, math.inf), (4.0, 6.0))
    fine = Histogram((0.05, 0.1, math.inf), (1.0, 2.0, 2.0))
    assert added([coarse, fine]) == Histogram((0.05, 0.1, math.inf), (1.0, 6.0, 8.0))
    assert added([]) == Histogram()


counts = st.lists(st.integers(0, 1000), min_size=6, max_size=6).filter(any)


@given(counts, st.floats(0.5, 0.999))
def test_law_the_bounds_lie_around_the_quantile(each, q) -> None:
    histogram = made(*each)
    assert histogram.at_least(q) <= histogram.quantile(q) <= histogram.at_most(q)


@given(counts, counts)
def test_law_adding_loses_nothing(one, other) -> None:
    both = added([made(*one), made(*other)])
    assert both.total == sum(one) + sum(other)
    assert list(both.counts) == sorted(both.counts)


@given(
    st.lists(
        st.dictionaries(st.integers(1, 9), st.integers(0, 9), max_size=6).map(
            lambda one: Histogram(
                tuple(map(float, sorted(one))), tuple(float(one[key]) for key in sorted(one))
            )
        ),
        max_size=5,
    )
)
def test_histograms_are_added_as_looking_for_each_bound_in_each_adds_them(histograms) -> None:
    bounds = sorted({bound for one in histograms for bound in one.bounds})
    counts = [
        sum(
            max(
                (c for upper, c in zip(one.bounds, one.counts, strict=True) if upper <= bound),
                default=0.0,
            )
            for one in histograms
        )
        for bound in bounds
    ]
    found = added(histograms)
    assert found.bounds == tuple(bounds)
    assert found.counts == tuple(accumulate(counts, max))


def test_adding_grows_with_the_buckets_and_no_faster() -> None:
    """Each bound was looked up in each histogram: squared."""

    def total(buckets: int) -> float:
        bounds = tuple(map(float, range(buckets)))
        return added([Histogram(bounds, bounds)] * 50).total

    assert total(1000) == 50 * 999
    assert growth(total, 500, 2000) < 8
