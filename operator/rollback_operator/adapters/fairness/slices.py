"""Long computations in slices, so that the event loop stays responsive.

Large computations run in threads, shared between namespaces: however many are queued for a
namespace, another namespace waits for a single computation at most.
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
"""CPU time before the next callback runs."""


class Slices:
    """Yields to the event loop whenever a slice of CPU time is used up."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self._seconds = seconds
        self._began = time.thread_time()

    async def rest(self) -> None:
        """Yield if the slice is used up."""
        if time.thread_time() - self._began > self._seconds:
            await asyncio.sleep(0)
            self._began = time.thread_time()


LARGE = 5000
"""Number of items from which on a computation runs in a thread."""
_WORKERS, _EACH = 2, 1
"""Threads in total, and at once per namespace."""
_gates = WeakKeyDictionary[asyncio.AbstractEventLoop, Gate]()


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_WORKERS, thread_name_prefix="computing")


async def apart(share: str, size: int, call: Callable[[], T]) -> T:
    """Run a self-contained computation, in a thread if it is large.

    Args:
        share: the namespace; empty: the operator itself.
        size: the number of items.
        call: a computation without side effects.
    """
    if size < LARGE:
        return call()
    loop = asyncio.get_running_loop()
    async with _gates.setdefault(loop, Gate(_WORKERS, _EACH)).turn(share):
        return await loop.run_in_executor(_workers(), call)
