"""Names are resolved in threads that no namespace takes from another."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

import rollback_operator
from rollback_operator.adapters.http.addresses import Addresses, Pinned, Rules
from rollback_operator.adapters.http.lookups import (
    ANSWER_KEPT_SECONDS,
    EACH_NAMESPACE,
    Answer,
    Lookups,
    LookupsBusyError,
)
from rollback_operator.adapters.http.probes import HttpProbes
from rollback_operator.api.verification import HttpProbe
from rollback_operator.ports.failure import Failure, FailureKind
from tests.unit.test_http_probes import Secrets

GENEROUS = 30.0
SOURCES = Path(rollback_operator.__file__).parent
DEFAULT_THREADS = re.compile(r"to_thread\(|run_in_executor\(None|loop\(?\)?\.getaddrinfo\(")
RESOLVES = re.compile(r"\.(getaddrinfo|gethostby\w+|getfqdn|getnameinfo)\(")


class Resolver:
    """The system's resolver: names that hang occupy their thread until the end."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.ended = threading.Event()

    def __call__(self, host: str, port: int) -> Answer:
        self.queries.append(host)
        if host.startswith("hangs"):
            self.ended.wait(GENEROUS)
        return ["192.0.2.1"]

    @property
    def hanging(self) -> int:
        return sum(host.startswith("hangs") for host in self.queries)


@contextmanager
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    try:
        yield made
    finally:
        made.ended.set()


@asynccontextmanager
async def waiting(*calls: asyncio.Task[object]) -> AsyncIterator[None]:
    yield
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(GENEROUS):
        while not holds():  # noqa: ASYNC110 (other threads set no event)
            await asyncio.sleep(0.01)


def begun(lookups: Lookups, namespace: str, count: int) -> list[asyncio.Task[object]]:
    return [
        asyncio.create_task(lookups.resolve(f"hangs-{number}", 80, namespace))
        for number in range(count)
    ]


async def test_names_that_hang_take_threads_of_their_own_namespace_only() -> None:
    with resolver() as system:
        lookups = Lookups(system, seconds=GENEROUS)
        tenant = begun(lookups, "tenant", 200)
        await eventually(lambda: system.hanging == EACH_NAMESPACE)

        async with waiting(*tenant):
            assert await lookups.resolve("answers", 80, "shop") == ["192.0.2.1"]
            assert await asyncio.to_thread(lambda: "free") == "free"
            assert system.hanging == EACH_NAMESPACE
            assert not any(call.done() for call in tenant)


async def test_a_name_occupies_one_thread_whoever_asks_for_it() -> None:
    with resolver() as system:
        lookups = Lookups(system, seconds=GENEROUS)
        callers = [
            asyncio.create_task(lookups.resolve("hangs", 80, f"tenant-{number}"))
            for number in range(200)
        ]
        async with waiting(*callers):
            await eventually(lambda: system.hanging == 1)
            assert await lookups.resolve("answers", 80, "tenant-0") == ["192.0.2.1"]
            assert system.hanging == 1
            system.ended.set()
            assert await asyncio.gather(*callers) == [["192.0.2.1"]] * 200
    await eventually(lambda: lookups.is_idle)


async def test_a_lookup_counts_until_its_thread_has_ended() -> None:
    with resolver() as system:
        lookups = Lookups(system, seconds=0.01)
        for call in begun(lookups, "tenant", EACH_NAMESPACE):
            with pytest.raises(TimeoutError):
                await call

        with pytest.raises(LookupsBusyError):
            await lookups.resolve("answers", 80, "tenant")
        assert system.hanging == EACH_NAMESPACE

        system.ended.set()
        await eventually(lambda: lookups.is_idle)
    lookups._seconds = GENEROUS
    assert await lookups.resolve("answers", 80, "tenant") == ["192.0.2.1"]


async def test_an_answer_is_kept_for_a_while_and_a_failure_is_not() -> None:
    now, answers = [0.0], [OSError(-2, "unknown"), ["192.0.2.1"], ["192.0.2.2"]]

    def query(host: str, port: int) -> Answer:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    lookups = Lookups(query, lambda: now[0], GENEROUS)
    with pytest.raises(OSError, match="unknown"):
        await lookups.resolve("name", 80, "shop")

    assert await lookups.resolve("name", 80, "shop") == ["192.0.2.1"]
    assert await lookups.resolve("name", 443, "other") == ["192.0.2.1"]
    now[0] += ANSWER_KEPT_SECONDS
    assert await lookups.resolve("name", 80, "shop") == ["192.0.2.2"]


async def test_the_namespace_with_names_that_hang_alone_is_refused_and_learns_why() -> None:
    with resolver() as system:
        lookups = Lookups(system, seconds=0.05)
        pin = Addresses(Rules(lambda *_: True), lookups.resolve).pin
        for number in range(EACH_NAMESPACE):
            hung = await pin(f"hangs-{number}", 80, "tenant")
            assert isinstance(hung, Failure)
            assert hung.kind is FailureKind.UNAVAILABLE

        refused = await pin("answers", 80, "tenant")
        lookups._seconds = GENEROUS

        assert isinstance(refused, Failure)
        assert "its name was not resolved: other names of namespace tenant" in refused.message
        assert isinstance(await pin("answers", 80, "shop"), Pinned)


async def test_probes_of_names_that_hang_delay_no_pin_of_another_namespace() -> None:
    with resolver() as system:
        lookups = Lookups(system, seconds=GENEROUS)
        addresses = Addresses(Rules(lambda *_: True), lookups.resolve)
        probes = HttpProbes(addresses, Secrets())
        sent = [
            asyncio.create_task(
                probes.send("tenant", HttpProbe(name="p", url=f"http://hangs-{number}"))
            )
            for number in range(200)
        ]
        await eventually(lambda: system.hanging == EACH_NAMESPACE)
        async with waiting(*sent):
            assert isinstance(await addresses.pin("answers", 80, "shop"), Pinned)


def test_nothing_runs_in_the_default_threads_where_the_api_server_is_resolved() -> None:
    texts = {
        path.relative_to(SOURCES).as_posix(): path.read_text() for path in SOURCES.rglob("*.py")
    }
    assert [path for path, text in texts.items() if DEFAULT_THREADS.search(text)] == []
    assert [path for path, text in texts.items() if RESOLVES.search(text)] == [
        "adapters/http/lookups.py"
    ]
