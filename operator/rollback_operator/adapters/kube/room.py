"""Room in memory for what the API server answers: one budget for all answers that are in flight.

A small answer needs none. A larger one takes a part before it is read on, and holds it until what
is made of it is small again. No answer waits while it holds a part, so no two wait for each other;
who waits is served in the order of coming, and no namespace has more than half.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError
from rollback_operator.adapters.kube.weighing import weight_of

MIB = 1 << 20
MOST_RESPONSES_BYTES = 72 * MIB
ANSWER_BYTES = 24 * MIB
"""The most that one answer may take."""
SHARE_STEPS = (256 * 1024, MIB, 4 * MIB, 8 * MIB, 16 * MIB, ANSWER_BYTES)
"""How large a part is; up to the first, an answer needs none."""
LEAST = 3
"""How many times its bytes an answer takes at least: as it came, as characters, as values."""
WAIT_SECONDS = 8.0


@dataclass(eq=False)
class _ResponseWaiter:
    owner: str
    amount: int
    turn: asyncio.Future[None]


@dataclass
class Room:
    """What is left for answers."""

    most: int = MOST_RESPONSES_BYTES
    wait: float = WAIT_SECONDS
    """Seconds after which who waits for a part is refused."""
    _held: dict[str, int] = field(default_factory=dict)
    """By namespace; none that holds nothing."""
    _line: deque[_ResponseWaiter] = field(default_factory=deque)

    @property
    def held(self) -> int:
        """How many bytes are held now."""
        return sum(self._held.values())

    @contextmanager
    def part(self, owner: str) -> Iterator["ResponseShare"]:
        """Hold a part of it, of no bytes at first.

        Args:
            owner: for which namespace; empty: for none.
        """
        found = ResponseShare(self, owner)
        try:
            yield found
        finally:
            found.give_back()

    async def take(self, owner: str, amount: int) -> None:
        """Take bytes, after all who have waited longer and can be served.

        Raises:
            BudgetExhaustedError: there is not enough in time.
        """
        waiting = _ResponseWaiter(owner, amount, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._serve()
        try:
            async with asyncio.timeout(self.wait):
                await waiting.turn
        except BaseException as error:
            if waiting in self._line:
                self._line.remove(waiting)
                self._serve()
            else:
                self.give_back(owner, amount)  # its turn came in the same moment
            if isinstance(error, TimeoutError):
                raise BudgetExhaustedError from None
            raise

    def give_back(self, owner: str, amount: int) -> None:
        """Let others have them."""
        self._held[owner] -= amount
        if not self._held[owner]:
            del self._held[owner]
        self._serve()

    def _serve(self) -> None:
        for one in tuple(self._line):
            held = self._held.get(one.owner, 0)
            if one.turn.done() or held + one.amount > self.most // 2:
                continue  # it leaves, or waits for its own namespace: nobody else need
            if self.held + one.amount > self.most:
                return
            self._held[one.owner] = held + one.amount
            self._line.remove(one)
            one.turn.set_result(None)


@dataclass
class ResponseShare:
    """What one answer holds."""

    room: Room
    owner: str
    size: int = 0
    """What was asked for last."""
    _held: int = 0

    async def grow(self, size: int) -> None:
        """Hold enough for so many bytes in all; for more than an answer may take, no more than it.

        Raises:
            BudgetExhaustedError: there is not enough in time.
        """
        self.size = size
        if size <= max(self._held, SHARE_STEPS[0]):
            return
        self.give_back()
        wanted = next((step for step in SHARE_STEPS if size <= step), SHARE_STEPS[-1])
        await self.room.take(self.owner, wanted)
        self._held = wanted

    def give_back(self) -> None:
        """Hold nothing any more."""
        if self._held:
            held, self._held = self._held, 0
            self.room.give_back(self.owner, held)


async def bounded(answer: aiohttp.ClientResponse, part: ResponseShare) -> bytearray | None:
    """Read an answer to its end, with a part that is large enough for what is made of it.

    None: it would take more than an answer may.

    Raises:
        BudgetExhaustedError: there is not enough in time.
        aiohttp.ClientError: it does not come to its end.
    """
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) * LEAST > ANSWER_BYTES:
            answer.close()
            return None
        await part.grow(len(content) * LEAST)
    weight = weight_of(content)
    if weight > ANSWER_BYTES:
        return None
    await part.grow(weight)
    return content
