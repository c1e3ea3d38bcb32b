"""The text of pods' pages as it comes: of each only the lines that are wanted, and not too many.

What the pages of a look take until they are parsed counts against one budget for all looks, shared
by namespace: a hundred policies that read pages of a megabyte each do not fill the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError, Holder, Holdings
from rollback_operator.adapters.fairness.slices import Slices
from rollback_operator.adapters.http.outgoing import CHUNK_BYTES
from rollback_operator.evidence.retention import LABEL_BYTES, SERIES_BYTES

MOST_PAGES_BYTES = 24 * 1024 * 1024
"""Of all pages that are being read, with what is made of their lines."""


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How long a page may take and how much of it is read."""

    connect_seconds: float = 0.3
    answer_seconds: float = 0.5
    """When a pod that takes longer has counted what it shows is too uncertain for a comparison."""
    read_seconds: float = 1.0
    most_bytes: int = 8 * 1024 * 1024
    most_kept_bytes: int = 1024 * 1024
    """Of a page only the lines of the wanted counters are held."""
    most_lines: int = 2000
    """Of the wanted counters on one page."""
    most_lines_of_all: int = 8000
    """... and on all pages of one look."""
    most_steps: int = 5_000_000
    """Of RE2 over one page: characters of labels times the sizes of the matchers."""


@dataclass
class PageReservation:
    """What the pages of one look take."""

    holdings: Holdings
    holder: Holder
    _sizes: dict[str, int] = field(default_factory=dict)
    """By pod."""

    def hold(self, pod: str, size: int) -> None:
        """Count so much for a pod's page, in place of what was counted.

        Raises:
            BudgetExhaustedError: there is no room for it.
        """
        wanted = {**self._sizes, pod: size}
        if not self.holdings.hold(self.holder, sum(wanted.values())):
            raise BudgetExhaustedError
        self._sizes = wanted

    def end(self) -> None:
        """Let others have the room."""
        self.holdings.drop(self.holder)


async def wanted_lines(
    content: aiohttp.StreamReader,
    begins: tuple[bytes, ...],
    limits: PageLimits,
    hold: Callable[[int], None],
) -> str | None:
    """Read the lines that begin so; None: there is too much of it.

    Args:
        content: the page.
        begins: how a wanted line begins.
        limits: of the page.
        hold: told how much memory it takes; raises where there is none.

    Raises:
        BudgetExhaustedError: other pages that are being read leave no room for it.
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
