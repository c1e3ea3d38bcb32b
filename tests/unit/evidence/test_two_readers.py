"""Prometheus and the operator itself read the same counters: nothing is counted twice or lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_operator.evidence.counters import Evidence, fold, fold_read
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, CounterSeries
from rollback_operator.stats.windows import EARLY_GRAIN, EARLY_SECONDS
from tests.builders import LIST, PURCHASE, T0, make_counters, make_pod, make_series
from tests.sizes import examples

OLD = make_pod(0, "v1", name="old", created=T0 - 3600, started=T0 - 3600, ready_since=T0 - 3590)
NEW = make_pod(0, name="new", created=T0, started=T0 + 1, ready_since=T0 + 2)
PODS = (OLD, NEW)
TARGET = (("endpoint", "web"), ("node", "n1"))
"""What Prometheus adds to a pod's own labels."""
Fold = Callable[[Evidence, Counters, tuple[Pod, ...]], Evidence]
Answer = tuple[Fold, Counters]


def own(
    samples: Sequence[tuple[float, float]], pod: str = "new", route: str = PURCHASE, **labels: str
) -> CounterSeries:
    """A series as the pod's page shows it."""
    identity = tuple(sorted(labels.items()))
    return make_series(samples, pod, route, identity=identity, instance=f"{pod}:9102")


def scraped(
    samples: Sequence[tuple[float, float]], pod: str = "new", route: str = PURCHASE, **labels: str
) -> CounterSeries:
    """The same series as Prometheus has it."""
    found = own(samples, pod, route, **labels)
    return replace(found, identity=tuple(sorted((*found.identity, *TARGET))))


def scrape(*requests: CounterSeries, errors: Sequence[CounterSeries] = ()) -> Answer:
    return fold, make_counters(requests, errors)


def read(*requests: CounterSeries, errors: Sequence[CounterSeries] = ()) -> Answer:
    return fold_read, make_counters(requests, errors)


def folded(*answers: Answer, pods: tuple[Pod, ...] = PODS) -> Evidence:
    evidence = Evidence(T0, interval=5.0)
    for take, counters in answers:
        evidence = take(evidence, counters, pods)
    return evidence


def totals(evidence: Evidence, pod: str = "new") -> tuple[float, float]:
    counted = [one for one in evidence.increments if one.pod == pod]
    return sum(one.requests for one in counted), sum(one.errors for one in counted)


