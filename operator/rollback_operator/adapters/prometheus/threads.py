"""Threads for blocking calls: so many in all, so many a namespace, so many an address.

A call counts until its thread has ended, not until it has been waited for: a server that never ends
an answer takes threads from its own namespace and address only, however long it hangs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

PER_ADDRESS = 4
"""Calls at once to one address, for one namespace's policies."""
PER_NAMESPACE = 8
"""Calls at once for one namespace's policies, wherever they go."""


@dataclass(frozen=True, slots=True)
class CallLane:
    """For whom a call is made, and where to."""

    namespace: str
    address: str


class NoTurnError(TimeoutError):
    """Earlier calls of the namespace, or to the address, have not ended."""


@dataclass
class _ThreadGate:
    semaphore: asyncio.Semaphore
    users: int = 0


@dataclass
class _Gates:
    """At most so many at once a key; nothing is kept of a key that nobody uses."""

    most: int
    known: dict[object, _ThreadGate] = field(default_factory=dict)

    async def enter(self, key: object, leaving: ExitStack) -> None:
        """Wait for a turn; it ends with `leaving`."""
        gate = self.known.setdefault(key, _ThreadGate(asyncio.Semaphore(self.most)))
        gate.users += 1
        leaving.callback(self._leave, key, gate)
        await gate.semaphore.acquire()
        leaving.callback(gate.semaphore.release)

    def _leave(self, key: object, gate: _ThreadGate) -> None:
        gate.users -= 1
        if not gate.users:
            del self.known[key]


class Threads:
    """Runs blocking calls."""

    def __init__(self, most: int) -> None:
        """Start no thread yet.

        Args:
            most: calls at once, for all.
        """
        self._executor = ThreadPoolExecutor(most, thread_name_prefix="prometheus")
        # Entered in this order: whoever waits for all threads has a turn of the namespace, so that
        # no namespace has more than its few in that line.
        self._lanes = _Gates(PER_ADDRESS)
        self._namespaces = _Gates(PER_NAMESPACE)
        self._all = _Gates(most)

    @property
    def is_idle(self) -> bool:
        """Tell whether no call runs or waits, and nothing is kept of any."""
        return not (self._namespaces.known or self._lanes.known or self._all.known)

    def close(self) -> None:
        """Take no more calls; those that run end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def turn(self, lane: CallLane, seconds: float) -> AsyncIterator["Turn"]:
        """Wait for a free thread.

        Raises:
            NoTurnError: none was free in time.
        """
        with ExitStack() as entered:
            try:
                async with asyncio.timeout(seconds):
                    await self._lanes.enter(lane, entered)
                    await self._namespaces.enter(lane.namespace, entered)
                    await self._all.enter(None, entered)
            except TimeoutError:
                raise NoTurnError from None
            yield Turn(self._executor, entered)


@dataclass(frozen=True, slots=True)
class Turn:
    """A thread that is free."""

    executor: ThreadPoolExecutor
    entered: ExitStack

    async def run(self, call: Callable[[], T], stop: Callable[[], None], seconds: float) -> T:
        """Run a call in the thread.

        Args:
            call: what blocks.
            stop: makes the call end at once; called when nobody waits for it any more.
            seconds: how long is waited.

        Raises:
            TimeoutError: the call has not ended in time.
        """
        running = asyncio.get_running_loop().run_in_executor(self.executor, call)
        leaving = self.entered.pop_all()
        running.add_done_callback(lambda _: leaving.close())
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(running)
        finally:
            if not running.done():
                stop()
