"""The database that releases share: which migrations are applied, and what newer ones mean."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from rollback_operator.api.shape import DataKey, Model, Name, cel

MOST_RECORDED_MIGRATIONS = 30
"""Newest migrations that a revision's record names."""
NAME_LENGTH = 128
MigrationName = Annotated[str, Field(max_length=NAME_LENGTH)]


class HistoryPreset(StrEnum):
    """Where the applied migrations are on record."""

    AUTO = "Auto"
    SCHEMA_MIGRATIONS = "SchemaMigrations"


class SchemaResponse(StrEnum):
    """What a finding about the schema leads to."""

    BLOCK = "Block"
    REQUIRE_APPROVAL = "RequireApproval"
    IGNORE = "Ignore"


class ConnectionSecretRef(Model):
    """A Secret in the policy's namespace with a DSN of PostgreSQL."""

    name: Name
    """The Secret's name; the operator must be allowed to read it: the chart's `readSecrets`."""
    key: DataKey = "dsn"
    """The key of the DSN, a URI or key=value pairs of host, port, dbname, user, password, sslmode,
    sslrootcert=system and channel_binding. The operator sets application_name and connect_timeout
    itself; with any other key the DSN is not taken."""


_ONE = "history takes a preset, with the schema if need be, or a query"


class HistorySpec(Model):
    """Where the applied migrations are on record."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel("!has(self.query) || !(has(self.preset) || has(self.schema))", _ONE)
            ]
        }
    )

    preset: HistoryPreset | None = None
    """SchemaMigrations: a table schema_migrations(name, applied_at). Auto, the default: that table
    with name, version, filename or id as its key, with or without applied_at and dirty."""
    schema_name: Annotated[
        str, Field(alias="schema", min_length=1, max_length=63, pattern=r"^[^\x00]+$")
    ] = ""
    """The schema of that table. Default: the first of the role's search path that has it."""
    query: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """One SELECT with a row for each applied migration: a column `name`, and, if they are known,
    a column `applied_at` with time zone."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.query is not None and (self.preset is not None or self.schema_name):
            raise ValueError(_ONE)
        return self


class DatabaseSpec(Model):
    """A PostgreSQL that the target's releases migrate.

    No release goes back by itself onto a schema that is newer than the one it ran on.
    """

    connection_secret_ref: ConnectionSecretRef
    """Its role needs SELECT on the table of migrations and nothing else. The host must be a Service
    of the policy's namespace or on the operator's allow-list."""
    history: HistorySpec = HistorySpec()
    on_newer_schema: SchemaResponse = SchemaResponse.BLOCK
    """When migrations are applied that were not when the target was good. Block: it is not rolled
    back; fix forward, or roll the migrations back first. RequireApproval: a person is asked."""
    on_unknown_schema: SchemaResponse = SchemaResponse.REQUIRE_APPROVAL
    """When that cannot be found out: the database does not answer, there is no record. While a
    person is asked it is looked again; if the answer is good then, nobody needs to decide."""


class AppliedMigrations(Model):
    """The migrations that were applied when a revision was found good."""

    count: Annotated[int, Field(ge=0)]
    names: Annotated[
        list[MigrationName],
        Field(
            max_length=MOST_RECORDED_MIGRATIONS,
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = []
    """The newest of them, the newest last."""
    time: AwareDatetime