ROWS = {
    "the page first": (
        [read(own([(4, 20)])), scrape(scraped([(7, 50)])), read(own([(7.5, 55)]))],
        (55, 0),
    ),
    "the scrape first": (
        [scrape(scraped([(7, 50)])), read(own([(7.5, 55)])), read(own([(8, 60)]))],
        (60, 0),
    ),
    "a scrape that arrives late": (
        [read(own([(7.5, 55)])), read(own([(8, 60)])), scrape(scraped([(7, 50)]))],
        (60, 0),
    ),
    "a clock that is a little off": (
        [read(own([(7.5, 55)])), scrape(scraped([(7.6, 53)])), read(own([(8, 60)]))],
        (60, 0),
    ),
    "errors on both": (
        [
            read(own([(4, 20)], method="POST"), errors=[own([(4, 2)], method="POST")]),
            scrape(scraped([(7, 50)], method="POST"), errors=[scraped([(7, 5)], method="POST")]),
            read(own([(8, 60)], method="POST"), errors=[own([(8, 6)], method="POST")]),
        ],
        (60, 6),
    ),
    "several series of a route": (
        [
            read(own([(4, 20)], status="200"), own([(4, 3)], status="500")),
            scrape(scraped([(7, 50)], status="200"), scraped([(7, 6)], status="500")),
            read(own([(8, 60)], status="200"), own([(8, 7)], status="500")),
        ],
        (67, 0),
    ),
    "a series whose labels another one has too": (
        [
            scrape(scraped([(7, 50)]), scraped([(7, 6)], status="500")),
            read(own([(8, 60)]), own([(8, 7)], status="500")),
        ],
        (67, 0),
    ),
    "a series that only the page has so far": (
        [
            scrape(scraped([(7, 50)], status="200")),
            read(own([(7.5, 55)], status="200")),
            read(own([(8, 60)], status="200"), own([(8, 4)], status="500")),
            scrape(scraped([(12, 90)], status="200"), scraped([(12, 9)], status="500")),
        ],
        (99, 0),
    ),
    "a series that Prometheus has a moment before the page": (
        [
            read(own([(7.5, 55)], status="200")),
            scrape(scraped([(7.8, 56)], status="200"), scraped([(7.8, 4)], status="500")),
            read(own([(8, 60)], status="200"), own([(8, 6)], status="500")),
            scrape(scraped([(12, 90)], status="200"), scraped([(12, 9)], status="500")),
        ],
        (99, 0),
    ),
    "successes that came after a young pod's only scrape": (
        [
            scrape(scraped([(3.5, 3)], status="500")),
            read(own([(4, 5)], status="500"), own([(4, 4)], status="201")),
            read(own([(6, 9)], status="500"), own([(6, 8)], status="201")),
        ],
        (17, 0),
    ),
    "... at a scrape that took seconds": (
        [
            read(own([(7.5, 55)])),
            read(own([(8.5, 57)])),
            scrape(scraped([(7, 60)]), scraped([(7, 4)], route=LIST)),
            read(own([(9, 60)]), own([(9, 6)], route=LIST)),
            scrape(scraped([(12, 90)]), scraped([(12, 9)], route=LIST)),
        ],
        (99, 0),
    ),
    "... and before the pod's first page": (
        [
            scrape(scraped([(7.4, 55)]), scraped([(7.4, 4)], route=LIST)),
            read(own([(7.2, 54)])),
            read(own([(8, 60)]), own([(8, 6)], route=LIST)),
            scrape(scraped([(12, 90)]), scraped([(12, 9)], route=LIST)),
        ],
        (99, 0),
    ),
    "a label of the pod's own that Prometheus renames": (
        [
            read(own([(4, 20)], endpoint="mine")),
            scrape(replace(scraped([(7, 50)]), identity=(*TARGET, ("exported_endpoint", "mine")))),
            read(own([(8, 60)], endpoint="mine")),
        ],
        (60, 0),
    ),
    "a label that Prometheus drops": (
        [
            read(own([(4, 20)], version="v2")),
            scrape(replace(scraped([(7, 50)]), identity=())),
            read(own([(8, 60)], version="v2")),
        ],
        (60, 0),
    ),
    "no labels but the route": ([read(own([(4, 20)])), scrape(own([(7, 50)]))], (50, 0)),
}


@pytest.mark.parametrize(("answers", "expected"), ROWS.values(), ids=ROWS)
def test_counted_once(answers: list[Answer], expected: tuple[float, float]) -> None:
    evidence = folded(*answers)
    assert totals(evidence) == expected
    assert not evidence.book.conflict


CONFLICTS = {
    "routes are rewritten": [
        scrape(scraped([(7, 50)], "old", "/tickets/:id")),
        read(own([(12.2, 60)], "old", "/tickets/1")),
        scrape(scraped([(12, 60)], "old", "/tickets/:id")),
    ],
    "... on a new pod": [
        read(own([(4, 20)], route="/tickets/1")),
        read(own([(7.5, 50)], route="/tickets/1")),
        scrape(scraped([(7, 49)], route="/tickets/:id")),
        read(own([(12.2, 60)], route="/tickets/1")),
        scrape(scraped([(7, 49), (12, 60)], route="/tickets/:id")),
    ],
    "values are rewritten": [
        scrape(scraped([(7, 50)], "old", status="5xx")),
        read(own([(12.2, 60)], "old", status="500")),
        scrape(scraped([(12, 60)], "old", status="5xx")),
    ],
    "any of two in Prometheus": [
        scrape(scraped([(7, 50)], "old", a="1"), scraped([(7, 50)], "old", b="1")),
        read(own([(8, 60)], "old")),
    ],
    "any of two on the page": [
        read(own([(4, 20)], a="1"), own([(4, 20)], b="1")),
        scrape(replace(scraped([(7, 50)]), identity=())),
    ],
}


