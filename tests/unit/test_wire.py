"""Each element of HTTP's grammar, sent for ever, to each adapter that calls a tenant's server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Thread

import pytest

from rollback_operator.adapters.http.addresses import Pinned, PinnedUrl
from rollback_operator.adapters.http.outgoing import HttpResponse, Request, send
from rollback_operator.adapters.http.page_text import PageLimits
from rollback_operator.adapters.http.pod_pages import PodPages
from rollback_operator.adapters.http.tls import verified
from rollback_operator.adapters.http.wire import MOST_INTERIM_ANSWERS
from rollback_operator.adapters.prometheus.session import Session
from rollback_operator.adapters.prometheus.transport import Access, Limits
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels
from rollback_operator.model.pod import MetricsPage
from rollback_operator.model.samples import Missing
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import PageQuery, PodPage, Prometheus
from tests.loop_time import watched

SECONDS = 25.0
"""The deadline of each call: so late is only who goes on as long as the server does."""
CONNECTIONS = 4
MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
GRAMMAR = {
    "100": (b"", b"HTTP/1.1 100 C\r\n\r\n"),
    "102": (b"", b"HTTP/1.1 102 P\r\n\r\n"),
    "103": (b"", b"HTTP/1.1 103 E\r\n\r\n"),
    "103 with a header": (b"", b"HTTP/1.1 103 E\r\nA:\r\n\r\n"),
    "103 with headers": (b"", b"HTTP/1.1 103 E\r\n" + b"a:b\r\n" * 90 + b"\r\n"),
    "101": (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"x"),
    "empty lines": (b"", b"\r\n"),
    "reason": (b"HTTP/1.1 200 ", b"x"),
    "header lines": (OK, b"a:b\r\n"),
    "header name": (OK, b"a"),
    "header value": (OK + b"a:", b"a"),
    "folded header": (OK + b"a:b", b"\r\n b"),
    "chunks": (CHUNKED, b"1\r\na\r\n"),
    "chunks with extensions": (CHUNKED, b"1;" + b"x" * 40 + b"\r\na\r\n"),
    "chunk size": (CHUNKED, b"0"),
    "extension": (CHUNKED + b"1;", b"x"),
    "extensions": (CHUNKED + b"1", b";x"),
    "trailers": (CHUNKED + b"0\r\n", b"a:b\r\n"),
    "trailer": (CHUNKED + b"0\r\na:", b"b"),
    "body": (OK + b"\r\n", b"a"),
    "lines of a body": (OK + b"\r\n", b"\n"),
    "answers": (b"", EMPTY),
    "answers without a body": (b"", b"HTTP/1.1 204 N\r\n\r\n"),
    "answers with a body": (b"", OK + b"Content-Length: 1\r\n\r\na"),
    "lines behind the answer": (EMPTY, b"\r\n"),
    "answers behind a body": (CHUNKED + b"1\r\na\r\n0\r\n\r\n", EMPTY),
    "answers behind a page": (
        OK + b"Content-Length: 140000\r\n\r\n" + b"\n" * 140_000,
        b"HTTP/1.1 204 N\r\n\r\n",
    ),
}
BODIES = ("body", "lines of a body")
"""Bounded by bytes; until they are read, a busy machine may be late."""


@dataclass
class Flood:
    """A server that sends a beginning, and then the same for ever."""

    head: bytes
    unit: bytes
    listening: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def serve(self) -> None:
        with ExitStack() as stack:
            while True:
                try:
                    made = stack.enter_context(self.listening.accept()[0])
                except OSError:
                    return
                Thread(target=self._answer, args=(made,), daemon=True).start()

    def _answer(self, made: socket.socket) -> None:
        much = self.unit * (MIB // len(self.unit))
        try:
            made.recv(65536)
            made.sendall(self.head)
            while True:
                made.sendall(much)
        except OSError:
            return


@contextmanager
def flooding(element: str) -> Iterator[int]:
    flood = Flood(*GRAMMAR[element])
    thread = Thread(target=flood.serve, daemon=True)
    thread.start()
    try:
        yield flood.port
    finally:
        flood.listening.shutdown(socket.SHUT_RDWR)
        flood.listening.close()
        thread.join(5)


async def by_request(port: int) -> list[str]:
    """Probes, webhooks, Slack, PagerDuty and Alertmanager send so."""
    at = Pinned("127.0.0.1", port, ("127.0.0.1",))
    request = Request(PinnedUrl("http", at, "/"), seconds=SECONDS)
    answers = await asyncio.gather(*(send(request) for _ in range(CONNECTIONS)))
    for answer in answers:
        assert isinstance(answer, HttpResponse | Failure)
    return [x.message if isinstance(x, Failure) else f"status {x.status}" for x in answers]


async def by_page(port: int) -> list[str]:
    page = MetricsPage(port=port, path="/metrics", scheme="http", serving_port=0)
    pods = tuple(PodPage(f"p{n}", "127.0.0.1", page, True) for n in range(CONNECTIONS))
    signals = CounterSignal(metric="r"), CounterSignal(metric="e")
    limits = PageLimits(answer_seconds=SECONDS, read_seconds=SECONDS, connect_seconds=SECONDS)
    pages = PodPages(lambda: 0.0, lambda _: True, limits)
    try:
        found = await pages.read(PageQuery(pods, *signals, SignalLabels(), "shop"))
    finally:
        await pages.close()
    assert isinstance(found, Missing)
    return [found.message]


async def by_query(port: int) -> list[str]:
    access, server = Access(may_call=lambda _: True), Prometheus(f"http://127.0.0.1:{port}", "shop")
    session = Session(access, Limits(connect_seconds=SECONDS, read_seconds=SECONDS))
    asked = (session.query(server, "time()", None, lambda x: x) for _ in range(CONNECTIONS))
    try:
        found = await asyncio.gather(*asked)
    finally:
        session.close()
    assert all(isinstance(answer, Missing) for answer in found)
    return [answer.message for answer in found]


ADAPTERS: list[Callable[[int], Awaitable[list[str]]]] = [by_request, by_page, by_query]


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


async def most_resident(ended: asyncio.Event) -> int:
    most = resident()
    while not ended.is_set():
        most = max(most, resident())
        await asyncio.sleep(0.02)
    return most


@pytest.mark.parametrize("element", GRAMMAR)
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_nothing_that_a_server_sends_for_ever_occupies_the_operator(
    adapter: Callable[[int], Awaitable[list[str]]], element: str
) -> None:
    verified()  # loads the system's authorities, once
    ended, before = asyncio.Event(), resident()
    growing = asyncio.create_task(most_resident(ended))
    with flooding(element) as port, watched() as seen:
        async with asyncio.timeout(4 * SECONDS):
            texts = await adapter(port)
        ended.set()
        most = await growing
    assert all(texts)
    late = [text for text in texts if "in time" in text or "did not answer within" in text]
    assert element in BODIES or not late
    assert seen.longest.seconds < seen.allowed, seen.slowest[:3]
    assert most - before < 96 * MIB


async def test_an_ordinary_server_may_send_some_interim_answers() -> None:
    head = b"HTTP/1.1 103 E\r\nLink: </a.css>\r\n\r\n" * MOST_INTERIM_ANSWERS

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + OK + b"Content-Length: 40000\r\n\r\n" + b"x" * 40_000)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        at = Pinned("127.0.0.1", server.sockets[0].getsockname()[1], ("127.0.0.1",))
        found = await send(Request(PinnedUrl("http", at, "/"), seconds=SECONDS))
    assert isinstance(found, HttpResponse)
    assert (found.status, found.body) == (200, b"x" * 40_000)
