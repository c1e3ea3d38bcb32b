"""Turns at what there is only so much of at once, shared out by namespace.

No share has more than its part, and among those that wait the turn goes round: whoever has a
hundred calls waiting for servers that never answer delays nobody else by more than one of them.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Gate:
    """Lets so many through at once."""

    def __init__(self, most: int, each: int) -> None:
        """Let everybody wait for a turn of their share.

        Args:
            most: at once, of all shares.
            each: at once, of one share.
        """
        self._most, self._each = most, each
        self._inside: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def is_idle(self) -> bool:
        """Tell whether nobody is inside or waits, and nothing is kept of anybody."""
        return not self._inside and not self._waiting

    @asynccontextmanager
    async def turn(self, share: Hashable) -> AsyncIterator[None]:
        """Wait for a turn of a share, and have it."""
        await self._enter(share)
        try:
            yield
        finally:
            self._leave(share)

    async def _enter(self, share: Hashable) -> None:
        if share not in self._waiting and self._has_room(share):
            self._inside[share] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(share, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(share)  # the turn had come already
            else:
                self._drop(share, turn)
            raise

    def _drop(self, share: Hashable, turn: asyncio.Future[None]) -> None:
        self._waiting[share].remove(turn)
        if not self._waiting[share]:
            del self._waiting[share]

    def _leave(self, share: Hashable) -> None:
        self._inside[share] -= 1
        if not self._inside[share]:
            del self._inside[share]
        for one in [*self._waiting]:
            if self._inside.total() >= self._most:
                return
            if self._has_room(one):
                self._let_in(one)

    def _let_in(self, share: Hashable) -> None:
        turn = self._waiting[share].popleft()
        if self._waiting[share]:
            self._waiting.move_to_end(share)  # behind all others that wait
        else:
            del self._waiting[share]
        if not turn.cancelled():
            self._inside[share] += 1
            turn.set_result(None)

    def _has_room(self, share: Hashable) -> bool:
        return self._inside.total() < self._most and self._inside[share] < self._each
