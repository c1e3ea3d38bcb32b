from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.decide.evaluate import watch_of
from rollback_operator.evidence.scrape_state import Direct
from rollback_operator.evidence.watch import (
    NOT_YET_READ,
    open_watch,
    with_gone,
    with_reading,
    with_workload,
)
from rollback_operator.model.samples import Missing
from tests.builders import (
    T0,
    at,
    make_case,
    make_control,
    make_counters,
    make_deployment,
    make_pod,
    make_pods,
    make_series,
    make_workload,
)

WATCH = open_watch("digest-v2", T0, frozenset({"hashv1"}))


def test_it_opens_knowing_nothing() -> None:
    assert WATCH.missing is NOT_YET_READ
    assert WATCH.evidence.opened == T0
    assert WATCH.pods == ()


DOWN = Missing(Reason.PROVIDER_UNREACHABLE, "http://prometheus: connection refused")


def test_that_pods_are_not_read_while_prometheus_is_away_is_said_as_that() -> None:
    waits = replace(WATCH, missing=DOWN).pages_state

    assert waits.missing is not None
    assert waits.missing.reason is Reason.PROVIDER_UNREACHABLE
    assert "no pod of the target has been read yet" in waits.missing.message
    assert "waits for Prometheus" in waits.missing.message
    assert "connection refused" in waits.missing.message
    known = replace(WATCH, missing=DOWN, skew_read=T0)
    for other in (WATCH, known, replace(known, direct=Direct(None), skew_read=None)):
        assert other.pages_state is other.direct


def test_an_answer_ends_the_lack_of_one_and_is_kept_through_the_next_lack() -> None:
    watch = with_workload(WATCH, make_workload(), T0 + 3)
    pod = watch.pods[0].name
    read = with_reading(watch, make_counters([make_series([(7, 50)], pod=pod)]))
    assert read.missing is None
    assert sum(one.requests for one in read.evidence.increments) == 50
    lost = with_reading(read, Missing(Reason.PROVIDER_UNREACHABLE, "down"))
    assert lost.missing.reason is Reason.PROVIDER_UNREACHABLE
    assert lost.evidence == read.evidence


def test_a_pod_outlives_its_listing_but_not_as_a_living_one() -> None:
    both = make_workload(pods=make_pods(2))
    watch = with_workload(WATCH, both, T0 + 3)
    watch = with_workload(watch, replace(both, pods=both.pods[:1]), T0 + 8)
    kept, gone = watch.pods
    assert (kept.ready, kept.terminating) == (True, False)
    assert (gone.ready, gone.terminating) == (False, True)


def test_an_outage_is_dated_once_and_forgotten_when_it_is_over() -> None:
    down = make_workload(deployment=make_deployment(available=0))
    first = with_workload(WATCH, down, T0 + 5)
    assert with_workload(first, down, T0 + 9).unavailable_since == T0 + 5
    assert with_workload(first, make_workload(), T0 + 9).unavailable_since is None
    empty = make_workload(deployment=make_deployment(available=0, replicas=0))
    assert with_workload(WATCH, empty, T0 + 5).unavailable_since is None


def unready(*times: float | None, **changes):
    pods = make_pods(len(times), ready=False, ready_since=None, **changes)
    found = zip(pods, times, strict=True)
    return tuple(
        replace(pod, unready_since=None if at_ is None else T0 + at_) for pod, at_ in found
    )


LATE = 300.0
BEGINNINGS = {
    "the last pod ceased to be ready": (unready(20, 35, 30), 15, 35),
    "the Deployment has fallen below its bounds since": (unready(20, 35, 30), 40, 40),
    "it is bounded by nothing": (unready(20, 35, 30), None, 35),
    "it was down when the release came": (unready(-500, -400), -400, 0),
    "a pod is ready, and too young to count": ((*unready(20), make_pod(3)), 15, LATE),
    "a pod of which nothing is known": (unready(20, None), 15, LATE),
    "a pod is being ended": (unready(20, 35, terminating=True), 15, LATE),
    "there is no pod": ((), 15, LATE),
    "the pods' clock is ahead": (unready(400), 15, LATE),
}


