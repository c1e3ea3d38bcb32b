"""Endpoints that a policy names: its database, probes, pod logs and notification channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.api.notify import Channel
from rollback_operator.api.safety import PodCommand
from rollback_operator.api.verification import HttpProbe
from rollback_operator.model.message import Message
from rollback_operator.model.pod import Endpoint
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import DirtySchema, SchemaHistory
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.database.migrations import (
    HalfWay,
    LossReport,
    StatementFault,
    Undone,
)
from rollback_operator.rollback.integrity import Answers
from rollback_operator.rollback.probing import LineCount, Reply, Silence


class Schemas(Protocol):
    """Databases that policies name."""

    async def read(self, namespace: str, database: DatabaseSpec) -> SchemaHistory:
        """Read which migrations are applied, or why that is not known."""

    async def ask(
        self, namespace: str, database: DatabaseSpec, questions: Mapping[str, str]
    ) -> Answers | Missing:
        """Answer SELECT statements, by name, in a read-only transaction.

        Missing: the database was not reached; a QueryFailure is of one statement.
        """


class SchemaChanges(Protocol):
    """Changes of schemas, on behalf of policies that allow them."""

    async def measure(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> LossReport:
        """Measure which data rolling migrations back would lose; changes nothing."""

    async def roll_back(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> Undone | HalfWay | DirtySchema | StatementFault | Missing:
        """Roll migrations back by the policy's SQL: all of them or none.

        Undone also if they were rolled back before. HalfWay: the history is not as planned, and
        nothing was executed. DirtySchema: the migration tool marks the history, and nothing was
        executed. Missing: the database is away or locked, and another try may succeed;
        the connection may have broken after the change.
        """


class Probes(Protocol):
    """HTTP requests to the restored release: to the service's address and to its pods."""

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        """Send a functional probe once, on behalf of a policy of this namespace.

        Silence is final if the address is refused or the Secret of the headers is unavailable.
        """

    async def ask(self, namespace: str, address: str, endpoint: Endpoint) -> Reply:
        """Request a pod's health endpoint at the pod's own address."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Lines to count in the log of a pod's container."""

    namespace: str
    pod: str
    container: str
    since: datetime
    texts: tuple[str, ...]
    """A line counts if it contains any of them."""


class Logs(Protocol):
    """Logs of containers."""

    async def count(self, query: LogQuery) -> LineCount | Silence:
        """Count lines; nothing else of a log is kept."""


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """The end of a command's output, and how it ended."""

    text: str
    fault: str = ""
    """Why it failed; empty: it succeeded."""


class PodTools(Protocol):
    """What a person runs on pods: `kubectl exec` and `kubectl top`."""

    async def run(self, namespace: str, pod: str, command: PodCommand) -> CommandOutput | Failure:
        """Run a command in a container; the caller limits the time."""

    async def memory(self, namespace: str) -> Mapping[str, int] | Failure:
        """Read the memory of the namespace's pods in bytes; UnknownKind: no metrics-server."""


class Channels(Protocol):
    """Notification channels."""

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Send a message by a channel of a policy of that namespace; None: it was accepted.

        Rejected: a repetition fails until somebody changes something. Unavailable: a later try
        may succeed. The failure's text holds no credential and no path, which may be a credential.
        """

    async def obstacle(self, channel: Channel, namespace: str) -> str:
        """State why a channel's Secret is unusable, with the remedy; empty: usable, or unknown."""
