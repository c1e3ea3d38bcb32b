"""One memory budget for all answers of the API server that are in flight.

A small answer needs no share. A larger answer takes a share before it is read further, and holds it
until the values made of it are small again. No answer waits while it holds a share, so that no two
wait for each other. Waiting answers are served in order, and no namespace has more than half.

The weight of an answer is counted before it is parsed, since a small text can become large:
`[[],[],...]` takes twenty times its bytes, and one character outside of the Basic Multilingual
Plane makes four bytes of every character of its text.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError
from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.adapters.kube.projections.outlines import Outline, outline_of
from rollback_operator.api.user_text.json_text import values_in, values_outside_strings

MIB = 1 << 20
MOST_RESPONSES_BYTES = 72 * MIB
ANSWER_BYTES = 24 * MIB
"""Limit of one answer."""
SHARE_STEPS = (256 * 1024, MIB, 4 * MIB, 8 * MIB, 16 * MIB, ANSWER_BYTES)
"""Sizes of a share; an answer up to the first size needs none."""
LEAST = 3
"""An answer takes at least this many times its bytes: as bytes, as characters, as values."""
WAIT_SECONDS = 8.0
SMALLER = 8
"""A page that takes too much memory is requested again with this fraction of its objects."""
VALUE_BYTES = 20
"""Bytes of JSON per value, roughly."""
VALUE_MEMORY_BYTES = 96
"""Memory of a value beside its characters; the densest text stays below it on average."""
MOST_VALUES = ANSWER_BYTES // VALUE_MEMORY_BYTES
CLOSELY_BYTES = 4 * MIB
"""Values are counted closely from this weight on."""
_NARROW = bytes(range(0xF0))
"""Bytes of characters that take at most two bytes."""
_ASCII_BYTES, _PLANE_BYTES, _WIDE_BYTES = 1, 2, 4


@dataclass(eq=False)
class _ResponseWaiter:
    owner: str
    amount: int
    turn: asyncio.Future[None]


@dataclass
class ResponseBudget:
    """The budget."""

    most: int = MOST_RESPONSES_BYTES
    wait: float = WAIT_SECONDS
    """Seconds after which a waiting answer is refused."""
    _held: dict[str, int] = field(default_factory=dict)
    """Bytes by namespace, without zeros."""
    _line: deque[_ResponseWaiter] = field(default_factory=deque)

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return sum(self._held.values())

    @contextmanager
    def part(self, owner: str) -> Iterator["ResponseShare"]:
        """Hold a share, of no bytes at first.

        Args:
            owner: the namespace; empty: none.
        """
        share = ResponseShare(self, owner)
        try:
            yield share
        finally:
            share.give_back()

    async def take(self, owner: str, amount: int) -> None:
        """Take bytes, after all that have waited longer and can be served.

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
        """Return bytes."""
        self._held[owner] -= amount
        if not self._held[owner]:
            del self._held[owner]
        self._serve()

    def _serve(self) -> None:
        for waiter in tuple(self._line):
            held = self._held.get(waiter.owner, 0)
            if waiter.turn.done() or held + waiter.amount > self.most // 2:
                continue  # it leaves, or waits for its own namespace alone
            if self.held + waiter.amount > self.most:
                return
            self._held[waiter.owner] = held + waiter.amount
            self._line.remove(waiter)
            waiter.turn.set_result(None)


@dataclass
class ResponseShare:
    """The share of one answer."""

    budget: ResponseBudget
    owner: str
    size: int = 0
    """The size last asked for."""
    _held: int = 0

    async def grow(self, size: int) -> None:
        """Hold enough for a size, at most the limit of one answer.

        Raises:
            BudgetExhaustedError: there is not enough in time.
        """
        self.size = size
        if size <= max(self._held, SHARE_STEPS[0]):
            return
        self.give_back()
        wanted = next((step for step in SHARE_STEPS if size <= step), SHARE_STEPS[-1])
        await self.budget.take(self.owner, wanted)
        self._held = wanted

    def give_back(self) -> None:
        """Hold nothing."""
        if self._held:
            held, self._held = self._held, 0
            self.budget.give_back(self.owner, held)


@dataclass(frozen=True, slots=True)
class Oversized:
    """An answer that must not be parsed, as far as it was read."""

    content: bytearray

    async def outline(self, owner: str) -> Outline:
        """Read what it is about, for a namespace."""
        return await apart(
            owner, len(self.content) // VALUE_BYTES, lambda: outline_of(self.content)
        )


async def bounded(answer: aiohttp.ClientResponse, part: ResponseShare) -> bytearray | Oversized:
    """Read an answer to its end, with a share that is large enough for the values made of it.

    Oversized: the answer exceeds the limit.

    Raises:
        BudgetExhaustedError: there is not enough in time.
        aiohttp.ClientError: the connection ends early.
    """
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) * LEAST > ANSWER_BYTES:
            answer.close()
            return Oversized(content)
        await part.grow(len(content) * LEAST)
    weight = weight_of(content)
    if weight > ANSWER_BYTES:
        return Oversized(content)
    await part.grow(weight)
    return content


def weight_of(text: bytes | bytearray) -> int:
    """Count the bytes that a text, its decoded characters and its values take at most.

    Values are counted quickly first. Where that is too many for a small share, the characters of
    strings are left out: nobody makes an answer heavy by the commas of an annotation.
    """
    texts = len(text) * (1 + 2 * _character_bytes(text))
    weight = texts + values_in(text) * VALUE_MEMORY_BYTES
    if weight <= CLOSELY_BYTES:
        return weight
    return texts + values_outside_strings(text, MOST_VALUES) * VALUE_MEMORY_BYTES


def _character_bytes(text: bytes | bytearray) -> int:
    """Return the bytes of a character in memory, in the widest string of the text."""
    if text.count(b"\\u") > text.count(b"\\u00"):  # an escape of more than U+00FF
        return _WIDE_BYTES
    if text.isascii():
        return _ASCII_BYTES
    return _WIDE_BYTES if text.translate(None, _NARROW) else _PLANE_BYTES
