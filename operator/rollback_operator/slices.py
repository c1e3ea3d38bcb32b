"""Long work in slices: whoever computes in the event loop lets the others go on in between."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

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
_WORKERS = 2


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_WORKERS, thread_name_prefix="computing")


async def apart(size: int, call: Callable[[], T]) -> T:
    """Compute what depends on nothing else; what is large in a thread, so that the loop goes on.

    Args:
        size: how many things are gone through.
        call: a computation without side effects.
    """
    if size < LARGE:
        return call()
    return await asyncio.get_running_loop().run_in_executor(_workers(), call)