@pytest.mark.parametrize("answers", CONFLICTS.values(), ids=CONFLICTS)
def test_where_both_differ_it_is_said(answers: list[Answer]) -> None:
    evidence = folded(*answers)
    assert evidence.book.conflict
    assert totals(evidence)[0] <= 60


def test_what_prometheus_does_not_keep_is_no_evidence_on_any_pod() -> None:
    """Dropped by relabeling: an old pod's ten thousand would else come all at once."""
    evidence = folded(
        scrape(scraped([(3, 900)], "old")),
        read(own([(4, 910)], "old"), own([(4, 10_000)], "old", LIST), own([(4, 5)], route=LIST)),
        read(own([(5, 920)], "old"), own([(5, 10_100)], "old", LIST), own([(5, 9)], route=LIST)),
    )
    assert totals(evidence, "old") == (20, 0)
    assert totals(evidence) == (0, 0)
    # Up to when these pods have been read is for Prometheus to say.
    assert dict(evidence.seen) == {"old": T0 + 3}


def test_what_prometheus_was_only_late_with_counts_from_then_on() -> None:
    evidence = folded(
        scrape(scraped([(3, 900)], "old")),
        read(own([(4, 910)], "old"), own([(4, 2)], "old", LIST)),
        scrape(scraped([(8, 940)], "old"), scraped([(8, 4)], "old", LIST)),
        read(own([(9, 950)], "old"), own([(9, 7)], "old", LIST), own([(9, 3)], route=LIST)),
    )
    assert totals(evidence) == (3, 0)
    assert totals(evidence, "old") == (57, 0)
    assert evidence.seen["old"] == T0 + 9


def test_a_restart_is_counted_once_whoever_shows_it_first() -> None:
    restarted = replace(NEW, started=T0 + 15, ready_since=T0 + 15, restarts=1)
    evidence = folded(
        scrape(scraped([(12, 90)])),
        read(own([(14, 100)])),
        read(own([(15.4, 5)])),
        scrape(scraped([(12, 90), (15.6, 4)])),
        read(own([(16, 10)])),
        pods=(OLD, restarted),
    )
    assert totals(evidence) == (110, 0)


TWO_PORTS = [
    scrape(replace(scraped([(7, 50)]), instance="10.244.0.7:8080")),
    read(replace(own([(8, 7)]), instance="10.244.0.7:9102")),
]


@pytest.mark.parametrize("answers", [TWO_PORTS, TWO_PORTS[::-1]], ids=["scraped", "read"])
def test_another_port_of_the_pod_shows_other_counters(answers: list[Answer]) -> None:
    assert "10.244.0.7:9102" in folded(*answers).book.conflict


def test_of_two_scraped_ports_the_one_that_is_read_counts() -> None:
    evidence = folded(
        read(replace(own([(4, 7)]), instance="10.244.0.7:9102")),
        scrape(
            replace(scraped([(6, 50), (7, 60)]), instance="10.244.0.7:8080"),
            replace(scraped([(7, 9)]), instance="10.244.0.7:9102"),
        ),
    )
    assert not evidence.book.conflict
    assert totals(evidence) == (9, 0)


def test_direct_reads_do_not_change_what_is_known_of_scrapes() -> None:
    evidence = folded(
        scrape(scraped([(2, 10), (7, 50)])),
        *(read(own([(7 + n / 2, 50 + n)])) for n in range(1, 8)),
    )
    assert evidence.interval == 5
    assert evidence.newest_scrape == T0 + 7
    assert evidence.newest == T0 + 10.5
    assert evidence.instances == {"new": "new:9102"}


