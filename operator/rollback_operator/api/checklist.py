"""What is asked before a rollback: preflight checks, the database schema, a person's approval."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from rollback_operator.api.database.rolling_back import RollbackMigrations
from rollback_operator.api.shape import (
    LINE_FORM,
    TOKEN_FORM,
    DataKey,
    Model,
    Name,
    Rule,
    RuledModel,
    keyed_by,
)
from rollback_operator.api.verification import MOST_CHECKS, CorruptionSpec, IntegrityCheck


class CheckName(StrEnum):
    """Preflight check, listed in execution order."""

    BAD_REVISION = "BadRevision"
    TARGET_KNOWN_GOOD = "TargetKnownGood"
    TARGET_TEMPLATE = "TargetTemplate"
    IMAGES = "Images"
    REFERENCES = "References"
    CONFIGURATION = "Configuration"
    ROOM = "Room"
    CAPACITY = "Capacity"
    NOBODY_ELSE_STEERS = "NobodyElseSteers"
    METRICS_FRESH = "MetricsFresh"
    DATABASE_SCHEMA = "DatabaseSchema"


class CheckResult(StrEnum):
    """Result of a preflight check."""

    PASSED = "Passed"
    FAILED = "Failed"
    WARNED = "Warned"
    SKIPPED = "Skipped"


class Consequence(StrEnum):
    """Effect of a check that did not pass: Proceed, RequireApproval or Block.

    Proceed: the rollback continues. RequireApproval: the rollback waits for a person's approval.
    Block: the rollback ends as Blocked and nothing is changed.
    """

    PROCEED = "Proceed"
    REQUIRE_APPROVAL = "RequireApproval"
    BLOCK = "Block"


class CheckItem(Model):
    """Result of one preflight check."""

    name: CheckName
    """Name of the check."""
    result: CheckResult
    """Passed, Failed, Warned (an issue, or the check could not be completed) or Skipped (not
    applicable)."""
    consequence: Consequence = Consequence.PROCEED
    """Effect on the rollback. Proceed: it continues. RequireApproval: it waits for a person's
    approval. Block: it ends as Blocked and nothing is changed."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Explanation with the evidence."""


class CheckRule(Model):
    """Stricter handling of a warning from one preflight check."""

    name: CheckName
    """Name of the check."""
    on_warned: Consequence
    """Effect when the check results in Warned. Proceed (default): continue. RequireApproval: wait
    for a person's approval. Block: end the rollback. This can only tighten the check's own
    handling; Failed is not affected."""


LEAST_APPROVAL_SECONDS = 10


class ApprovalDecision(StrEnum):
    """Decision on a plan: Approve or Reject."""

    APPROVE = "Approve"
    REJECT = "Reject"


class ApprovalTimeout(StrEnum):
    """Action at the approval deadline: Abandon or Proceed."""

    ABANDON = "Abandon"
    PROCEED = "Proceed"


class Approval(Model):
    """Decision of a person on one plan."""

    decision: ApprovalDecision
    """Approve starts the rollback. Reject ends it with outcome Rejected."""
    by: Annotated[str, Field(min_length=1, max_length=512, pattern=LINE_FORM)]
    """User name of the person, as authenticated by the API server. The chart's admission policy
    rejects any other name; without that policy, approvals are ignored."""
    reason: Annotated[str, Field(max_length=1024)] = ""
    """Reason for the decision, kept for the record. Optional."""
    plan_digest: Annotated[str, Field(min_length=1, max_length=64, pattern=TOKEN_FORM)]
    """Digest of the approved plan, copied from `status.planDigest`. A decision on a different plan
    is ignored."""


class ApprovalSpec(Model):
    """Deadline for approvals and the action when nobody responds."""

    timeout_seconds: Annotated[int, Field(ge=LEAST_APPROVAL_SECONDS, le=604800)] = 3600
    """Seconds to wait for a decision after approval is requested. Default: 3600."""
    on_timeout: ApprovalTimeout = ApprovalTimeout.ABANDON
    """Action when nobody approves or rejects before the deadline. Abandon (default): the rollback
    ends as Abandoned and nothing is changed. Proceed: the rollback continues as if approved. A
    question whether the release is to blame is always abandoned at its deadline."""
    on_timeout_when_down: ApprovalTimeout = ApprovalTimeout.PROCEED
    """Action when nobody answers within 120 seconds whether the release is to blame for a fault
    that began after all old pods had gone. Proceed (default): the rollback continues if more than
    90 % of all requests still fail, the Deployment's strategy keeps pods serving, and the odds that
    the release is to blame are at least 3 : 1. Abandon: it waits for a decision until its
    deadline."""


MOST_RECORDED_MIGRATIONS = 30
"""Maximum number of migrations that the record of a revision names."""
NAME_LENGTH = 128
MigrationName = Annotated[str, Field(max_length=NAME_LENGTH)]


class HistoryPreset(StrEnum):
    """Migration tool whose table records the applied migrations."""

    AUTO = "Auto"
    SCHEMA_MIGRATIONS = "SchemaMigrations"
    NODE_PG_MIGRATE = "NodePgMigrate"
    KNEX = "Knex"
    SEQUELIZE = "Sequelize"
    TYPEORM = "TypeORM"
    PRISMA = "Prisma"
    FLYWAY = "Flyway"
    LIQUIBASE = "Liquibase"
    ALEMBIC = "Alembic"
    DJANGO = "Django"
    GOLANG_MIGRATE = "GolangMigrate"
    GOOSE = "Goose"
    DBMATE = "Dbmate"
    RAILS = "Rails"


