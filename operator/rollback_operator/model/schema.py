"""The schema of a database: what its migration history shows, and how a release relates to it.

Values only. `adapters/postgres` reads a history, `remedies/database/schema` compares it with what
a release knows. The migration tools' tables are data of the adapter.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HistoryForm(StrEnum):
    """What the rows of a history are."""

    LIST = "List"
    """A row for each applied migration."""
    HEAD = "Head"
    """The current heads alone, by names without an order (Alembic)."""
    VERSION = "Version"
    """The current version alone, a number (golang-migrate)."""


@dataclass(frozen=True, slots=True)
class Migration:
    """An applied migration."""

    name: str
    applied: datetime | None = None
    """None: the history has no time, or no time zone."""


@dataclass(frozen=True, slots=True)
class Applied:
    """All applied migrations, the newest last; of a Head or Version, the current state alone."""

    migrations: tuple[Migration, ...]
    form: HistoryForm = HistoryForm.LIST
    tool: str = ""
    """The preset whose columns were recognized; empty: the policy's own query."""


@dataclass(frozen=True, slots=True)
class Compatible:
    """The target has run with all applied migrations, or declares that it can."""

    count: int


@dataclass(frozen=True, slots=True)
class NewerSchema:
    """Migrations that the target does not know."""

    count: int | None
    """None: the history has a head only, so that nobody can count them."""
    names: tuple[str, ...]
    """The newest last; of a history with a head only, the current head or heads."""
    gone: tuple[str, ...] = ()
    """Migrations that the target has run with and that are no longer applied. Of a history with a
    head only: the head or heads that the target knows, which a downgrade would have to reach."""


class DirtyReason(StrEnum):
    """Why a history is in no state to compare."""

    HALF_APPLIED = "HalfApplied"
    """A migration began and did not end."""
    FAILED = "Failed"
    """A migration is recorded as failed."""
    LOCKED = "Locked"
    """A tool migrates now, or died and left its lock."""


@dataclass(frozen=True, slots=True)
class DirtySchema:
    """The migration tool's own mark that the schema is between two states."""

    reason: DirtyReason
    message: str
    names: tuple[str, ...] = ()
    """The migrations concerned, if the tool names them."""


@dataclass(frozen=True, slots=True)
class UnknownSchema:
    """The history could not be read, or not compared."""

    reason: str
    """For people, with the field or the right that is wrong."""


SchemaHistory = Applied | DirtySchema | UnknownSchema
"""What a read of a database gives."""
SchemaAnswer = Compatible | NewerSchema | DirtySchema | UnknownSchema
"""How a database relates to a release."""


@dataclass(frozen=True, slots=True)
class DeclaredSchema:
    """What a release says that it knows, by annotations of its pod template."""

    heads: tuple[str, ...] = ()
    """Newest migrations that it knows (annotation schema-head, or the end of schema-range)."""
    least: str = ""
    """Oldest migration that it needs (the begin of schema-range); empty: not declared."""


UNDECLARED = DeclaredSchema()
