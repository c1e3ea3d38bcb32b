import math
from dataclasses import replace

import pytest

from rollback_operator.evidence.counters import Evidence, fold, scrape_interval
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters
from rollback_operator.stats.windows import COARSE_SECONDS, EARLY_SECONDS
from tests.builders import LIST, PURCHASE, T0, make_counters, make_pod, make_series

OLD = make_pod(name="pod-0", created=T0 - 3600, started=T0 - 3600, ready_since=T0 - 3590)
NEW = make_pod(name="pod-0", created=T0, started=T0 + 1, ready_since=T0 + 2)


def folded(*answers: Counters, pod: Pod = NEW, opened: float = 0.0) -> Evidence:
    evidence = Evidence(T0 + opened)
    for counters in answers:
        evidence = fold(evidence, counters, (pod,))
    return evidence


def totals(evidence: Evidence) -> tuple[float, float]:
    return (
        sum(one.requests for one in evidence.increments),
        sum(one.errors for one in evidence.increments),
    )


def spans(evidence: Evidence) -> list[tuple[float, float]]:
    return [(one.start - T0, one.end - T0) for one in evidence.increments]


ROWS = {
    "new pod: counted from zero, since it was ready": (
        [make_counters([make_series([(7, 50), (12, 90)])])],
        NEW,
        (90, 0),
        [(2, 7), (7, 12)],
    ),
    "old pod: the first sample is only the base": (
        [make_counters([make_series([(3, 5000), (8, 5040)])])],
        OLD,
        (40, 0),
        [(3, 8)],
    ),
    "started in the second in which the watch opened: whole seconds still count from zero": (
        [make_counters([make_series([(7, 50)])])],
        replace(NEW, created=T0 - 0.6, started=T0 - 0.6, ready_since=T0 + 1),
        (50, 0),
        [(1, 7)],
    ),
    "same answer twice": (
        [make_counters([make_series([(7, 50), (12, 90)])])] * 2,
        NEW,
        (90, 0),
        [(2, 7), (7, 12)],
    ),
    "overlapping answers": (
        [
            make_counters([make_series([(7, 50), (12, 90)])]),
            make_counters([make_series([(7, 50), (12, 90), (17, 130)])]),
        ],
        NEW,
        (130, 0),
        [(2, 7), (7, 12), (12, 17)],
    ),
    "late sample from another reader": (
        [
            make_counters([make_series([(12, 90)])]),
            make_counters([make_series([(10, 74)])]),
        ],
        NEW,
        (90, 0),
        [(2, 12)],
    ),
    "two scrapers of one target at offsets": (
        [
            make_counters(
                [
                    make_series([(7, 50), (12, 90)]),
                    make_series([(9, 66), (14, 106)]),
                ]
            )
        ],
        NEW,
        (106, 0),
        [(2, 7), (7, 12), (12, 14)],
    ),
    "two targets of one pod: one of them counts": (
        [
            make_counters(
                [
                    make_series([(7, 50), (12, 90)]),
                    make_series([(9, 66)], instance="pod-0:9090"),
                ]
            )
        ],
        NEW,
        (90, 0),
        [(2, 7), (7, 12)],
    ),
    "errors of one series, requests of several": (
        [
            make_counters(
                [
                    make_series([(7, 40), (12, 80)], identity=(("code", "200"),)),
                    make_series([(7, 5), (12, 9)], identity=(("code", "500"),)),
                ],
                [make_series([(7, 5), (12, 9)])],
            )
        ],
        NEW,
        (89, 9),
        [(2, 7), (7, 12)],
    ),
    "old pod: a series that appears with its first error": (
        [
            make_counters([make_series([(3, 5000), (8, 5040), (13, 5080), (18, 5120)])]),
            make_counters(
                [make_series([(13, 5080), (18, 5120), (23, 5160)])], [make_series([(23, 4)])]
            ),
        ],
        OLD,
        (160, 4),
        [(3, 8), (8, 13), (13, 18), (18, 23)],
    ),
    "old pod: a series cut off by the window's edge is not new": (
        [
            make_counters(
                [make_series([(3, 5000), (8, 5040)])],
                [make_series([(8, 700)])],
            )
        ],
        OLD,
        (40, 0),
        [(3, 8)],
    ),
    "error read a moment after the request": (
        [
            make_counters([make_series([(7, 50), (12, 90)])], [make_series([(7, 5)])]),
            make_counters([make_series([(7, 50), (12, 90)])], [make_series([(7, 5), (12, 9)])]),
        ],
        NEW,
        (90, 9),
        [(2, 7), (7, 12)],
    ),
    "counter of a new pod that appears with its first error: since the sample before": (
        [
            make_counters([make_series([(7, 50), (12, 90)])]),
            make_counters([make_series([(12, 90), (17, 130)])], [make_series([(17, 6)])]),
        ],
        NEW,
        (130, 6),
        [(2, 7), (7, 12), (12, 17)],
    ),
    "the same in one answer": (
        [make_counters([make_series([(7, 50), (12, 90), (17, 130)])], [make_series([(17, 6)])])],
        NEW,
        (130, 6),
        [(2, 7), (7, 12), (12, 17)],
    ),
    "restart: from zero again": (
        [make_counters([make_series([(7, 50), (12, 90), (22, 30)])])],
        replace(NEW, started=T0 + 15, ready_since=T0 + 16),
        (120, 0),
        [(0, 7), (7, 12), (16, 22)],
    ),
    "restart in the second of the last sample": (
        [make_counters([make_series([(7, 50), (12.5, 90), (22, 30)])])],
        replace(NEW, started=T0 + 12, ready_since=T0 + 12),
        (120, 0),
        [(0, 7), (7, 12.5), (12.5, 22)],
    ),
    "fall without a restart: the maximum stands": (
        [make_counters([make_series([(7, 50), (12, 90), (17, 60), (22, 100)])])],
        NEW,
        (100, 0),
        [(2, 7), (7, 12), (12, 22)],
    ),
    "not a number, once": (
        [make_counters([make_series([(7, 50), (12, math.nan), (17, 90)])])],
        NEW,
        (90, 0),
        [(2, 7), (7, 17)],
    ),
    "unknown pod: the first sample is the base": (
        [make_counters([make_series([(7, 50), (12, 90)], pod="pod-9")])],
        NEW,
        (40, 0),
        [(7, 12)],
    ),
    "series without samples": ([make_counters([make_series([])])], NEW, (0, 0), []),
    "no answer at all": ([make_counters()], NEW, (0, 0), []),
}


