"""The control's minutes from raw samples."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.evidence.baseline import (
    HOUR_SECONDS,
    Control,
    RouteControl,
    ceilings,
    control_from,
    control_of,
)
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


def test_a_quarter_with_few_requests_is_not_hidden_by_one_with_a_few_more() -> None:
    """The only quarter with requests enough is clean, and the old revision fails since then."""
    ends = [T0 - 60 * back for back in range(60)]
    requests = {end: 13.0 if end > T0 - 2700 else 14.0 for end in ends}
    errors = {end: 4.0 for end in ends if end > T0 - 960}
    other = dict.fromkeys(ends, 100.0)
    failing = {end: 28.0 for end in ends if end > T0 - 960}
    found = control_of({PURCHASE: requests, LIST: other}, {PURCHASE: errors, LIST: failing}, T0)
    assert (900, 0.0) in found.routes[PURCHASE].worst
    assert max(rate for _, rate in found.routes[PURCHASE].worst) > 0.17
    assert min(limit.rate for limit in ceilings(found, PURCHASE)) > 4 / 13


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


def minutes_of(rate: float, errors: Sequence[float] = ()) -> dict[float, float]:
    """An hour, by the minute; the newest first."""
    shares = errors or [1.0] * 60
    return {T0 - 60 * back: rate * share for back, share in enumerate(shares)}


def test_few_requests_stretch_the_window_until_it_says_something() -> None:
    """0.12 requests a second on a route, an eighth failed in the last ten minutes."""
    found = control_of({PURCHASE: minutes_of(7.2)}, {PURCHASE: minutes_of(7.2, [1 / 8] * 10)}, T0)
    seconds, rate = found.routes[PURCHASE].worst[0]
    assert seconds == 1800
    assert rate == pytest.approx(0.0417, abs=0.001)
    assert [one.seconds for one in ceilings(found, PURCHASE)] == [0.0]
    # The worst minute of so few requests is chance.
    single = control_of({PURCHASE: minutes_of(7.2)}, {PURCHASE: {T0 - 600: 2.0}}, T0)
    assert single.routes[PURCHASE].worst == ((1800, pytest.approx(2 / 216)),)


def test_minutes_in_which_few_requests_failed_are_known_by_their_lower_bound() -> None:
    found = control_of({PURCHASE: minutes_of(4.2)}, {PURCHASE: minutes_of(4.2, [1.0] * 5)}, T0)
    assert found.routes[PURCHASE].worst_minute == pytest.approx(0.632, abs=0.01)


def test_a_route_with_few_requests_is_bounded_by_all_routes_too() -> None:
    requests = {PURCHASE: minutes_of(7.2), LIST: minutes_of(16.8)}
    errors = {route: minutes_of(minute[T0], [1 / 8] * 10) for route, minute in requests.items()}
    found = control_of(requests, errors, T0)
    assert ceilings(found, PURCHASE)[0].rate == ceilings(found, None)[-1].rate > 0.125
    clean = control_of(requests, {}, T0)
    assert ceilings(clean, PURCHASE)[0].rate == 0.01


def past_of(seconds: float, requests: float = 3000, errors: float = 0) -> Control:
    return Control(seconds=seconds, routes={}, pooled=RouteControl(requests, errors, 0.0))


def ceiling_of(control: Control) -> float:
    return ceilings(control, None)[0].rate


@pytest.mark.parametrize(
    ("seconds", "requests", "expected"),
    [
        (3600, 3000, 0.01),
        (60, 100, 0.01),
        (55, 2988, 0.011),
        (30, 3000, 0.02),
        (5, 3000, 0.108),
        (0, 3000, 0.377),
        (3600, 50, 0.039),
        (3600, 10, 0.503),
        (3600, 1, 0.9),
        (5, 50, 0.327),
    ],
)
def test_the_ceiling_grows_as_the_past_shrinks(
    seconds: float, requests: float, expected: float
) -> None:
    assert ceiling_of(past_of(seconds, requests)) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("errors", [0, 3, 30])
def test_the_ceiling_has_no_step(errors: float) -> None:
    before, after = past_of(59.99, 3000, errors), past_of(60, 3000, errors)
    assert ceiling_of(before) == pytest.approx(ceiling_of(after), rel=0.001)
    before, after = past_of(600, 99.9, errors), past_of(600, 100, errors)
    assert ceiling_of(before) == pytest.approx(ceiling_of(after), rel=0.005)


def test_a_past_that_failed_nearly_everything_makes_every_rate_plausible() -> None:
    assert ceiling_of(past_of(10, 100, 99)) == pytest.approx(0.99)


def test_the_begin_of_a_past_only_adds_to_its_minutes() -> None:
    assert past_of(0).since(T0 - 55, T0).seconds == 55
    assert past_of(0).since(T0 - 170, T0).seconds == 60
    assert past_of(3000).since(T0 - 55, T0).seconds == 3000
