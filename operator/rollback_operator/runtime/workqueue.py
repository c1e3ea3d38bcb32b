"""Keys and due times: one worker per key, several keys at once, backoff per key.

A slow pass releases its worker and ends in the background, so that slow servers of one namespace
delay no other namespace. Each share (a namespace) has a limited number of slow passes, and each
pass has a time limit. Shares take turns (`turns`): more due or urgent keys give a share no more of
the workers.
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
"""A pass that takes longer releases its worker."""
MOST_SLOW = 8
"""Slow passes per share; further keys of the share are parked until one of them ends."""
MOST_MOVED = 1_000
"""Keys that become due and are queued in one step, so that the event loop is not blocked."""
PASS_SECONDS = 120.0
"""A pass that takes longer is cancelled, as by a crash: its intents are on record."""

K = TypeVar("K", bound=Hashable)
Work = Callable[[K], Awaitable[float | None]]
"""One pass for a key; returns the seconds until the next pass, or None for no due time."""


class WorkQueue(Generic[K]):
    """Holds each key at most once, with its earliest due time."""

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
            share: the share of a key, whose turns it takes and to which its slow passes count.
            is_urgent: whether a person waits for a key, which then precedes other due keys. Its
                share gets earlier turns, not more turns.
            pass_seconds: limit of a pass.
        """
        self._clock = clock
        self._share = share
        self._is_urgent = is_urgent
        self.pass_seconds = pass_seconds
        self._slow: dict[Hashable, set[K]] = {}
        """Keys of slow passes, by share."""
        self._parked: dict[Hashable, dict[K, None]] = {}
        """Keys that wait for the end of a slow pass of their share, in order."""
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        """A heap of due times, including those that an earlier time has replaced."""
        self._turns: Turns[tuple[float, K]] = Turns()
        """Due keys, each with its due time."""
        self._urged: set[K] = set()
        """Due keys that precede others."""
        self._order = itertools.count()
        self._busy: set[K] = set()
        self._again: set[K] = set()
        """Keys that were added while their pass was running."""
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self.beat = clock()
        """Time at which a worker last looked for a key, for the liveness probe."""

    def __len__(self) -> int:
        return len(self._due) + sum(map(len, self._parked.values()))

    def add(self, key: K, delay: float = 0.0) -> None:
        """Make a key due after `delay` seconds, or earlier if it is due earlier already."""
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
        """Put a due key before others if it has become urgent since it was added."""
        if key not in self._urged and self._is_urgent(key):
            self._urged.add(key)
            self._turns.add_urgent(self._share(key), (due, key))

    def forget(self, key: K) -> None:
        """Drop a key's due time; a running pass continues to its end."""
        self._due.pop(key, None)
        self._urged.discard(key)
        self._failures.pop(key, None)
        self._unpark(key)
        # A parked key may have waited for this key.
        self._call_next(self._share(key))

    async def run(self, work: Work[K], workers: int, may_work: Callable[[], bool]) -> None:
        """Run passes until cancelled; `may_work` is checked before each pass."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(group, work, may_work))

    async def _worker(
        self, group: asyncio.TaskGroup, work: Work[K], may_work: Callable[[], bool]
    ) -> None:
        while True:
            key = await self._wait_for_key()
            if not may_work():
                self._release(key)
                self.add(key, 1.0)
                await asyncio.sleep(0.2)
                continue
            share = self._share(key)
            if len(self._slow.get(share, ())) >= MOST_SLOW:
                self._release(key)
                self._parked.setdefault(share, {})[key] = None
                await asyncio.sleep(0)  # a share of 20,000 keys must not block the loop
                continue
            running = group.create_task(self._pass(work, key))
            running.add_done_callback(partial(self._release_slow, share, key))
            await asyncio.wait({running}, timeout=SLOW_SECONDS)
            if not running.done():
                self._slow.setdefault(share, set()).add(key)

    def _release_slow(self, share: Hashable, key: K, _: object) -> None:
        slow = self._slow.get(share)
        if slow is not None:
            slow.discard(key)
            if not slow:
                del self._slow[share]
        self._call_next(share)

    def _call_next(self, share: Hashable) -> None:
        """Make the longest parked key of a share due: one key for each pass that ends."""
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
            async with asyncio.timeout(self.pass_seconds):
                delay = await work(key)
            self._failures.pop(key, None)
        except Exception:
            # A defect, or an unforeseen answer of a server: only this key backs off.
            _log.exception("the pass for %s failed", key)
            delay = self._backoff(key)
        finally:
            self._release(key)
        if delay is not None:
            self.add(key, delay)

    async def _wait_for_key(self) -> K:
        while True:
            self.beat = self._clock()
            key = self._take_due()
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

    def _take_due(self) -> K | None:
        """Take a due key: urgent keys first, and no share more often than another."""
        now = self._clock()
        for _ in range(MOST_MOVED):
            if not self._timers or self._timers[0][0] > now:
                break
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                self._urge(key, due)
                if key not in self._urged:
                    self._turns.add(self._share(key), (due, key))
        taken = self._turns.take(self._starts)
        return taken[1] if taken is not None else None

    def _starts(self, item: tuple[float, K]) -> bool:
        """Start a key, unless its pass is running: then it is due again after that pass."""
        due, key = item
        if self._due.get(key) != due:
            return False  # replaced by an earlier time, or forgotten
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
