"""A budget of bytes for all answers in flight.

An answer takes its share as it grows, and returns all of it once it is processed. No namespace gets
more than it leaves free: the first has half at most, the next half of the rest, and so on. However
slowly the answers of a namespace progress, the others get memory at once. Waiting answers are
served in order of arrival; an answer whose namespace has its share is passed over. The first bytes
of each answer are free, since the number of threads is limited.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError

MIB = 1 << 20
MOST_ANSWERS_BYTES = 120 * MIB
FREE_ANSWER_BYTES = 128 * 1024
STEP_BYTES = MIB
"""Shares grow in whole steps."""


@dataclass(eq=False)
class _AnswerWaiter:
    owner: str
    amount: int


@dataclass
class AnswerBudget:
    """The budget, shared by all threads."""

    most: int = MOST_ANSWERS_BYTES
    _held: dict[str, int] = field(default_factory=dict)
    """Bytes by namespace, without zeros."""
    _line: deque[_AnswerWaiter] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def held(self) -> int:
        """Bytes held now."""
        with self._changed:
            return sum(self._held.values())

    @contextmanager
    def part(self, owner: str, until: float) -> Iterator["AnswerShare"]:
        """Hold a share, of zero bytes at first.

        Args:
            owner: the namespace.
            until: the deadline of every wait for more, by the monotonic clock.
        """
        share = AnswerShare(self, owner, until)
        try:
            yield share
        finally:
            share.give_back()

    def take(self, owner: str, amount: int, until: float) -> None:
        """Take bytes, after all earlier waiters that can be served.

        Raises:
            BudgetExhaustedError: the budget does not suffice in time.
        """
        waiting = _AnswerWaiter(owner, amount)
        with self._changed:
            self._line.append(waiting)
            try:
                while not self._is_next(waiting):
                    left = until - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        raise BudgetExhaustedError
                self._held[owner] = self._held.get(owner, 0) + amount
            finally:
                self._line.remove(waiting)
                self._changed.notify_all()

    def give_back(self, owner: str, amount: int) -> None:
        """Return bytes to the budget."""
        with self._changed:
            self._held[owner] -= amount
            if not self._held[owner]:
                del self._held[owner]
            self._changed.notify_all()

    def _is_next(self, waiting: _AnswerWaiter) -> bool:
        """Whether this waiter is the first that can be served."""
        free = self.most - sum(self._held.values())
        for earlier in self._line:
            if self._held.get(earlier.owner, 0) + earlier.amount <= free - earlier.amount:
                return earlier is waiting
            if earlier is waiting:
                return False
        return False


@dataclass
class AnswerShare:
    """The share of an answer."""

    budget: AnswerBudget
    owner: str
    until: float
    _held: int = 0

    def grow(self, size: int) -> None:
        """Grow to a total size.

        Raises:
            BudgetExhaustedError: the budget does not suffice in time.
        """
        wanted = -(-max(0, size - FREE_ANSWER_BYTES) // STEP_BYTES) * STEP_BYTES
        if wanted > self._held:
            self.budget.take(self.owner, wanted - self._held, self.until)
            self._held = wanted

    def give_back(self) -> None:
        """Return the whole share."""
        if self._held:
            self.budget.give_back(self.owner, self._held)
            self._held = 0
