"""Sums by search are the sums that going through all of it gives."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.stats.sequential import MINUTE_SECONDS, against_ceiling
from rollback_operator.stats.windows import Counts, Increment, counts_of

moments = st.integers(0, 1200).map(lambda one: one / 4)
increments = st.builds(
    lambda pod, route, start, length, requests, errors: Increment(
        pod, route, start, start + length, float(requests), float(errors)
    ),
    st.sampled_from("abc"),
    st.sampled_from(["/x", "/y", "/z"]),
    moments,
    st.sampled_from([0.0, 0.5, 5.0, 60.0]),
    st.integers(0, 40),
    st.integers(0, 40),
)
some = st.lists(increments, min_size=1, max_size=40)


def total(all_: list[Increment]) -> tuple[float, float]:
    return sum(one.requests for one in all_), sum(one.errors for one in all_)


@given(all_=some, time=st.one_of(moments, st.just(-math.inf)))
def test_sums_since_a_time_are_those_of_the_counts_that_ended_later(all_, time) -> None:
    later = [one for one in all_ if one.end > time]
    assert counts_of(all_).since(time) == total(later)
    ends = [one.end for one in later if one.errors > 0]
    assert counts_of(all_).first_error_since(time) == min(ends, default=None)


@given(all_=some, time=moments)
def test_lists_by_time_hold_what_began_or_ended_by_then(all_, time) -> None:
    found = counts_of(all_)
    assert {id(one) for one in found.increments} == {id(one) for one in all_}
    assert {id(one) for one in found.ended_by(time)} == {id(one) for one in all_ if one.end <= time}
    begun = {id(one) for one in found.begun_before(time)}
    assert begun == {id(one) for one in all_ if one.start < time}
    assert found.begin == min(one.start for one in all_)
    served = [one for one in all_ if one.requests > 0 or one.errors > 0]
    assert set(found.first_starts) == {one.pod for one in served}
    for pod, begin in found.first_starts.items():
        assert begin == min(one.start for one in served if one.pod == pod)


@given(all_=some)
def test_each_count_is_in_the_minute_that_it_begins_in(all_) -> None:
    left = sorted(all_, key=lambda one: one.start)
    for minute in counts_of(all_).minutes:
        inside = [one for one in left if one.start < minute.start + MINUTE_SECONDS]
        assert minute.start == left[0].start
        assert (minute.requests, minute.errors) == total(inside)
        assert minute.passed == sum(max(0.0, one.requests - one.errors) for one in inside)
        left = left[len(inside) :]
    assert not left


@given(
    all_=some,
    ceiling=st.sampled_from([0.01, 0.1, 0.5]),
    lasting=st.sampled_from([0.0, 60.0, 300.0]),
)
def test_odds_of_a_route_and_of_all_are_those_of_its_counts_in_order(
    all_, ceiling, lasting
) -> None:
    found = counts_of(all_)
    for scope in (found, *(Counts({name: one}) for name, one in found.routes.items())):
        mine = sorted(scope.increments, key=lambda one: one.start)
        rows = [(one.start, one.requests, one.errors) for one in mine]
        expected = against_ceiling(rows, ceiling, 1e4, lasting)
        (odds,) = scope.against([(ceiling, scope.newest_start - lasting)], 1e4)
        assert odds.value == pytest.approx(expected.value)
        assert odds.since == expected.since


@given(all_=some, left_out=st.sets(st.integers(0, 39)))
def test_what_is_left_out_is_counted_no_more(all_, left_out) -> None:
    dropped = [one for number, one in enumerate(all_) if number in left_out]
    kept = [one for number, one in enumerate(all_) if number not in left_out]
    found = counts_of(all_).without(dropped)
    assert {id(one) for one in found.increments} == {id(one) for one in kept}
    assert found.since(-math.inf) == total(kept)
    assert bool(found) == bool(kept)
