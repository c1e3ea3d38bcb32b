"""What a look at a release takes in, with Prometheus swapped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.core.model import Missing
from rollback_operator.core.watch import Watch, open_watch
from rollback_operator.observation import CLOCK_EVERY_SECONDS, Observer, Source
from tests.builders import T0, make_counters, make_pods, make_policy, make_series, make_workload
from tests.fakes import FakeMetrics

SOURCE = Source(make_policy(), "http://prometheus:9090")


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = T0 + 5

    def __call__(self) -> float:
        return self.now


def opened() -> Watch:
    return open_watch("digest-v2", T0, frozenset())


async def test_the_old_pods_samples_tell_how_often_pods_are_read() -> None:
    new, gone = make_pods(1, "v2")[0].name, "ticket-service-hashv1-9"
    old = make_series([(-15, 10), (-10, 20), (-5, 30)], pod=gone)
    first = make_series([(4, 7)], pod=new)
    metrics = FakeMetrics(reading=make_counters([old, first]), clock=T0 + 5)

    watch = await Observer(metrics, Clock()).observe(opened(), make_workload(), SOURCE)

    assert watch.evidence.interval == 5
    assert list(watch.evidence.seen) == [new]


async def test_a_known_interval_is_not_taken_from_others() -> None:
    pod = make_pods(1, "v2")[0].name
    metrics = FakeMetrics(reading=make_counters([make_series([(2, 1), (4, 2)], pod=pod)]))
    observer = Observer(metrics, Clock())
    watch = await observer.observe(opened(), make_workload(), SOURCE)
    metrics.reading = make_counters([make_series([(-60, 1), (-30, 2)], pod="gone")])

    watch = await observer.observe(watch, make_workload(), SOURCE)

    assert watch.evidence.interval == 2


async def test_clocks_are_compared_now_and_then() -> None:
    metrics, clock = FakeMetrics(clock=T0 + 5), Clock()
    observer = Observer(metrics, clock)
    watch = await observer.observe(opened(), make_workload(), SOURCE)
    clock.now += 1
    watch = await observer.observe(watch, make_workload(), SOURCE)
    assert metrics.clock_reads == 1

    clock.now += CLOCK_EVERY_SECONDS
    await observer.observe(watch, make_workload(), SOURCE)

    assert metrics.clock_reads == 2


async def test_a_clock_that_stands_in_the_way_is_read_at_each_look() -> None:
    metrics, clock = FakeMetrics(clock=T0 + 105), Clock()
    observer = Observer(metrics, clock)
    watch = await observer.observe(opened(), make_workload(), SOURCE)
    assert watch.skew == 100
    clock.now += 1
    metrics.clock = clock.now

    watch = await observer.observe(watch, make_workload(), SOURCE)

    assert watch.skew == 0


async def test_a_slow_answer_is_no_difference_of_clocks() -> None:
    times = iter((T0 + 5, T0 + 5, T0 + 9))
    metrics = FakeMetrics(clock=T0 + 5.5)

    watch = await Observer(metrics, lambda: next(times)).observe(opened(), make_workload(), SOURCE)

    assert watch.skew == 0


async def test_what_was_timed_by_another_clock_is_read_anew() -> None:
    pod, clock = make_pods(1, "v2")[0].name, Clock()
    ahead = make_series([(104, 10), (105, 20)], pod=pod)
    metrics = FakeMetrics(reading=make_counters([ahead]), clock=T0 + 105)
    observer = Observer(metrics, clock)
    watch = await observer.observe(opened(), make_workload(), SOURCE)
    clock.now += 1
    metrics.clock = clock.now
    metrics.reading = make_counters([make_series([(4, 10), (5, 20), (6, 40)], pod=pod)])

    watch = await observer.observe(watch, make_workload(), SOURCE)

    assert watch.evidence.newest == T0 + 6
    assert sum(one.requests for one in watch.evidence.increments) == 40


async def test_a_clock_that_cannot_be_read_is_taken_for_what_it_was() -> None:
    missing = Missing(Reason.PROVIDER_UNREACHABLE, "no answer")
    watch = replace(opened(), skew=2.5, skew_read=T0 - 100)

    watch = await Observer(FakeMetrics(clock=missing), Clock()).observe(
        watch, make_workload(), SOURCE
    )

    assert (watch.skew, watch.skew_read) == (2.5, T0 - 100)


async def test_a_first_look_asks_for_the_time_before_the_watch_too() -> None:
    metrics = FakeMetrics()

    await Observer(metrics, Clock()).observe(opened(), make_workload(), SOURCE)

    ((query, seconds),) = metrics.queries
    assert seconds > 60
    assert query.pods == ("ticket\\-service\\-.*",)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("hashv1", ("ticket\\-service\\-hashv1-[a-z0-9]+",)),
        ("h" * 60, ("ticket\\-service\\-hashv1\\-0", "ticket\\-service\\-hashv1\\-1")),
    ],
)
async def test_the_controls_pods_are_asked_for_by_their_revision(
    name: str, asked: tuple[str, ...]
) -> None:
    workload = make_workload(pods=(*make_pods(2), *make_pods(2, "v1")))
    named = [
        replace(one, name=f"ticket-service-{name}") if one.pod_hash == "hashv1" else one
        for one in workload.replica_sets
    ]
    metrics = FakeMetrics()
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))

    workload = replace(workload, replica_sets=tuple(named))
    await Observer(metrics, Clock()).observe(watch, workload, SOURCE)

    assert metrics.queries[0][0].pods == asked
