"""What has been found out, for a while: so much of it, and nothing of policies that are gone."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SWEEP_SECONDS = 60.0
"""How often it is looked for what has expired, as long as there is anything."""


@dataclass
class Remembered(Generic[K, V]):
    """A dictionary whose entries expire; when it is full the oldest goes."""

    most: int
    clock: Callable[[], float]
    _found: dict[K, tuple[float, V]] = field(default_factory=dict)
    _is_sweeping: bool = False

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: K) -> V | None:
        """Give what is known; None: nothing is."""
        until, found = self._found.get(key, (0.0, None))
        return found if self.clock() < until else None

    def put(self, key: K, value: V, seconds: float) -> None:
        """Remember a value for so long."""
        self._found.pop(key, None)
        while len(self._found) >= self.most:
            del self._found[next(iter(self._found))]
        self._found[key] = self.clock() + seconds, value
        if not self._is_sweeping:
            self._is_sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def forget(self, key: K) -> None:
        """Know it no longer."""
        self._found.pop(key, None)

    def _sweep(self) -> None:
        now = self.clock()
        self._found = {key: one for key, one in self._found.items() if now < one[0]}
        self._is_sweeping = bool(self._found)
        if self._is_sweeping:
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
