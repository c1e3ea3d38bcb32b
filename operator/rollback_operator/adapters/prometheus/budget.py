"""One budget of bytes for all answers that are in flight, whoever asks.

An answer takes its part as it grows, and gives all of it back when nothing of it is held any more.
No namespace gets more than it leaves free: the first has half at most, the next a half of the rest,
and so on. However slowly what some hold goes on, others find room at once, without waiting for an
end. Who waits for its part is served in the order in which it came, past those who have enough. The
first bytes of each answer are free: there are only so many threads.
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
"""Parts are taken in whole steps."""


@dataclass(eq=False)
class _AnswerWaiter:
    owner: str
    amount: int


@dataclass
class AnswerBudget:
    """What is left for answers, for all threads."""

    most: int = MOST_ANSWERS_BYTES
    _held: dict[str, int] = field(default_factory=dict)
    """By namespace; none that holds nothing."""
    _line: deque[_AnswerWaiter] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def held(self) -> int:
        """How many bytes are held now."""
        with self._changed:
            return sum(self._held.values())

    @contextmanager
    def part(self, owner: str, until: float) -> Iterator["AnswerShare"]:
        """Hold a part of it, of no bytes at first.

        Args:
            owner: for which namespace.
            until: when waiting for more ends, by the monotonic clock.
        """
        found = AnswerShare(self, owner, until)
        try:
            yield found
        finally:
            found.give_back()

    def take(self, owner: str, amount: int, until: float) -> None:
        """Take bytes, after all who have waited longer and can be served.

        Raises:
            BudgetExhaustedError: there is not enough in time.
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
        """Let others have them."""
        with self._changed:
            self._held[owner] -= amount
            if not self._held[owner]:
                del self._held[owner]
            self._changed.notify_all()

    def _is_next(self, waiting: _AnswerWaiter) -> bool:
        """Tell whether it is this one's turn: those before it come first, if they can be served."""
        free = self.most - sum(self._held.values())
        for one in self._line:
            if self._held.get(one.owner, 0) + one.amount <= free - one.amount:
                return one is waiting
            if one is waiting:
                return False
        return False


@dataclass
class AnswerShare:
    """What one answer holds."""

    budget: AnswerBudget
    owner: str
    until: float
    _held: int = 0

    def grow(self, size: int) -> None:
        """Hold enough for so many bytes in all.

        Raises:
            BudgetExhaustedError: there is not enough in time.
        """
        wanted = -(-max(0, size - FREE_ANSWER_BYTES) // STEP_BYTES) * STEP_BYTES
        if wanted > self._held:
            self.budget.take(self.owner, wanted - self._held, self.until)
            self._held = wanted

    def give_back(self) -> None:
        """Hold nothing any more."""
        if self._held:
            self.budget.give_back(self.owner, self._held)
            self._held = 0
