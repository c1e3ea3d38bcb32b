"""Release or environment: the figures that the method was designed with, and what narrows them."""

import pytest

from rollback_operator.judge.affected import fail_more
from rollback_operator.judge.blame import blame, is_one_fault, spread_of_onsets
from rollback_operator.stats.change_point import BaselineRate, Failing, has_ended
from rollback_operator.stats.windows import Increment
from tests.builders import make_increment

HOUR = 3600.0


def series(
    *counts: tuple[float, float], pod: str = "new-0", begin: float = 0.0, step: float = 5.0
) -> list[Increment]:
    return [
        make_increment(
            pod=pod,
            start=begin + step * index,
            end=begin + step * index + step,
            requests=float(requests),
            errors=float(errors),
        )
        for index, (requests, errors) in enumerate(counts)
    ]


def test_failing_from_the_first_request_on_is_9300_to_one() -> None:
    found = blame([Failing(series(*[(100, 100)] * 3), BaselineRate(0.001, 0.01))], HOUR)
    assert found.odds == pytest.approx(0.02 * 0.9 * 30 * 86400 / 5, rel=0.02)
    assert (found.is_from_first_request, found.onset) == (True, 0.0)


def test_failing_after_a_thousand_good_requests_is_28_to_one() -> None:
    # Sampled every five seconds, the fault began somewhere in the fifth interval.
    found = blame(
        [Failing(series(*[(250, 0)] * 4, (250, 125), (250, 250)), BaselineRate(0.001, 0.01))], HOUR
    )
    assert not found.is_from_first_request
    assert 20 <= found.onset <= 25
    assert found.odds < 100


@pytest.mark.parametrize(
    ("clean", "at_least", "at_most"),
    [(1, 90, 150), (4, 25, 35), (12, 9, 12), (60, 1, 3)],
    ids=["5 s: near the limit", "20 s: 28 : 1", "1 min: 10 : 1", "5 min: 2 : 1"],
)
def test_the_later_the_onset_the_less_the_release_is_to_blame(clean, at_least, at_most) -> None:
    found = blame(
        [Failing(series(*[(100, 0)] * clean, *[(100, 100)] * 2), BaselineRate(0.001, 0.01))], HOUR
    )
    assert at_least <= found.odds <= at_most


@pytest.mark.parametrize(
    "counts",
    [
        [(60, 12), (60, 9), (60, 15), (60, 11)],
        [(60, 8), (60, 14), (60, 12)],
        [(20, 4), (20, 3), (20, 5)],
    ],
    ids=["a fifth", "a fifth, few at first", "low traffic"],
)
def test_a_share_that_fails_all_the_time_fails_from_the_first_request_on(counts) -> None:
    found = blame([Failing(series(*counts), BaselineRate(0.001, 0.01))], HOUR)
    assert found.is_from_first_request
    assert found.odds > 1000


@pytest.mark.parametrize(
    "counts",
    [
        [(250, 25), (250, 75), (250, 125), (250, 150), *[(250, 150)] * 4],
        [(100, 8), (100, 15), (100, 24), (100, 30), (100, 38), (100, 47), *[(100, 50)] * 3],
    ],
    ids=["over 18 s", "over half a minute"],
)
def test_a_fault_that_grows_from_the_first_request_on_is_the_releases(counts) -> None:
    found = blame([Failing(series(*counts), BaselineRate(0.001, 0.01))], HOUR)
    assert found.is_from_first_request
    assert found.odds > 1000


@pytest.mark.parametrize(
    "counts",
    [
        [(250, 0), (250, 0), (250, 0), (250, 25), (250, 75), (250, 125), *[(250, 150)] * 4],
        [(250, 0), (250, 75), *[(250, 150)] * 6],
        [(250, 1), (250, 0), (250, 30), *[(250, 150)] * 6],
    ],
    ids=["grows from 15 s on", "sudden, within a sample", "sudden, late in a sample"],
)
def test_a_fault_that_begins_later_is_not_taken_for_one_that_grows(counts) -> None:
    found = blame([Failing(series(*counts), BaselineRate(0.001, 0.01))], HOUR)
    assert not found.is_from_first_request
    assert found.odds < 150


def ramp(seconds: float, until: float, begin: float = 0.0) -> list[tuple[float, float]]:
    """250 requests in five seconds; 0.1 % fail, and from `begin` on the rate grows to 30 %."""
    middles = [5.0 * index + 2.5 for index in range(int(until / 5))]
    grown = [min(1.0, max(0.0, (at - begin) / seconds)) for at in middles]
    return [(250, round(250 * (0.001 + 0.3 * share))) for share in grown]