@pytest.mark.parametrize(("answers", "pod", "total", "times"), ROWS.values(), ids=ROWS)
def test_counts(answers, pod, total, times) -> None:
    evidence = folded(*answers, pod=pod)
    assert totals(evidence) == total
    assert spans(evidence) == times


def test_a_restart_that_is_told_late_is_counted_when_it_is_told() -> None:
    before = make_counters([make_series([(7, 50), (12, 90)])])
    fallen = make_counters([make_series([(12, 90), (22, 30)])])
    later = make_counters([make_series([(22, 30), (27, 70)])])
    evidence = folded(before, fallen)
    assert totals(evidence) == (90, 0)
    restarted = replace(NEW, started=T0 + 15, ready_since=T0 + 16, restarts=1)
    evidence = fold(evidence, later, (restarted,))
    assert totals(evidence) == (160, 0)


def test_a_watch_that_is_rebuilt_after_a_restart_counts_both_lives_of_the_container() -> None:
    restarted = replace(NEW, started=T0 + 30, ready_since=T0 + 31, restarts=1)
    samples = [(7, 50), (12, 90), (37, 20), (42, 60)]
    evidence = folded(make_counters([make_series(samples)]), pod=restarted)
    assert totals(evidence) == (150, 0)


def test_a_pod_that_vanished_keeps_its_counts() -> None:
    evidence = folded(make_counters([make_series([(7, 50)])]))
    evidence = fold(evidence, make_counters([make_series([(9, 30)], pod="pod-1")]), ())
    assert totals(evidence) == (50, 0)
    assert evidence.newest_of(["pod-0"]) == T0 + 7
    assert evidence.newest == T0 + 9
    assert evidence.newest_of(["pod-7"]) is None
    assert Evidence(T0).newest is None


def test_another_target_is_taken_once_the_first_one_is_not_scraped_any_more() -> None:
    first = make_counters([make_series([(7, 50), (12, 90)])])
    still = make_counters([make_series([(14, 106)], instance="pod-0:9090")])
    gone = make_counters([make_series([(60, 400), (65, 440)], instance="pod-0:9090")])
    evidence = folded(first, still)
    assert totals(evidence) == (90, 0)
    assert totals(fold(evidence, gone, (NEW,))) == (440, 0)


