"""Threads for blocking calls, limited in total, per namespace and per address.

A call counts until its thread has ended, not until its caller gives up: a server that never ends
an answer occupies threads of its own namespace and address only, however long it hangs.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from rollback_operator.adapters.fairness.gates import Gate

T = TypeVar("T")

PER_ADDRESS = 4
"""Calls at once to an address, for the policies of a namespace."""
PER_NAMESPACE = 8
"""Calls at once for the policies of a namespace, to any address."""


@dataclass(frozen=True, slots=True)
class CallLane:
    """Namespace and address of a call."""

    namespace: str
    address: str


class NoTurnError(TimeoutError):
    """Earlier calls of the namespace or to the address have not ended."""


class Threads:
    """Runs blocking calls."""

    def __init__(self, most: int) -> None:
        self._executor = ThreadPoolExecutor(most, thread_name_prefix="prometheus")
        self._lanes = Gate(sys.maxsize, PER_ADDRESS)
        self._namespaces = Gate(most, PER_NAMESPACE)

    @property
    def is_idle(self) -> bool:
        """Whether no call runs or waits, so that no lane is kept in memory."""
        return self._lanes.is_idle and self._namespaces.is_idle

    def close(self) -> None:
        """Accept no more calls; running calls end at their own deadlines."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def turn(self, lane: CallLane, seconds: float) -> AsyncIterator["Turn"]:
        """Wait for a free thread.

        Raises:
            NoTurnError: no thread is free in time.
        """
        with ExitStack() as entered:
            try:
                async with asyncio.timeout(seconds):
                    await self._lanes.enter(lane)
                    entered.callback(self._lanes.leave, lane)
                    await self._namespaces.enter(lane.namespace)
                    entered.callback(self._namespaces.leave, lane.namespace)
            except TimeoutError:
                raise NoTurnError from None
            yield Turn(self._executor, entered)


@dataclass(frozen=True, slots=True)
class Turn:
    """A free thread."""

    executor: ThreadPoolExecutor
    entered: ExitStack

    async def run(self, call: Callable[[], T], stop: Callable[[], None], seconds: float) -> T:
        """Run a call in the thread.

        Args:
            call: the blocking call.
            stop: makes the call end at once; invoked when its caller gives up.
            seconds: the deadline of the caller.

        Raises:
            TimeoutError: the call does not end in time.
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