@pytest.mark.parametrize(
    ("seconds", "until"), [(120, 90), (120, 300), (250, 120), (250, 400), (400, 150), (400, 600)]
)
def test_a_fault_that_grows_over_minutes_is_the_releases(seconds, until) -> None:
    found = blame([Failing(series(*ramp(seconds, until)), BaselineRate(0.001, 0.01))], HOUR)
    assert found.is_from_first_request
    assert found.odds > 1000


@pytest.mark.parametrize(
    ("seconds", "begin"), [(120, 60), (60, 120), (30, 200), (1, 100), (250, 90)]
)
@pytest.mark.parametrize("later", [50, 150])
def test_a_fault_that_grows_later_is_not_taken_for_one_that_grows_over_minutes(
    seconds, begin, later
) -> None:
    counts = ramp(seconds, begin + later, begin)
    found = blame([Failing(series(*counts), BaselineRate(0.001, 0.01))], HOUR)
    assert not found.is_from_first_request
    assert found.odds < 150


@pytest.mark.parametrize(
    ("clean", "least", "most"), [(0, 5000, 10_000), (4, 10, 100)], ids=["at once", "after 20 s"]
)
@pytest.mark.parametrize("afterwards", [0, 20, 400])
def test_what_comes_after_a_fault_does_not_change_when_it_began(
    clean, least, most, afterwards
) -> None:
    fault = [(30, 0)] * clean + [(30, 24), (30, 22), (30, 23), (30, 24)]
    counts = [*fault, *[(100, 1)] * afterwards]
    found = blame([Failing(series(*counts), BaselineRate(0.01, 0.03))], HOUR)
    assert least <= found.odds <= most


def test_a_clean_first_pod_clears_the_release_whatever_younger_pods_show() -> None:
    first = series((100, 0), (100, 60), (100, 100))
    younger = series((80, 50), (100, 100), pod="new-1", begin=2)
    assert blame([Failing(younger, BaselineRate(0.001, 0.01))], HOUR).odds > 200
    found = blame([Failing([*first, *younger], BaselineRate(0.001, 0.01))], HOUR)
    assert not found.is_from_first_request
    assert found.onset > 5
    assert found.odds < 120


def test_the_pods_first_counts_without_requests_tell_nothing() -> None:
    found = blame(
        [Failing(series((0, 0), (0, 0), *[(100, 100)] * 2), BaselineRate(0.001, 0.01))], HOUR
    )
    assert found.is_from_first_request


def test_many_pods_cost_no_more_than_a_few() -> None:
    many = [
        one
        for number in range(200)
        for one in series(*[(10, 0)] * 20, *[(10, 5)] * 4, pod=f"new-{number}")
    ]
    found = blame([Failing(many, BaselineRate(0.001, 0.01))], HOUR)
    assert not found.is_from_first_request
    assert 95 <= found.onset <= 100


def test_no_requests_at_all() -> None:
    assert blame([Failing(series((0, 0)), BaselineRate(0.001, 0.01))], HOUR).is_from_first_request


def test_clean_requests_before_are_a_surprise_also_where_the_control_was_bad_for_a_minute() -> None:
    counts = series(*[(15, 0)] * 5, *[(15, 4)] * 4)
    found = blame([Failing(counts, BaselineRate(0.003, 0.2))], HOUR)
    assert not found.is_from_first_request
    assert found.onset >= 20
    assert found.odds < 100


def test_routes_with_few_requests_tell_the_onset_together() -> None:
    level = BaselineRate(0.001, 0.01)
    route = series((4, 0), (4, 0), (4, 0), (6, 2), (6, 1))
    alone = blame([Failing(route, level)], HOUR)
    together = blame([Failing(route, level)] * 3, HOUR)
    assert not together.is_from_first_request
    assert together.odds < alone.odds
    assert together.odds < 100


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(2, 0)] * 4 + [(2, 0.5)] * 20, True),
        ([(100, 0)] * 4 + [(100, 25)] * 20, True),
        ([(100, 25)] * 24, False),
        ([(100, 0)] * 14 + [(100, 25)] * 10, False),
    ],
    ids=["few requests", "the same onset", "from the first request on", "later"],
)
def test_routes_share_a_fault_unless_separate_onsets_fit_far_better(counts, expected) -> None:
    level = BaselineRate(0.001, 0.01)
    worst = [Failing(series(*[(1000, 0)] * 4, *[(1000, 200)] * 20), level)]
    assert is_one_fault(worst, Failing(series(*counts), level)) is expected


def test_an_early_onset_that_is_less_likely_counts_for_less() -> None:
    level = BaselineRate(0.001, 0.01)
    odds = [
        blame([Failing(series(*[(5, 0)] * clean, *[(5, 2)] * 3), level)], HOUR).odds
        for clean in range(4)
    ]
    assert odds == sorted(odds, reverse=True)
    assert odds[0] > 1000
    assert odds[3] < 100


# -- pods of different ages ------------------------------------------------------------------------

