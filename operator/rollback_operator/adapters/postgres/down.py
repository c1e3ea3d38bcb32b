"""Rolls migrations back by SQL on PostgreSQL, and measures before what that would lose.

The statements come from the policy, the role from a Secret of its own: never the role that reads
the history. All is done in a process of its own (`undoing`).
"""

import sys
from typing import Any

from pydantic import BaseModel, ValidationError

from rollback_operator.adapters.fairness.gates import PacedGate
from rollback_operator.adapters.http.addresses import Pinned
from rollback_operator.adapters.postgres import undoing
from rollback_operator.adapters.postgres.database import (
    DEFAULT_PORT,
    EACH,
    MOST_SENT_BYTES,
    Pin,
    answer_of,
    dirty_schema,
    fault_of,
    parameters_of,
    relayed,
    system_fault,
)
from rollback_operator.adapters.postgres.reader import CONNECT_SECONDS, HistorySource
from rollback_operator.adapters.postgres.relay import Relay
from rollback_operator.api.checklist import DatabaseSpec, HistoryPreset
from rollback_operator.api.database.rolling_back import (
    DataLoss,
    MigrationRecord,
    MigrationSql,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import DirtyReason, DirtySchema
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.database.migrations import (
    HalfWay,
    LossReport,
    StatementFault,
    Undone,
)

TRY_SECONDS, TRY_LOCK_SECONDS = 10, 2
"""For the statements that are only tried, and for each of their locks."""
CHANGING_AT_ONCE = 2
"""Processes that try or execute statements, in total: with fewer, a namespace whose statements last
for as long as they may would make all others wait."""
_COMMAND = (sys.executable, "-m", undoing.__name__)
_SQL = "database.rollbackMigrations.sql"


class _UndoResult(BaseModel, extra="forbid"):
    """The outcome of the process."""

    losses: list[tuple[str, str, int, bool]] = []
    unknown: str = ""
    undone: list[str] = []
    left: list[str] = []
    count: int = 0
    dirty: DirtyReason | None = None
    names: list[str] = []
    tool: str = ""


class _UndoAnswer(BaseModel, extra="forbid"):
    """Exactly one of the three."""

    result: _UndoResult | None = None
    fault: str = ""
    missing: str = ""


class PostgresChanges:
    """The SchemaChanges port on a real PostgreSQL."""

    def __init__(self, secrets: Secrets, pin: Pin, try_seconds: int = TRY_SECONDS) -> None:
        self._secrets = secrets
        self._pin = pin
        self._try_seconds = try_seconds
        self._gate = PacedGate(CHANGING_AT_ONCE, EACH)

    async def measure(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> LossReport:
        """Count what is declared, or try the statements in a transaction that is rolled back."""
        allowed = database.rollback_migrations
        assert allowed is not None  # by the rules of the model
        undeclared, unknown = migrations.undeclared(database, record), ""
        task = {"task": "count", "places": migrations.declared(database, record)}
        if undeclared and allowed.sql is None:
            unknown = (
                f"what the rollback of {', '.join(undeclared)} drops is not declared "
                "(rollbackMigrations.migrations.drops)"
            )
        elif undeclared:
            task = {"task": "try"}
        limits = {"seconds": self._try_seconds, "lock": TRY_LOCK_SECONDS}
        answer = await self._ask(namespace, database, record, {**task, **limits})
        match answer:
            case StatementFault(message):
                return LossReport(fault=message)
            case Missing(message=message):
                return LossReport(unknown="; ".join(filter(None, (unknown, message))))
        losses = tuple(
            DataLoss(place=clipped(place, 256), how=how, values=values, is_estimated=estimated)
            for place, how, values, estimated in answer.losses
        )
        return LossReport(losses, "; ".join(filter(None, (unknown, answer.unknown))))

    async def roll_back(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> Undone | HalfWay | DirtySchema | StatementFault | Missing:
        """Execute the statements of all migrations in one transaction."""
        limits = _sql_of(database)
        task = {
            "task": "undo",
            "seconds": limits.timeout_seconds,
            "lock": limits.lock_timeout_seconds,
        }
        answer = await self._ask(namespace, database, record, task)
        if not isinstance(answer, _UndoResult):
            return answer
        if answer.dirty is not None:
            return dirty_schema(answer.dirty, answer.names, answer.tool)
        is_undone = not answer.left and answer.count == record.applied - len(record.names)
        if is_undone:
            return Undone()
        return HalfWay(tuple(answer.undone), tuple(answer.left), answer.count)

    async def _ask(
        self,
        namespace: str,
        database: DatabaseSpec,
        record: MigrationRecord,
        task: dict[str, Any],
    ) -> _UndoResult | StatementFault | Missing:
        parameters = await self._parameters(namespace, database)
        if not isinstance(parameters, dict):
            return parameters
        port = int(parameters.get("port") or DEFAULT_PORT)
        pinned = await self._pin(parameters["host"], port, namespace)
        if isinstance(pinned, Failure):
            return _missing(pinned.message)
        allowed = database.rollback_migrations
        assert allowed is not None
        request = {
            "history": HistorySource(
                query=database.history.query,
                preset=database.history.preset or HistoryPreset.AUTO,
                schema=database.history.schema_name or "",
                table=database.history.table or "",
            ),
            "names": list(record.names),
            "sql": [allowed.entry(name).sql or "" for name in record.names],
            "applied": record.applied,
            "places": [],
            **task,
        }
        async with self._gate.turn(namespace):
            return await _answered(parameters, pinned, request)

    async def _parameters(
        self, namespace: str, database: DatabaseSpec
    ) -> dict[str, Any] | StatementFault | Missing:
        """Read the DSN of the role for changes, or, where a Job makes them, of the reading role."""
        ref = database.connection_secret_ref
        reading = await self._dsn(namespace, ref.name, ref.key)
        allowed = database.rollback_migrations
        if not isinstance(reading, dict) or allowed is None or allowed.sql is None:
            return reading
        own = allowed.sql.migrations_secret_ref
        changing = await self._dsn(namespace, own.name, own.key)
        if not isinstance(changing, dict):
            return changing
        if changing.get("user") == reading.get("user"):
            return StatementFault(
                f"{_SQL}.migrationsSecretRef names the role of connectionSecretRef, which only "
                "reads: give it a role of its own"
            )
        if changing.get("dbname") != reading.get("dbname"):
            return StatementFault(
                f"{_SQL}.migrationsSecretRef names another database than connectionSecretRef: its "
                "history was not compared"
            )
        return changing

    async def _dsn(self, namespace: str, name: str, key: str) -> dict[str, Any] | Missing:
        dsn = await self._secrets.read(namespace, name, key)
        if isinstance(dsn, Failure):
            return _missing(dsn.message)
        parameters = parameters_of(dsn)
        if parameters is None:
            return _missing(f"key {key} of Secret {name} is not a valid DSN")
        return parameters


async def _answered(
    parameters: dict[str, Any], pinned: Pinned, request: dict[str, Any]
) -> _UndoResult | StatementFault | Missing:
    relay = Relay(MOST_SENT_BYTES, CONNECT_SECONDS)
    try:
        async with relay.open(pinned.ips, pinned.called_port):
            connection = relayed(parameters, pinned, relay)
            answer = await answer_of(_COMMAND, {"parameters": connection, **request})
    except OSError as error:
        return _missing(f"{pinned}: {system_fault(error)}")
    text, status = answer or (b"", 0)
    try:
        parsed = _UndoAnswer.model_validate_json(text)
    except ValidationError:
        parsed = _UndoAnswer()
    if parsed.result is not None:
        return parsed.result
    if parsed.fault:
        return StatementFault(parsed.fault)
    ended = f"the process for it ended without an answer ({status})"
    return _missing(f"{pinned}: {fault_of(relay) or parsed.missing or ended}")


def _sql_of(database: DatabaseSpec) -> MigrationSql:
    allowed = database.rollback_migrations
    assert allowed is not None
    assert allowed.sql is not None  # or a Job does it
    return allowed.sql


def _missing(message: str) -> Missing:
    return Missing(Reason.SCHEMA_UNKNOWN, message)
