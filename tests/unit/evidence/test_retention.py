"""Answers that are each legal, and all new: what a watch keeps of them levels off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from itertools import product

import pytest

from rollback_operator.adapters.kube.projections.pods import pod_of
from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.trends import with_latency, with_memory
from rollback_operator.evidence.watch import (
    Watch,
    open_watch,
    with_pages,
    with_reading,
    with_workload,
    without_pages,
)
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, CounterSeries, Missing
from rollback_operator.stats.histogram import Histogram
from tests.builders import PURCHASE, T0, make_counters, make_pod, make_series, make_workload
from tests.sizes import chosen_of

MIB = 1 << 20
POD = "pod-0"
ALONE = make_workload(
    pods=[make_pod(name=POD, created=T0, started=T0 + 1, ready=True, ready_since=T0 + 2)]
)
Answer = Callable[[int], Counters]


def opened() -> Watch:
    return with_workload(open_watch("digest-v2", T0, frozenset({"hashv1"})), ALONE, T0 + 3)


def held(*roots: object) -> int:
    """Count the bytes of all that is reached."""
    seen: set[int] = set()
    waiting, size = list(roots), 0
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            size += sys.getsizeof(one)
            waiting += _parts(one)
    return size


def _parts(one: object) -> Iterator[object]:
    if is_dataclass(one):
        yield from (getattr(one, each.name) for each in fields(one))
    elif isinstance(one, dict):
        yield from (*one.keys(), *one.values())
    elif isinstance(one, tuple | list | set | frozenset):
        yield from one


def fresh(look: int, name: str, samples: Iterator[float] | None = None) -> CounterSeries:
    times = samples or (15.0 * look + 5,)
    return make_series([(at, 10.0 + at) for at in times], pod=POD, route=name)


def long_routes(look: int) -> Counters:
    """3,000 routes of 4 KB that were never seen before."""
    every = [fresh(look, f"/{look}/{n}/" + "x" * 4000) for n in range(3000)]
    return make_counters([fresh(look, PURCHASE), *every])


def short_routes(look: int) -> Counters:
    return make_counters(
        [fresh(look, PURCHASE), *(fresh(look, f"/{look}/{n}") for n in range(5000))]
    )


def many_labels(look: int) -> Counters:
    """Few characters, many labels."""
    labels = [(f"a{n}", "1") for n in range(300)]
    return make_counters(
        [fresh(look, PURCHASE)]
        + [replace(fresh(look, "/"), identity=(*labels, ("id", f"{look}-{n}"))) for n in range(300)]
    )


def dense_times(look: int) -> Counters:
    """20,000 samples of one series, a ten-thousandth of a second apart."""
    return make_counters([fresh(look, PURCHASE, [10 + 2 * look + n / 1e4 for n in range(20_000)])])


def slow_ids(look: int) -> Counters:
    """A service with ids as routes: their series end soon, and others come."""
    own = [fresh(look, f"/{look}/{n}") for n in range(300)]
    return make_counters([fresh(look, PURCHASE), *own])


def by_prometheus(watch: Watch, answer: Counters, look: int) -> Watch:
    return with_reading(watch, answer)


def by_pages(watch: Watch, answer: Counters, look: int) -> Watch:
    """As an observer does: what cannot be counted beside Prometheus is forgotten."""
    watch = with_pages(watch, answer, T0 + 15 * look + 5)
    return without_pages(watch) if watch.evidence.book.conflict else watch


LOOKS = {long_routes: 12, short_routes: 8, many_labels: 40, dense_times: 12, slow_ids: 75}
WORST = ((long_routes, by_prometheus), (short_routes, by_pages))


@pytest.mark.parametrize(
    ("answer", "taken"), chosen_of(product(LOOKS, (by_prometheus, by_pages)), WORST)
)
def test_what_a_watch_keeps_levels_off(
    answer: Answer, taken: Callable[[Watch, Counters, int], Watch]
) -> None:
    watch = opened()
    for look in range(LOOKS[answer]):
        watch = taken(watch, answer(look), look)
    assert len(watch.evidence.increments) <= 150_000
    assert held(watch) < 75 * MIB


def _hostile_pod(number: int) -> Pod:
    """A pod with all that a template may say at any length."""
    long = "x" * 3950 + "\U0001f600"
    containers = [
        {
            "name": f"c{n}",
            **{
                kind: {"httpGet": {"port": 80, "path": f"/{number}/{n}/{kind}/{long}"}}
                for kind in _PROBES
            },
        }
        for n in range(200)
    ]
    ran = [{"name": f"c{n}", "imageID": f"shop@sha256:{number:032x}{n:032x}"} for n in range(200)]
    return pod_of(
        {
            "metadata": {
                "name": f"hostile-{number}",
                "annotations": {"prometheus.io/path": "/" + "\U0001f600" * 900},
            },
            "spec": {"containers": containers},
            "status": {"podIP": "10.0.0.1", "containerStatuses": ran},
        }
    )


_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def test_pods_that_are_gone_leave_little_whatever_their_template_said() -> None:
    watch = opened()
    for number in range(0, 100, 10):
        pods = [_hostile_pod(number + each) for each in range(10)]
        watch = with_workload(watch, make_workload(pods=pods), T0 + number)
    gone = [pod for pod in watch.pods if pod.terminating]
    assert len(gone) == 91
    assert held(gone) < 91 * 4096


def test_the_size_of_a_watch_counts_its_pods() -> None:
    pods = [_hostile_pod(number) for number in range(50)]
    before = opened()
    watch = with_workload(before, make_workload(pods=pods), T0 + 10)
    grown = held(watch) - held(before)
    assert grown < 50 * 64 * 1024
    assert grown * 0.7 < watch.size - before.size < grown * 2


def test_what_is_too_much_is_said_and_nothing_is_judged_by_it() -> None:
    watch = opened()
    for look in range(8):
        before, watch = watch, with_reading(watch, short_routes(look))
        if watch.missing is not None:
            break
    assert isinstance(watch.missing, Missing)
    assert watch.missing.reason is Reason.ANSWER_TOO_LARGE
    assert "exceed the limit of 20000" in watch.missing.message
    assert watch.evidence == before.evidence


@cache
def with_ids() -> Watch:
    """Watch a service with ids as routes for long."""
    watch = opened()
    for look in range(75):
        watch = with_reading(watch, slow_ids(look))
        assert watch.missing is None
    return watch


def test_a_service_with_ids_as_routes_is_judged_on() -> None:
    watch = with_ids()
    assert "all others together" in watch.folded
    counted = {one.route for one in watch.evidence.increments}
    assert len(counted) <= 1100
    assert PURCHASE in counted
    total = sum(one.requests for one in watch.evidence.increments)
    # The routes' first values count from zero: none of what is counted is lost.
    assert total == pytest.approx(_from_zero(75))


def _from_zero(looks: int) -> float:
    last = 15.0 * (looks - 1) + 5
    return 10.0 + last + sum(300 * (10.0 + 15.0 * look + 5) for look in range(looks))


def test_a_route_that_is_counted_with_others_never_seems_to_begin() -> None:
    """Its earlier errors would be forgotten: it would seem to have failed from its first on."""
    watch, rare = opened(), "/rare"
    for look in range(20):
        answer = slow_ids(look)
        more = make_series([(15.0 * look + 5, 0.001 * look)], pod=POD, route=rare)
        watch = with_reading(watch, replace(answer, requests=(*answer.requests, more)))
    assert watch.folded
    assert rare not in {one.route for one in watch.evidence.increments}


def test_routes_that_the_policy_names_are_told_apart_always() -> None:
    watch = opened()
    watch = replace(watch, evidence=replace(watch.evidence, named=frozenset({"/rare", "/late"})))
    for look in range(20):
        answer = slow_ids(look)
        names = ["/rare"] if look < 15 else ["/rare", "/late"]
        more = [
            make_series([(15.0 * look + 5, 0.001 * look)], pod=POD, route=name) for name in names
        ]
        watch = with_reading(watch, replace(answer, requests=(*answer.requests, *more)))
    assert watch.folded
    assert {"/rare", "/late"} <= {one.route for one in watch.evidence.increments}


def test_long_routes_are_cut_and_remain_different() -> None:
    routes = ["/" + "x" * 4000 + end for end in ("a", "b")]
    watch = with_reading(opened(), make_counters([fresh(0, one) for one in routes]))
    counted = {one.route for one in watch.evidence.increments}
    assert len(counted) == 2
    assert max(map(len, counted)) <= 512


def test_a_series_that_has_not_ceased_is_never_forgotten() -> None:
    """Its next sample would count as if all of it were new."""
    watch = with_ids()
    purchase = sum(one.requests for one in watch.evidence.increments if one.route == PURCHASE)
    assert purchase == pytest.approx(10.0 + 15.0 * 74 + 5)


def test_of_pods_that_have_gone_the_first_are_forgotten() -> None:
    watch = opened()
    buckets = Histogram(tuple(float(n) for n in range(512)), (1.0,) * 512)
    for look in range(60):
        pods = [
            make_pod(name=f"pod-{look}-{n}", created=T0 + look, ready_since=T0 + look)
            for n in range(50)
        ]
        watch = with_workload(watch, replace(ALONE, pods=tuple(pods)), T0 + 15 * look)
        answer = [
            make_series([(15.0 * look + 5, 7.0)], pod=pod.name, instance=f"{look}:{n}")
            for n, pod in enumerate(pods)
        ]
        watch = with_reading(watch, make_counters(answer))
        names = {pod.name: pod for pod in pods}
        at = T0 + 15 * look + 60
        trends = with_latency(watch.trends, at, dict.fromkeys(names, buckets), names)
        trends = with_memory(trends, at, dict.fromkeys(names, 1.0))
        watch = replace(watch, trends=trends)
    watch = with_workload(watch, ALONE, T0 + 15 * 60)
    assert len(watch.pods) == 1001
    known = {pod.name for pod in watch.pods}
    evidence, trends = watch.evidence, watch.trends
    for kept in (
        evidence.seen,
        evidence.scraped,
        evidence.instances,
        trends.bases,
        trends.memory,
        trends.kills,
    ):
        assert set(kept) <= known
    assert {one.pod for one in evidence.increments} <= known
    assert {key[1] for key in evidence.book.heads} <= known
    assert "deleted pods are counted" in watch.folded


def test_a_pod_s_first_durations_keep_no_others_alive() -> None:
    names = {f"pod-{n}": make_pod(name=f"pod-{n}", ready_since=T0) for n in range(5)}
    read = dict.fromkeys(names, Histogram((1.0,), (1.0,)))
    trends = with_latency(opened().trends, T0 + 60, read, names)
    trends = with_latency(trends, T0 + 120, read, names)
    for look in (*trends.bases.values(), *trends.firsts.values()):
        assert len(look.pods) == 1


def test_an_honest_watch_folds_nothing() -> None:
    watch = opened()
    for look in range(100):
        answer = [fresh(look, f"/{n}") for n in range(50)]
        watch = with_reading(watch, make_counters(answer))
    assert watch.folded == ""
    assert watch.missing is None
    assert len({one.route for one in watch.evidence.increments}) == 50
