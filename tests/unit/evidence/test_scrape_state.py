"""When the pods' own pages are read, and of which pods."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.scrape_state import (
    EMPTY_ROUNDS,
    FAILED_ROUNDS,
    MOST_PAGES,
    PAUSE_SECONDS,
    Direct,
    after_round,
    chosen,
    off,
)
from rollback_operator.model.samples import Counters, Missing
from tests.builders import T0, make_pods

REFUSED = Missing(Reason.PODS_UNREACHABLE, "connection refused")
EMPTY = Missing(Reason.NO_COUNTERS_EXPOSED, "no counters")
SLOW = Missing(Reason.PODS_SLOW, "no answer in time")
NO_ERRORS = Missing(Reason.ERROR_SERIES_MISSING, "no errors")
FOUND = Counters((), ())


def rounds(*readings: Counters | Missing) -> Direct:
    direct = Direct()
    for number, reading in enumerate(readings):
        direct = after_round(direct, reading, T0 + number / 2)
    return direct


def test_it_works_from_the_first_answer_on() -> None:
    assert rounds(FOUND).missing is None
    assert rounds(REFUSED, REFUSED, FOUND).missing is None


@pytest.mark.parametrize(("reading", "patience"), [(REFUSED, FAILED_ROUNDS), (EMPTY, EMPTY_ROUNDS)])
def test_it_is_paused_after_rounds_that_failed(reading: Missing, patience: int) -> None:
    almost = rounds(*[reading] * (patience - 1))
    assert almost.is_usable(T0 + 60)
    assert almost.missing == Direct().missing

    paused = rounds(*[reading] * patience)
    until = T0 + (patience - 1) / 2 + PAUSE_SECONDS
    assert paused.missing == reading
    assert not paused.is_usable(until - 0.1)
    assert paused.is_usable(until)


def test_a_single_failure_is_not_told() -> None:
    assert rounds(FOUND, REFUSED, REFUSED).missing is None
    assert rounds(FOUND, REFUSED, REFUSED, FOUND, REFUSED, REFUSED).is_usable(T0)


def test_pods_without_an_error_so_far_are_read_on() -> None:
    found = rounds(*[NO_ERRORS] * 50)
    assert found.missing == NO_ERRORS
    assert found.is_usable(T0)


def test_off_is_off() -> None:
    assert not off(Reason.SERIES_DIFFER, "").is_usable(T0 + 1e9)


def test_few_pods_are_all_read() -> None:
    new, old = make_pods(4), make_pods(3, "v1")
    assert set(chosen(new, old)) == {*new, *old}


def test_of_many_pods_some_of_each_revision_are_read_and_the_same_each_time() -> None:
    new, old = make_pods(200), make_pods(150, "v1")
    found = chosen(new, old)
    assert len(found) == MOST_PAGES
    assert sum(pod.pod_hash == "hashv1" for pod in found) == MOST_PAGES // 2
    assert chosen(tuple(reversed(new)), old) == found
    assert [replace(pod, ready=False) for pod in found] != list(found)
    one_gone = [pod for pod in new if pod != found[0]]
    assert len({*chosen(one_gone, old)} - {*found}) == 1


@pytest.mark.parametrize(("new", "old"), [(200, 0), (0, 200), (200, 3), (3, 200)])
def test_what_one_revision_leaves_the_other_takes(new: int, old: int) -> None:
    found = chosen(make_pods(new), make_pods(old, "v1"))
    assert len(found) == MOST_PAGES
    assert sum(pod.pod_hash == "hashv1" for pod in found) >= min(old, 3)
