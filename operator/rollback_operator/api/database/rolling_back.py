"""Rolling migrations back: what a policy allows, and what a Rollback records of it."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from rollback_operator.api.shape import (
    IMAGE_FORM,
    LINE_FORM,
    DnsLabel,
    Identifier,
    Model,
    Name,
    Rule,
    RuledModel,
    SecretKeyRef,
    keyed_by,
)

MOST_DOWN = 20
"""Migrations that a rollback takes back at most."""
MOST_LOSSES = 32
LONGEST_SQL = 8192
DROP_FORM = r'^[^.\x00-\x1f"]{1,63}(\.[^.\x00-\x1f"]{1,63}){1,2}$'
DownName = Annotated[str, Field(min_length=1, max_length=128, pattern=LINE_FORM)]
Drop = Annotated[str, Field(min_length=3, max_length=191, pattern=DROP_FORM)]


class ReleaseJob(Model):
    """Job that runs a command in a container of a release.

    It runs in the policy's namespace with the environment, volumes and service account of that
    container, once, without retries. List the namespace in the chart value `migrations.namespaces`.
    """

    container: DnsLabel | None = None
    """Container of the release that it copies. Default: the first container."""
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=IMAGE_FORM)] | None = None
    """Image to run instead of the container's, such as an image with pg_dump."""
    command: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ]
    """Command and arguments. Kubernetes replaces $(NAME) by the container's variables; the number
    of migrations to roll back is $(STEPS)."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 600
    """Seconds after which the Job is stopped. Default: 600."""


class MigrationBackup(RuledModel):
    """Backup before migrations are rolled back."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.job) || has(self.required) && !self.required",
            lambda it: it.job is not None or not it.required,
            "job is required: name the Job that backs the database up, or set required to false",
            ".job",
        ),
    )

    required: bool = True
    """Whether no migration is rolled back unless the Job has succeeded. Default: true."""
    job: ReleaseJob | None = None
    """Job that makes the backup, from the image of the bad release unless it names another."""


class MigrationSql(Model):
    """Execution of the SQL that the policy keeps for each migration.

    One transaction runs all of it, removes the rows of the history and compares the history with
    the expected history. It is committed whole or not at all.
    """

    migrations_secret_ref: SecretKeyRef
    """Key of a Secret with the DSN of the role that owns the tables. It must not be the role of
    `connectionSecretRef`, which needs SELECT only."""
    lock_timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """Seconds to wait for each lock, while others wait behind it. Default: 5."""
    timeout_seconds: Annotated[int, Field(ge=1, le=90)] = 60
    """Seconds for all statements together. Roll longer migrations back by a Job. Default: 60."""


class DownMigration(Model):
    """A migration, and how a release gets along without it or with it."""

    name: DownName
    """Name of the migration, as the history has it."""
    sql: (
        Annotated[str, Field(min_length=1, max_length=LONGEST_SQL, pattern=r"^[^\x00]+$")] | None
    ) = None
    """Statements that revert the migration. Statements that control transactions are refused.
    The operator removes the row of the history; with `history.query`, the statements must do it."""
    drops: (
        Annotated[
            list[Drop],
            Field(max_length=MOST_LOSSES, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Tables (schema.table) and columns (schema.table.column) that the rollback of the migration
    drops; an empty list: none. Default: with `sql`, the statements are tried in a transaction that
    is rolled back; otherwise a person is asked."""
    old_release_runs: bool = False
    """Whether a release from before the migration runs on the schema after it, as after an added
    table or nullable column. Default: false."""
    new_release_runs: bool = False
    """Whether the release that brought the migration runs on the schema before it. Default:
    false."""


class RollbackMigrations(RuledModel):
    """How migrations that are newer than the target are rolled back: by a Job, or by SQL.

    Rolling a migration back can lose data. A person is asked before more than `maxRowsLost` values
    are lost, and whenever the loss is not known.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.job) != has(self.sql)",
            lambda it: (it.job is None) != (it.sql is None),
            "set exactly one of job and sql",
        ),
        Rule(
            "has(self.sql) || !has(self.migrations) || self.migrations.all(it, !has(it.sql))",
            lambda it: it.sql is not None or not any(each.sql for each in it.migrations),
            "migrations.sql must not be set together with job, which has its own statements",
            ".migrations",
        ),
    )

    job: ReleaseJob | None = None
    """Job from the image of the bad release, which alone has the files that revert its
    migrations."""
    sql: MigrationSql | None = None
    """Executes `migrations.sql`."""
    migrations: Annotated[
        list[DownMigration], Field(max_length=MOST_DOWN, json_schema_extra=keyed_by("name"))
    ] = []
    """Migrations that are known in advance. SQL rolls back only these."""
    backup: MigrationBackup
    """Backup before the first migration is rolled back."""
    max_rows_lost: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Rows and non-null values that may be lost without asking a person. Default: 0."""
    keep_compatible: bool = True
    """Keeps the newer schema if the target runs on it (`oldReleaseRuns` of all its migrations).
    Default: true. false: the migrations are rolled back after the application."""

    def entry(self, name: str) -> DownMigration:
        """Return what is known of a migration; without an entry, nothing."""
        known = (each for each in self.migrations if each.name == name)
        return next(known, DownMigration(name=name))


class MigrationOrder(StrEnum):
    """Order of application and schema, by which release runs on which schema.

    UndoOnly: the schema stays. UndoFirst: the application, then the schema. MigrateFirst: the
    schema, then the application. TrafficStopped: traffic is stopped, then as MigrateFirst.
    """

    UNDO_ONLY = "UndoOnly"
    UNDO_FIRST = "UndoFirst"
    MIGRATE_FIRST = "MigrateFirst"
    TRAFFIC_STOPPED = "TrafficStopped"


class DataLoss(Model):
    """Data that the rollback of migrations removes from one table."""

    place: Annotated[str, Field(max_length=256)]
    """Table (schema.table) or column (schema.table.column)."""
    how: Annotated[str, Field(max_length=32)] = "dropped"
    """What happens to it: dropped, retyped, rewritten, deleted or updated."""
    values: Annotated[int, Field(ge=0)] = 0
    """Rows of the table, or non-null values of the column."""
    is_estimated: bool = False
    """Whether the number is an estimate of PostgreSQL's statistics, because counting took too
    long or is not permitted."""


Losses = Annotated[
    list[DataLoss],
    Field(max_length=MOST_LOSSES, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
]
DownNames = Annotated[
    list[DownName],
    Field(max_length=MOST_DOWN, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
]


class MigrationRecord(Model):
    """Migrations that a rollback takes back, and how far it has come."""

    names: DownNames
    """Migrations to roll back, the newest first."""
    applied: Annotated[int, Field(ge=0)]
    """Number of migrations that were applied before."""
    order: MigrationOrder
    """Order of application and schema."""
    losses: Losses = []
    """Data that is lost, as measured before."""
    unknown_loss: Annotated[str, Field(max_length=1024)] = ""
    """Why the loss is not known, or not exactly."""
    jobs: Annotated[
        list[Name], Field(max_length=2, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    """Jobs that were created."""
    job_uids: Annotated[
        list[Identifier],
        Field(max_length=2, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = []
    """UIDs of these Jobs: a Job of the same name that another client creates does not count."""
    undone: DownNames = []
    """Migrations that are rolled back, according to the history."""
