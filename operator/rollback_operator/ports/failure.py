"""A call to a server that did not do what was asked: what that means for the caller."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from rollback_operator.api.user_text.json_text import whole

MOST_RETRY_SECONDS = 300
"""What any server may ask for: one that asks for more is tried again all the same."""
RETRY_SECONDS = 2.0
CONFLICT_SECONDS = 0.2


class FailureKind(StrEnum):
    """What a server's refusal means for the caller."""

    CONFLICT = "Conflict"
    """The object is not as it was read: read again, decide again."""
    EXISTS = "Exists"
    GONE = "Gone"
    UNKNOWN_KIND = "UnknownKind"
    """The cluster has no such kind: its CRD is not installed."""
    REJECTED = "Rejected"
    """It will be refused again: no right, invalid, an admission policy."""
    UNAVAILABLE = "Unavailable"
    """It may work later: time-out, 429, 5xx, no connection."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that did not do what was asked."""

    kind: FailureKind
    message: str
    retry_after: float | None = None

    @property
    def wait(self) -> float:
        """Seconds until another try is of use: what the server asks, or little for a conflict."""
        soon = CONFLICT_SECONDS if self.kind is FailureKind.CONFLICT else RETRY_SECONDS
        return self.retry_after or soon


def asked_wait(after: str | None, date: str | None = None) -> float | None:
    """Read a Retry-After, at most five minutes; None: there is none, or none that can be read.

    Args:
        after: the header: seconds, or a date.
        date: the answer's Date, from which a date is counted.
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
