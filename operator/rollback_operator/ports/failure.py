"""A failed call to a server, classified by what the caller may do next."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from rollback_operator.api.user_text.json_text import whole

MOST_RETRY_SECONDS = 300
"""Longest Retry-After that is honoured; longer times are shortened to it."""
RETRY_SECONDS = 2.0
CONFLICT_SECONDS = 0.2


class FailureKind(StrEnum):
    """Classes of failure."""

    CONFLICT = "Conflict"
    """The object has changed since it was read: read again, decide again."""
    EXISTS = "Exists"
    GONE = "Gone"
    UNKNOWN_KIND = "UnknownKind"
    """The cluster has no such kind: its CRD is not installed."""
    REJECTED = "Rejected"
    """A repetition fails too: no right, invalid, an admission policy."""
    UNAVAILABLE = "Unavailable"
    """A later try may succeed: time-out, 429, 5xx, no connection."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed."""

    kind: FailureKind
    message: str
    retry_after: float | None = None

    @property
    def wait(self) -> float:
        """Seconds until the next try: as the server asks, else a short time for a conflict."""
        soon = CONFLICT_SECONDS if self.kind is FailureKind.CONFLICT else RETRY_SECONDS
        return self.retry_after or soon


def asked_wait(after: str | None, date: str | None = None) -> float | None:
    """Parse a Retry-After, at most five minutes; None: absent or malformed.

    Args:
        after: the header: seconds, or a date.
        date: the response's Date, the reference for a Retry-After that is a date.
    """
    text = (after or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = whole(text, MOST_RETRY_SECONDS)
        return float(MOST_RETRY_SECONDS if seconds is None else seconds)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(date or "")
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return min(max(wait.total_seconds(), 0.0), float(MOST_RETRY_SECONDS))
