"""The pods' own pages over real HTTP on loopback: each answer, and each kind of nothing."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from rollback_operator.adapters.fairness.holdings import Holdings
from rollback_operator.adapters.http.pod_pages import DEFAULT_PAGE_LIMITS, PageLimits, PodPages
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels
from rollback_operator.model.pod import MetricsPage
from rollback_operator.model.samples import Counters, Missing, Reading
from rollback_operator.ports.metrics import PageQuery, PodPage
from tests.builders import LIST, PURCHASE, T0
from tests.loop_time import watched

REQUESTS, ERRORS = "http_request_duration_seconds_count", "http_request_errors_total"
CLASSIC = f"""\
# HELP http_request_duration_seconds Time to answer.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{{route="{PURCHASE}",method="POST",le="0.1"}} 40
http_request_duration_seconds_sum{{route="{PURCHASE}",method="POST"}} 7.5
{REQUESTS}{{route="{PURCHASE}",method="POST",status="200"}} 40
{REQUESTS}{{route="{PURCHASE}",method="POST",status="500"}} 2
{REQUESTS}{{route="{LIST}",method="GET",status="200"}} 7e+01
# TYPE {ERRORS} counter
{ERRORS}{{route="{PURCHASE}",method="POST"}} 2 1800000000000
"""
OPEN_METRICS = f"""\
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{{route="{PURCHASE}",le="+Inf"}} 42 # {{trace_id="a}} 1"}} 0.7
{REQUESTS}{{route="{PURCHASE}"}} 42.0 # {{trace_id="KOO5S4vxi0o"}} 0.67 1800000000.5
http_request_duration_seconds_created{{route="{PURCHASE}"}} 1.8e9
# TYPE http_request_errors counter
{ERRORS}{{route="{PURCHASE}",what="a # {{b}} \\" # {{c"}} 2.0 # {{trace_id="x"}} 1.0
http_request_errors_created{{route="{PURCHASE}"}} 1.8e9
# EOF
"""
PATIENT = PageLimits(answer_seconds=30, read_seconds=30)
Serve = Callable[[web.Request], "web.StreamResponse | asyncio.Future[web.StreamResponse]"]


@asynccontextmanager
async def page(serve: str | Callable[..., object]) -> AsyncIterator[PodPage]:
    """A pod's page: a text, or what a handler makes of the request."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if isinstance(serve, str):
            return web.Response(text=serve)
        found: web.StreamResponse = await serve(request)  # type: ignore[misc, operator] # a handler
        return found

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield PodPage("pod-0", "127.0.0.1", MetricsPage(port=runner.addresses[0][1]))
    finally:
        await runner.cleanup()


async def read(
    *pages: PodPage, limits: PageLimits = DEFAULT_PAGE_LIMITS, **changes: object
) -> Reading:
    query = PageQuery(
        pages, CounterSignal(metric=REQUESTS), CounterSignal(metric=ERRORS), SignalLabels()
    )
    pods = PodPages(lambda: T0, lambda address: address == "127.0.0.1", limits)
    try:
        return await pods.read(replace(query, **changes))  # type: ignore[arg-type] # by name
    finally:
        await pods.close()


def values(all_: object) -> dict[tuple[str, ...], float]:
    return {
        (one.route, *(f"{k}={v}" for k, v in one.identity)): one.samples[0][1]
        for one in all_  # type: ignore[attr-defined] # series
    }


async def test_a_page_gives_one_sample_of_each_series() -> None:
    async with page(CLASSIC) as pod:
        found = await read(pod)

    assert isinstance(found, Counters)
    assert values(found.requests) == {
        (PURCHASE, "method=POST", "status=200"): 40,
        (PURCHASE, "method=POST", "status=500"): 2,
        (LIST, "method=GET", "status=200"): 70,
    }
    assert values(found.errors) == {(PURCHASE, "method=POST"): 2}
    (errors,) = found.errors
    assert (errors.pod, errors.instance) == ("pod-0", f"127.0.0.1:{pod.page.port}")
    assert [at for at, _ in errors.samples] == [T0]


async def test_open_metrics_with_exemplars_and_times_of_creation() -> None:
    async with page(OPEN_METRICS) as pod:
        found = await read(pod)

    assert isinstance(found, Counters)
    assert values(found.requests) == {(PURCHASE,): 42}
    assert values(found.errors) == {(PURCHASE, 'what=a # {b} " # {c'): 2}


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        ({"status": "500"}, {2}),
        ({"status": "=~5.."}, {2}),
        ({"status": "!~5..", "method": "POST"}, {40}),
        ({"method": "!=POST"}, {70}),
        ({"service": "tickets", "status": "500"}, {2}),
        ({"service": "!=tickets", "status": "500"}, {2}),
        ({"exported_status": "500"}, {2}),
    ],
    ids=[
        "exact",
        "an expression",
        "none of an expression",
        "not",
        "on a label that only the target has",
        "... whatever its operator",
        "on a label that Prometheus has renamed",
    ],
)
async def test_matchers(matchers: dict[str, str], expected: set[float]) -> None:
    async with page(CLASSIC) as pod:
        found = await read(pod, requests=CounterSignal(metric=REQUESTS, matchers=matchers))

    assert isinstance(found, Counters)
    assert set(values(found.requests).values()) == expected


