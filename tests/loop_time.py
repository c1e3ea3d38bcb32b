"""How long the callbacks of an event loop take, in CPU time of the loop's own thread.

CPU time, not time on the clock: what other processes do on the machine is no fault of the code.
And since a core that is shared or slow takes more of it for the same work, a piece of work that is
always the same is measured beside, and what is allowed grows with what that took.

    with watched() as found:
        await passes()
    assert found.longest.seconds < found.allowed, found.longest
"""

import asyncio
import functools
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PROMISED_SECONDS = 0.1
"""What the product promises: no callback of its loop takes more CPU time."""
MOST_KEPT = 20
_WORK = 200_000
_WORK_SECONDS = 0.014
"""CPU time of `_work` on an idle core of 2024: what the promise is meant on."""
_OWN = asyncio.__file__.rpartition("/")[0]
"""asyncio itself: of no interest as a place."""


@dataclass(frozen=True, slots=True, order=True)
class Callback:
    """One callback that took a while."""

    seconds: float
    """Of CPU time."""
    name: str
    """What was called; of a step of a task, its coroutine and where that went on."""


@dataclass(slots=True)
class Found:
    """What was seen while a loop was watched."""

    count: int = 0
    seconds: float = 0.0
    """Of all callbacks together."""
    slowest: list[Callback] = field(default_factory=list)
    """The slowest, the worst first."""
    pace: float = 1.0
    """CPU time that the same work takes here and now, over that on an idle core; never under 1."""

    @property
    def allowed(self) -> float:
        """CPU seconds that a callback may take on this machine."""
        return PROMISED_SECONDS * self.pace

    @property
    def longest(self) -> Callback:
        return self.slowest[0] if self.slowest else Callback(0.0, "none")

    def add(self, seconds: float, name: str) -> None:
        self.slowest.append(Callback(seconds, name))
        self.slowest.sort(reverse=True)
        del self.slowest[MOST_KEPT:]


@contextmanager
def watched() -> Iterator[Found]:
    """Measure each callback of all loops of this thread, one that is running now included."""
    found, thread = Found(), threading.get_ident()
    original = asyncio.Handle._run

    @functools.wraps(original)
    def run(self: asyncio.Handle) -> None:
        if threading.get_ident() != thread:
            return original(self)
        where = _where(self)
        began = time.thread_time()
        try:
            return original(self)
        finally:
            took = time.thread_time() - began
            found.count += 1
            found.seconds += took
            if len(found.slowest) < MOST_KEPT or took > found.slowest[-1].seconds:
                found.add(took, where)

    # What the process has collected before, the modules of all other tests among it, is no garbage
    # of this loop: a full collection over it takes longer than any callback.
    gc.collect()
    gc.freeze()
    asyncio.Handle._run = run  # type: ignore[method-assign]
    before = _pace()
    try:
        yield found
    finally:
        gc.unfreeze()
        asyncio.Handle._run = original  # type: ignore[method-assign]
        found.pace = max(1.0, before, _pace())


def _pace() -> float:
    began, total = time.thread_time(), 0
    for number in range(_WORK):
        total += number & 7
    return (time.thread_time() - began) / _WORK_SECONDS


def _where(handle: asyncio.Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        coroutine = task.get_coro()
        frame = getattr(coroutine, "cr_frame", None)
        inner = coroutine
        while getattr(inner, "cr_await", None) is not None and hasattr(inner.cr_await, "cr_frame"):
            inner = inner.cr_await
            if inner.cr_frame is not None and _OWN not in inner.cr_frame.f_code.co_filename:
                frame = inner.cr_frame
        at = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
        return f"{getattr(coroutine, '__qualname__', coroutine)} at {at}"
    return getattr(callback, "__qualname__", repr(callback))
