"""A memory budget for data of many holders, shared between namespaces.

Each watch, list or page is bounded, but their number is not. No namespace holds more than it leaves
free: the first has half at most, the next half of the rest, and so on.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

MIB = 1 << 20
MOST_WATCHED_BYTES = 96 * MIB
"""Of all watches."""
FREE_HOLDING_BYTES = 512 * 1024
"""Free per watch; most watches need less."""

Holder = tuple[str, Hashable]
"""A namespace, and a key within it."""


class BudgetExhaustedError(Exception):
    """The answers in flight hold the budget, and none ended in time."""


@dataclass
class Holdings:
    """Bytes of each holder beyond its free bytes."""

    most: int = MOST_WATCHED_BYTES
    free: int = FREE_HOLDING_BYTES
    _held: dict[Holder, int] = field(default_factory=dict)

    def hold(self, holder: Holder, size: int) -> bool:
        """Change a holder's size; False: the budget does not suffice, and nothing changes."""
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
        """Release a holder's bytes."""
        self._held.pop(holder, None)
