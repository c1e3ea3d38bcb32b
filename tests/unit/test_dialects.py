"""Forms of counters: histograms, statuses as labels, answers of other servers.

Answers are those of real servers, shortened: Prometheus 2.42 and 3.13; Thanos, Mimir and
VictoriaMetrics as their sources write them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.adapters.prometheus import PrometheusMetrics, PrometheusTrends
from rollback_operator.adapters.prometheus.answers import (
    NATIVE_BOUNDS,
    NativeSample,
    classic_rows,
    native_histogram,
)
from rollback_operator.adapters.prometheus.queries import number
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import CounterSignal, LatencySignal, SignalLabels
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.counters import Evidence, fold
from rollback_operator.model.samples import Counters, Missing, Reading
from rollback_operator.ports.metrics import CounterQuery, SeriesQuery
from tests.builders import T0, make_pod
from tests.provider import ANYWHERE, POD, Answer, Provider, answer_of, running, series


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        yield found


@pytest.fixture
def metrics() -> Iterator[PrometheusMetrics]:
    made = PrometheusMetrics(ANYWHERE)
    yield made
    made.close()


def query(provider: Provider, **changes: Any) -> CounterQuery:
    made = CounterQuery(
        prometheus=provider.prometheus,
        namespace="production",
        pods=("ticket-service-.*",),
        requests=CounterSignal(metric="http_requests_total"),
        errors=CounterSignal(metric="http_requests_total", matchers={"code": "=~5.."}),
        labels=SignalLabels(),
    )
    return replace(made, **changes)


def reason(reading: object) -> Reason:
    assert isinstance(reading, Missing), reading
    return reading.reason


def counters(reading: Reading) -> Counters:
    assert isinstance(reading, Counters), reading
    return reading


def store(**names: Any) -> Callable[[str], Answer]:
    """Answer from series by their metric's name; what matches a code only if it is asked for."""

    def answer(text: str) -> Answer:
        if text.startswith("count(last_over_time("):
            name = text.removeprefix("count(last_over_time(").partition("{")[0]
            return answer_of([{"metric": {}, "value": [T0, "1"]}] if name in names else [])
        if text.startswith("count(present_over_time("):
            name = text.removeprefix("count(present_over_time(").partition("{")[0]
            return answer_of([{"metric": {}, "value": [T0, "1"]}] if names.get(name) else [])
        name = text.removeprefix("sum by (route) (increase(").partition("{")[0]
        found = names.get(name, [])
        if "code=~" in text:
            found = [one for one in found if one["metric"].get("code", "").startswith("5")]
        return answer_of(found)

    return answer


def with_status(code: str, *values: tuple[float, str]) -> dict[str, Any]:
    return series(*values, code=code)


NATIVE = {
    "metric": {"__name__": "rpc_seconds", "pod": POD, "route": "/buy", "instance": "i", "job": "j"},
    "histograms": [
        [
            T0 + at,
            {
                "count": count,
                "sum": "1.5398171991460956",
                "buckets": [
                    [0, "0.0023226701464896895", "0.002532889755177753", "3"],
                    [3, "-0.001", "0.001", count],
                ],
            },
        ]
        for at, count in ((0, "12"), (5, "40"))
    ],
}
"""As Prometheus 3 answers a range selector on a native histogram."""


# -- counters and histograms by any name -----------------------------------------------------------


