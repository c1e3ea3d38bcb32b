"""Which counts of a pod's first seconds are left out: those that hold a warm-up and little else."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from rollback_operator.api.v1alpha1 import Starts
from rollback_operator.evidence.arms import Arms
from rollback_operator.judge.warm_up import counts_that_matter, starts_of, without_warm_up
from rollback_operator.stats.windows import Increment, total
from tests.builders import T0, make_increment

STARTS = {"pod-0": (T0,), "pod-1": (T0,)}
BEGIN = make_increment(start=2, end=3, requests=1)
"""The pod's first request: ages are counted from here."""
OTHER = make_increment(pod="pod-1", start=2, end=10, requests=80, errors=12)
"""Another pod has failed in its first seconds; whether it goes on is not known."""


@pytest.mark.parametrize(
    ("begin", "is_dropped"),
    [(3, True), (6, True), (8, False)],
    ids=["from its first request on", "from its first seconds on", "a second sample"],
)
def test_a_count_that_holds_the_first_seconds_does_not_show_that_errors_go_on(
    begin: float, is_dropped: bool
) -> None:
    first = make_increment(start=2, end=13, requests=80, errors=24)
    longer = make_increment(pod="pod-1", start=begin, end=26, requests=120, errors=30)
    early = make_increment(pod="pod-1", start=2, end=min(3, begin), requests=1)
    found = without_warm_up([first, early, longer], STARTS)
    assert (first not in found) is is_dropped


@pytest.mark.parametrize(
    ("start", "end", "is_counted"),
    [(3, 12, False), (3, 24, False), (3, 32, False), (3, 62, True), (14, 27, True), (23, 36, True)],
    ids=[
        "within it",
        "a scrape that ends a little later",
        "a scrape of thirty seconds",
        "a gap of a minute is no warm-up",
        "begun in the second half of it",
        "after it",
    ],
)
def test_what_is_counted(start, end, is_counted) -> None:
    one = make_increment(start=start, end=end, requests=80, errors=6)
    assert (one in without_warm_up([BEGIN, OTHER, one], STARTS)) is is_counted


def test_a_pod_that_was_read_before_it_was_ready_warms_up_from_its_first_request_on() -> None:
    unready = [make_increment(start=start, end=start + 5, requests=0) for start in (0, 5, 10)]
    errors = {15: 52, 20: 40, 25: 24, 30: 8, 35: 8, 40: 60}
    served = [
        make_increment(start=start, end=start + 5, requests=80, errors=failed)
        for start, failed in errors.items()
    ]
    found = without_warm_up([*unready, *served], STARTS)
    assert sum(one.errors for one in found) == 68
    nobody = [make_increment(pod="pod-9", start=0, end=5, requests=0)]
    assert without_warm_up(nobody, {}) == nobody


def test_a_scrape_of_thirty_seconds_from_the_first_request_on_shows_no_lasting_fault() -> None:
    firsts = [
        make_increment(pod=pod, start=2, end=32, requests=240, errors=24)
        for pod in ("pod-0", "pod-1")
    ]
    later = make_increment(start=32, end=62, requests=240, errors=0)
    assert without_warm_up([*firsts, later], STARTS) == [later]
    failing = [replace(one, errors=one.requests) for one in firsts]
    assert without_warm_up(failing, STARTS) == failing


def served_by_age(rate: Callable[[float], float], until: float, rps: float = 20) -> list[Increment]:
    """Two pods that fail by their age alone, scraped each five seconds."""
    return [
        make_increment(
            pod=pod, start=2 + age, end=7 + age, requests=5 * rps, errors=5 * rps * rate(age + 2.5)
        )
        for age in range(0, round(until), 5)
        for pod in ("pod-0", "pod-1")
    ]


def fading(age: float) -> float:
    return 0.6 * math.exp(-age / 15)


def leaving_some(age: float) -> float:
    return 0.2 + 0.6 * math.exp(-age / 4)


@pytest.mark.parametrize("until", [15, 20, 30, 45, 60])
def test_errors_that_fade_do_not_count_in_a_pods_first_minute(until: float) -> None:
    assert without_warm_up(served_by_age(fading, until), STARTS) == []


def test_what_fails_after_the_first_minute_counts_though_it_fades() -> None:
    counted = without_warm_up(served_by_age(fading, 90), STARTS)
    assert {one.start - T0 for one in counted} == {62, 67, 72, 77, 82, 87}


@pytest.mark.parametrize("until", [20, 30, 45])
@pytest.mark.parametrize("rate", [0.07, 0.2, 0.6])
def test_errors_that_stay_count_from_the_first_second_on(rate: float, until: float) -> None:
    served = served_by_age(lambda _: rate, until)
    assert without_warm_up(served, STARTS) == served


def test_a_fault_that_a_warm_up_leaves_behind_counts_once_that_is_seen() -> None:
    counted = without_warm_up(served_by_age(leaving_some, 50), STARTS)
    assert min(one.start for one in counted) == T0 + 22


def test_what_nearly_all_fails_at_first_counts_though_it_fades() -> None:
    served = served_by_age(lambda age: min(1.0, 1.4 * math.exp(-age / 20)), 30)
    assert without_warm_up(served, STARTS) == served


def test_chance_seldom_makes_errors_that_stay_look_as_if_they_fade() -> None:
    dice = random.Random(7)
    held = 0
    for _ in range(300):
        served = [
            replace(one, errors=sum(dice.random() < 0.2 for _ in range(round(one.requests))))
            for one in served_by_age(lambda _: 0.2, 30, rps=4)
        ]
        held += len(without_warm_up(served, STARTS)) <= 4
    assert held < 60


def arms_with(new: list[Increment], **changes) -> Arms:
    arms = Arms(
        new=tuple(new),
        old=(),
        control=None,
        living_new=frozenset(STARTS),
        living_old=frozenset(),
        seen={},
        starts=STARTS,
        interval=5.0,
        watch_seconds=3600.0,
    )
    return replace(arms, **changes)


@pytest.mark.parametrize(
    ("rate", "rps", "expected"),
    [
        (lambda _: 0.001, 20, Starts.CLEAN),
        (fading, 20, Starts.FAILING),
        (lambda age: 0.5 if age > 25 else 0.0, 20, Starts.CLEAN),
        (lambda _: 0.0, 2, None),
    ],
    ids=["hardly an error", "a warm-up", "a fault that comes later", "too few requests"],
)
def test_how_pods_started(rate, rps: float, expected: Starts | None) -> None:
    assert starts_of(arms_with(served_by_age(rate, 600, rps)), T0) is expected


def test_no_requests_show_no_start() -> None:
    assert starts_of(arms_with([]), T0) is None


def test_pods_that_ran_before_they_were_counted_show_no_start() -> None:
    served = served_by_age(lambda _: 0.0, 600)
    assert starts_of(arms_with(served), T0 + 1.5) is None
    one_new = arms_with(served, starts={"pod-0": (T0,), "pod-1": (T0 - 3600, T0 - 3590)})
    assert starts_of(one_new, T0) is Starts.CLEAN
    failing = [replace(each, errors=9.0) if each.pod == "pod-1" else each for each in served]
    assert starts_of(replace(one_new, new=tuple(failing)), T0) is Starts.CLEAN


def test_first_errors_count_at_once_where_the_service_has_no_warm_up() -> None:
    served = served_by_age(lambda _: 0.2, 10)
    known = arms_with(served, has_warm_up=False)
    counted, onset = counts_that_matter(known, None)
    assert total(counted.increments) == total(served)
    assert total(onset) == total(served)
    assert not counts_that_matter(arms_with(served), None)[0]
