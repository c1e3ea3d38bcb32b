"""What the demo's story needs of the place where it plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from lab.errors import LabError
from lab.loadgen.load import Failure, Summary
from lab.story import Story
from lab.tickets import Operator, Tickets

SOLD = "SELECT count(*) FROM \"{namespace}\".purchases WHERE status = 'completed'"
"""Counts the rows that customers really got; the service keeps them in its namespace's schema."""


class RefusedError(LabError):
    """The demo does not begin, and has changed nothing; says why, and what to do about it."""


class Customers(Protocol):
    """Who buys while the story goes on."""

    def now(self) -> datetime:
        """The time by the clock that their failures are told by."""

    def failures(self) -> list[Failure]:
        """Every failure up to now, in the order in which they saw them."""

    def stop(self) -> Summary:
        """End it, and say what came of it."""


class Stage(Protocol):
    """A cluster with the operator in it, and the ticket service beside it."""

    @property
    def tickets(self) -> Tickets: ...

    @property
    def operator(self) -> Operator: ...

    @property
    def farewell(self) -> str:
        """A sentence on how to look at what stays up, and how to remove it."""

    def prepare(self, story: Story) -> None:
        """Have the cluster, and the operator ready in it.

        Raises:
            RefusedError: it cannot be, and nothing was changed.
            LabError: it cannot be; what was made stays.
        """

    def policy(self, text: str) -> str:
        """Give the policy of a file as it is applied here."""

    def customers(self, rate: float) -> AbstractContextManager[Customers]:
        """Send requests, `rate` a second, through the Service, for the time of a `with` block."""

    def purchases(self) -> int:
        """Rows of completed purchases, counted in the database and not in any metric."""

    def show(self, arguments: Sequence[str]) -> None:
        """Run kubectl, or its plugin, as anybody would who looks; LabError where it fails."""

    def evidence(self) -> Mapping[str, Callable[[], str]]:
        """What to read, by its title, where the demo has failed."""