async def test_a_classic_histogram_is_found_by_its_base_name_once(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.types = {"rpc_seconds": ("histogram",)}
    counted = series((T0, "7"))
    provider.answer = store(rpc_seconds_bucket=[], rpc_seconds_count=[counted], errors_total=[1])
    asked = query(
        provider,
        requests=CounterSignal(metric="rpc_seconds", matchers={"team": "a"}),
        errors=CounterSignal(metric="errors_total"),
    )

    for _ in range(3):
        found = await metrics.read(replace(asked, errors=CounterSignal(metric="x_total")), 60)
        assert reason(found) == Reason.ERROR_SERIES_MISSING
    looked_up = [one for one in provider.queries if "last_over_time" in one]

    assert looked_up == [
        'count(last_over_time(rpc_seconds_count{namespace="production",team="a"}[3600s]))'
    ]
    read = [one for one in provider.queries if one.startswith("rpc_seconds")]
    assert {one.partition("{")[0] for one in read} == {"rpc_seconds_count"}


async def test_a_native_histogram_tells_its_count(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.types = {"rpc_seconds": ("histogram",)}
    provider.answer = store(rpc_seconds=[NATIVE], errors_total=[series((T0, "1"))])

    found = counters(
        await metrics.read(
            query(
                provider,
                requests=CounterSignal(metric="rpc_seconds"),
                errors=CounterSignal(metric="errors_total"),
            ),
            60,
        )
    )

    assert found.requests[0].samples == ((T0, 12.0), (T0 + 5, 40.0))
    assert (found.requests[0].pod, found.requests[0].route) == (POD, "/buy")


def test_a_native_histogram_is_read_whole() -> None:
    first = native_histogram(*NATIVE["histograms"][0])

    assert (first.time, first.count, first.total) == (T0, 12.0, 1.5398171991460956)
    assert first.buckets == (
        (0.0023226701464896895, 0.002532889755177753, 3.0),
        (-0.001, 0.001, 12.0),
    )


def counts(*buckets: tuple[float, float, float]) -> dict[float, float]:
    found = classic_rows({}, NativeSample(T0, sum(one[2] for one in buckets), 0.0, buckets))
    return {float(labels["le"]): value for labels, value in found}


def test_a_native_histogram_is_told_at_bounds_that_never_change() -> None:
    fine = counts((2**-0.125, 1.0, 4.0), (1.0, 2**0.125, 6.0), (2.0, 4.0, 10.0))
    assert tuple(fine) == NATIVE_BOUNDS
    assert fine[1.0] == pytest.approx(4)
    assert fine[2**0.25] == fine[2.0] == pytest.approx(10)
    assert fine[4.0] == fine[NATIVE_BOUNDS[-1]] == pytest.approx(20)
    # A wider bucket is spread evenly over the bounds within it.
    assert fine[2 * 2**0.5] == pytest.approx(10 + 10 * (2 * 2**0.5 - 2) / 2)


def test_what_lies_in_the_zero_bucket_and_beyond_all_bounds_is_counted() -> None:
    found = counts((-1e-9, 1e-9, 3.0), (1e6, 2e6, 5.0))
    assert found[NATIVE_BOUNDS[0]] == 3
    assert found[NATIVE_BOUNDS[-2]] == 3
    assert found[NATIVE_BOUNDS[-1]] == 8


@pytest.mark.parametrize("count", ["NaN", None, "many", []])
async def test_a_native_histogram_that_is_none_is_malformed(
    provider: Provider, metrics: PrometheusMetrics, count: Any
) -> None:
    raw = {"count": count, "sum": "1", "buckets": []}
    provider.answer = lambda text: answer_of([{"metric": {}, "histogram": [T0, raw]}])
    assert reason(await metrics.read_vector(provider.prometheus, "x")) == Reason.ANSWER_MALFORMED


async def test_durations_of_a_native_histogram(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    whole = {**NATIVE["histograms"][1][1], "buckets": [[0, "0.5", "1", "40"]]}
    native = {"metric": {"pod": POD}, "histogram": [T0, whole]}
    provider.answer = lambda text: answer_of([] if "_bucket" in text else [native])
    trends = PrometheusTrends(metrics)
    signal = LatencySignal(metric="rpc_seconds")
    asked = SeriesQuery(provider.prometheus, "production", (), signal, SignalLabels())

    found = await trends.read_latency(asked, T0)
    assert isinstance(found, dict)
    assert found[POD].total == 40
    assert found[POD].quantile(0.5) == pytest.approx(0.75, rel=0.02)
    assert found[POD].above(1.0) == 0
    provider.queries.clear()

    # Once it is known, the classic form is not asked for first.
    assert isinstance(await trends.read_latency(asked, T0), dict)
    assert provider.queries == ['sum by (pod) (rpc_seconds{namespace="production"})']


async def test_minutes_of_a_native_histogram_are_its_counts(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    minute = {"metric": {"route": "/buy"}, "histograms": NATIVE["histograms"]}
    provider.answer = store(rpc_seconds=[minute], errors_total=[])

    found = await metrics.read_control(
        query(
            provider,
            requests=CounterSignal(metric="rpc_seconds"),
            errors=CounterSignal(metric="errors_total"),
        ),
        T0,
    )

    assert isinstance(found, Control)
    assert found.pooled.requests == 52


async def test_what_its_targets_call_a_counter_is_read_by_its_own_name(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.types = {"requests": ("counter",)}
    provider.answer = store(requests=[with_status("200", (T0, "3"))], requests_count=[])

    signal = CounterSignal(metric="requests")
    errors = CounterSignal(metric="requests", matchers={"code": "=~5.."})
    found = counters(await metrics.read(query(provider, requests=signal, errors=errors), 60))

    assert found.requests[0].samples == ((T0, 3.0),)
    assert not any("last_over_time" in one for one in provider.queries)


@pytest.mark.parametrize("kind", ["gauge", "gaugehistogram", "info"])
async def test_a_gauge_counts_nothing(
    provider: Provider, metrics: PrometheusMetrics, kind: str
) -> None:
    provider.types = {"in_flight_total": (kind,)}
    provider.answer = store(in_flight_total=[series((T0, "3"))])

    asked = query(provider, requests=CounterSignal(metric="in_flight_total"))
    found = await metrics.read(asked, 60)

    assert reason(found) == Reason.NOT_A_COUNTER
    assert isinstance(found, Missing)
    assert f"in_flight_total is a {kind}" in found.message
    assert reason(await metrics.read_control(asked, T0)) == Reason.NOT_A_COUNTER


@pytest.mark.parametrize("types", [(), ("unknown",), ("untyped",), ("gauge", "counter")], ids=str)
async def test_a_type_that_nobody_or_not_everybody_tells_is_no_objection(
    provider: Provider, metrics: PrometheusMetrics, types: tuple[str, ...]
) -> None:
    provider.types = {"http_requests_total": types}
    provider.answer = store(http_requests_total=[with_status("200", (T0, "3"))])

    assert counters(await metrics.read(query(provider), 60)).requests


async def test_a_server_without_metadata_is_no_objection(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.has_metadata = False
    provider.answer = store(rpc_seconds_count=[with_status("200", (T0, "3"))])
    errors = CounterSignal(metric="rpc_seconds", matchers={"code": "=~5.."})

    found = await metrics.read(
        query(provider, requests=CounterSignal(metric="rpc_seconds"), errors=errors), 60
    )

    assert counters(found).requests[0].samples == ((T0, 3.0),)


async def test_names_of_prometheus_3_are_quoted(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = lambda text: answer_of([series((T0, "1"))])
    asked = query(
        provider,
        requests=CounterSignal(
            metric="http.server.requests_total", matchers={"service.name": "shop"}
        ),
        labels=SignalLabels(pod="k8s.pod.name", route="http.route"),
        pods=("a",),
    )

    await metrics.read(asked, 60)
    assert (
        '{"http.server.requests_total",namespace="production","service.name"="shop",'
        '"k8s.pod.name"=~"a"}[60s]' in provider.queries
    )
    await metrics.read_control(asked, T0)
    assert any(one.startswith('sum by ("http.route") (increase({"http') for one in provider.queries)


@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        ("1", ("1", "1.0"), ("10", "0.1", "1.05")),
        ("1.0", ("1", "1.0"), ("11",)),
        ("0.99", ("0.99", "0.990"), ("0.9", "0.999", "0.995")),
        ("0.90", ("0.9", "0.90"), ("0.99",)),
    ],
)
def test_a_number_in_a_label_is_matched_as_both_versions_write_it(
    value: str, same: tuple[str, ...], other: tuple[str, ...]
) -> None:
    label, _, pattern = number("quantile", value).partition("=~")

    assert label == "quantile"
    assert all(re.fullmatch(json.loads(pattern), one) for one in same)
    assert not any(re.fullmatch(json.loads(pattern), one) for one in other)


# -- status as a label -----------------------------------------------------------------------------


async def test_no_error_yet_is_no_unknown_metric_where_requests_have_the_label(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = store(http_requests_total=[with_status("200", (T0, "10"))])

    found = counters(await metrics.read(query(provider), 60))

    assert found.errors == ()
    assert not any("present_over_time" in one for one in provider.queries)


async def test_requests_without_the_label_tell_no_errors(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = store(http_requests_total=[series((T0, "10"), status="200")])

    found = await metrics.read(query(provider), 60)

    assert reason(found) == Reason.ERROR_SERIES_MISSING
    assert isinstance(found, Missing)
    assert "no label code" in found.message
    assert "spec.signals.errors.matchers" in found.message


async def test_a_series_without_the_label_is_no_error(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = store(http_requests_total=[with_status("200", (T0, "10"))])
    errors = CounterSignal(metric="http_requests_total", matchers={"code": "!~2..", "team": "a"})

    await metrics.read(query(provider, errors=errors, pods=()), 60)

    assert (
        'http_requests_total{code!~"2..",namespace="production",team="a",code!=""}[60s]'
        in provider.queries
    )


async def test_a_first_error_s_series_counts_from_zero(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    """It appears with its first value, on a pod that is being read already."""
    pod = make_pod(name=POD, created=T0 - 3600, started=T0 - 3600, ready_since=T0 - 3600)
    good = with_status("200", (T0 + 5, "100"), (T0 + 10, "150"))
    provider.answer = store(http_requests_total=[good])
    evidence = fold(Evidence(T0), counters(await metrics.read(query(provider), 60)), (pod,))
    later = [
        with_status("200", (T0 + 10, "150"), (T0 + 15, "170")),
        with_status("503", (T0 + 15, "30")),
    ]
    provider.answer = store(http_requests_total=later)

    evidence = fold(evidence, counters(await metrics.read(query(provider), 60)), (pod,))

    last = evidence.increments[-1]
    assert (last.start, last.end) == (T0 + 10, T0 + 15)
    assert (last.requests, last.errors) == (50, 30)


async def test_all_codes_of_a_new_pod_are_counted_from_its_start(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    pod = make_pod(name=POD, created=T0, started=T0 + 1, ready_since=T0 + 2)
    provider.answer = store(
        http_requests_total=[with_status("200", (T0 + 7, "40")), with_status("500", (T0 + 7, "4"))]
    )

    evidence = fold(Evidence(T0), counters(await metrics.read(query(provider), 60)), (pod,))

    (one,) = evidence.increments
    assert (one.requests, one.errors) == (44, 4)


# -- labels that are not there ---------------------------------------------------------------------


async def test_each_replica_of_an_ingress_is_a_counter_of_its_own(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = store(
        http_requests_total=[
            series((T0, "10"), instance="ingress-a", code="200", pod="controller-a"),
            series((T0, "20"), instance="ingress-b", code="200", pod="controller-b"),
        ]
    )

    found = counters(await metrics.read(query(provider, labels=SignalLabels(pod=""), pods=()), 60))

    assert {(one.pod, one.instance) for one in found.requests} == {("", "")}
    assert len({one.identity for one in found.requests}) == 2
    assert not any("pod=~" in one for one in provider.queries)


async def test_without_a_route_label_all_requests_are_one_route(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = store(http_requests_total=[with_status("200", (T0, "10"))])

    asked = query(provider, labels=SignalLabels(route="handler"))
    found = counters(await metrics.read(asked, 60))

    assert {one.route for one in found.requests} == {""}


# -- other servers ---------------------------------------------------------------------------------

OTHERS = {
    "Thanos: a store did not answer": (
        answer_of(
            [series((T0, "1"))],
            warnings=["No StoreAPIs matched for this query"],
        ),
        Reason.ANSWER_PARTIAL,
        "No StoreAPIs matched",
    ),
    "Thanos: partial response is refused": (
        Answer(
            b'{"status":"error","errorType":"execution","error":"expanding series: proxy Series():'
            b' rpc error: code = Aborted desc = fetch series for store-1: unavailable"}',
            422,
        ),
        Reason.QUERY_REFUSED,
        "fetch series for store-1",
    ),
    "Mimir: no tenant": (
        Answer(b"no org id\n", 401),
        Reason.PROVIDER_UNAUTHORIZED,
        "no org id",
    ),
    "Mimir: a limit": (
        Answer(
            b'{"status":"error","errorType":"execution","error":"the query exceeded the maximum '
            b'number of chunks (err-mimir-max-chunks-per-query)"}',
            422,
        ),
        Reason.QUERY_REFUSED,
        "maximum number of chunks",
    ),
    "Mimir: too many requests": (
        Answer(b'{"status":"error","errorType":"too_many_requests","error":"slow down"}', 429),
        Reason.PROVIDER_ERROR,
        "429: slow down",
    ),
    "VictoriaMetrics: a storage node is down": (
        answer_of([series((T0, "1"))], isPartial=True),
        Reason.ANSWER_PARTIAL,
        "storage node",
    ),
    "VictoriaMetrics: an error": (
        Answer(
            b'{"status":"error","errorType":"422","error":"error when executing query: cannot '
            b'select more than -search.maxSamplesPerQuery=1000000000 samples"}',
            422,
        ),
        Reason.QUERY_REFUSED,
        "maxSamplesPerQuery",
    ),
    "Prometheus 2.42: a name of Prometheus 3": (
        Answer(
            b'{"status":"error","errorType":"bad_data","error":"invalid parameter \\"query\\": 1:2:'
            b' parse error: unexpected string \\"\\\\\\"a.b\\\\\\"\\" in label matching"}',
            400,
        ),
        Reason.QUERY_REFUSED,
        "unexpected string",
    ),
    "a gateway's page": (
        Answer(b"<html><head><title>502 Bad Gateway</title></head></html>", 502),
        Reason.PROVIDER_ERROR,
        "Prometheus answers 502",
    ),
    "a login page": (
        Answer(b"<!DOCTYPE html><html>Sign in</html>", 200),
        Reason.ANSWER_MALFORMED,
        "check spec.prometheus.url",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_other_servers_are_understood(
    provider: Provider, metrics: PrometheusMetrics, name: str
) -> None:
    answer, expected, said = OTHERS[name]
    provider.answer = lambda text: answer

    found = await metrics.read(query(provider), 60)

    assert reason(found) == expected
    assert isinstance(found, Missing)
    assert said in found.message
    assert "<" not in found.message or expected is Reason.ANSWER_MALFORMED


async def test_partial_answers_are_not_asked_for(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = lambda text: answer_of([series((T0, "1"), code="200")])

    await metrics.read(query(provider), 60)
    await metrics.read_control(query(provider), T0)

    assert all(one["partial_response"] == "false" for one in provider.parameters)
    assert all(one["max_source_resolution"] == "0s" for one in provider.parameters)


async def test_a_server_that_takes_no_such_wish_is_asked_without_it(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    """Google's refuses parameters that it does not know."""
    said = (
        'Invalid JSON payload received. Unknown name "partial_response": Cannot bind query '
        "parameter. Field 'partial_response' could not be found in request message."
    )
    refusal = {"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}

    def answer(text: str) -> Answer:
        if "partial_response" in provider.parameters[-1]:
            return Answer(json.dumps(refusal).encode(), 400)
        return answer_of([series((T0, "1"), code="200")])

    provider.answer = answer
    assert (await metrics.read_vector(provider.prometheus, "up")) != []
    provider.parameters.clear()

    assert counters(await metrics.read(query(provider), 60)).requests
    assert all("partial_response" not in one for one in provider.parameters)


ANSWERS_TO_A_TENANT = {
    "a refusal": (400, "unknown function with name"),
    "an unprocessable query": (422, "unknown name"),
    "no right": (401, "not for"),
    "forbidden": (403, "not for"),
    "elsewhere": (302, "moved for"),
    "a fault": (500, "panic at"),
    "no answer of the API": (200, "<html>"),
}


@pytest.mark.parametrize(("status", "said"), ANSWERS_TO_A_TENANT.values(), ids=ANSWERS_TO_A_TENANT)
async def test_no_answer_to_a_tenant_changes_what_is_asked_for_others(
    provider: Provider, metrics: PrometheusMetrics, status: int, said: str
) -> None:
    """A server quotes what it refuses: a tenant could make it name a parameter."""

    def answer(text: str) -> Answer:
        if "_re" in text:
            error = json.dumps({"status": "error", "error": f"{said} {text}"}).encode()
            return Answer(error if status != 200 else f"{said}{text}".encode(), status)
        return answer_of([T0, str(T0)])

    async def asked_for(namespace: str) -> list[tuple[str, str]]:
        provider.heads.clear()
        reader = replace(provider.prometheus, namespace=namespace)
        assert await metrics.read_clock(reader) == T0
        return list(provider.heads)

    provider.answer = answer
    before = await asked_for("victim")
    tenant = replace(provider.prometheus, namespace="tenant")
    for name in ("partial_response", "deny_partial_response", "max_source_resolution"):
        assert isinstance(await metrics.read_vector(tenant, f"{name}(1)"), Missing)

    assert before == await asked_for("victim") == await asked_for("tenant")


async def test_a_hint_is_no_warning(provider: Provider, metrics: PrometheusMetrics) -> None:
    """Prometheus 3 doubts a counter whose name does not end in _total."""
    said = ["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count"]
    provider.answer = lambda text: answer_of([series((T0, "1"), code="200")], infos=said)

    assert counters(await metrics.read(query(provider), 60)).requests


async def test_the_end_of_a_series_as_victoriametrics_tells_it(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    ended = with_status("200", (T0, "10"), (T0 + 5, "12"), (T0 + 10, "NaN"))
    provider.answer = store(http_requests_total=[ended])

    found = counters(await metrics.read(query(provider), 60))

    assert found.requests[0].samples == ((T0, 10.0), (T0 + 5, 12.0))


async def test_a_mark_of_an_end_alone_takes_no_other_series_with_it(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    gone = with_status("404", (T0 + 10, "NaN"))
    provider.answer = store(http_requests_total=[gone, with_status("200", (T0 + 10, "12"))])
    found = counters(await metrics.read(query(provider), 60))
    assert [one.samples for one in found.requests] == [((T0 + 10, 12.0),)]

    provider.answer = store(http_requests_total=[gone])
    assert reason(await metrics.read(query(provider), 60)) == Reason.NOT_A_NUMBER


async def test_a_counter_that_has_become_nan_is_told(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    broken = with_status("200", (T0, "10"), (T0 + 5, "NaN"), (T0 + 10, "NaN"))
    provider.answer = store(http_requests_total=[broken])

    assert reason(await metrics.read(query(provider), 60)) == Reason.NOT_A_NUMBER
