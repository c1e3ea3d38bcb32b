"""Secrets that policies name; only read."""

from collections.abc import Mapping
from typing import Protocol

from rollback_operator.ports.failure import Failure


class Secrets(Protocol):
    """Secrets of a policy's own namespace."""

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read one value of a Secret, fresh: it may have been renewed.

        Gone: there is no such Secret or key. Rejected: no right to read it, or no text. The
        message names Secret and key and never holds a value. Who reads must see to it that the
        value reaches no log, event, status or message.
        """

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read all values of a Secret, by key, as `read` does."""
