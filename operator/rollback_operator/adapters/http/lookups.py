"""Resolves names in threads of their own, shared between namespaces.

The servers of a name decide how long the system's resolver holds a thread: 10 s and more, and
nothing ends it before. Hence a lookup counts until its thread has ended, not until its caller
gives up, and callers for the same name share a lookup: a name occupies a single thread.
"""

import asyncio
import math
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rollback_operator.adapters.fairness.gates import Gate

LOOKUPS, EACH_NAMESPACE = 64, 4
"""Threads in total, and per namespace."""
RESOLVE_SECONDS = 3.0
"""Longest wait of a caller, for a free thread and for the answer."""
ANSWER_KEPT_SECONDS = 5.0

Answer = Sequence[str]
"""IP addresses."""


class LookupsBusyError(TimeoutError):
    """Earlier lookups of the namespace have not ended."""


def query(host: str, port: int) -> Answer:
    """Query the system's resolver; blocks.

    Raises:
        OSError: the name is unknown, or the resolver does not answer.
        UnicodeError: it is no name.
    """
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


class Lookups:
    """Resolves names."""

    def __init__(
        self,
        query: Callable[[str, int], Answer] = query,
        clock: Callable[[], float] = time.monotonic,
        seconds: float = RESOLVE_SECONDS,
    ) -> None:
        self._query = query
        self._clock = clock
        self._seconds = seconds
        # Not asyncio's default threads: the API server's name is resolved in those.
        self._executor = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="names")
        self._gate = Gate(LOOKUPS, EACH_NAMESPACE)
        self._running: dict[str, asyncio.Future[Answer]] = {}
        self._kept: dict[str, tuple[float, Answer]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no lookup runs or waits."""
        return self._gate.is_idle and not self._running

    def close(self) -> None:
        """Accept no more lookups; running lookups end when the resolver gives up."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str, port: int, namespace: str) -> Answer:
        """Resolve a host for the policies of a namespace.

        Raises:
            OSError: the name is unknown, or the resolver does not answer.
            LookupsBusyError: no thread of the namespace is free in time.
            TimeoutError: the name is not resolved in time.
            UnicodeError: it is no name.
        """
        end, answer = self._kept.get(host, (-math.inf, ()))
        if self._clock() < end:
            return answer
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        if host not in self._running:
            try:
                async with asyncio.timeout_at(until):
                    await self._gate.enter(namespace)
            except TimeoutError:
                raise LookupsBusyError from None
            if host in self._running:  # it began for another caller meanwhile
                self._gate.leave(namespace)
            else:
                self._begin(host, port, namespace)
        async with asyncio.timeout_at(until):
            return await asyncio.shield(self._running[host])

    def _begin(self, host: str, port: int, namespace: str) -> None:
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._executor, self._query, host, port)
        self._running[host] = running
        running.add_done_callback(partial(self._ended, host, namespace))

    def _ended(self, host: str, namespace: str, running: asyncio.Future[Answer]) -> None:
        del self._running[host]
        self._gate.leave(namespace)
        if running.cancelled() or running.exception() is not None:
            return
        now = self._clock()
        self._kept = {name: kept for name, kept in self._kept.items() if now < kept[0]}
        self._kept[host] = now + ANSWER_KEPT_SECONDS, running.result()
