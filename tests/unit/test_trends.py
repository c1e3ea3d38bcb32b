"""What changes slowly: what is asked for, when, and what Prometheus' answers to it become."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.adapters.prometheus import PrometheusMetrics, PrometheusTrends
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import LatencySignal, MatrixCondition, MatrixRule, SignalLabels
from rollback_operator.evidence.limits import TREND_SECONDS
from rollback_operator.evidence.trends import PastGrowth
from rollback_operator.evidence.watch import Watch, open_watch
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import Prometheus, SeriesQuery
from rollback_operator.reconcile.observe.observation import READ_PATIENCE_SECONDS, Observer, Source
from rollback_operator.stats.histogram import Histogram
from tests.builders import T0, make_counters, make_pods, make_policy, make_series, make_workload
from tests.fakes.metrics import FakeMetrics, FakeTrends
from tests.provider import ANYWHERE, Provider, answer_of, running

POD = make_pods(1, "v2")[0].name
QUICK = Histogram((0.1, math.inf), (5.0, 5.0))


class Clock:
    def __init__(self) -> None:
        self.now = T0 + 40

    def __call__(self) -> float:
        return self.now


def source(*conditions: MatrixCondition) -> Source:
    rule = MatrixRule(severity="P3", when=list(conditions), response="Investigate")
    spec = make_policy().spec.model_copy(update={"matrix": [rule]})
    return Source(
        make_policy().model_copy(update={"spec": spec}), Prometheus("http://prometheus:9090")
    )


RATIO = MatrixCondition(signal="LatencyRatio", above="2")
GROWTH = MatrixCondition(signal="MemoryGrowth", above="0.5")
OWN = MatrixCondition(signal="Query", query="queue", above="5")


async def looked(
    trends: FakeTrends, about: Source, looks: int = 2, clock: Clock | None = None
) -> Watch:
    """Look several times, a second apart; the first look only finds out that there is metrics."""
    clock = clock or Clock()
    reading = make_counters([make_series([(30, 1), (35, 2)], pod=POD)])
    observer = Observer(FakeMetrics(reading=reading, clock=T0 + 40), clock, trends)
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))
    for _ in range(looks):
        watch = await observer.observe(watch, make_workload(), about)
        clock.now += 1
    return watch


async def test_only_what_the_matrix_asks_for_is_read() -> None:
    trends = FakeTrends(latency={POD: QUICK}, gauge={POD: 7.0}, value=3.0)
    await looked(trends, source(MatrixCondition(signal="Restarts", at_least="3")))
    assert trends.asked == []
    await looked(trends, source(GROWTH))
    assert trends.asked == [f"gauge process_resident_memory_bytes {T0 + 41:.0f}"]


async def test_all_that_is_asked_for_is_taken_in() -> None:
    trends = FakeTrends(latency={POD: QUICK, "other": QUICK}, past=QUICK, gauge={POD: 7.0}, value=3)
    watch = await looked(trends, source(RATIO, GROWTH, OWN))
    assert list(watch.trends.latency[-1].pods) == [POD]
    assert watch.trends.past_latency == QUICK
    assert [one.value for one in watch.trends.memory[POD]] == [7.0]
    assert [one.value for one in watch.trends.queries["queue"]] == [3]
    assert watch.trends.before == {"queue": 3}
    assert f"query queue {T0:.0f}" in trends.asked
    assert "past ticket-service-hashv1-[a-z0-9]+ " + f"{T0:.0f}" in trends.asked


async def test_it_is_read_every_quarter_of_a_minute() -> None:
    trends, clock = FakeTrends(gauge={POD: 7.0}), Clock()
    await looked(trends, source(GROWTH), looks=2 * int(TREND_SECONDS) - 2, clock=clock)
    assert len(trends.asked) == 2


async def test_the_past_is_read_once() -> None:
    trends = FakeTrends(latency={POD: QUICK}, past=QUICK)
    await looked(trends, source(RATIO), looks=3 * int(TREND_SECONDS))
    assert len([one for one in trends.asked if one.startswith("past")]) == 1


async def grown(trends: FakeTrends, *ages: float, started: float | None = T0 - 86_400) -> Watch:
    """Look at such ages of the release; an old pod has been there since `started`."""
    clock = Clock()
    reading = make_counters([make_series([(30, 1), (35, 2)], pod=POD)])
    observer = Observer(FakeMetrics(reading=reading, clock=T0 + 40), clock, trends)
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))
    old = replace(make_pods(1, "v1")[0], started=started)
    watch = replace(watch, pods=(old,))
    for age in ages:
        clock.now = T0 + age
        observer.metrics.clock = T0 + age
        watch = await observer.observe(watch, make_workload(), source(GROWTH))
    return watch


async def test_how_the_old_pods_grew_at_that_age_is_asked_for() -> None:
    trends = FakeTrends(gauge={POD: 7.0}, slope={"a": 2.0, "b": 3.0})
    watch = await grown(trends, 40, 345, 375, 390)
    name = make_pods(1, "v1")[0].name
    slopes = [one for one in trends.asked if one.startswith("slope")]
    assert slopes == [f"slope {name} 315 {T0 - 86_400 + 375:.0f}"]
    assert watch.trends.past_growth == PastGrowth(375, 3 * 3600)


async def test_it_is_asked_for_again_when_the_age_has_grown() -> None:
    trends = FakeTrends(gauge={POD: 7.0}, slope={"a": -1.0})
    watch = await grown(trends, 40, 375, 500, 570)
    assert len([one for one in trends.asked if one.startswith("slope")]) == 2
    assert watch.trends.past_growth == PastGrowth(570, 0.0)


async def test_old_pods_that_were_young_tell_of_the_age_they_had() -> None:
    trends = FakeTrends(gauge={POD: 7.0}, slope={"a": 2.0})
    await grown(trends, 40, 375, started=T0 - 200)
    assert [one.split()[2:] for one in trends.asked if one.startswith("slope")] == [
        ["140", f"{T0:.0f}"]
    ]


@pytest.mark.parametrize("started", [T0 - 170, None], ids=["too young", "not known when"])
async def test_who_cannot_tell_is_not_asked(started: float | None) -> None:
    trends = FakeTrends(gauge={POD: 7.0}, slope={"a": 2.0})
    watch = await grown(trends, 40, 375, started=started)
    assert watch.trends.past_growth == PastGrowth(375, None)
    assert not [one for one in trends.asked if one.startswith("slope")]


async def test_what_prometheus_does_not_answer_is_asked_for_again() -> None:
    trends = FakeTrends(gauge={POD: 7.0})
    watch = await grown(trends, 40, 375, 390)
    assert watch.trends.past_growth is None
    assert len([one for one in trends.asked if one.startswith("slope")]) == 2


async def test_what_prometheus_has_forgotten_is_not() -> None:
    trends = FakeTrends(gauge={POD: 7.0}, slope={})
    watch = await grown(trends, 40, 375, 390)
    assert watch.trends.past_growth == PastGrowth(375, None)
    assert len([one for one in trends.asked if one.startswith("slope")]) == 1


async def test_what_is_missing_is_told_and_asked_for_again() -> None:
    trends = FakeTrends()
    watch = await looked(trends, source(RATIO, GROWTH, OWN), looks=2 * int(TREND_SECONDS) + 2)
    assert set(watch.trends.missing) == {"latency", "memory", "queue"}
    assert len(trends.asked) > 3
    assert watch.missing is None, "counters are judged all the same"


async def test_what_is_slow_to_come_keeps_nobody_waiting() -> None:
    trends = FakeTrends(latency={POD: QUICK}, delay=READ_PATIENCE_SECONDS * 20)
    watch = await looked(trends, source(RATIO), looks=3)
    assert watch.trends.missing["trends"].reason is Reason.PROVIDER_UNREACHABLE
    assert watch.evidence.newest == T0 + 35


# -- Prometheus' answers ---------------------------------------------------------------------------


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Provider, PrometheusTrends]]:
    with running() as provider:
        metrics = PrometheusMetrics(ANYWHERE)
        yield provider, PrometheusTrends(metrics)
        metrics.close()


def query(url: str, **changes: Any) -> SeriesQuery:
    made = SeriesQuery(
        Prometheus(url), "production", (f"{POD}.*",), LatencySignal(), SignalLabels()
    )
    return replace(made, **changes)


def value(number: str, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [T0, number]}


async def test_buckets_become_a_histogram_of_each_pod(asked) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of(
        [
            value("9", pod="a", le="+Inf"),
            value("4", pod="a", le="0.5"),
            value("2", pod="b", le="1.0"),
        ]
    )
    found = await trends.read_latency(query(provider.url), T0)
    assert found == {"a": Histogram((0.5, math.inf), (4, 9)), "b": Histogram((1.0,), (2,))}
    assert provider.queries == [
        f'sum by (pod, le) (http_request_duration_seconds_bucket{{namespace="production",'
        f'pod=~"{POD}.*"}})'
    ]
    assert float(provider.parameters[0]["time"]) == T0


async def test_no_buckets_and_odd_ones(asked) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of([])
    found = await trends.read_latency(query(provider.url), T0)
    assert isinstance(found, Missing)
    assert found.reason is Reason.NO_SERIES
    assert "spec.signals.latency" in found.message
    provider.answer = lambda _: answer_of(
        [value("NaN", pod="a", le="1"), value("3", pod="a", le="x"), value("5", pod="a", le="2")]
    )
    assert await trends.read_latency(query(provider.url), T0) == {"a": Histogram((2.0,), (5.0,))}


async def test_an_hour_of_durations(asked) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of([value("4.5", le="0.5"), value("9", le="+Inf")])
    found = await trends.read_past_latency(query(provider.url), T0)
    assert found == Histogram((0.5, math.inf), (4.5, 9.0))
    assert "increase(http_request_duration_seconds_bucket" in provider.queries[0]


async def test_the_highest_gauge_of_each_pod(asked) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of([value("42", pod="a"), value("NaN", pod="b")])
    assert await trends.read_gauge(query(provider.url), T0) == {"a": 42.0}


async def test_the_slope_of_a_gauge(asked) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of([value("42", pod="a"), value("NaN", pod="b")])
    found = await trends.read_gauge_slope(query(provider.url), 299.5, T0)
    assert found == {"a": 42.0}
    assert provider.queries[0].startswith("deriv((max by (pod) (")
    assert provider.queries[0].endswith(")[300s:15s])")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([value("3")], 3.0),
        ([T0, "4"], 4.0),
        ([], math.nan),
    ],
    ids=["vector", "scalar", "nothing"],
)
async def test_an_own_query_gives_one_number(asked, result, expected) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of(result)
    found = await trends.read_query(provider.prometheus, "queue", T0)
    assert found == pytest.approx(expected, nan_ok=True)


async def test_an_own_query_that_gives_several(asked) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of([value("3", a="1"), value("4", a="2")])
    found = await trends.read_query(provider.prometheus, "queue", T0)
    assert isinstance(found, Missing)
    assert "add sum(...)" in found.message


async def test_an_outage_has_its_reason(asked) -> None:
    provider, trends = asked
    provider.answer = lambda _: answer_of([], warnings=["partial"])
    found = await trends.read_gauge(query(provider.url), T0)
    assert isinstance(found, Missing)
    assert found.reason is Reason.ANSWER_PARTIAL
