"""Which counts of a pod's first seconds are left out: those that hold a warm-up and little else."""

from dataclasses import replace

import pytest

from rollback_operator.core.scope import without_warm_up
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
    errors = {15: 52, 20: 40, 25: 24, 30: 8, 35: 3, 40: 1}
    served = [
        make_increment(start=start, end=start + 5, requests=80, errors=failed)
        for start, failed in errors.items()
    ]
    found = without_warm_up([*unready, *served], STARTS)
    assert sum(one.errors for one in found) == 4
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
