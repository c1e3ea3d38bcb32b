"""What a look at a release takes in, with Prometheus swapped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import PodMetricsSpec, SignalLabels, SignalsSpec
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.scrape_state import FAILED_ROUNDS, Direct
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.model.pod import MetricsPage
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.model.workload import Workload
from rollback_operator.ports.metrics import CounterQuery, PageQuery, Prometheus
from rollback_operator.reconcile.observe.observation import CLOCK_EVERY_SECONDS, Observer, Source
from tests.builders import (
    T0,
    make_control,
    make_counters,
    make_pods,
    make_policy,
    make_series,
    make_workload,
)
from tests.fakes.metrics import FakeMetrics, FakePods
from tests.loop_time import watched

SOURCE = Source(make_policy(), Prometheus("http://prometheus:9090"))


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
    assert set(watch.evidence.seen) == {new, gone}


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


async def test_a_clock_that_is_set_back_is_compared_at_once() -> None:
    metrics, clock = FakeMetrics(clock=T0 + 5), Clock()
    observer = Observer(metrics, clock)
    watch = await observer.observe(opened(), make_workload(), SOURCE)
    clock.now -= 3600

    watch = await observer.observe(watch, make_workload(), SOURCE)

    assert watch.skew == 3600


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
    times = iter((T0 + 5, T0 + 5, T0 + 5, T0 + 9))
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


async def test_a_first_look_asks_for_three_samples_of_the_old_pods() -> None:
    metrics, clock = FakeMetrics(), Clock()
    observer = Observer(metrics, clock)
    watch = await observer.observe(opened(), make_workload(), SOURCE)
    metrics.reading = make_counters([make_series([(2, 1), (4, 2)], pod=make_pods(1, "v2")[0].name)])
    watch = await observer.observe(watch, make_workload(), SOURCE)
    await observer.observe(watch, make_workload(), SOURCE)

    (query, first), _, (_, later) = metrics.queries
    assert first >= 3 * 60
    assert query.pods == ("ticket-service-.*",)
    assert later < 60


async def test_an_old_pods_first_error_counts_at_a_scrape_each_half_minute() -> None:
    old = make_pods(1, "v1")[0]
    requests = make_series([(-61, 3000), (-31, 3300), (-1, 3600)], pod=old.name)
    errors = make_series([(-1, 41)], pod=old.name)
    samples = make_counters([requests], [errors])

    class Recorded(FakeMetrics):
        async def read(self, query: CounterQuery, seconds: float) -> Reading:
            since = T0 + 5 - seconds
            return Counters(
                *(
                    tuple(
                        replace(one, samples=tuple(x for x in one.samples if x[0] > since))
                        for one in side
                    )
                    for side in (samples.requests, samples.errors)
                )
            )

    workload = make_workload(pods=(old, *make_pods(1, "v2")))
    watch = await Observer(Recorded(), Clock()).observe(opened(), workload, SOURCE)

    assert sum(one.errors for one in watch.evidence.increments) == 41


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("hashv1", ("ticket-service-hashv1-[a-z0-9]+",)),
        ("h" * 60, ("ticket-service-hashv1-0", "ticket-service-hashv1-1")),
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


@pytest.mark.parametrize(
    ("own", "expected"),
    [(None, {"/health", "/metrics"}), (["/list"], {"/list"}), ([], set())],
)
async def test_what_counts_nowhere_counts_in_no_control_either(
    own: list[str] | None, expected: set[str]
) -> None:
    workload = make_workload(pods=(*make_pods(2), *make_pods(2, "v1")))
    paths = replace(workload.deployment, probe_paths=frozenset({"/health", "/metrics"}))
    policy = make_policy(signals=SignalsSpec(exclude_routes=own))
    metrics = FakeMetrics()
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))

    workload = replace(workload, deployment=paths)
    await Observer(metrics, Clock()).observe(watch, workload, Source(policy, SOURCE.prometheus))

    control, raw = (asked for asked, _ in metrics.queries)
    assert control.left_out == expected
    assert raw.left_out == frozenset()


@dataclass
class Pasts(FakeMetrics):
    """Gives a past by how many revisions are asked for."""

    pasts: tuple[Control | Missing, ...] = ()

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        await super().read_control(query, until)
        return self.pasts[len(query.pods) - 1]


GONE = Missing(Reason.NO_SERIES, "there are no series")
BRIEF = make_control(requests=1500, errors=1, seconds=0.0)
EMPTY = make_control(requests=0, errors=0, seconds=0.0)
LONG = make_control()
UNHEARD = Control(seconds=0.0, routes={})


@pytest.mark.parametrize(
    ("of_one", "of_all", "expected", "asked"),
    [
        (LONG, GONE, LONG, 1),
        (BRIEF, LONG, LONG, 2),
        (EMPTY, LONG, LONG, 2),
        (GONE, LONG, LONG, 2),
        (BRIEF, BRIEF, BRIEF, 2),
        (BRIEF, GONE, BRIEF, 2),
        (GONE, GONE, None, 2),
        (EMPTY, EMPTY, EMPTY, 2),
        (UNHEARD, UNHEARD, None, 2),
        (UNHEARD, LONG, LONG, 2),
    ],
)
async def test_where_the_control_is_too_young_what_did_well_before_it_stands_in(
    of_one: Control | Missing, of_all: Control | Missing, expected: Control | None, asked: int
) -> None:
    workload = make_workload(older=("v1", "v0"), pods=make_pods(2))
    metrics = Pasts(pasts=(of_one, of_all))
    watch = replace(
        open_watch("digest-v2", T0, frozenset({"hashv1"})),
        good_hashes=frozenset({"hashv0", "hashv1"}),
    )

    found = await Observer(metrics, Clock()).observe(watch, workload, SOURCE)

    assert found.control == expected
    assert len(metrics.queries) == asked + 1


FAILED = make_control(errors=180_000)
FAILED = replace(FAILED, pooled=replace(FAILED.pooled, last=(6000.0, 6000.0)))


@pytest.mark.parametrize(
    ("of_target", "replaced", "expected"),
    [(FAILED, {"hashv1"}, LONG), (LONG, {"hashv1"}, None), (FAILED, set(), None)],
    ids=["the target failed at its end", "the target did well", "nothing ran between"],
)
async def test_the_past_of_the_previous_revision_is_read_where_the_target_failed(
    of_target: Control, replaced: set[str], expected: Control | None
) -> None:
    @dataclass
    class ByRevision(FakeMetrics):
        async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
            await super().read_control(query, until)
            return LONG if "hashv1" in query.pods[0] else of_target

    workload = make_workload(older=("v1", "v0"), pods=make_pods(2))
    metrics, watch = ByRevision(), open_watch("digest-v2", T0, frozenset({"hashv0"}))
    watch = replace(watch, replaced_hashes=frozenset(replaced))

    for _ in range(2):
        watch = await Observer(metrics, Clock()).observe(watch, workload, SOURCE)

    assert (watch.control, watch.control_before) == (of_target, expected)
    assert len(metrics.queries) == 2 + 1 + (expected is not None)


# -- the pods' own pages ---------------------------------------------------------------------------

PAGE = MetricsPage(port=9102, path="/stats")
NEW, OLD = make_pods(2, "v2")[0].name, make_pods(2, "v1")[0].name


def reachable() -> Workload:
    pods = (*make_pods(2, "v2"), *make_pods(2, "v1", created=T0 - 600, started=T0 - 599))
    return make_workload(
        pods=tuple(
            replace(pod, address=f"10.244.0.{number}", page=PAGE) for number, pod in enumerate(pods)
        )
    )


def watching() -> Watch:
    return open_watch("digest-v2", T0, frozenset({"hashv1"}))


def counted(at: float, value: float, pod: str = NEW) -> Counters:
    one = make_series([(at, value)], pod=pod, instance=f"{pod}:9102")
    return make_counters([one], [replace(one, samples=((one.samples[0][0], 0.0),))])


async def test_the_pods_of_both_revisions_are_read() -> None:
    pods = FakePods(counted(5, 30))
    observer = Observer(FakeMetrics(clock=T0 + 7), Clock(), pods=pods)

    watch = await observer.observe(watching(), reachable(), SOURCE)

    (query,) = pods.queries
    assert {one.pod for one in query.pages} == {pod.name for pod in reachable().pods}
    assert {(one.address, one.page) for one in query.pages} >= {("10.244.0.0", PAGE)}
    assert {one.pod for one in query.pages if one.is_judged} == {one.name for one in make_pods(2)}
    assert watch.direct.missing is None
    # By Prometheus' clock, which is two seconds ahead.
    assert watch.evidence.read == {NEW: T0 + 7}
    assert sum(one.requests for one in watch.evidence.increments) == 30


async def test_the_policy_may_name_port_and_path() -> None:
    pods = FakePods()
    policy = make_policy(pod_metrics=PodMetricsSpec(port=8081, path="/m"))
    workload = reachable()
    bare = replace(workload, pods=tuple(replace(one, page=MetricsPage()) for one in workload.pods))

    await Observer(FakeMetrics(clock=T0 + 5), Clock(), pods=pods).observe(
        watching(), bare, Source(policy, SOURCE.prometheus)
    )

    assert {one.page for one in pods.queries[0].pages} == {MetricsPage(8081, "/m")}


@pytest.mark.parametrize(
    "changes",
    [{"address": ""}, {"page": MetricsPage()}],
    ids=["no address of their own", "no port"],
)
async def test_pods_that_cannot_be_read_are_not(changes: dict[str, Any]) -> None:
    pods, clock = FakePods(), Clock()
    workload = reachable()
    workload = replace(workload, pods=tuple(replace(one, **changes) for one in workload.pods))
    observer, watch = Observer(FakeMetrics(clock=T0 + 5), clock, pods=pods), watching()
    for _ in range(FAILED_ROUNDS):
        watch = await observer.observe(watch, workload, SOURCE)
        clock.now += 0.5
        observer.metrics.clock = clock.now

    assert pods.queries == []
    assert watch.direct.missing is not None
    assert "spec.podMetrics.port" in watch.direct.missing.message


@pytest.mark.parametrize(
    "spec",
    [
        {"pod_metrics": PodMetricsSpec(every_milliseconds=0)},
        {"signals": SignalsSpec(labels=SignalLabels(pod=""))},
    ],
    ids=["Prometheus alone", "counters of an ingress"],
)
async def test_pods_are_not_read_where_that_is_not_wanted(spec: dict[str, Any]) -> None:
    pods = FakePods(counted(5, 30))
    source = Source(make_policy(**spec), SOURCE.prometheus)

    watch = await Observer(FakeMetrics(clock=T0 + 5), Clock(), pods=pods).observe(
        watching(), reachable(), source
    )

    assert pods.queries == []
    assert watch.direct.missing is not None
    assert watch.direct.missing.reason is Reason.POD_METRICS_DISABLED


async def test_a_policy_may_want_it_again() -> None:
    pods, metrics = FakePods(counted(5, 30)), FakeMetrics(clock=T0 + 5)
    observer = Observer(metrics, Clock(), pods=pods)
    never = make_policy(pod_metrics=PodMetricsSpec(every_milliseconds=0))
    watch = await observer.observe(watching(), reachable(), Source(never, SOURCE.prometheus))

    watch = await observer.observe(watch, reachable(), SOURCE)

    assert watch.direct.missing is None


@pytest.mark.parametrize(
    ("route", "serving_port", "is_disabled"),
    [("", 9102, True), ("", 8080, False), ("/", 9102, False)],
    ids=["counted among the requests", "another port", "told by their route"],
)
async def test_own_reads_are_not_to_be_counted_among_requests(
    route: str, serving_port: int, is_disabled: bool
) -> None:
    found = counted(5, 30)
    bare = Counters(
        *(tuple(replace(x, route=route) for x in one) for one in (found.requests, found.errors))
    )
    workload = reachable()
    page = replace(PAGE, serving_port=serving_port)
    workload = replace(workload, pods=tuple(replace(one, page=page) for one in workload.pods))

    watch = await Observer(FakeMetrics(clock=T0 + 5), Clock(), pods=FakePods(bare)).observe(
        watching(), workload, SOURCE
    )

    assert bool(watch.evidence.read) is not is_disabled


async def test_nothing_is_read_before_prometheus_clock_is_known() -> None:
    pods = FakePods(counted(5, 30))
    missing = Missing(Reason.PROVIDER_UNREACHABLE, "no answer")

    await Observer(FakeMetrics(clock=missing), Clock(), pods=pods).observe(
        watching(), reachable(), SOURCE
    )

    assert pods.queries == []


async def test_nothing_is_counted_before_prometheus_clock_is_known() -> None:
    one = make_series([(-5, 900), (3, 990)], pod=OLD, route="/tickets/:id", instance=f"{OLD}:9102")
    missing = Missing(Reason.PROVIDER_UNREACHABLE, "no answer")
    metrics = FakeMetrics(reading=make_counters([one]), clock=missing)

    watch = await Observer(metrics, Clock()).observe(watching(), reachable(), SOURCE)

    assert watch.missing == missing
    assert watch.evidence == watching().evidence
    known = replace(metrics, clock=T0 + 5)
    watch = await Observer(known, Clock()).observe(watch, reachable(), SOURCE)
    assert watch.missing is None
    assert watch.evidence != watching().evidence


async def test_prometheus_is_asked_only_when_it_has_something_new() -> None:
    pods, metrics = FakePods(counted(5, 30)), FakeMetrics(clock=T0 + 5)
    watch = replace(watching(), scrape_due=T0 + 8, read_due=T0 + 5, skew_read=T0)
    observer = Observer(metrics, Clock(), pods=pods)

    watch = await observer.observe(watch, reachable(), SOURCE)
    assert (len(metrics.queries), len(pods.queries)) == (0, 1)

    due = replace(watch, scrape_due=T0 + 5, read_due=T0 + 5.5)
    await observer.observe(due, reachable(), SOURCE)
    assert (len(pods.queries), bool(metrics.queries)) == (1, True)


@dataclass
class Rendezvous:
    """Prometheus and the pods, each of which answers only once the other has been asked as well."""

    prometheus: FakeMetrics
    pods: FakePods
    both: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(2))

    async def read(self, query: CounterQuery | PageQuery, seconds: float = 0.0) -> Reading:
        async with asyncio.timeout(5):
            await self.both.wait()
        if isinstance(query, PageQuery):
            return await self.pods.read(query)
        return await self.prometheus.read(query, seconds)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        return await self.prometheus.read_control(query, until)

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        return await self.prometheus.read_clock(prometheus)


async def test_pods_are_asked_while_prometheus_takes_its_time() -> None:
    both = Rendezvous(FakeMetrics(clock=T0 + 5), FakePods(counted(5, 30)))
    watch = replace(watching(), scrape_due=T0 + 5, read_due=T0 + 5, skew_read=T0)

    watch = await Observer(both, Clock(), pods=both).observe(watch, reachable(), SOURCE)

    assert watch.evidence.read == {NEW: T0 + 5}
    assert watch.missing is not None


async def test_a_pod_that_is_being_ended_is_asked_as_one_that_goes() -> None:
    workload = reachable()
    going = {pod.name for pod in workload.pods if pod.pod_hash == "hashv1"}
    pods = tuple(replace(pod, terminating=pod.name in going) for pod in workload.pods)
    port = FakePods(counted(5, 30))

    await Observer(FakeMetrics(clock=T0 + 5), Clock(), pods=port).observe(
        watching(), replace(workload, pods=pods), SOURCE
    )

    assert {one.pod for one in port.queries[0].pages if one.is_leaving} == going


async def test_prometheus_is_asked_at_each_look_where_pods_are_not_read() -> None:
    pods, metrics = FakePods(), FakeMetrics(clock=T0 + 5)
    paused = replace(watching(), scrape_due=T0 + 8, direct=Direct(paused_until=T0 + 60))

    await Observer(metrics, Clock(), pods=pods).observe(paused, reachable(), SOURCE)

    assert pods.queries == []
    assert metrics.queries


async def test_pods_that_show_something_else_than_prometheus_are_not_believed() -> None:
    one = make_series([(-5, 900), (3, 990)], pod=OLD, route="/tickets/:id", instance=f"{OLD}:9102")
    metrics = FakeMetrics(reading=make_counters([one]), clock=T0 + 5)
    pods, clock = FakePods(counted(5, 1000, OLD)), Clock()
    observer = Observer(metrics, clock, pods=pods)

    watch = await observer.observe(watching(), reachable(), SOURCE)
    assert not watch.direct.is_off
    clock.now, pods.reading = T0 + 17.5, counted(17.5, 1009, OLD)
    watch = await observer.observe(replace(watch, scrape_due=T0 + 18), reachable(), SOURCE)
    assert not watch.direct.is_off
    # The page has been read since a scrape that has it, without it.
    clock.now = T0 + 18
    watch = await observer.observe(watch, reachable(), SOURCE)

    assert watch.direct.is_off
    assert watch.direct.missing is not None
    assert watch.direct.missing.reason is Reason.SERIES_DIFFER
    alone = await Observer(metrics, Clock()).observe(watching(), reachable(), SOURCE)
    assert watch.evidence == alone.evidence


async def test_many_series_hold_nobody_up() -> None:
    """Taking 2,000 series with 12 samples each in took the loop 0.3 s at once."""

    class Many(FakeMetrics):
        async def read(self, query: CounterQuery, seconds: float) -> Reading:
            samples = tuple((T0 + 15 * n, float(n)) for n in range(12))
            series = tuple(CounterSeries(NEW, f"/{n}", (), "", samples) for n in range(2000))
            return Counters(series, ())

    metrics = Many()
    with watched() as found:
        watch = await asyncio.create_task(
            Observer(metrics, Clock()).observe(opened(), make_workload(), SOURCE)
        )
    assert len(watch.evidence.increments) >= 2000
    assert found.longest.seconds < found.allowed, found.slowest
