"""A dictionary with a size limit whose entries expire."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass
class Remembered(Generic[K, V]):
    """Drops the oldest entry when it is full, and each entry when it expires."""

    most: int
    clock: Callable[[], float]
    _entries: dict[K, tuple[float, V]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return self.clock() < self._entries.get(key, (0.0, None))[0]

    def get(self, key: K) -> V | None:
        """Return a value that has not expired."""
        until, value = self._entries.get(key, (0.0, None))
        return value if self.clock() < until else None

    def put(self, key: K, value: V, seconds: float) -> None:
        """Store a value for so long; a timer drops it, since nobody may ask for it again."""
        self._entries.pop(key, None)
        while len(self._entries) >= self.most:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = entry = self.clock() + seconds, value
        asyncio.get_running_loop().call_later(seconds, self._expire, key, entry)

    def forget(self, key: K) -> None:
        """Drop a value."""
        self._entries.pop(key, None)

    def _expire(self, key: K, entry: tuple[float, V]) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]