@pytest.mark.parametrize(("pods", "fell", "since"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_an_outage_is_as_old_for_an_operator_that_begins_anew(pods, fell, since) -> None:
    fallen = None if fell is None else T0 + fell
    deployment = make_deployment(available=0, unavailable_since=fallen)
    down = make_workload(deployment=deployment, pods=pods)
    assert with_workload(WATCH, down, T0 + LATE).unavailable_since == T0 + since


def test_the_first_restart_of_a_new_pod_is_dated() -> None:
    calm = with_workload(WATCH, make_workload(pods=make_pods(2, "v1", restarts=3)), T0 + 5)
    assert calm.restarted_since is None
    restarted = make_workload(pods=(make_pod(0), make_pod(1, restarts=1, started=None)))
    first = with_workload(calm, restarted, T0 + 9)
    assert first.restarted_since == T0 + 9
    assert with_workload(first, restarted, T0 + 20).restarted_since == T0 + 9


def test_a_restart_is_dated_by_its_container_for_an_operator_that_begins_later() -> None:
    pods = (make_pod(0), *(make_pod(n, restarts=1, started=T0 + 9 + n) for n in (1, 2)))
    late = with_workload(WATCH, make_workload(pods=pods), T0 + 300)
    assert late.restarted_since == T0 + 10


GONE = {
    "an old pod": ("ticket-service-hashv1-x", -170, -185),
    "a new pod": ("ticket-service-hashv2-x", 20, 5),
    "a new pod, scraped at once": ("ticket-service-hashv2-x", 4, 0),
}


@pytest.mark.parametrize(("name", "first", "created"), GONE.values(), ids=GONE)
def test_a_pod_that_left_before_the_operator_began_is_known_by_its_name(
    name, first, created
) -> None:
    workload = make_workload()
    watch = with_workload(WATCH, workload, T0 + 300)
    samples = make_series([(first, 10), (first + 15, 20)], pod=name)
    gone, *others = with_gone(watch, workload, make_counters([samples])).pods
    assert tuple(others) == workload.pods
    assert (gone.name, gone.pod_hash) == (name, name.split("-")[2])
    assert (gone.ready, gone.terminating) == (False, True)
    assert gone.created == T0 + created


@pytest.mark.parametrize("name", ["ticket-service-hashv3-x", "ticket-service-hashv1-x-1", "hashv1"])
def test_a_pod_of_no_revision_is_not_taken_for_one_that_left(name) -> None:
    counters = make_counters([make_series([(1, 10)], pod=name)])
    assert with_gone(WATCH, make_workload(), counters) == WATCH


@pytest.mark.parametrize(
    ("ready_after", "expected"),
    [
        ([], 30.0),
        ([None], 30.0),
        ([12], 12.0),
        ([10, 12, 14], 12.0),
        ([10, 12, 86_400], 12.0),
        ([86_400], 600.0),
    ],
    ids=[
        "no old pod",
        "none ready",
        "one",
        "the one between",
        "one was unready for a moment yesterday: its last transition tells nothing",
        "and never longer than ten minutes",
    ],
)
def test_how_long_an_old_pod_took_to_become_ready(ready_after, expected) -> None:
    pods = tuple(
        make_pod(
            number,
            "v1",
            created=T0 - 90_000,
            ready_since=None if after is None else T0 - 90_000 + after,
        )
        for number, after in enumerate(ready_after)
    )
    assert with_workload(WATCH, make_workload(pods=pods), T0).startup == expected


def test_the_next_watch_knows_the_pods_of_the_revision_before_and_no_others() -> None:
    """All of them may be gone before the release is first looked at."""
    case = make_case(workload=make_workload("v1", older=("v0",)))
    known = watch_of(None, case, "http://prometheus", at(0))
    pods = (*make_pods(2, "v1"), make_pod(9, "v0"))
    known = with_workload(known, make_workload("v1", older=("v0",), pods=pods), T0 + 3)

    watch = watch_of(known, make_case(), "http://prometheus", at(60))
    assert watch.control_hashes == {"hashv1"}
    assert {one.name for one in watch.pods} == {one.name for one in make_pods(2, "v1")}

    watch = with_workload(watch, make_workload(), T0 + 61)
    assert [one.ready for one in watch.pods if one.pod_hash == "hashv1"] == [False, False]


def test_the_samples_of_the_old_pods_show_when_a_short_past_began() -> None:
    old = make_pods(1, version="v1")
    pods = (*old, *make_pods(1))
    short = make_control(requests=2750, errors=0, seconds=0.0, busiest_minute=45.8)
    watch = replace(with_workload(WATCH, make_workload(pods=pods), T0 + 3), control=short)
    series = make_series([(-55, 10), (-30, 1250), (-5, 2500)], pod=old[0].name)
    read = with_reading(watch, make_counters([series]))
    assert read.control is not None
    assert read.control.seconds == 55
    assert read.control.busiest_minute == 50
    new = make_series([(-55, 10), (-5, 2500)], pod=pods[1].name)
    assert with_reading(watch, make_counters([new])).control == short
    known = replace(watch, control=make_control())
    assert with_reading(known, make_counters([series])).control == make_control()
