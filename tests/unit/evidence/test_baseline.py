"""The control's minutes from raw samples."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.evidence.baseline import HOUR_SECONDS, Control, RouteControl, control_from
from tests.builders import LIST, PURCHASE, T0, make_counters, make_series

Samples = list[tuple[float, float]]


def rising(start: float, step: float, amount: float, count: int) -> Samples:
    return [(start + step * number, 1000 + amount * number) for number in range(count)]


def test_each_minute_has_what_was_counted_in_it() -> None:
    requests = make_series(rising(-3700, 5, 20, 741))
    errors = make_series([(time, max(0.0, min(60.0, time + 120))) for time in range(-3700, 1, 5)])
    found = control_from(make_counters([requests], [errors]), T0)
    assert found.routes[PURCHASE].requests == 720 * 20
    assert found.routes[PURCHASE].errors == 60
    assert found.routes[PURCHASE].worst_minute == pytest.approx(60 / 240)
    assert found.routes[PURCHASE].worst == (
        (60, pytest.approx(60 / 240)),
        (120, pytest.approx(60 / 480)),
        (300, pytest.approx(60 / 1200)),
        (900, pytest.approx(60 / 3600)),
    )
    assert (found.seconds, found.busiest_minute) == (59 * 60, pytest.approx(4.0))


def test_too_few_requests_make_no_worst_minute() -> None:
    requests = make_series(rising(-3700, 5, 2, 741))
    errors = make_series([(time, max(0.0, min(20.0, time + 120))) for time in range(-3700, 1, 5)])
    found = control_from(make_counters([requests], [errors]), T0).routes[PURCHASE]
    assert found.worst == ((900, pytest.approx(20 / 360)),)
    assert found.worst_minute == pytest.approx(20 / 360)


def test_the_minute_before_the_release_is_not_among_the_earlier_ones() -> None:
    requests = make_series(rising(-3700, 5, 20, 741))
    errors = make_series([(time, max(0.0, min(60.0, time + 55))) for time in range(-3700, 1, 5)])
    found = control_from(make_counters([requests], [errors]), T0).routes[PURCHASE]
    assert found.worst_minute == pytest.approx(55 / 240)
    assert found.worst_earlier == 0.0


@pytest.mark.parametrize(
    ("samples", "quietest"),
    [
        (rising(-3595, 5, 20, 720), 4.0),
        ([*rising(-3595, 5, 20, 48), *((at, 1940.0) for at in range(-3355, 1, 5))], 0.0),
        (rising(-3595, 5, 20, 48), 0.0),
        (rising(-3595, 5, 20, 708), 4.0),
    ],
    ids=["requests to the end", "56 idle minutes", "56 minutes unread", "the last minute unread"],
)
def test_the_quietest_minute_is_one_of_all_minutes_up_to_the_release(samples, quietest) -> None:
    found = control_from(make_counters([make_series(samples)]), T0)
    assert found.quietest_minute == pytest.approx(quietest)


def test_what_comes_after_the_release_is_not_counted() -> None:
    series = make_series(rising(-600, 5, 10, 400))
    cut = make_series(rising(-600, 5, 10, 121))
    assert control_from(make_counters([series]), T0) == control_from(make_counters([cut]), T0)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(-50, 100), (-40, 150)], 50),
        ([(-50, 100), (-40, 7)], 7),
        ([(-50, 100), (-40, float("nan")), (-30, 130)], 30),
        ([(-50, 100), (-40, -5), (-30, 130)], 30),
        ([(-50, 100)], 0),
        ([(-4000, 100), (-10, 160)], 60),
    ],
    ids=["a rise", "a restart", "no number", "negative", "one sample", "a gap over its beginning"],
)
def test_differences(samples: Samples, expected: float) -> None:
    assert control_from(make_counters([make_series(samples)]), T0).pooled.requests == expected


def test_a_series_that_appears_with_its_first_error_has_counted_from_zero() -> None:
    requests = make_series(rising(-600, 5, 10, 121))
    errors = make_series([(-300, 3), (-295, 4)])
    assert control_from(make_counters([requests], [errors]), T0).pooled.errors == 4


def test_a_pod_that_two_targets_read_is_counted_once() -> None:
    once = make_series(rising(-600, 5, 10, 121))
    twice = make_series(rising(-598, 5, 10, 100), instance="other:9090")
    found = control_from(make_counters([once, twice]), T0)
    assert found == control_from(make_counters([once]), T0)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 500)), min_size=2, max_size=40),
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 500)), min_size=2, max_size=40),
)
def test_nothing_is_lost_and_nothing_is_counted_twice(
    one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]
) -> None:
    counters = make_counters(
        [make_series(walked(one), pod="a"), make_series(walked(other), pod="b", route=LIST)]
    )
    found = control_from(counters, T0)
    expected = sum(amount for _, amount in one[1:]) + sum(amount for _, amount in other[1:])
    assert found.pooled.requests == expected
    assert sum(route.requests for route in found.routes.values()) == expected


def walked(steps: Sequence[tuple[int, int]]) -> Samples:
    """Samples that end at T0, by the seconds and the requests between each and the next."""
    time, value = -float(sum(pause for pause, _ in steps)), 0.0
    assert time > -HOUR_SECONDS
    samples = []
    for pause, amount in steps:
        time, value = time + pause, value + amount
        samples.append((time, value))
    return samples


@pytest.mark.parametrize(
    ("seconds", "requests", "is_sufficient", "is_brief"),
    [
        (60, 100, True, False),
        (60, 99, False, False),
        (59, 100, False, True),
        (0, 99, False, False),
    ],
)
def test_how_much_of_a_past_stands_for_a_revision(
    seconds: float, requests: float, is_sufficient: bool, is_brief: bool
) -> None:
    found = Control(seconds=seconds, routes={}, pooled=RouteControl(requests, 0, 0.0))
    assert (found.is_sufficient, found.is_brief) == (is_sufficient, is_brief)
