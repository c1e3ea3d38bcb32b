"""Series of one target before and after a release are counters of two containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from rollback_operator.adapters.compose.containers import Container
from rollback_operator.adapters.compose.metrics import (
    ComposeMetrics,
    ComposeTrends,
    Incarnations,
    ServiceContainers,
)
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.metrics import CounterQuery, Prometheus, SeriesQuery
from rollback_operator.stats.histogram import Histogram
from tests.fakes.metrics import FakeMetrics
from tests.unit.compose.builders import T0, container

OLD, NEW = container(second=0), container("sha256:" + "b" * 64, 60)
INSTANCE = "127.0.0.1:18080"


def situation(*containers: Container, is_single: bool = True) -> ServiceContainers:
    seen = Incarnations()
    seen.see(containers)
    return ServiceContainers(seen, is_single)


def series(instance: str, *seconds: int) -> CounterSeries:
    samples = tuple((T0 + second, float(second)) for second in seconds)
    return CounterSeries(instance, "/", (), instance, samples)


def query(pod: str = "instance") -> CounterQuery:
    requests, errors = CounterSignal(metric="r"), CounterSignal(metric="e")
    labels = SignalLabels(pod=pod)
    return CounterQuery(Prometheus("http://p"), "shop", ("shop-.*",), requests, errors, labels)


async def read(reading: Reading, known: ServiceContainers, pod: str = "instance") -> Reading:
    metrics = FakeMetrics(reading=reading)
    return await ComposeMetrics(metrics, lambda pods: known).read(query(pod), 60)


async def test_a_series_is_cut_where_the_container_changed() -> None:
    cut = await read(Counters((series(INSTANCE, 10, 50, 61, 70),), ()), situation(OLD, NEW))
    assert isinstance(cut, Counters)
    assert [(each.pod, len(each.samples)) for each in cut.requests] == [(OLD.key, 2), (NEW.key, 2)]


async def test_samples_before_the_first_known_container_are_nobodys() -> None:
    cut = await read(Counters((series(INSTANCE, -30, -5, 70),), ()), situation(NEW))
    assert isinstance(cut, Counters)
    assert [(each.pod, len(each.samples)) for each in cut.requests] == [(NEW.key, 1)]


@pytest.mark.parametrize("instance", ["shop-shop-1:8080", "172.20.0.2:8080", "shop:9102", INSTANCE])
async def test_of_several_containers_a_target_names_its_own(instance: str) -> None:
    other = replace(NEW, name="shop-shop-2", networks=(("", "172.20.0.3"),), published=frozenset())
    cut = await read(Counters((series(instance, 70),), ()), situation(OLD, other, is_single=False))
    assert isinstance(cut, Counters)
    assert [each.pod for each in cut.requests] == [OLD.key]


async def test_a_target_of_no_container_is_said() -> None:
    missing = await read(
        Counters((series("elsewhere:1", 70),), ()), situation(OLD, is_single=False)
    )
    assert isinstance(missing, Missing)
    assert "elsewhere:1" in missing.message
    assert "matchers" in missing.message


async def test_series_without_a_label_stay_the_services() -> None:
    given = Counters((series("", 10),), ())
    assert await read(given, situation(OLD), pod="") == given


async def test_the_service_is_selected_by_matchers_alone() -> None:
    metrics = FakeMetrics()
    await ComposeMetrics(metrics, lambda pods: situation()).read_control(query(), T0)
    asked, _ = metrics.queries[-1]
    assert (asked.namespace, asked.pods) == ("", ())


class Durations:
    """Trends of one target."""

    async def read_latency(self, query: SeriesQuery, at: float) -> dict[str, Histogram]:
        assert (query.namespace, query.pods) == ("", ())
        return {INSTANCE: Histogram((1.0,), (2.0,)), "elsewhere:1": Histogram()}


async def test_durations_are_the_newest_containers() -> None:
    def find(pods: Sequence[str]) -> ServiceContainers:
        return situation(OLD, NEW, is_single=False)

    trends = ComposeTrends(Durations(), find)  # type: ignore[arg-type]
    asked = SeriesQuery(
        Prometheus("http://p"), "shop", ("shop-.*",), CounterSignal(metric="d"), SignalLabels()
    )
    read = await trends.read_latency(asked, T0 + 100)
    assert list(read) == [NEW.key]
