"""Jobs that run a command in a container of a release."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rollback_operator.ports.failure import Failure


@dataclass(frozen=True, slots=True)
class JobOwner:
    """Object of our own group with which a Job is deleted."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class JobOrder:
    """A Job to create."""

    namespace: str
    name: str
    owner: JobOwner
    replica_set: str
    """Its template gives image, environment, volumes and account."""
    template: str
    """Digest of that template, as planned."""
    container: str | None
    """None: the first."""
    image: str | None
    """None: that of the container."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """Variables that the command may name as $(NAME), in addition to the container's."""
    seconds: int
    """Time limit."""


class JobPhase(StrEnum):
    """State of a Job."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobState:
    """A Job as read."""

    owner_uid: str
    phase: JobPhase
    message: str = ""
    """Why it failed, in the words of Kubernetes."""
    uid: str = ""


class Jobs(Protocol):
    """Jobs of our own. Gone: there is none. Rejected: no right, or refused by admission."""

    async def create(self, order: JobOrder) -> JobState | Failure:
        """Create a Job. Exists: there is a Job of that name. Gone: there is no such ReplicaSet.

        Rejected also if the ReplicaSet has another template than planned.
        """

    async def adopt(self, order: JobOrder) -> JobState | Failure:
        """Read the Job of an order whose answer was lost. Gone: there is none.

        Rejected: another client made it, since it differs from what the order would create.
        """

    async def look(self, namespace: str, name: str) -> JobState | Failure:
        """Read a Job without a cache."""
