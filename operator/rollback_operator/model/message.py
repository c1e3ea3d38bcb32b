"""What people are told of an incident, in parts: whoever sends it gives them their form."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MOST_IMAGES_NAMED = 4


class IncidentStage(StrEnum):
    """How an incident stands."""

    OPEN = "Open"
    """Being dealt with, or over without success: somebody may have to look."""
    WAITING = "Waiting"
    """Nothing goes on until somebody decides."""
    RESOLVED = "Resolved"


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of the timeline."""

    time: datetime
    text: str


@dataclass(frozen=True, slots=True)
class RevisionLabel:
    """A revision as people know it."""

    revision: int
    images: tuple[str, ...]

    def __str__(self) -> str:
        more = [f"and {len(self.images) - MOST_IMAGES_NAMED} more"] * (
            len(self.images) > MOST_IMAGES_NAMED
        )
        return f"revision {self.revision} ({', '.join([*self.images[:MOST_IMAGES_NAMED], *more])})"


@dataclass(frozen=True, slots=True)
class Message:
    """What is told."""

    id: str
    """Of the object and the transition; the channel is added where it is sent."""
    incident: str
    """The same in all messages of one incident."""
    source: str
    """Path of the object that it is about, in the API."""
    transition: str
    stage: IncidentStage
    subject: str
    status: str
    service: str
    namespace: str
    deployment: str
    policy: str
    severity: str
    before: RevisionLabel | None
    """The release at fault."""
    after: str
    """What is gone back to, or done instead."""
    reason: str
    counts: str
    impact: str
    checks: tuple[str, ...]
    """What was looked at before the act and after it, one line each."""
    timeline: tuple[Moment, ...]
    next_steps: tuple[str, ...]
    commands: tuple[str, ...]
    contact: str
    begun: datetime
    time: datetime