CLEAN, BAD = (100, 0), (100, 100)
LEVEL = BaselineRate(0.001, 0.01)


def staggered(*counts: list[tuple[float, float]]) -> list[Increment]:
    """Pods that begin to serve a quarter of a minute apart."""
    return [
        one
        for number, mine in enumerate(counts)
        for one in series(*mine, pod=f"new-{number}", begin=15.0 * number)
    ]


def test_pods_that_fail_at_the_same_age_speak_for_the_release() -> None:
    counts = staggered([CLEAN] * 8 + [BAD] * 8, [CLEAN] * 8 + [BAD] * 5, [CLEAN] * 8 + [BAD] * 2)

    found = blame([Failing(counts, LEVEL)], HOUR)

    assert found.odds > 1e6
    assert (found.is_by_age, found.is_from_first_request) == (True, False)
    assert found.onset == pytest.approx(40, abs=3)


def test_pods_that_fail_at_the_same_time_speak_for_the_environment() -> None:
    counts = staggered([CLEAN] * 14 + [BAD] * 4, [CLEAN] * 11 + [BAD] * 4, [CLEAN] * 8 + [BAD] * 4)

    found = blame([Failing(counts, LEVEL)], HOUR)

    assert found.odds < 100
    assert not found.is_by_age


@pytest.mark.parametrize("second", [2.0, 6.0])
def test_an_outage_that_reaches_a_younger_pod_later_speaks_for_the_environment(
    second: float,
) -> None:
    """Its connections serve a while longer: by chance both pods begin to fail at one age."""
    counts = [
        *series(*[(10, 0)] * 35, *[(10, 9)] * 15, pod="new-0", step=1.0),
        *series(*[(10, 0)] * 35, *[(10, 9)] * 12, pod="new-1", begin=second, step=1.0),
    ]

    found = blame([Failing(counts, LEVEL)], HOUR)

    assert found.odds < 100
    assert not found.is_by_age


def test_an_outage_that_reaches_pods_of_all_ages_one_after_the_other_does_too() -> None:
    """Two of three fail at one age, and all of them within seconds."""
    counts = [
        *series(*[(10, 0)] * 40, *[(10, 9)] * 15, pod="new-0", step=1.0),
        *series(*[(10, 0)] * 40, *[(10, 9)] * 11, pod="new-1", begin=4.0, step=1.0),
        *series(*[(10, 0)] * 24, *[(10, 9)] * 11, pod="new-2", begin=20.0, step=1.0),
    ]

    found = blame([Failing(counts, LEVEL)], HOUR)

    assert found.odds < 100
    assert not found.is_by_age


def test_pods_of_one_age_tell_nothing_of_ages() -> None:
    together = [
        *series(*[CLEAN] * 8, *[BAD] * 4),
        *series(*[CLEAN] * 8, *[BAD] * 4, pod="new-1", begin=1.0),
    ]
    alone = blame([Failing(series(*[CLEAN] * 8, *[BAD] * 4), LEVEL)], HOUR)

    found = blame([Failing(together, LEVEL)], HOUR)

    assert not found.is_by_age
    assert found.odds == pytest.approx(alone.odds, rel=0.8)


# -- faults that are over --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(100, 20)] * 6, False),
        ([(100, 20)] * 6 + [(100, 0)], True),
        ([(100, 20)] * 6 + [(100, 1)] * 2, True),
        ([(10, 2)] * 6 + [(10, 0)], False),
        ([(100, 40), (100, 30), (100, 20)], False),
        ([(100, 100)] * 6, False),
    ],
    ids=["it goes on", "none", "hardly any", "too few to tell", "it falls", "total"],
)
def test_a_fault_is_over_when_the_newest_counts_would_be_a_surprise(counts, expected) -> None:
    assert has_ended([Failing(series(*counts), LEVEL)]) is expected


def test_a_fault_that_goes_on_on_one_route_is_not_over() -> None:
    over = Failing(series(*[(100, 20)] * 6, *[(100, 0)] * 2), LEVEL)
    lasting = Failing(series(*[(100, 20)] * 8), LEVEL)

    assert not has_ended([over, lasting])


def test_errors_without_requests_have_no_rate() -> None:
    """A server may count errors of a pod without requests: drawn manifests made passes raise."""
    without = series((0, 30), pod="new-1")

    assert not fail_more(without, series((500, 0), pod="old-1"))
    assert fail_more(series((30, 30), pod="new-1"), series((500, 0), pod="old-1"))


def test_pods_whose_faults_are_over_have_no_spread_of_onsets() -> None:
    clean = [series((100, 0), pod="new-1"), series((100, 0), pod="new-2", begin=60.0)]

    assert spread_of_onsets(clean, [BaselineRate(0.001, 0.01)] * 2) == 0.0
