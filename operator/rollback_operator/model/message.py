"""Kubernetes Events and incident messages as values; channels and adapters render them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rollback_operator.api.reasons import EventReason
from rollback_operator.api.v1alpha1 import (
    Severity,
)

MOST_IMAGES_NAMED = 4


class IncidentStage(StrEnum):
    """State of an incident."""

    OPEN = "Open"
    """In progress, or ended without success: a person may have to investigate."""
    WAITING = "Waiting"
    """Blocked until a person decides."""
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
    """Message about an incident."""

    id: str
    """From the object and the transition; the sender adds the channel."""
    incident: str
    """Equal in all messages of one incident."""
    source: str
    """Path of its object in the API."""
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
    """The rollback target, or the action instead."""
    reason: str
    counts: str
    impact: str
    checks: tuple[str, ...]
    """Checks before and after the act, one line each."""
    timeline: tuple[Moment, ...]
    next_steps: tuple[str, ...]
    commands: tuple[str, ...]
    contact: str
    begun: datetime
    time: datetime
    kind: str = "Deployment"
    """Of the target, as people call it."""


@dataclass(frozen=True, slots=True)
class RelatedDeployment:
    """Deployment that an Event of a policy concerns."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to post."""

    reason: EventReason
    message: str
    is_warning: bool = False
    is_told_elsewhere: bool = False
    """The end of a Rollback reports it."""
    severity: Severity | None = None
    """None: the severity in the policy's status."""
    cause: str = ""
    """For a lasting state: the Event repeats for another cause, or much later."""
    deployment: RelatedDeployment | None = None
    """Deployment on which the Event is posted as well."""
    occurrence: str = ""
    """Identity of what it reports, if that is reported once, whichever replica posts it."""

    @property
    def is_for_people(self) -> bool:
        """Return whether a person has to investigate, and no Rollback reports it."""
        is_asked = self.reason in FOR_PEOPLE or self.severity is not None
        return is_asked and not self.is_told_elsewhere


FOR_PEOPLE = frozenset(
    {
        EventReason.ROLLBACK_REFUSED,
        EventReason.INVESTIGATION_NEEDED,
        EventReason.FIX_FORWARD_ADVISED,
        EventReason.RELEASE_CAME_BACK,
    }
)
