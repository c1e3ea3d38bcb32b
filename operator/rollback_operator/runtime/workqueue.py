"""Keys and due times: one worker per key, several keys at once, errors back off per key.

A pass that lasts long gives its worker up and ends beside the others: what one namespace's servers
keep waiting holds up no other namespace. Each share has only so many of these, and each pass ends.
Shares take turns: more keys of a share that are due, or waited for, get it no more of the workers.
"""

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from rollback_operator.runtime.turns import Turns

_log = logging.getLogger(__name__)
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0
SLOW_SECONDS = 1.0
"""After which a pass gives its worker up."""
MOST_SLOW = 8
"""Passes of one share that have: further keys of it are parked until one of them ends."""
MOST_MOVED = 1_000
"""Keys that become due are lined up at once: the loop waits for no more of them."""
PASS_SECONDS = 120.0
"""After which a pass is broken off, as by a crash: what it has begun is on record."""

K = TypeVar("K", bound=Hashable)
Work = Callable[[K], Awaitable[float | None]]
"""One pass for a key; gives the seconds until the next one, or None for no due time."""


class WorkQueue(Generic[K]):
    """Holds each key at most once, with the earliest time at which it is wanted."""

    def __init__(
        self,
        clock: Callable[[], float],
        share: Callable[[K], Hashable] = lambda key: key,
        is_urgent: Callable[[K], bool] = lambda _: False,
        pass_seconds: float = PASS_SECONDS,
    ) -> None:
        """Hold nothing yet.

        Args:
            clock: seconds, monotonic.
            share: whose turns a key takes, and whose workers its slow passes take up.
            is_urgent: whether a key goes before others that are due: somebody waits for it. Its
                share gets no more turns by that, only earlier ones.
            pass_seconds: how long a pass may last.
        """
        self._clock = clock
        self._share = share
        self._is_urgent = is_urgent
        self._pass_seconds = pass_seconds
        self._slow: dict[Hashable, set[K]] = {}
        """Keys whose passes have given their workers up, by share."""
        self._parked: dict[Hashable, dict[K, None]] = {}
        """Keys that wait for a pass of their share to end, in order."""
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        """A heap of what is wanted when; entries that an earlier time has replaced, too."""
        self._turns: Turns[tuple[float, K]] = Turns()
        """What is due, with the time at which it was wanted."""
        self._urged: set[K] = set()
        """Keys that are due and have been put before others."""
        self._order = itertools.count()
        self._busy: set[K] = set()
        self._again: set[K] = set()
        """Wanted anew while a pass for them is running."""
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self.beat = clock()
        """When a worker last took a key or found none: the liveness of the queue."""

    def __len__(self) -> int:
        return len(self._due) + sum(map(len, self._parked.values()))

    def add(self, key: K, delay: float = 0.0) -> None:
        """Want a pass for a key after `delay` seconds, or earlier if one is due earlier."""
        now = self._clock()
        due, known = now + delay, self._due.get(key)
        if known is None or due < known:
            self._due[key] = due
            self._urged.discard(key)
            heapq.heappush(self._timers, (due, next(self._order), key))
            self._changed.set()
        elif known <= now:
            self._urge(key, known)

    def _urge(self, key: K, due: float) -> None:
        """Put a key that is due before others, if it has become urgent since it was wanted."""
        if key not in self._urged and self._is_urgent(key):
            self._urged.add(key)
            self._turns.add_urgent(self._share(key), (due, key))

    def forget(self, key: K) -> None:
        """Drop a key's due time; a pass that is running ends by itself."""
        self._due.pop(key, None)
        self._urged.discard(key)
        self._failures.pop(key, None)
        self._unpark(key)
        # It may have been the one whose end the next was to follow.
        self._call_next(self._share(key))

    async def run(self, work: Work[K], workers: int, may_work: Callable[[], bool]) -> None:
        """Work until cancelled. `may_work` is asked before each pass."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(group, work, may_work))

    async def _worker(
        self, group: asyncio.TaskGroup, work: Work[K], may_work: Callable[[], bool]
    ) -> None:
        while True:
            key = await self._next()
            if not may_work():
                self._release(key)
                self.add(key, 1.0)
                await asyncio.sleep(0.2)
                continue
            share = self._share(key)
            if len(self._slow.get(share, ())) >= MOST_SLOW:
                self._release(key)
                self._parked.setdefault(share, {})[key] = None
                await asyncio.sleep(0)  # a share of 20,000 keys must not keep the loop meanwhile
                continue
            running = group.create_task(self._pass(work, key))
            running.add_done_callback(partial(self._ended, share, key))
            await asyncio.wait({running}, timeout=SLOW_SECONDS)
            if not running.done():
                self._slow.setdefault(share, set()).add(key)

    def _ended(self, share: Hashable, key: K, _: object) -> None:
        slow = self._slow.get(share)
        if slow is not None:
            slow.discard(key)
            if not slow:
                del self._slow[share]
        self._call_next(share)

    def _call_next(self, share: Hashable) -> None:
        """Want a pass for the key that has been parked longest: one for each pass that ends."""
        parked = self._parked.get(share)
        if parked:
            key = next(iter(parked))
            self._unpark(key)
            self.add(key)

    def _unpark(self, key: K) -> None:
        share = self._share(key)
        parked = self._parked.get(share)
        if parked is not None:
            parked.pop(key, None)
            if not parked:
                del self._parked[share]

    async def _pass(self, work: Work[K], key: K) -> None:
        delay: float | None = None
        try:
            async with asyncio.timeout(self._pass_seconds):
                delay = await work(key)
            self._failures.pop(key, None)
        except Exception:
            # A bug or a server nobody has thought of: this key backs off, the others go on.
            _log.exception("the pass for %s failed", key)
            delay = self._backoff(key)
        finally:
            self._release(key)
        if delay is not None:
            self.add(key, delay)

    async def _next(self) -> K:
        while True:
            self.beat = self._clock()
            key = self._take()
            if key is not None:
                return key
            first = self._timers[0][0] if self._timers else None
            wait = 5.0 if first is None else max(0.0, first - self._clock())
            self._changed.clear()
            try:
                async with asyncio.timeout(min(wait, 5.0) or 0.001):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _take(self) -> K | None:
        """Take a key that is due: what is urgent first, and no share more often than another."""
        now = self._clock()
        for _ in range(MOST_MOVED):
            if not self._timers or self._timers[0][0] > now:
                break
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                self._urge(key, due)
                if key not in self._urged:
                    self._turns.add(self._share(key), (due, key))
        taken = self._turns.take(self._begins)
        return taken[1] if taken is not None else None

    def _begins(self, item: tuple[float, K]) -> bool:
        """Begin with a key, unless a pass for it is running: it is wanted anew after that."""
        due, key = item
        if self._due.get(key) != due:
            return False  # an earlier time has replaced this one, or the key was forgotten
        del self._due[key]
        self._urged.discard(key)
        self._unpark(key)
        if key in self._busy:
            self._again.add(key)
            return False
        self._busy.add(key)
        return True

    def _release(self, key: K) -> None:
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _backoff(self, key: K) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(count, 10))
        return longest * random.uniform(0.5, 1.0)