async def test_errors_told_by_a_label_of_the_requests_need_no_metric_of_their_own() -> None:
    text = f'{REQUESTS}{{route="/",status="200"}} 40\n'
    async with page(text) as pod:
        found = await read(pod, errors=CounterSignal(metric=REQUESTS, matchers={"status": "=~5.."}))
    assert isinstance(found, Counters)
    assert found.errors == ()


async def test_another_name_of_the_route() -> None:
    text = CLASSIC.replace("route=", "handler=")
    async with page(text) as pod:
        found = await read(pod, labels=SignalLabels(route="exported_handler"))
    assert isinstance(found, Counters)
    assert {one.route for one in found.requests} == {PURCHASE, LIST}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.NO_COUNTERS_EXPOSED),
        ("<html>hello</html>", Reason.NO_COUNTERS_EXPOSED),
        (f"{REQUESTS} many\n", Reason.NO_COUNTERS_EXPOSED),
        (f"{REQUESTS} NaN\n{ERRORS} 1\n", Reason.NO_COUNTERS_EXPOSED),
        (f"{REQUESTS}_x 5\n", Reason.NO_COUNTERS_EXPOSED),
        (f"{REQUESTS} 5\n", Reason.ERROR_SERIES_MISSING),
    ],
    ids=["empty", "no metrics", "no number", "not a count", "a longer name", "no errors"],
)
async def test_pages_without_counters(text: str, reason: Reason) -> None:
    async with page(text) as pod:
        found = await read(pod)
    assert isinstance(found, Missing)
    assert found.reason is reason
    assert found.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (302, Reason.NO_COUNTERS_EXPOSED),
        (401, Reason.PODS_UNAUTHORIZED),
        (403, Reason.PODS_UNAUTHORIZED),
        (404, Reason.NO_COUNTERS_EXPOSED),
        (503, Reason.PODS_UNREACHABLE),
    ],
)
async def test_refusals(status: int, reason: Reason) -> None:
    asked = []

    async def serve(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, text=CLASSIC, headers={"Location": "/elsewhere"})

    async with page(serve) as pod:
        found = await read(pod)
    assert isinstance(found, Missing)
    assert found.reason is reason
    assert str(status) in found.message
    assert asked == ["/metrics"]


async def test_a_large_page_is_read_piece_by_piece() -> None:
    async with page("# x\n" * 100_000 + CLASSIC.rstrip()) as pod:
        found = await read(pod)
    assert isinstance(found, Counters)
    assert values(found.errors) == {(PURCHASE, "method=POST"): 2}


@pytest.mark.parametrize(
    ("limit", "more"),
    [
        ({"most_bytes": 100_000}, "x 1\n" * 50_000),
        ({"most_kept_bytes": 100_000}, "x" * 200_000),
        ({"most_kept_bytes": 100_000}, f'{REQUESTS}{{route="/x"}} 1\n' * 5_000),
    ],
    ids=["as a whole", "in one line", "in counters"],
)
async def test_a_huge_page_is_not_read_to_its_end(limit: dict[str, int], more: str) -> None:
    limits = replace(DEFAULT_PAGE_LIMITS, **limit)  # type: ignore[arg-type] # by name
    async with page(CLASSIC + more) as pod:
        found = await read(pod, limits=limits)
    assert isinstance(found, Missing)
    assert found.reason is Reason.ANSWER_TOO_LARGE