class SchemaResponse(StrEnum):
    """Action for a schema check that does not pass: Block, RequireApproval or Ignore."""

    BLOCK = "Block"
    REQUIRE_APPROVAL = "RequireApproval"
    IGNORE = "Ignore"


class NewerSchemaResponse(StrEnum):
    """Action for a newer schema: Block, RequireApproval, RollbackMigrations or Ignore."""

    BLOCK = "Block"
    REQUIRE_APPROVAL = "RequireApproval"
    ROLLBACK_MIGRATIONS = "RollbackMigrations"
    IGNORE = "Ignore"


class ConnectionSecretRef(Model):
    """Secret in the policy's namespace that holds a PostgreSQL DSN."""

    name: Name
    """Name of the Secret. The operator needs read access: list the Secret in the chart value
    `readSecrets`."""
    key: DataKey = "dsn"
    """Key of the DSN in the Secret. Default: dsn. The DSN is a URI or key=value pairs and may set
    host, port, dbname, user, password, sslmode, sslrootcert=system and channel_binding; any other
    parameter is rejected, except application_name and connect_timeout, which the operator
    replaces by its own."""


class HistorySpec(RuledModel):
    """Source of the list of applied migrations: the table of a migration tool, or a query."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.query) || !(has(self.preset) || has(self.schema) || has(self.table))",
            lambda it: it.query is None or not (it.preset or it.schema_name or it.table),
            "query must not be set together with preset, schema or table",
        ),
    )

    preset: HistoryPreset | None = None
    """Migration tool. Auto (default): the tool is recognized by the columns of its table. A named
    tool is checked against the columns of its table. SchemaMigrations: table
    schema_migrations(name, applied_at). Cannot be set with `query`."""
    table: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[^\x00]+$")] | None = None
    """Name of the migrations table if the tool is configured to use another than its default. The
    tool is recognized by the columns. Cannot be set with `query`."""
    schema_name: (
        Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[^\x00]+$")] | None
    ) = Field(default=None, alias="schema")
    """PostgreSQL schema of the migrations table. Default: the first schema in the role's search
    path that contains the table. Cannot be set with `query`."""
    query: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """SELECT statement that returns a row for each applied migration, with a column `name` and an
    optional column `applied_at` (timestamp with time zone). Use it for a tool without a preset."""


class DatabaseSpec(RuledModel):
    """PostgreSQL database that the target's releases migrate.

    The operator does not automatically roll back onto a schema that is newer than the schema of the
    target revision, unless `onNewerSchema` is Ignore or RollbackMigrations.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.rollbackMigrations) == "
            "(has(self.onNewerSchema) && self.onNewerSchema == 'RollbackMigrations')",
            lambda it: (
                (it.rollback_migrations is not None)
                == (it.on_newer_schema is NewerSchemaResponse.ROLLBACK_MIGRATIONS)
            ),
            "rollbackMigrations is required with onNewerSchema RollbackMigrations, and must not be "
            "set otherwise",
        ),
    )

    connection_secret_ref: ConnectionSecretRef
    """Secret with the connection string. The role needs only SELECT on the migrations table, and on
    the lock table of Knex and Liquibase. The host must be a Service in the policy's namespace or be
    listed in the operator's allow-list."""
    history: HistorySpec = HistorySpec()
    """Source of the list of applied migrations. Default: preset Auto."""
    on_newer_schema: NewerSchemaResponse = NewerSchemaResponse.BLOCK
    """Action when migrations were applied that the target revision does not know. Block (default):
    no rollback; fix forward, or revert the migrations first. RequireApproval: wait for a person's
    approval. RollbackMigrations: roll them back as `rollbackMigrations` allows. Ignore:
    continue."""
    rollback_migrations: RollbackMigrations | None = None
    """How newer migrations are rolled back, for `onNewerSchema: RollbackMigrations`."""
    integrity_checks: Annotated[
        list[IntegrityCheck], Field(max_length=MOST_CHECKS, json_schema_extra=keyed_by("name"))
    ] = []
    """Queries that show whether the data is intact. After a rollback, all of them must pass before
    it is Verified. A matrix condition with signal: Integrity also evaluates them while a release is
    watched. Default: none."""
    on_corruption: CorruptionSpec | None = None
    """Handling of a release that damages data. `stopTraffic` also applies while migrations are
    rolled back that neither release runs without. Default: as any other fault, without a stop of
    the traffic."""
    on_unknown_schema: SchemaResponse = SchemaResponse.REQUIRE_APPROVAL
    """Action when the schema cannot be compared, because the database does not respond or no record
    exists, or when the migration tool marks a migration as failed, incomplete or in progress.
    Block: no rollback. RequireApproval (default): wait for a person's approval; the check is
    repeated meanwhile, and approval is no longer needed if it passes. Ignore: continue; a marked
    migration still requires approval, unless `onNewerSchema` is Ignore too."""


class AppliedMigrations(Model):
    """Migrations that were applied when the revision was recorded as good."""

    count: Annotated[int, Field(ge=0)]
    """Total number of applied migrations."""
    names: Annotated[
        list[MigrationName],
        Field(
            max_length=MOST_RECORDED_MIGRATIONS,
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = []
    """Names of the most recent migrations, at most 30, newest last."""
    time: AwareDatetime
    """Time of the reading."""
