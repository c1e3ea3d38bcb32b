"""What many hold together of what they were answered: one budget, shared by namespace.

A watch bounds what it keeps, but there may be many of them; so it is with the lists and the pages
that are being read. No namespace holds more than it leaves
free: the first has half at most, the next a half of the rest, and so on.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

MIB = 1 << 20
MOST_WATCHED_BYTES = 96 * MIB
"""Of all watches."""
FREE_HOLDING_BYTES = 512 * 1024
"""So much of each watch is free: most keep less."""

Holder = tuple[str, Hashable]
"""A namespace, and what is told apart in it."""


class BudgetExhaustedError(Exception):
    """The answers in flight hold the budget; none of them ended in time."""


@dataclass
class Holdings:
    """How many bytes each holder keeps beyond what is free."""

    most: int = MOST_WATCHED_BYTES
    free: int = FREE_HOLDING_BYTES
    _held: dict[Holder, int] = field(default_factory=dict)

    def hold(self, holder: Holder, size: int) -> bool:
        """Keep so much in place of what was kept; False: that is too much, and nothing changes."""
        wanted, known = max(0, size - self.free), self._held.get(holder, 0)
        if wanted > known:
            left = self.most - sum(self._held.values()) + known - wanted
            of_namespace = sum(
                held for (namespace, _), held in self._held.items() if namespace == holder[0]
            )
            if of_namespace - known + wanted > left:
                return False
        self._held[holder] = wanted
        if not wanted:
            del self._held[holder]
        return True

    def drop(self, holder: Holder) -> None:
        """Keep nothing for a holder any more."""
        self._held.pop(holder, None)
