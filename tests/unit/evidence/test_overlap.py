"""Counts of both revisions over the same seconds: what is compared, and what is left out."""

import pytest

from rollback_operator.evidence.overlap import cells
from rollback_operator.stats.windows import Increment
from tests.builders import LIST, T0, make_increment


def inc(start: float, end: float, errors: float = 0.0, **changes) -> Increment:
    return make_increment(start=start, end=end, errors=errors, **({"pod": "new"} | changes))


def laid(new, old, until: float = 1000.0, interval: float = 5.0):
    """Cells as (start, new requests, new errors, old requests, old errors), rounded."""
    found = cells(new, old, T0 + until, interval)
    return [tuple(round(x, 1) for x in (one.start - T0, *one[1:5])) for one in found]


def old(start: float, end: float, errors: float = 0.0, **changes) -> Increment:
    return inc(start, end, errors, **({"pod": "old"} | changes))


def test_samples_at_the_same_times() -> None:
    found = laid([inc(0, 5), inc(5, 10, 7)], [old(0, 5), old(5, 10, 3)])
    assert found == [(0, 100, 0, 100, 0), (5, 100, 7, 100, 3)]


def test_counts_are_spread_over_their_time() -> None:
    # The new pod's first second lies before the old pod's sample at 1.
    found = laid([inc(0, 5, 10)], [old(-4, 1, 5), old(1, 6)])
    assert found == [(0, 100, 10, 100, 1)]


def test_what_an_old_pod_may_have_failed_after_the_last_common_second_counts() -> None:
    found = laid([inc(0, 5, 10)], [old(0, 4), old(4, 9, 10)])
    assert found[-1][4] == pytest.approx(10)


def test_a_new_count_that_old_pods_have_not_been_read_beyond_is_left_out() -> None:
    found = laid([inc(0, 5), inc(5, 10, 50)], [old(0, 5), old(5, 9)])
    assert sum(one[2] for one in found) == 0


def test_only_time_that_every_old_pod_has_been_read_over() -> None:
    new, both = [inc(0, 5), inc(5, 10, 50)], [old(0, 10), old(0, 6, pod="old-1")]
    assert sum(one[2] for one in laid(new, both)) == 50
    assert sum(one[2] for one in laid(new, both, until=6)) == 0


def test_time_is_cut_where_a_pod_begins_or_ceases() -> None:
    new = [inc(0, 10), inc(3, 8, pod="new-1")]
    found = laid(new, [old(0, 10), old(0, 7, pod="old-1")])
    assert [one[0] for one in found] == [0, 3, 5, 7, 8]


def test_what_may_lie_before_a_cell_is_told() -> None:
    found = cells([inc(0, 4), inc(4, 9, 10)], [old(0, 7, 7), old(7, 12)], T0 + 100, 5.0)
    middle = next(one for one in found if one.start == T0 + 5)
    assert middle.new_errors_unsure == pytest.approx(8)
    assert middle.old_errors_before == pytest.approx(5)
    assert found[0].new_errors_unsure == 0


def test_routes_are_compared_each_with_itself() -> None:
    new = [inc(0, 5, 9), inc(0, 5, route=LIST)]
    assert laid(new, [old(0, 5), old(0, 5, 4, route=LIST)]) == [
        (0, 100, 0, 100, 4),
        (0, 100, 9, 100, 0),
    ]


def test_old_time_is_cut_by_the_minute() -> None:
    new = [inc(n * 5, n * 5 + 5) for n in range(60)]
    both = [old(n * 5, n * 5 + 5) for n in range(60)]
    starts = [one[0] for one in laid(new, both)]
    assert starts[:4] == [0, 60, 120, 125]
    assert len(starts) == 2 + 36


@pytest.mark.parametrize(
    ("new", "both"),
    [([], [old(0, 5)]), ([inc(0, 5)], []), ([inc(5, 10)], [old(0, 5)]), ([inc(3, 3)], [old(0, 3)])],
    ids=["no new", "no old", "no common time", "no time at all"],
)
def test_nothing_to_compare(new, both) -> None:
    assert laid(new, both) == []
