"""What is asked of the application itself: its answers, its logs, its database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.verification import HttpProbe
from rollback_operator.model.pod import Endpoint
from rollback_operator.model.samples import Missing
from rollback_operator.remedies.schema import Applied
from rollback_operator.rollback.probing import LineCount, Reply, Silence


class Schemas(Protocol):
    """The databases that policies name."""

    async def read(self, namespace: str, database: DatabaseSpec) -> Applied | Missing:
        """Read which migrations are applied; Missing tells why that is not known."""


class Probes(Protocol):
    """Who answers for the restored release: the service under its address, and its pods."""

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        """Send a functional probe once, as a policy of this namespace may have it sent.

        Silence is final where the address is refused or the headers' Secret cannot be had.
        """

    async def ask(self, namespace: str, address: str, endpoint: Endpoint) -> Reply:
        """Ask a pod at its own address whether it is healthy."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines of which pod's log."""

    namespace: str
    pod: str
    container: str
    since: datetime
    texts: tuple[str, ...]
    """A line counts if it holds one of them."""


class Logs(Protocol):
    """The containers' logs."""

    async def count(self, query: LogQuery) -> LineCount | Silence:
        """Count lines; nothing else of a log is kept."""
