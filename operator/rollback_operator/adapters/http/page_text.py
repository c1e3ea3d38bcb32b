"""Streams pods' metrics pages, and keeps a bounded number of relevant lines of each.

Until they are parsed, all pages count against a single memory budget, shared between namespaces: a
hundred policies that read pages of a megabyte each do not fill the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError, Holder, Holdings
from rollback_operator.adapters.fairness.slices import Slices
from rollback_operator.adapters.http.outgoing import CHUNK_BYTES
from rollback_operator.evidence.retention import LABEL_BYTES, SERIES_BYTES

MOST_PAGES_BYTES = 24 * 1024 * 1024
"""Of all pages in progress, including the series parsed from them."""


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Bounds of a page."""

    connect_seconds: float = 0.3
    answer_seconds: float = 0.5
    """After a slower answer the time of its counts is too uncertain for a comparison."""
    read_seconds: float = 1.0
    most_bytes: int = 8 * 1024 * 1024
    most_kept_bytes: int = 1024 * 1024
    """Of the lines of the requested counters; others are dropped."""
    most_lines: int = 2000
    """Of the requested counters on a page."""
    most_lines_of_all: int = 8000
    """Of the requested counters on all pages of a read."""
    most_steps: int = 5_000_000
    """RE2 steps for a page: characters of labels times the sizes of the matchers."""


@dataclass
class PageReservation:
    """Memory of the pages of a read."""

    holdings: Holdings
    holder: Holder
    _sizes: dict[str, int] = field(default_factory=dict)
    """Bytes by pod."""

    def hold(self, pod: str, size: int) -> None:
        """Change the size of a pod's page.

        Raises:
            BudgetExhaustedError: the budget does not suffice.
        """
        wanted = {**self._sizes, pod: size}
        if not self.holdings.hold(self.holder, sum(wanted.values())):
            raise BudgetExhaustedError
        self._sizes = wanted

    def end(self) -> None:
        """Return the whole reservation."""
        self.holdings.drop(self.holder)


async def wanted_lines(
    content: aiohttp.StreamReader,
    begins: tuple[bytes, ...],
    limits: PageLimits,
    hold: Callable[[int], None],
) -> str | None:
    """Read the lines with one of these prefixes; None: the page exceeds its bounds.

    Args:
        content: the page.
        begins: the prefixes.
        limits: the bounds.
        hold: reserves memory; raises if the budget does not suffice.

    Raises:
        BudgetExhaustedError: other pages in progress hold the budget.
    """
    kept, rest, size, slices = bytearray(), b"", 0, Slices()
    made = 0
    async for chunk in content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(begins):
                kept += line + b"\n"
                made += SERIES_BYTES + LABEL_BYTES * line.count(b'="')
        if size > limits.most_bytes or len(kept) + len(rest) > limits.most_kept_bytes:
            return None
        hold(len(kept) + len(rest) + made)
        await slices.rest()
    return (kept + rest if rest.startswith(begins) else kept).decode(errors="replace")
