"""Turns at a limited number of concurrent calls, shared between namespaces.

No share has more than its part, and waiting shares take turns round-robin: a namespace with a
hundred calls to servers that never answer delays the others by a single call at most.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager


class Gate:
    """Admits a limited number of callers at once."""

    def __init__(self, most: int, each: int) -> None:
        """Admit nobody yet.

        Args:
            most: callers at once, over all shares.
            each: callers at once of a single share.
        """
        self._most, self._each = most, each
        self._inside: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is inside or waits, so that no share is kept in memory."""
        return not self._inside and not self._waiting

    @asynccontextmanager
    async def turn(self, share: Hashable) -> AsyncIterator[None]:
        """Wait for a turn of a share, and hold it for the block."""
        await self.enter(share)
        try:
            yield
        finally:
            self.leave(share)

    async def enter(self, share: Hashable) -> None:
        """Wait for a turn of a share; `leave` ends it."""
        if share not in self._waiting and self._has_free_turn(share):
            self._inside[share] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(share, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(share)  # it was admitted before the cancellation
            else:
                self._drop(share, turn)
            raise

    def _drop(self, share: Hashable, turn: asyncio.Future[None]) -> None:
        self._waiting[share].remove(turn)
        if not self._waiting[share]:
            del self._waiting[share]

    def leave(self, share: Hashable) -> None:
        """End a turn; admit those that wait."""
        self._inside[share] -= 1
        if not self._inside[share]:
            del self._inside[share]
        for waiting in [*self._waiting]:
            if self._inside.total() >= self._most:
                return
            if self._has_free_turn(waiting):
                self._admit(waiting)

    def _admit(self, share: Hashable) -> None:
        turn = self._waiting[share].popleft()
        if self._waiting[share]:
            self._waiting.move_to_end(share)  # behind all others that wait
        else:
            del self._waiting[share]
        if not turn.cancelled():
            self._inside[share] += 1
            turn.set_result(None)

    def _has_free_turn(self, share: Hashable) -> bool:
        return self._inside.total() < self._most and self._inside[share] < self._each


SLOW_TURN_SECONDS = 2.0
"""A turn that lasts longer makes its share slow."""
SLOW_FOR_SECONDS = 300.0
"""For so long a share stays slow after a slow turn."""


class PacedGate:
    """Admits a limited number of callers; of the shares that were slow, all but one turn at most.

    Shares that hold each turn for as long as they may would otherwise make all others wait, since
    turns go round among them too.
    """

    def __init__(self, most: int, each: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Admit nobody yet; `most` is at least two."""
        self._all, self._slow = Gate(most, each), Gate(most - 1, each)
        self._slow_until: dict[Hashable, float] = {}
        self._clock = clock

    @asynccontextmanager
    async def turn(self, share: Hashable) -> AsyncIterator[None]:
        """Wait for a turn of a share, and hold it for the block."""
        now = self._clock()
        self._slow_until = {key: end for key, end in self._slow_until.items() if now < end}
        if share not in self._slow_until:
            async with self._timed(share):
                yield
            return
        async with self._slow.turn(share), self._timed(share):
            yield

    @asynccontextmanager
    async def _timed(self, share: Hashable) -> AsyncIterator[None]:
        async with self._all.turn(share):
            begin = self._clock()
            try:
                yield
            finally:
                end = self._clock()
                if end - begin > SLOW_TURN_SECONDS:
                    self._slow_until[share] = end + SLOW_FOR_SECONDS
