"""Reads applied migrations from PostgreSQL: a short connection with a read-only transaction.

The DSN comes from a Secret: only listed keys are accepted, its host is checked and pinned, and no
part of it reaches a message. A read-only transaction prevents accidents, not attacks: the role of
the DSN should have SELECT alone.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from rollback_operator.adapters.http.addresses import Pinned
from rollback_operator.adapters.postgres.relay import HOST, Relay
from rollback_operator.api.checklist import DatabaseSpec, HistoryPreset, HistorySpec
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import MOST_PORT
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.model.samples import Missing
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.schema import Applied, Migration, ordered

DATABASE_CONNECT_SECONDS = 2
STATEMENT_MILLISECONDS = 1500
MOST_MIGRATIONS = 5000
MOST_SENT_BYTES = 4 * 1024 * 1024
"""Bytes that the server may send on a connection."""
LONGEST_COLUMNS = 300
DEFAULT_TABLE = "schema_migrations"
DEFAULT_PORT = 5432
KEYS = frozenset(
    {
        "host",
        "port",
        "dbname",
        "user",
        "password",
        "sslmode",
        "sslrootcert",
        "application_name",
        "channel_binding",
        "connect_timeout",
    }
)
"""Allowed keys of a DSN; others name files, services or options of the operator's machine."""
_NAMES = ("name", "version", "filename", "id")
_FORM = (
    "set a single host, and of the rest only port, dbname, user, password, sslmode, "
    "sslrootcert=system and channel_binding"
)

Pin = Callable[[str, int, str], Awaitable[Pinned | Failure]]


@dataclass(frozen=True, slots=True)
class _Columns:
    schema: str
    names: frozenset[str]


class PostgresSchemas:
    """The Schemas port on a real PostgreSQL."""

    def __init__(self, secrets: Secrets, pin: Pin) -> None:
        self._secrets = secrets
        self._pin = pin

    async def read(self, namespace: str, database: DatabaseSpec) -> Applied | Missing:
        """Read the applied migrations."""
        ref = database.connection_secret_ref
        dsn = await self._secrets.read(namespace, ref.name, ref.key)
        if isinstance(dsn, Failure):
            return _unknown(dsn.message)
        parameters = parameters_of(dsn)
        if parameters is None:
            return _unknown(f"key {ref.key} of Secret {ref.name} is not a valid DSN: {_FORM}")
        port = int(parameters.get("port") or DEFAULT_PORT)
        pinned = await self._pin(parameters["host"], port, namespace)
        if isinstance(pinned, Failure):
            return _unknown(pinned.message)
        relay = Relay(MOST_SENT_BYTES, DATABASE_CONNECT_SECONDS)
        try:
            async with relay.open(pinned.ips, pinned.called_port):
                return await _read(_pinned(parameters, pinned, relay), database.history)
        except psycopg.Error as error:
            return _unknown(f"{pinned}: {_fault_of(relay) or _words(error, parameters)}")
        except OSError as error:
            return _unknown(f"{pinned}: {type(error).__name__}")


def parameters_of(dsn: str) -> dict[str, Any] | None:
    """Parse a DSN; None: it is malformed or has a key that is not allowed."""
    try:
        parameters = {key: value for key, value in conninfo_to_dict(dsn.strip()).items() if value}
    except psycopg.Error:
        return None  # its text quotes the DSN
    host, port = str(parameters.get("host") or ""), str(parameters.get("port") or DEFAULT_PORT)
    is_plain = bool(host) and not {",", "/"} & set(host) and whole(port, MOST_PORT)
    has_own_files = parameters.get("sslrootcert", "system") != "system"
    if not is_plain or has_own_files or not parameters.keys() <= KEYS:
        return None
    return parameters


NO_FILE = "/dev/null/none"
"""A path that cannot exist; for /dev/null itself libpq prints a warning."""


def _pinned(parameters: dict[str, Any], pinned: Pinned, relay: Relay) -> dict[str, Any]:
    """Connect to the pinned addresses by the relay, under the name of the certificate."""
    count = len(pinned.ips)
    return parameters | {
        "host": ",".join([pinned.host] * count),
        "hostaddr": ",".join([HOST] * count),
        "port": ",".join(map(str, relay.ports)),
        "connect_timeout": DATABASE_CONNECT_SECONDS,
        "passfile": NO_FILE,
        "gssencmode": "disable",
        "application_name": "rollback-operator",
    }


async def _read(parameters: dict[str, Any], history: HistorySpec) -> Applied | Missing:
    connection = await psycopg.AsyncConnection.connect(**parameters)
    # Not `async with`, which commits, and waits for a server that does not answer.
    try:
        await connection.set_read_only(True)
        # Not as connection options, which PgBouncer does not forward.
        for setting in (
            f"SET LOCAL statement_timeout = {STATEMENT_MILLISECONDS}",
            "SET LOCAL lock_timeout = 500",
            "SET LOCAL TimeZone = 'UTC'",
        ):
            await connection.execute(setting)
        query = await _query(connection, history)
        return query if isinstance(query, Missing) else await _rows(connection, query)
    finally:
        await connection.close()


