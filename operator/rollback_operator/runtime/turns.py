"""Fair turns among due items: each share gets as many turns as any other share.

Urgent items precede the others, and put their share at most a few turns ahead: a share gets no more
turns because it has more items, or more urgent items.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

MOST_IN_A_ROW = 4
"""Limit of consecutive urgent turns, and of the turns by which a share may be ahead."""

T = TypeVar("T")


@dataclass
class _TurnLane(Generic[T]):
    """Due items of equal urgency, by share."""

    items: dict[Hashable, deque[T]] = field(default_factory=dict)
    """Without empty queues."""
    order: list[tuple[int, int, Hashable]] = field(default_factory=list)
    """A heap of shares by the turns that they have had, including outdated entries."""


class Turns(Generic[T]):
    """Holds due items, and returns them individually."""

    def __init__(self) -> None:
        self._urgent, self._others = _TurnLane[T](), _TurnLane[T]()
        self._had: dict[Hashable, int] = {}
        """Turns of each share; a new share starts with the turns of the waiting shares."""
        self._least = 0
        """Turns that each waiting share has had at least."""
        self._streak = 0
        """Consecutive urgent turns."""
        self._count = itertools.count()

    def add(self, share: Hashable, item: T) -> None:
        """Queue an item behind those of its share."""
        self._add(self._others, share, item)

    def add_urgent(self, share: Hashable, item: T) -> None:
        """Queue an item behind the urgent items of its share."""
        self._add(self._urgent, share, item)

    def _add(self, lane: _TurnLane[T], share: Hashable, item: T) -> None:
        if share not in self._urgent.items and share not in self._others.items:
            self._had[share] = max(self._had.get(share, 0), self._least)
        if share not in lane.items:
            lane.items[share] = deque()
            self._queue_share(lane, share)
        lane.items[share].append(item)

    def take(self, is_wanted: Callable[[T], bool]) -> T | None:
        """Return the next item; None: nothing is due.

        Args:
            is_wanted: whether an item is still valid; others are dropped, and cost no turn.
        """
        while (lane := self._next_lane()) is not None:
            had, _, share = lane.order[0]
            item = lane.items[share].popleft()
            if not lane.items[share]:
                del lane.items[share]
            if is_wanted(item):
                self._count_turn(lane, share, had)
                return item
        self._had.clear()  # no share waits: all start equal
        self._least = 0
        return None

    def _count_turn(self, lane: _TurnLane[T], share: Hashable, had: int) -> None:
        self._streak = self._streak + 1 if lane is self._urgent else 0
        self._had[share] = had + 1
        for either in (self._urgent, self._others):
            if share in either.items:
                self._queue_share(either, share)

    def _queue_share(self, lane: _TurnLane[T], share: Hashable) -> None:
        heapq.heappush(lane.order, (self._had[share], next(self._count), share))

    def _next_lane(self) -> _TurnLane[T] | None:
        urgent, others = self._turns_of_next(self._urgent), self._turns_of_next(self._others)
        known = [turns for turns in (urgent, others) if turns is not None]
        if not known:
            return None
        self._least = max(self._least, min(known))
        if urgent is None or others is None:
            return self._others if urgent is None else self._urgent
        is_ahead = urgent - others >= MOST_IN_A_ROW or self._streak >= MOST_IN_A_ROW
        return self._others if is_ahead else self._urgent

    def _turns_of_next(self, lane: _TurnLane[T]) -> int | None:
        """Return the turns of the next share of a lane; None: the lane is empty."""
        while lane.order:
            had, _, share = lane.order[0]
            if share in lane.items and self._had[share] == had:
                return had
            heapq.heappop(lane.order)
        return None
