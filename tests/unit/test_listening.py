"""The operator's own port: connections in each state of the parser, and who else is served."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

import rollback_operator
from rollback_operator.runtime import listening
from rollback_operator.runtime.telemetry import ProcessHealth, Telemetry, serve

MANY = 200
FULL = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
STATES = {
    "nothing": b"",
    "method": b"G",
    "path": b"GET /" + b"x" * 8000,
    "header": FULL + b"A: " + b"y" * 8000,
    "headers": FULL + b"".join(b"A%d: %s\r\n" % (n, b"y" * 8000) for n in range(120)),
    "small headers": FULL + b"".join(b"A%d:\r\n" % n for n in range(120)),
    "body": FULL + b"Content-Length: 100000000\r\n\r\n" + b"x" * 400_000,
    "chunks": FULL + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 60_000,
    "pipeline": (FULL + b"\r\n") * 3000,
    "upgrade": FULL + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + b"x" * 400_000,
    "done": FULL + b"\r\n",
}


@asynccontextmanager
async def port() -> AsyncIterator[int]:
    health = ProcessHealth(lambda: True, lambda: True, lambda: True, lambda: 0)
    runner = await serve(Telemetry(), health, "127.0.0.1", 0)
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(port: int, path: str, **options: object) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)  # type: ignore[arg-type]
    writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    answer = await reader.read()
    writer.close()
    return answer


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def hold(stack: AsyncExitStack, port: int, sent: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.transport.abort)
    try:
        writer.write(sent)
        await writer.drain()
    except ConnectionError:
        return


@pytest.mark.parametrize("state", STATES)
async def test_connections_that_are_held_open_stop_nobody(state: str) -> None:
    """450 requests that had not ended took 738 MiB."""
    async with port() as at, AsyncExitStack() as stack, asyncio.timeout(60):
        before = resident()
        for _ in range(0, MANY, 50):
            await asyncio.gather(*(hold(stack, at, STATES[state]) for _ in range(50)))
        assert (await ask(at, "/healthz", local_addr=("127.0.0.2", 0))).startswith(b"HTTP/1.1 200")
        answer = await ask(at, "/metrics", local_addr=("127.0.0.3", 0))
        assert b"rollback_operator_leader 1.0" in answer
        own = listening.MOST_CONNECTIONS * listening.MOST_CONNECTION_MEMORY
        # The clients are in this process too, with what the kernel has not yet taken.
        clients = MANY * len(STATES[state]) if len(STATES[state]) > 100_000 else 8 << 20
        assert resident() - before < own + clients + (16 << 20)


async def test_the_newest_of_many_is_served_and_others_keep_their_connection() -> None:
    async with port() as at, AsyncExitStack() as stack, asyncio.timeout(60):
        first = await asyncio.open_connection("127.0.0.1", at, local_addr=("127.0.0.2", 0))
        stack.callback(first[1].transport.abort)
        first[1].write(FULL)
        await asyncio.gather(*(hold(stack, at, FULL) for _ in range(MANY)))
        answer = await ask(at, "/readyz", local_addr=("127.0.0.3", 0))
        assert answer.startswith(b"HTTP/1.1 200")
        first[1].write(b"\r\n")
        assert (await first[0].read()).startswith(b"HTTP/1.1 200")


async def test_an_address_that_connects_too_often_is_refused_and_others_are_served() -> None:
    async with port() as at, asyncio.timeout(60):
        refused = 0
        for _ in range(0, 10 * listening.MOST_ARRIVALS, 50):
            answers = await asyncio.gather(
                *(ask(at, "/healthz") for _ in range(50)), return_exceptions=True
            )
            refused += sum(isinstance(answer, OSError) or not answer for answer in answers)
            answer = await ask(at, "/metrics", local_addr=("127.0.0.2", 0))
            assert answer.startswith(b"HTTP/1.1 200")
        assert refused > listening.MOST_ARRIVALS
        await asyncio.sleep(1)
        assert (await ask(at, "/healthz")).startswith(b"HTTP/1.1 200")


async def test_an_unfinished_request_ends() -> None:
    async with port() as at, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", at)
        writer.write(FULL)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404)]
)
async def test_a_connection_has_one_request(path: str, status: int) -> None:
    async with port() as at, asyncio.timeout(60):
        assert (await ask(at, path)).startswith(b"HTTP/1.1 %d " % status)


def test_nothing_else_listens() -> None:
    folder = Path(rollback_operator.__file__).parent
    listens = re.compile(r"start_server\(|create_server\(|\w+Site\(|\.listen\(")
    known = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if listens.search(path.read_text())
    }
    # The relay's ports are on loopback, for the duration of a read.
    assert known == {"runtime/telemetry.py", "adapters/postgres/relay.py"}
