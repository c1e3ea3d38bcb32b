"""Threads and connections to Prometheus servers: whose hang holds up whom, and what is left."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from rollback_operator.adapters.prometheus import Access, Limits, PrometheusMetrics
from rollback_operator.adapters.prometheus import session as session_module
from rollback_operator.adapters.prometheus.known import MOST_ADDRESSES
from rollback_operator.adapters.prometheus.session import OTHER_THREADS
from rollback_operator.adapters.prometheus.threads import (
    PER_ADDRESS,
    PER_NAMESPACE,
    CallLane,
    NoTurnError,
    Threads,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import Prometheus
from tests.builders import T0
from tests.provider import ANYWHERE, Provider, answer_of, running

GENEROUS = 30.0


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as found:
        found.answer = lambda query: answer_of([T0, str(T0)])
        yield found


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(GENEROUS):
        while not holds():  # noqa: ASYNC110 (other threads set no event)
            await asyncio.sleep(0.01)


class Blocked:
    """Calls that end when they are stopped, or let go."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.ended = threading.Event()

    def call(self, name: str) -> Callable[[], None]:
        def block() -> None:
            self.running.append(name)
            self.ended.wait(GENEROUS)

        return block


async def occupy(threads: Threads, lane: CallLane, blocked: Blocked) -> None:
    async with threads.turn(lane, GENEROUS) as turn:
        await turn.run(blocked.call(lane.namespace), lambda: None, GENEROUS)


async def test_whoever_hangs_takes_threads_of_its_own_address_and_namespace_only() -> None:
    threads, blocked = Threads(64), Blocked()
    lanes = [CallLane("hostile", f"http://server-{number % 40}") for number in range(400)]
    waiting = [asyncio.create_task(occupy(threads, lane, blocked)) for lane in lanes]
    await eventually(lambda: len(blocked.running) == PER_NAMESPACE)

    async with threads.turn(CallLane("shop", "http://prometheus"), GENEROUS) as turn:
        assert await turn.run(lambda: "answered", lambda: None, GENEROUS) == "answered"
    assert blocked.running == ["hostile"] * PER_NAMESPACE

    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    blocked.ended.set()
    await eventually(lambda: threads.is_idle)
    threads.close()


async def test_an_address_that_hangs_leaves_its_namespace_s_others_threads() -> None:
    threads, blocked = Threads(64), Blocked()
    waiting = [
        asyncio.create_task(occupy(threads, CallLane("shop", "http://hangs"), blocked))
        for _ in range(40)
    ]
    await eventually(lambda: len(blocked.running) == PER_ADDRESS)

    async with threads.turn(CallLane("shop", "http://prometheus"), GENEROUS) as turn:
        assert await turn.run(lambda: "answered", lambda: None, GENEROUS) == "answered"

    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    blocked.ended.set()
    await eventually(lambda: threads.is_idle)
    threads.close()


async def test_a_call_counts_until_its_thread_has_ended() -> None:
    threads, blocked, lane = Threads(64), Blocked(), CallLane("shop", "http://hangs")
    for _ in range(PER_ADDRESS):
        async with threads.turn(lane, GENEROUS) as turn:
            with pytest.raises(TimeoutError):
                await turn.run(blocked.call("x"), lambda: None, 0.01)

    with pytest.raises(NoTurnError):
        async with threads.turn(lane, 0.01):
            raise AssertionError

    blocked.ended.set()
    await eventually(lambda: threads.is_idle)
    threads.close()


@contextmanager
def dripping() -> Iterator[str]:
    """A server whose headers never end, each byte in time."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b"X: y\r\n" if ended.is_set() else b"x")
            except OSError:
                return

    def serve(server: socket.socket) -> None:
        with ThreadPoolExecutor(64) as pool:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                pool.submit(drip, connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        ended.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(GENEROUS)


async def test_a_thread_ends_with_the_wait_for_it_however_long_a_server_drips() -> None:
    metrics = PrometheusMetrics(ANYWHERE, Limits(connect_seconds=0.5, read_seconds=0.5))
    threads = metrics._session._other_threads
    with dripping() as url:
        found = await metrics.read_clock(Prometheus(url))

        assert isinstance(found, Missing)
        assert found.reason is Reason.PROVIDER_UNREACHABLE
        await eventually(lambda: threads.is_idle)
    metrics.close()


async def test_hanging_servers_of_one_namespace_hold_up_no_other_s(provider: Provider) -> None:
    metrics = PrometheusMetrics(ANYWHERE, Limits(read_seconds=GENEROUS))
    with ExitStack() as servers:
        waiting = []
        for _ in range(OTHER_THREADS):
            hanging = servers.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
            waiting += [
                asyncio.create_task(metrics.read_clock(Prometheus(url, "hostile")))
                for _ in range(PER_ADDRESS)
            ]
        await asyncio.sleep(0)

        assert await metrics.read_clock(Prometheus(provider.url, "shop")) == T0
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    metrics.close()


async def test_no_address_takes_the_threads_of_the_operator_s_own(provider: Provider) -> None:
    access = Access(url=provider.url, may_call=lambda ip: True)
    metrics = PrometheusMetrics(access, Limits(read_seconds=GENEROUS))
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        waiting = [
            asyncio.create_task(metrics.read_clock(Prometheus(url, f"tenant-{number}")))
            for number in range(OTHER_THREADS * 2)
        ]
        await asyncio.sleep(0)

        assert await metrics.read_clock(Prometheus(provider.url, "shop")) == T0
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    metrics.close()


@pytest.mark.extended
async def test_a_thousand_addresses_leave_nothing_behind(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "IDLE_SERVER_SECONDS", 0.2)
    metrics = PrometheusMetrics(ANYWHERE, Limits(connect_seconds=GENEROUS, read_seconds=GENEROUS))
    before, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))

    async def asked(number: int) -> None:
        address = Prometheus(f"{provider.url}/{number}", f"tenant-{number % 50}")
        assert await metrics.read_clock(address) == T0

    for first in range(0, 1000, 10):
        await asyncio.gather(*(asked(number) for number in range(first, first + 10)))
        assert len(metrics._session._known) <= MOST_ADDRESSES

    await eventually(lambda: len(metrics._session._known) == 0)
    assert metrics._session._other_threads.is_idle
    # The server of this test has a thread and a descriptor for each connection, too.
    await eventually(lambda: threading.active_count() <= before + OTHER_THREADS)
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + 5)
    metrics.close()
