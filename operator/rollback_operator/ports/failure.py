"""A call to a server that did not do what was asked: what that means for the caller."""

from dataclasses import dataclass
from enum import StrEnum

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