def test_old_increments_are_merged_to_minutes_and_lose_nothing() -> None:
    samples = [(7.0 + 5 * n, 40.0 * n) for n in range(200)]
    whole = folded(make_counters([make_series(samples)]))
    assert totals(whole) == (40 * 199, 0)
    assert len(whole.increments) < 110
    early = [one for one in whole.increments if one.end < T0 + EARLY_SECONDS]
    assert all(one.end - one.start == 5 for one in early)
    assert len(early) == 47
    assert all(one.end - one.start <= COARSE_SECONDS + 5 for one in whole.increments)
    pieces = folded(*(make_counters([make_series(samples[n : n + 3])]) for n in range(198)))
    assert pieces.increments == whole.increments


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([(7, 1), (12, 2), (17, 3)], 5.0), ([(7, 1)], 15.0), ([(7, 1), (8, 2), (9, 3), (40, 4)], 1.0)],
    ids=["three samples", "one tells nothing", "a gap is no interval"],
)
def test_the_interval_is_the_one_seen(samples, expected) -> None:
    assert folded(make_counters([make_series(samples)])).interval == expected


def test_routes_are_kept_apart() -> None:
    evidence = folded(make_counters([make_series([(7, 50)]), make_series([(7, 30)], route=LIST)]))
    assert {one.route: one.requests for one in evidence.increments} == {PURCHASE: 50, LIST: 30}


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([(7, 50), (12, 90)], (50, 50)),
        ([(12, 90)], (50, 0)),
        ([(5, 30)], (50, 30)),
    ],
    ids=["a newer sample", "only a newer sample", "an older sample"],
)
def test_a_scrape_between_the_two_queries_of_an_answer_counts_with_the_next(
    errors, expected
) -> None:
    first = make_counters([make_series([(7, 50)])], [make_series(errors)])
    second = make_counters(
        [make_series([(7, 50), (12, 90)])], [make_series([*errors, (12, 90)][-2:])]
    )
    early = folded(first)
    assert totals(early) == expected
    assert early.newest == T0 + 7
    assert totals(fold(early, second, (NEW,))) == (90, 90)


def test_requests_newer_than_errors_count_at_once_since_errors_may_have_no_series() -> None:
    answer = make_counters([make_series([(7, 50), (12, 90)])], [make_series([(7, 5)])])
    assert totals(folded(answer)) == (90, 5)


def test_an_error_on_a_route_that_requests_do_not_have_counts_up_to_the_requests_of_its_pod() -> (
    None
):
    errors = [make_series([(7, 5), (12, 9)], route="/other")]
    assert totals(folded(make_counters([make_series([(7, 50)])], errors))) == (50, 5)


def test_an_error_on_a_quiet_route_counts_up_to_the_requests_of_its_own_route() -> None:
    requests = [make_series([(7, 50)]), make_series([(7, 30), (12, 60)], route=LIST)]
    errors = [make_series([(7, 50), (12, 90)])]
    assert totals(folded(make_counters(requests, errors))) == (110, 50)


@pytest.mark.parametrize(
    ("gap", "expected"), [(15.004, 15.0), (4.8, 5.0), (7.5, 7.5), (0.1, 0.1), (None, 15.0)]
)
def test_the_scrape_interval_is_taken_in_halves_of_a_second(gap, expected) -> None:
    samples = [(0.0, 1.0)] if gap is None else [(gap * number, 1.0) for number in range(4)]
    assert scrape_interval(make_counters([make_series(samples)]), 15.0) == pytest.approx(expected)


def test_a_pod_that_was_ready_in_the_instant_of_its_first_sample_has_served_before_it() -> None:
    ready = replace(NEW, ready_since=T0 + 7)
    answer = make_counters([make_series([(7, 50)])], [make_series([(7, 50)])])

    (only,) = folded(answer, pod=ready).increments

    assert (only.requests, only.errors, only.end) == (50, 50, T0 + 7)
    assert only.start < only.end


@pytest.mark.parametrize(
    ("targets", "errors"),
    [(("pod-0:9090",), 5), (("pod-0:8080", "pod-0:9090"), 5), (("pod-0:8080",), 5)],
    ids=["another port", "both", "that of the requests"],
)
def test_errors_that_another_port_of_the_pod_counts_are_counted_once(targets, errors) -> None:
    samples = [(7, 2), (12, 5)]
    failed = [make_series(samples, instance=target) for target in targets]
    answer = make_counters([make_series([(7, 50), (12, 90)])], failed)
    assert totals(fold(folded(answer), answer, (NEW,))) == (90, errors)
