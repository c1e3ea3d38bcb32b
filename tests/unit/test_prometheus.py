"""The Prometheus adapter against a real HTTP server: each answer, and each kind of nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rollback_operator.adapters.prometheus import Access, Limits, PrometheusMetrics
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels
from rollback_operator.evidence.baseline import Control
from rollback_operator.model.samples import Counters, Missing, Reading
from rollback_operator.ports.metrics import CounterQuery, Prometheus
from tests.builders import T0
from tests.provider import ANYWHERE, POD, Answer, Provider, answer_of, running, series

SHORT = Limits(connect_seconds=0.3, read_seconds=0.3, most_bytes=100_000)


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
        requests=CounterSignal(metric="requests_total"),
        errors=CounterSignal(metric="errors_total"),
        labels=SignalLabels(),
    )
    return replace(made, **changes)


def always(answer: Answer) -> Callable[[str], Answer]:
    return lambda query: answer


def by_metric(
    requests: Any, errors: Any = (), ever: Any = ({"metric": {}, "value": [T0, "1"]},)
) -> Callable[[str], Answer]:
    """Answer counters, and whether the error metric has ever been there."""

    def answer(text: str) -> Answer:
        if "present_over_time" in text:
            return answer_of(list(ever))
        return answer_of(list(errors if "errors_total" in text else requests))

    return answer


def reason(reading: object) -> Reason:
    assert isinstance(reading, Missing), reading
    return reading.reason


# -- answers ---------------------------------------------------------------------------------------


async def test_a_good_answer_is_parsed(provider: Provider, metrics: PrometheusMetrics) -> None:
    provider.answer = by_metric(
        [series((T0, "10"), (T0 + 5, "20.5"), code="200", method="POST")],
        [series((T0, "1"))],
    )

    found = await metrics.read(query(provider), 59.2)

    assert isinstance(found, Counters)
    (one,) = found.requests
    assert (one.pod, one.route, one.instance) == (POD, "/buy", "10.0.0.1:8080")
    assert one.samples == ((T0, 10.0), (T0 + 5, 20.5))
    assert one.identity == (("code", "200"), ("method", "POST"))
    assert found.errors[0].samples == ((T0, 1.0),)
    assert all("[60s]" in text for text in provider.queries)


async def test_scraper_s_labels_are_no_part_of_a_counter_s_identity(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    one = series((T0, "1"), prometheus="a", replica="b", namespace="production", __name__="x")
    provider.answer = by_metric([one], [one])

    found = await metrics.read(query(provider), 60)

    assert isinstance(found, Counters)
    assert found.requests[0].identity == ()


async def test_the_clock_is_read(provider: Provider, metrics: PrometheusMetrics) -> None:
    provider.answer = always(answer_of([T0 + 0.25, str(T0 + 0.25)]))

    assert await metrics.read_clock(provider.prometheus) == T0 + 0.25


@pytest.mark.parametrize(
    "result", [[], {}, None, [1], ["x", "y"], [0, None], [0, "NaN"], [0, 10**400]], ids=repr
)
async def test_a_clock_that_is_no_number(
    provider: Provider, metrics: PrometheusMetrics, result: Any
) -> None:
    provider.answer = always(answer_of(result))

    assert reason(await metrics.read_clock(provider.prometheus)) == Reason.ANSWER_MALFORMED


DEEP = b"[" * 100_000
NOTHINGS = {
    "unauthorized": (Answer(b"who?", 401), Reason.PROVIDER_UNAUTHORIZED, "--prometheus-token-file"),
    "forbidden": (Answer(b"no", 403), Reason.PROVIDER_UNAUTHORIZED, "403"),
    "bad query": (Answer(b'{"error":"parse error at 3"}', 400), Reason.QUERY_REFUSED, "parse err"),
    "refused": (Answer(b"too many samples", 422), Reason.QUERY_REFUSED, "too many samples"),
    "overload": (Answer(b"", 503), Reason.PROVIDER_ERROR, "503"),
    "not found": (Answer(b"", 404), Reason.PROVIDER_ERROR, "404"),
    "redirect": (
        Answer(b"", 302, (("Location", "http://127.0.0.1:1/"),)),
        Reason.PROVIDER_ERROR,
        "302: redirects are not followed",
    ),
    "html": (Answer(b"<html>Sign in"), Reason.ANSWER_MALFORMED, "spec.prometheus.url"),
    "empty": (Answer(b""), Reason.ANSWER_MALFORMED, "spec.prometheus.url"),
    "no data": (Answer(b'{"status":"success"}'), Reason.ANSWER_MALFORMED, "status"),
    "no result": (Answer(b'{"data":{}}'), Reason.ANSWER_MALFORMED, "result"),
    "data no object": (Answer(b'{"data":[]}'), Reason.ANSWER_MALFORMED, "data"),
    "a list": (Answer(b"[1,2]"), Reason.ANSWER_MALFORMED, "[1,2]"),
    "not UTF-8": (Answer(b"\xff\xfe\x00"), Reason.ANSWER_MALFORMED, "spec.prometheus.url"),
    "too deep": (Answer(DEEP), Reason.ANSWER_MALFORMED, "spec.prometheus.url"),
    "no list": (answer_of(7), Reason.ANSWER_MALFORMED, ""),
    "scalars": (answer_of([1.0, "2"]), Reason.ANSWER_MALFORMED, ""),
    "no values": (answer_of([{"metric": {}}]), Reason.ANSWER_MALFORMED, ""),
    "no pairs": (answer_of([{"metric": {}, "values": [[1]]}]), Reason.ANSWER_MALFORMED, ""),
    "labels no object": (answer_of([{"metric": [], "values": []}]), Reason.ANSWER_MALFORMED, ""),
    "a number without end": (
        answer_of([series((T0, 10**400))]),
        Reason.ANSWER_MALFORMED,
        "",
    ),
    "no number": (answer_of([series((T0, "many"))]), Reason.ANSWER_MALFORMED, ""),
    "NaN": (answer_of([series((T0, "NaN"))]), Reason.NOT_A_NUMBER, POD),
    "infinite": (answer_of([series((T0, "+Inf"))]), Reason.NOT_A_NUMBER, POD),
    "no time": (answer_of([series((float("nan"), "1"))]), Reason.ANSWER_MALFORMED, ""),
    "milliseconds": (answer_of([series((T0 * 1000, "1"))]), Reason.ANSWER_MALFORMED, ""),
    "label no text": (answer_of([series((T0, "1"), zone=7)]), Reason.ANSWER_MALFORMED, ""),
    "beyond counting": (answer_of([series((T0, "1e300"))]), Reason.NOT_A_NUMBER, POD),
    "negative": (answer_of([series((T0, "-1"))]), Reason.NOT_A_NUMBER, POD),
    "warned": (
        answer_of([series((T0, "1"))], warnings=["a store is down"]),
        Reason.ANSWER_PARTIAL,
        "a store is down",
    ),
    "no series": (answer_of([]), Reason.NO_SERIES, "spec.signals.requests"),
}


@pytest.mark.parametrize("name", NOTHINGS)
async def test_an_answer_of_no_use_is_named(
    provider: Provider, metrics: PrometheusMetrics, name: str
) -> None:
    answer, expected, said = NOTHINGS[name]
    provider.answer = always(answer)

    found = await metrics.read(query(provider), 60)

    assert reason(found) == expected
    assert isinstance(found, Missing)
    assert said in found.message
    assert len(found.message) <= 600


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(provider: Provider) -> None:
    provider.answer = always(Answer(b"[" + b" " * 2_000_000))
    metrics = PrometheusMetrics(ANYWHERE, Limits(most_bytes=1 << 20))

    found = await metrics.read(query(provider), 60)
    metrics.close()

    assert reason(found) == Reason.ANSWER_TOO_LARGE
    assert isinstance(found, Missing)
    assert "1 MiB" in found.message


@pytest.mark.parametrize("manner", ["hangs", "trickles"])
async def test_a_server_that_never_ends_is_given_up(provider: Provider, manner: str) -> None:
    setattr(provider, manner, True)
    metrics = PrometheusMetrics(ANYWHERE, SHORT)

    async with asyncio.timeout(60):
        found = await metrics.read(query(provider), 60)
    metrics.close()

    assert reason(found) == Reason.PROVIDER_UNREACHABLE
    assert isinstance(found, Missing)
    assert "Timeout" in found.message or "in time" in found.message


async def test_a_server_that_hangs_holds_up_no_other(provider: Provider) -> None:
    provider.answer = always(answer_of([T0, str(T0)]))
    metrics = PrometheusMetrics(ANYWHERE, Limits(read_seconds=3))
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        waiting = [asyncio.create_task(metrics.read_clock(Prometheus(url))) for _ in range(40)]
        await asyncio.sleep(0)

        assert await metrics.read_clock(provider.prometheus) == T0
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    metrics.close()


async def test_a_refused_connection_is_named(metrics: PrometheusMetrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    found = await metrics.read_clock(Prometheus(url))

    assert reason(found) == Reason.PROVIDER_UNREACHABLE
    assert isinstance(found, Missing)
    assert url in found.message


async def test_after_a_failure_the_next_answer_is_taken(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = always(answer_of([T0, str(T0)], warnings=["partial"]))
    assert reason(await metrics.read_clock(provider.prometheus)) == Reason.ANSWER_PARTIAL
    provider.answer = always(Answer(b"", 503))
    assert reason(await metrics.read_clock(provider.prometheus)) == Reason.PROVIDER_ERROR
    provider.answer = always(answer_of([T0, str(T0)]))

    assert await metrics.read_clock(provider.prometheus) == T0


# -- no errors, or no metric -----------------------------------------------------------------------


async def test_no_error_yet_is_told_from_no_such_metric(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric([series((T0, "1"))], ever=())
    found: Reading = await metrics.read(query(provider), 60)
    assert reason(found) == Reason.ERROR_SERIES_MISSING
    assert isinstance(found, Missing)
    assert "spec.signals.errors" in found.message

    provider.answer = by_metric([series((T0, "1"))])
    for _ in range(3):
        found = await metrics.read(query(provider), 60)
        assert isinstance(found, Counters)
        assert found.errors == ()
    assert sum("present_over_time" in text for text in provider.queries) == 2


# -- queries ---------------------------------------------------------------------------------------


async def test_values_are_escaped_and_stay_in_their_quotes(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric([series((T0, "1"))])
    nasty = 'a"} or vector(1) # \\ \n ü ☃'
    signal = CounterSignal(metric="requests_total", matchers={"team": nasty})

    await metrics.read(query(provider, requests=signal, pods=(r"a\.b-.*", "c-1")), 60)

    assert provider.queries.count(
        'requests_total{namespace="production",team="a\\"} or vector(1) # \\\\ \\n ü ☃",'
        'pod=~"a\\\\.b-.*|c-1"}[60s]'
    )


async def test_a_matcher_may_begin_with_its_operator(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric([series((T0, "1"))])
    matchers = {"code": "=~5..", "method": "!=HEAD", "path": "!~/health.*"}
    signal = CounterSignal(metric="requests_total", matchers=matchers)

    await metrics.read(query(provider, requests=signal, pods=("p",)), 60)

    assert provider.queries.count(
        'requests_total{code=~"5..",method!="HEAD",namespace="production",path!~"/health.*",'
        'pod=~"p"}[60s]'
    )


async def test_without_a_pod_label_no_pod_is_matched(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric([series((T0, "1"))])

    await metrics.read(query(provider, labels=SignalLabels(pod="")), 60)

    assert provider.queries
    assert not any("=~" in text for text in provider.queries)


@pytest.mark.parametrize("value", ["kube-system", "=~.*", "!=x"])
async def test_no_matcher_leads_out_of_the_namespace(
    provider: Provider, metrics: PrometheusMetrics, value: str
) -> None:
    provider.answer = by_metric([series((T0, "1"))])
    signal = CounterSignal(metric="requests_total", matchers={"namespace": value})

    await metrics.read(query(provider, requests=signal), 60)
    assert all('namespace="production"' in text for text in provider.queries)

    assert not any("kube-system" in text for text in provider.queries)


async def test_the_labels_of_a_policy_are_used(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    one = series((T0, "1"), pod_name="p", handler="/h")
    provider.answer = by_metric([one], [one])

    labels = SignalLabels(pod="pod_name", route="handler")
    found = await metrics.read(query(provider, labels=labels), 60)

    assert isinstance(found, Counters)
    assert (found.requests[0].pod, found.requests[0].route) == ("p", "/h")
    assert any('pod_name=~"ticket-service-.*"' in text for text in provider.queries)


# -- the control -----------------------------------------------------------------------------------


def minutes(route: str, *values: str) -> dict[str, Any]:
    pairs = [[T0 - 60 * number, value] for number, value in enumerate(reversed(values))]
    return {"metric": {"route": route}, "values": pairs[::-1]}


async def test_minutes_are_added_up(provider: Provider, metrics: PrometheusMetrics) -> None:
    provider.answer = by_metric(
        [minutes("/buy", "100", "300", "19"), minutes("/list", "0", "60", "NaN")],
        [minutes("/buy", "1", "30", "19")],
    )

    found = await metrics.read_control(query(provider), T0)

    assert isinstance(found, Control)
    assert found.seconds == 120  # the first of them may have had one second
    assert found.busiest_minute == 6.0
    buy = found.routes["/buy"]
    assert (buy.requests, buy.errors) == (419.0, 50.0)
    assert buy.worst_minute == 0.1  # the minute with 19 requests is too thin to count
    assert buy.worst_earlier == 0.1
    assert found.routes["/list"].errors == 0
    assert (found.pooled.requests, found.pooled.errors) == (479.0, 50.0)
    assert found.pooled.worst_minute == 30 / 360


async def test_probes_are_no_part_of_a_control(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric(
        [minutes("/buy", "100", "300"), minutes("/health", "900", "900")],
        [minutes("/buy", "1", "30"), minutes("/health", "0", "0")],
    )

    found = await metrics.read_control(
        query(provider, left_out=frozenset({"/health", "/metrics"})), T0
    )

    assert isinstance(found, Control)
    assert set(found.routes) == {"/buy"}
    assert (found.pooled.requests, found.pooled.errors) == (400.0, 31.0)
    assert found.busiest_minute == 5.0


async def test_the_control_is_the_hour_up_to_the_release(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric([])

    found = await metrics.read_control(query(provider), T0)

    asked = provider.parameters[0]
    assert float(asked["end"]) == T0
    assert float(asked["start"]) == T0 - 3540
    assert asked["step"] == "60"
    assert isinstance(found, Control)
    assert not found.is_sufficient


async def test_a_control_that_cannot_be_read_is_named(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = always(answer_of([{"metric": {}}]))
    assert reason(await metrics.read_control(query(provider), T0)) == Reason.ANSWER_MALFORMED
    provider.answer = always(Answer(b"", 503))
    assert reason(await metrics.read_control(query(provider), T0)) == Reason.PROVIDER_ERROR


# -- credentials -----------------------------------------------------------------------------------


async def test_a_token_is_read_anew_for_each_query(provider: Provider, tmp_path: Path) -> None:
    provider.answer = always(answer_of([T0, str(T0)]))
    file = tmp_path / "token"
    metrics = PrometheusMetrics(Access(file, url=provider.url))
    for token in ("first\n", "second"):
        file.write_text(token)
        await metrics.read_clock(Prometheus(f"{provider.url}/"))
    metrics.close()

    assert provider.tokens == ["Bearer first", "Bearer second"]


async def test_a_policy_s_own_address_is_not_told_the_token(
    provider: Provider, tmp_path: Path
) -> None:
    provider.answer = always(answer_of([T0, str(T0)]))
    file = tmp_path / "token"
    file.write_text("secret")
    port = urlsplit(provider.url).port
    for own in ("http://prometheus.monitoring", f"https://127.0.0.1:{port}", "http://127.0.0.1"):
        metrics = PrometheusMetrics(Access(file, url=own, may_call=ANYWHERE.may_call))
        await metrics.read_clock(provider.prometheus)
        metrics.close()

    assert provider.tokens == [None] * 3


async def test_a_policy_s_own_address_leads_not_to_the_operator_s_machine(
    provider: Provider,
) -> None:
    provider.answer = always(answer_of([T0, str(T0)]))
    metrics = PrometheusMetrics(Access(url="http://prometheus.monitoring"))

    found = await metrics.read_clock(provider.prometheus)
    metrics.close()

    assert reason(found) == Reason.ADDRESS_NOT_ALLOWED
    assert provider.queries == []


async def test_it_is_looked_at_what_an_address_leads_to(provider: Provider) -> None:
    provider.answer = always(answer_of([T0, str(T0)]))
    asked: list[str] = []
    metrics = PrometheusMetrics(Access(may_call=lambda ip: bool(asked.append(ip))))

    found = await metrics.read_clock(Prometheus(provider.url.replace("127.0.0.1", "localhost")))
    metrics.close()

    assert reason(found) == Reason.ADDRESS_NOT_ALLOWED
    assert asked == ["127.0.0.1"]
    assert provider.queries == []


async def test_the_operator_s_own_address_may_be_its_machine(provider: Provider) -> None:
    provider.answer = always(answer_of([T0, str(T0)]))
    metrics = PrometheusMetrics(Access(url=provider.url))

    assert await metrics.read_clock(Prometheus(f"{provider.url}/base")) == T0
    metrics.close()


@pytest.mark.parametrize(
    "text",
    [b"top\nsecret", b"top-secret \xe2\x98\x83", b"top-secret \xff", b"top secret", b"", None],
)
async def test_a_token_that_is_none_is_told_without_its_text(
    provider: Provider, tmp_path: Path, text: bytes | None
) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_bytes(text)
    metrics = PrometheusMetrics(Access(file, url=provider.url))

    found = await metrics.read_clock(provider.prometheus)
    metrics.close()

    assert reason(found) == Reason.PROVIDER_UNREACHABLE
    assert isinstance(found, Missing)
    assert str(file) in found.message
    assert "secret" not in found.message
    assert provider.queries == []


async def test_a_token_is_in_no_message(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("top-secret")
    metrics = PrometheusMetrics(Access(file, url=provider.url), SHORT)
    said = []
    for answer in (Answer(b"", 401), Answer(b"", 503), Answer(b"x"), Answer(b"", 400)):
        provider.answer = always(answer)
        said.append(await metrics.read_clock(provider.prometheus))
    provider.hangs = True
    said.append(await metrics.read_clock(provider.prometheus))
    metrics.close()

    assert provider.tokens[0] == "Bearer top-secret"
    assert all(isinstance(one, Missing) and "secret" not in one.message for one in said)


# -- a past, for a replay --------------------------------------------------------------------------


async def test_a_past_is_read_hour_by_hour_and_put_together(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric([series((T0 + 3600, "1"), (T0 + 3605, "NaN"))], [])

    found = await metrics.read_past(query(provider), T0, T0 + 5400)

    asked = [one for one in provider.parameters if one["query"].startswith("requests")]
    assert [(one["query"][-7:], float(one["time"]) - T0) for one in asked] == [
        ("[3600s]", 3600),
        ("[1800s]", 5400),
    ]
    assert isinstance(found, Counters)
    # A sample of both hours counts once; a value that is not a number stays in.
    assert [time - T0 for time, _ in found.requests[0].samples] == [3600, 3605]


async def test_a_past_that_is_too_much_for_one_answer_is_read_in_smaller_parts(
    provider: Provider,
) -> None:
    metrics = PrometheusMetrics(ANYWHERE, Limits(most_bytes=2000))

    def answer(text: str) -> Answer:
        return Answer(b"x" * 5000) if "[3600s]" in text else by_metric([], [])(text)

    provider.answer = answer
    try:
        found = await metrics.read_past(query(provider), T0, T0 + 3600)
    finally:
        metrics.close()

    assert found == Counters((), ())
    spans = {one["query"].partition("[")[2] for one in provider.parameters}
    assert spans == {"3600s]", "1800s]"}


async def test_a_past_that_cannot_be_read_is_named(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = always(Answer(b"", 503))
    found = await metrics.read_past(query(provider), T0, T0 + 60)
    assert isinstance(found, Missing)
    assert found.reason == Reason.PROVIDER_ERROR


async def test_the_minutes_with_an_error_counter_are_found(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = always(answer_of([{"metric": {}, "values": [[T0, "3"], [T0 + 60, "2"]]}]))
    found = await metrics.read_errors_known(query(provider), T0, T0 + 60)
    assert found == (T0, T0 + 60)
    assert provider.queries == ['count(errors_total{namespace="production"})']


# -- declared, and nothing counted yet -------------------------------------------------------------


async def test_a_pod_that_declares_its_histogram_and_has_no_sample_has_had_no_request(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    silent = series((T0, "0"), (T0 + 5, "0"), pod="silent-1")
    provider.answer = by_metric([series((T0, "7"))], [silent, series((T0, "0"))])
    provider.declared = {"silent-1": ("requests",)}
    signal = CounterSignal(metric="requests_total")

    for _ in range(2):
        found = await metrics.read(query(provider, requests=signal), 60)
        assert isinstance(found, Counters)
        assert [(one.pod, one.samples) for one in found.requests] == [
            (POD, ((T0, 7.0),)),
            ("silent-1", ((T0, 0.0), (T0 + 5, 0.0))),
        ]

    assert len(provider.asked_targets) == 2, "each pod is asked for once, by name and family"


async def test_a_pod_whose_metric_was_renamed_shows_no_requests(
    provider: Provider, metrics: PrometheusMetrics
) -> None:
    provider.answer = by_metric([], [series((T0, "0"), pod="renamed-1")])
    provider.declared = {"renamed-1": ("requests_served",)}

    found = await metrics.read(query(provider), 60)

    assert reason(found) == Reason.NO_SERIES