def test_prometheus_goes_on_alone_where_the_pods_fall_silent() -> None:
    evidence = folded(
        read(own([(4, 20)], status="200")),
        scrape(scraped([(7, 50)], status="200")),
        scrape(scraped([(12, 90)], status="200")),
        scrape(scraped([(27, 190)], status="200"), scraped([(27, 4)], status="500")),
    )
    assert totals(evidence) == (194, 0)


def test_fine_reads_become_as_coarse_as_scrapes_and_lose_nothing() -> None:
    answers = [read(own([(3 + n / 2, 10.0 * n)])) for n in range(800)]
    evidence = folded(*answers)
    assert totals(evidence) == (7990, 0)
    assert len(evidence.increments) <= EARLY_SECONDS / EARLY_GRAIN + 160 / 5 + 2 * 15 + 2
    newest = [one for one in evidence.increments if one.end > T0 + 3 + 399.5 - 9]
    assert all(one.end - one.start == pytest.approx(0.5) for one in newest)


def test_pods_that_only_prometheus_reads_stay_as_they_are() -> None:
    alone = [scrape(scraped([(3 + 4 * n, 10.0 * n)], "old")) for n in range(40)]
    mixed = [*alone[:20], read(own([(83, 5)])), *alone[20:]]
    kept = tuple(one for one in folded(*mixed).increments if one.pod == "old")
    assert kept == folded(*alone).increments


law = settings(max_examples=examples(150), database=None)
steps = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), min_size=1, max_size=25
)


@law
@given(steps=steps, shuffled=st.randoms(use_true_random=False))
def test_however_two_readers_interleave_the_totals_are_those_of_one(
    steps: list[tuple[int, int, bool]], shuffled: object
) -> None:
    """Each step of time counts some requests and errors; one of the readers sees them."""
    requests = errors = 0
    both: list[Answer] = []
    alone: list[Answer] = []
    for number, (more, failed, is_read) in enumerate(steps):
        requests, errors = requests + more + failed, errors + failed
        at = 3.0 + number
        one = read(own([(at, requests)], m="GET"), errors=[own([(at, errors)], m="GET")])
        other = scrape(
            scraped([(at, requests)], m="GET"), errors=[scraped([(at, errors)], m="GET")]
        )
        both.append(one if is_read else other)
        alone.append(other)
    newest = both[-1]
    shuffled.shuffle(both)  # type: ignore[attr-defined] # a random.Random
    evidence = folded(*both, newest)
    assert not evidence.book.conflict
    assert totals(evidence) == totals(folded(*alone)) == (requests, errors)
    assert evidence.seen == {"new": T0 + 2 + len(steps)}


@law
@given(steps=steps)
def test_a_read_of_a_young_pod_counts_all_that_its_page_shows(
    steps: list[tuple[int, int, bool]],
) -> None:
    """Series begin with their first event; errors alone would mislead."""
    passed = failed = 0
    evidence = Evidence(T0, interval=5.0)
    for number, (more, errors, is_read) in enumerate(steps):
        passed, failed, at = passed + more, failed + errors, 3.0 + number / 2
        make = own if is_read else scraped
        good = [make([(at, passed)], status="201")] if passed else []
        bad = [make([(at, failed)], status="500")] if failed else []
        take, counters = (read if is_read else scrape)(*good, *bad, errors=bad)
        evidence = take(evidence, counters, PODS)
        if is_read:
            assert totals(evidence) == (passed + failed, failed)
    assert not evidence.book.conflict


@law
@given(steps=steps)
def test_what_an_old_pod_had_counted_before_is_never_evidence(
    steps: list[tuple[int, int, bool]],
) -> None:
    requests, answers = 50_000, [scrape(scraped([(2, 50_000)], "old"))]
    for number, (more, _, is_read) in enumerate(steps):
        requests += more
        at = 3.0 + number
        answers.append(
            read(own([(at, requests)], "old"))
            if is_read
            else scrape(scraped([(at, requests)], "old"))
        )
    assert totals(folded(*answers), "old") == (requests - 50_000, 0)
