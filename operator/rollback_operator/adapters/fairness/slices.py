"""Long work in slices: whoever computes in the event loop lets the others go on in between.

What is large is computed in threads, and shared out by namespace: however many large computations
the policies of one have waiting, another's waits for one of them at most.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar
from weakref import WeakKeyDictionary

from rollback_operator.adapters.fairness.gates import Gate

T = TypeVar("T")
SLICE_SECONDS = 0.005
"""Of CPU time that one piece of work takes before the next callback has its turn."""


class Slices:
    """Gives way to the loop whenever a slice of CPU time is used up."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self._seconds = seconds
        self._began = time.thread_time()

    async def rest(self) -> None:
        """Let others go on, if it is time."""
        if time.thread_time() - self._began > self._seconds:
            await asyncio.sleep(0)
            self._began = time.thread_time()


LARGE = 5000
"""Things to go through, from which on a computation is made apart."""
_WORKERS, _EACH = 2, 1
"""Threads, and how many of them one namespace's computations have at once."""
_gates = WeakKeyDictionary[asyncio.AbstractEventLoop, Gate]()


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_WORKERS, thread_name_prefix="computing")


async def apart(share: str, size: int, call: Callable[[], T]) -> T:
    """Compute what depends on nothing else; what is large in a thread, so that the loop goes on.

    Args:
        share: the namespace for which it is computed; empty: the operator itself.
        size: how many things are gone through.
        call: a computation without side effects.
    """
    if size < LARGE:
        return call()
    loop = asyncio.get_running_loop()
    async with _gates.setdefault(loop, Gate(_WORKERS, _EACH)).turn(share):
        return await loop.run_in_executor(_workers(), call)