async def test_a_page_that_never_ends_is_given_up() -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"# \n")
            await asyncio.sleep(0.01)
        return response

    async with page(serve) as pod:
        found = await read(pod, limits=PageLimits(read_seconds=0.2))
    assert isinstance(found, Missing)
    assert found.reason is Reason.PODS_SLOW


async def timed(*times: float, is_judged: bool = False) -> Reading:
    """Read a page: asked at the first, answered at the second of these times."""
    clock = iter(times)
    async with page(CLASSIC) as pod:
        pods = PodPages(lambda: T0 + next(clock), lambda address: True)
        query = PageQuery(
            (replace(pod, is_judged=is_judged),),
            CounterSignal(metric=REQUESTS),
            CounterSignal(metric=ERRORS),
            SignalLabels(),
        )
        found = await pods.read(query)
        await pods.close()
    return found


async def test_an_answer_that_takes_long_is_of_no_use() -> None:
    async def serve(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response(text=CLASSIC)

    async with page(serve) as pod:
        found = await read(pod, limits=PageLimits(answer_seconds=0.05))
    assert isinstance(found, Missing)
    assert found.reason is Reason.PODS_SLOW


async def test_an_address_that_nobody_has_is_given_up_soon() -> None:
    pods = PodPages(lambda: T0, lambda address: True, PageLimits(connect_seconds=0.05))
    query = PageQuery(
        (PodPage("pod-0", "192.0.2.1", MetricsPage(port=9)),),  # a network for documents only
        CounterSignal(metric=REQUESTS),
        CounterSignal(metric=ERRORS),
        SignalLabels(),
    )
    found = await pods.read(query)
    await pods.close()
    assert isinstance(found, Missing)
    assert found.reason is Reason.PODS_UNREACHABLE


@pytest.mark.parametrize(("is_judged", "expected"), [(False, 0.1), (True, 0.3)])
async def test_doubts_of_time_are_decided_against_suspicion(
    is_judged: bool, expected: float
) -> None:
    found = await timed(0.1, 0.3, is_judged=is_judged)
    assert isinstance(found, Counters)
    assert found.errors[0].samples[0][0] - T0 == pytest.approx(expected)


async def test_pods_that_do_not_answer_are_left_out() -> None:
    async with page(CLASSIC) as pod, page("") as gone:
        pass
    async with page(CLASSIC) as pod:
        found = await read(pod, replace(gone, pod="pod-1"))
        nothing = await read(replace(gone, pod="pod-1"))
    assert isinstance(found, Counters)
    assert {one.pod for one in found.requests} == {"pod-0"}
    assert isinstance(nothing, Missing)
    assert nothing.reason is Reason.PODS_UNREACHABLE


async def test_a_pod_that_goes_is_not_waited_for() -> None:
    never = asyncio.Event()

    async def serve(request: web.Request) -> web.Response:
        await never.wait()
        return web.Response(text=CLASSIC)

    async with page(CLASSIC) as pod, page(serve) as silent:
        going = replace(silent, pod="pod-1", is_leaving=True)
        try:
            async with asyncio.timeout(5):
                found = await read(going, pod, limits=PATIENT)
        finally:
            never.set()

    assert isinstance(found, Counters)
    assert {one.pod for one in found.requests} == {"pod-0"}


async def test_a_pod_that_goes_is_read_where_it_answers() -> None:
    async with page(CLASSIC) as pod:
        going = replace(pod, pod="pod-1", is_leaving=True)
        both, alone = await read(pod, going), await read(going)

    assert isinstance(both, Counters)
    assert {one.pod for one in both.requests} == {"pod-0", "pod-1"}
    assert isinstance(alone, Counters)


async def test_the_judged_pods_answer_before_the_others_are_asked() -> None:
    asked: list[str] = []

    def serve(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            asked.append(name)
            await asyncio.sleep(0)
            asked.append(name)
            return web.Response(text=CLASSIC)

        return answer

    async with page(serve("old")) as old, page(serve("new")) as new:
        await read(replace(old, pod="old"), replace(new, pod="new", is_judged=True))

    assert asked == ["new", "new", "old", "old"]


async def test_a_judged_pod_that_is_slow_does_not_keep_the_others_from_being_read() -> None:
    others = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await others.wait()
        return web.Response(text=CLASSIC)

    async def quick(request: web.Request) -> web.Response:
        others.set()
        return web.Response(text=CLASSIC)

    async with page(slow) as new, page(quick) as old:
        pages = replace(new, pod="new", is_judged=True), replace(old, pod="old")
        found = await read(*pages, limits=PATIENT)

    assert isinstance(found, Counters)
    assert {one.pod for one in found.requests} == {"new", "old"}


async def test_a_page_over_https_without_a_certificate_to_trust_is_unreachable() -> None:
    async with page(CLASSIC) as pod:
        found = await read(replace(pod, page=replace(pod.page, scheme="https")))
    assert isinstance(found, Missing)
    assert found.reason is Reason.PODS_UNREACHABLE


async def test_the_path_is_the_one_that_is_asked_for() -> None:
    async def serve(request: web.Request) -> web.Response:
        return web.Response(text=CLASSIC if request.path == "/stats/prometheus" else "")

    async with page(serve) as pod:
        assert isinstance(await read(pod), Missing)
        found = await read(replace(pod, page=replace(pod.page, path="/stats/prometheus")))
    assert isinstance(found, Counters)


async def test_an_address_that_is_no_pods_is_not_called() -> None:
    asked = []

    async def serve(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=CLASSIC)

    async with page(serve) as pod:
        pods = PodPages(lambda: T0)
        query = PageQuery(
            (pod,), CounterSignal(metric=REQUESTS), CounterSignal(metric=ERRORS), SignalLabels()
        )
        found = await pods.read(query)
        await pods.close()
    assert isinstance(found, Missing)
    assert asked == []


BACKTRACKING = "(a|aa)" * 25 + "b"
"""Python's own engine needs minutes to see that sixty times `a` is none."""


@pytest.mark.parametrize(
    "matcher", [f"=~{BACKTRACKING}", "=~(a+)+b", "=~a*a*a*a*a*a*b", "=~(a*)*b"]
)
async def test_an_expression_that_backtracks_costs_no_more_than_another(matcher: str) -> None:
    wanted = "".join(f'{REQUESTS}{{route="{"a" * 60}{"b" * (n == 7)}"}} {n}\n' for n in range(20))
    matchers = {"route": matcher}
    with watched() as found:
        async with page(wanted + f"{ERRORS} 0\n") as pod:
            signal = CounterSignal(metric=REQUESTS, matchers=matchers)
            answer = await read(pod, requests=signal, limits=PATIENT)
    assert isinstance(answer, Counters) or answer.reason is Reason.NO_COUNTERS_EXPOSED
    assert found.longest.seconds < found.allowed, found.slowest


@pytest.mark.parametrize("lines", [498, 2500], ids=["all that is read", "more than that"])
async def test_many_lines_hold_nobody_up(lines: int) -> None:
    """16 pods with 2,500 series each took the loop ten seconds."""
    asked = itertools.count()

    async def serve(request: web.Request) -> web.StreamResponse:
        pod = next(asked)
        text = "".join(f'{REQUESTS}{{route="/{pod}/{n}",code="200"}} {n}\n' for n in range(lines))
        return web.Response(text=text + f'{ERRORS}{{route="/1"}} 0\n')

    async with page(serve) as pod:
        pods = [replace(pod, pod=f"pod-{n}") for n in range(16)]
        with watched() as found:
            answer = await read(*pods, limits=PATIENT)
    if lines == 498:
        assert isinstance(answer, Counters)
        assert len(answer.requests) == 16 * lines
    else:
        assert isinstance(answer, Missing)
    assert found.longest.seconds < found.allowed, found.slowest


@pytest.mark.parametrize(("pods", "lines"), [(1, 2001), (5, 1700)], ids=["on one", "on all"])
async def test_too_many_series_are_not_read(pods: int, lines: int) -> None:
    text = "".join(f'{REQUESTS}{{route="/{n}"}} 1\n' for n in range(lines))
    async with page(text) as pod:
        answer = await read(*([pod] * pods), limits=PATIENT)
    assert isinstance(answer, Missing)
    assert answer.reason is Reason.ANSWER_TOO_LARGE
    assert "everyMilliseconds" in answer.message


async def test_pages_that_are_being_read_share_one_budget_by_namespace() -> None:
    """A hundred policies with pages of a megabyte each would fill the memory."""
    pods = PodPages(lambda: T0, lambda address: True, PATIENT)
    pods.holdings = Holdings(40_000, free=0)
    assert pods.holdings.hold(("shop", "another look"), 20_000)
    async with page(CLASSIC) as pod:
        asked = PageQuery(
            (pod,), CounterSignal(metric=REQUESTS), CounterSignal(metric=ERRORS), SignalLabels()
        )
        refused = await pods.read(replace(asked, namespace="shop"))
        others = await pods.read(replace(asked, namespace="bank"))
        pods.holdings.drop(("shop", "another look"))
        again = await pods.read(replace(asked, namespace="shop"))
    await pods.close()

    assert isinstance(refused, Missing)
    assert refused.reason is Reason.ANSWER_TOO_LARGE
    assert "memory budget" in refused.message
    assert isinstance(others, Counters)
    assert isinstance(again, Counters)
    assert pods.holdings.hold(("shop", "all of it"), 20_000), "nothing is held any more"


async def test_labels_on_which_the_matchers_would_take_long_are_not_matched() -> None:
    text = "".join(f'{REQUESTS}{{route="{"a" * 4000}{n}"}} 1\n' for n in range(50))
    async with page(text) as pod:
        signal = CounterSignal(metric=REQUESTS, matchers={"route": "!~(.|a){50}b"})
        answer = await read(pod, requests=signal, limits=PATIENT)
    assert isinstance(answer, Missing)
    assert answer.reason is Reason.ANSWER_TOO_LARGE


@pytest.mark.parametrize("labels", ['a="' + '\\"' * 60_000 + '"', "," * 100_000])
async def test_a_series_that_takes_the_parser_long_is_not_parsed(labels: str) -> None:
    """A page of a megabyte with a single series took the loop two minutes."""
    with watched() as found:
        async with page(f"{REQUESTS}{{{labels}}} 1\n") as pod:
            answer = await read(pod, limits=PATIENT)

    assert isinstance(answer, Missing)
    assert answer.reason is Reason.ANSWER_TOO_LARGE
    assert "4096 at most are read: shorten" in answer.message
    assert found.longest.seconds < found.allowed, found.slowest


async def test_a_page_that_is_packed_is_not_unpacked() -> None:
    """56 KiB of gzip become a gigabyte."""

    async def serve(request: web.Request) -> web.StreamResponse:
        packed = gzip.compress(CLASSIC.encode())
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with page(serve) as pod:
        answer = await read(pod)
    assert isinstance(answer, Missing)
    assert "compressed" in answer.message


HOSTILE = (
    f'{REQUESTS}{{route="/a"}} {"9" * 5000}\n',
    f'{REQUESTS}{{route="/a"}} NaN\n',
    f'{REQUESTS}{{route="/a"}} +Inf\n{REQUESTS}{{route="/b"}} -1\n',
    f'{REQUESTS}{{route="/a",route="/b"}} 1\n',
    f'{REQUESTS}{{route="/a" 1\n',
    f"{REQUESTS}{{\n",
    f"{REQUESTS}}}{{ 1\n",
    f'{REQUESTS}{{="x"}} 1\n',
    f'{REQUESTS}{{route="\\ud800"}} 1\n',
    f"{REQUESTS}\n",
    f"{REQUESTS} \n",
    f'{REQUESTS}{{route="/a"}} 1_000\n',
    f"{{{REQUESTS!r}}} 1\n",
    f"{REQUESTS}{{{','.join(f'l{n}=1' for n in range(2000))}}} 1\n",
    f"{REQUESTS} 1 # {{\n",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_whatever_a_page_says_nothing_is_raised(text: str) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        return web.Response(body=text.encode() + b"\xff\xfe\x00\n")

    async with page(serve) as pod:
        answer = await read(pod)
    assert isinstance(answer, Counters | Missing)