async def _query(
    connection: psycopg.AsyncConnection[Any], history: HistorySpec
) -> sql.Composable | Missing:
    if history.query is not None:
        return sql.SQL(history.query.strip().rstrip(";"))
    columns = await _columns(connection, history.schema_name)
    if columns is None:
        where = f"schema {history.schema_name}" if history.schema_name else "the search path"
        return _unknown(f"there is no table {DEFAULT_TABLE} in {where} that the role may read")
    is_exact = history.preset is HistoryPreset.SCHEMA_MIGRATIONS
    key = next((name for name in _NAMES[: 1 if is_exact else None] if name in columns.names), None)
    if key is None or (is_exact and "applied_at" not in columns.names):
        has = ", ".join(sorted(columns.names))[:LONGEST_COLUMNS]
        wants = "name and applied_at" if is_exact else f"one of {', '.join(_NAMES)}"
        return _unknown(
            f"{DEFAULT_TABLE} has the columns {has}, and not {wants}: give history.query"
        )
    table = sql.Identifier(columns.schema, DEFAULT_TABLE)
    if "dirty" in columns.names and not is_exact:
        dirty = await connection.execute(
            sql.SQL("SELECT bool_or(dirty::boolean) FROM {}").format(table)
        )
        if (await dirty.fetchone() or (False,))[0]:
            return _unknown("a migration has failed midway: the history is marked dirty")
    time = sql.SQL("applied_at") if "applied_at" in columns.names else sql.SQL("NULL::timestamptz")
    return sql.SQL("SELECT {}::text AS name, {} AS applied_at FROM {}").format(
        sql.Identifier(key), time, table
    )


async def _columns(connection: psycopg.AsyncConnection[Any], schema: str) -> _Columns | None:
    """Find the table's columns in its schema, or in the first schema of the search path."""
    cursor = await connection.execute(
        "SELECT table_schema::text, column_name::text FROM information_schema.columns"
        " WHERE table_name = %(table)s AND CASE WHEN %(schema)s = '' THEN"
        " table_schema::name = ANY(current_schemas(false)) ELSE table_schema = %(schema)s END"
        " ORDER BY array_position(current_schemas(false), table_schema::name)",
        {"table": DEFAULT_TABLE, "schema": schema},
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    first = rows[0][0]
    return _Columns(first, frozenset(column for schema, column in rows if schema == first))


async def _rows(
    connection: psycopg.AsyncConnection[Any], query: sql.Composable
) -> Applied | Missing:
    # As a subquery in a single statement, so that anything but a SELECT is refused.
    whole = sql.SQL("SELECT * FROM ({}) AS history LIMIT {}").format(query, MOST_MIGRATIONS + 1)
    cursor = await connection.execute(whole, binary=True)
    columns = [column.name for column in cursor.description or ()]
    rows = await cursor.fetchmany(MOST_MIGRATIONS + 1)
    if "name" not in columns:
        has = ", ".join(columns)[:LONGEST_COLUMNS]
        return _unknown(f"history.query gives the columns {has}, and not name")
    if not rows:
        return _unknown("the history is empty: no migration is applied")
    if len(rows) > MOST_MIGRATIONS:
        return _unknown(
            f"the history has more than {MOST_MIGRATIONS} rows: narrow history.query down"
        )
    at = columns.index("applied_at") if "applied_at" in columns else None
    return ordered([_migration(row, columns.index("name"), at) for row in rows])


def _migration(row: Sequence[Any], name: int, at: int | None) -> Migration:
    time = row[at] if at is not None else None
    is_dated = isinstance(time, datetime) and time.tzinfo is not None
    return Migration(str(row[name]), time if is_dated else None)


_KNOWN = (
    ("password authentication failed", "the password or the role of the DSN is wrong"),
    ("no password supplied", "the DSN has no password, and the server requires a password"),
    ("not permitted to log in", "the role of the DSN may not log in"),
    ("connection refused", "the connection was refused"),
    ("timeout", f"it did not answer within {DATABASE_CONNECT_SECONDS} s"),
    ("starting up", "the database is starting up"),
    ("shutting down", "the database is shutting down"),
    ("does not support ssl", "the DSN requires TLS, and the server has none"),
    ("certificate", "the DSN does not accept the certificate of the server"),
    ("too many", "the server accepts no more connections"),
    ("pg_hba.conf", "pg_hba.conf of the server rejects this role or the operator's address"),
    ("does not exist", "the role or the database of the DSN does not exist"),
)


def _fault_of(relay: Relay) -> str:
    """Describe a failure of the relay; empty: there was none."""
    if relay.is_over:
        most = MOST_SENT_BYTES >> 20
        return f"it sends more than {most} MiB: select names and times only in history.query"
    match relay.error:
        case None:
            return ""
        case TimeoutError():
            return f"it did not answer within {DATABASE_CONNECT_SECONDS} s"
        case ConnectionRefusedError():
            return "the connection was refused"
        case error:
            return type(error).__name__


def _words(error: psycopg.Error, parameters: dict[str, Any]) -> str:
    """Describe an error without any part of the DSN."""
    if error.sqlstate is not None and error.diag.message_primary:
        primary = error.diag.message_primary.replace("\n", " ")
        secret = str(parameters.get("password") or "")
        return (primary.replace(secret, "***") if secret else primary)[:300]
    text = str(error).lower()
    known = next((described for part, described in _KNOWN if part in text), None)
    return known or f"the connection has failed ({type(error).__name__})"


def _unknown(message: str) -> Missing:
    return Missing(Reason.SCHEMA_UNKNOWN, message)
