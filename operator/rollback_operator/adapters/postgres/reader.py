"""A process of its own that reads applied migrations from one PostgreSQL.

libpq and psycopg process what a tenant's server sends, in C: a forged array header ends the process
that reads it, and a high SCRAM iteration count occupies it for minutes. Here both end this process
alone. It gets one request on stdin, limits its own CPU time, memory and duration, connects to the
operator's relay only, and writes one answer to stdout.

    {"parameters": {...}, "history": {"query", "preset", "schema"}} ->
    {"migrations": [[name, time or null], ...]}, {"missing": message} or {"error": message}
    {"parameters": {...}, "questions": {name: SELECT}} ->
    {"answers": {name: {"rows": [JSON, ...]} or {"error": message}}} or {"error": message}
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Required, TypedDict

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rollback_operator.adapters.postgres.questioning import Rows, answered

CONNECT_SECONDS = 2
STATEMENT_MILLISECONDS = 1500
CPU_SECONDS = 2
READER_SECONDS = 10
MOST_MEMORY_BYTES = 64 * 1024 * 1024
"""Private memory of this process; a history of the largest permitted size takes a third."""
MOST_MIGRATIONS = 5000
LONGEST_MIGRATION = 1024
LONGEST_COLUMNS = 300
DEFAULT_TABLE = "schema_migrations"
_NAMES = ("name", "version", "filename", "id")
_END_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


class HistorySource(TypedDict):
    """Where the applied migrations stand."""

    query: str | None
    preset: Literal["SchemaMigrations", "Auto"] | str
    schema: str


class ReaderQuestion(TypedDict, total=False):
    """Either the history, or SELECT statements by name."""

    history: HistorySource
    questions: Mapping[str, str]


class ReadRequest(ReaderQuestion):
    """Parameters of the connection, and what is asked."""

    parameters: Required[Mapping[str, str | int]]


class ReadAnswer(TypedDict, total=False):
    """One of the four."""

    answers: Mapping[str, Rows]
    migrations: Sequence[tuple[str, str | None]]
    missing: str
    error: str


class _NoHistoryError(Exception):
    """The server answers, and the answer is no history; the text says why."""


@dataclass(frozen=True, slots=True)
class _TableColumns:
    schema: str
    names: frozenset[str]


def main() -> None:
    """Answer the request on stdin."""
    _limit()
    request: ReadRequest = json.load(sys.stdin.buffer)
    sys.stdout.write(json.dumps(answer(request)) + "\n")


def _limit() -> None:
    """Limit what a server can take: beyond it the kernel ends this process."""
    ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The soft limit's signal says why it ended; the hard limit ends it in any case.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    signal.alarm(READER_SECONDS)  # without a handler: it also ends C code that never returns


def answer(request: ReadRequest) -> ReadAnswer:
    """Read the history, or answer the questions."""
    try:
        with _opened(request["parameters"]) as connection:
            if "history" in request:
                query = _query(connection, request["history"])
                return {"migrations": _rows(connection, query)}
            secret = str(request["parameters"].get("password") or "")
            return {
                "answers": {
                    name: answered(connection, text, lambda error: described(error, secret))
                    for name, text in request["questions"].items()
                }
            }
    except _NoHistoryError as error:
        return {"missing": str(error)}
    except psycopg.Error as error:
        return {"error": described(error, str(request["parameters"].get("password") or ""))}
    except MemoryError:
        most = MOST_MEMORY_BYTES >> 20
        return {"error": f"its answer takes more than {most} MiB of memory: narrow the query"}
    except Exception as error:  # psycopg's loaders raise whatever the bytes lead to
        return {"error": f"its answer cannot be decoded ({type(error).__name__})"}


@contextmanager
def _opened(parameters: Mapping[str, str | int]) -> Iterator[psycopg.Connection[Any]]:
    given: dict[str, Any] = dict(parameters)
    connection = psycopg.Connection.connect(make_conninfo(**given))
    # Not `with`, which commits, and waits for a server that does not answer.
    try:
        connection.read_only = True
        # Not as connection options, which PgBouncer does not forward.
        for setting in (
            f"SET LOCAL statement_timeout = {STATEMENT_MILLISECONDS}",
            "SET LOCAL lock_timeout = 500",
            "SET LOCAL TimeZone = 'UTC'",
        ):
            connection.execute(setting)
        yield connection
    finally:
        connection.close()


def _query(connection: psycopg.Connection[Any], history: HistorySource) -> sql.Composable:
    if history["query"] is not None:
        return sql.SQL(history["query"].strip().rstrip(";"))
    columns = _columns(connection, history["schema"])
    if columns is None:
        where = f"schema {history['schema']}" if history["schema"] else "the search path"
        raise _NoHistoryError(
            f"there is no table {DEFAULT_TABLE} in {where} that the role may read"
        )
    is_exact = history["preset"] == "SchemaMigrations"
    key = next((name for name in _NAMES[: 1 if is_exact else None] if name in columns.names), None)
    if key is None or (is_exact and "applied_at" not in columns.names):
        has = ", ".join(sorted(columns.names))[:LONGEST_COLUMNS]
        wants = "name and applied_at" if is_exact else f"one of {', '.join(_NAMES)}"
        raise _NoHistoryError(
            f"{DEFAULT_TABLE} has the columns {has}, and not {wants}: give history.query"
        )
    table = sql.Identifier(columns.schema, DEFAULT_TABLE)
    if "dirty" in columns.names and not is_exact:
        dirty = connection.execute(sql.SQL("SELECT bool_or(dirty::boolean) FROM {}").format(table))
        if (dirty.fetchone() or (False,))[0]:
            raise _NoHistoryError("a migration has failed midway: the history is marked dirty")
    time = sql.SQL("applied_at") if "applied_at" in columns.names else sql.SQL("NULL::timestamptz")
    return sql.SQL("SELECT {}::text AS name, {} AS applied_at FROM {}").format(
        sql.Identifier(key), time, table
    )


def _columns(connection: psycopg.Connection[Any], schema: str) -> _TableColumns | None:
    """Find the table's columns in its schema, or in the first schema of the search path."""
    cursor = connection.execute(
        "SELECT table_schema::text, column_name::text FROM information_schema.columns"
        " WHERE table_name = %(table)s AND CASE WHEN %(schema)s = '' THEN"
        " table_schema::name = ANY(current_schemas(false)) ELSE table_schema = %(schema)s END"
        " ORDER BY array_position(current_schemas(false), table_schema::name)",
        {"table": DEFAULT_TABLE, "schema": schema},
    )
    rows = cursor.fetchall()
    if not rows:
        return None
    first = rows[0][0]
    return _TableColumns(first, frozenset(column for schema, column in rows if schema == first))


def _rows(
    connection: psycopg.Connection[Any], query: sql.Composable
) -> Sequence[tuple[str, str | None]]:
    # As a subquery in a single statement, so that anything but a SELECT is refused.
    whole = sql.SQL("SELECT * FROM ({}) AS history LIMIT {}").format(query, MOST_MIGRATIONS + 1)
    cursor = connection.execute(whole, binary=True)
    columns = [column.name for column in cursor.description or ()]
    rows = cursor.fetchmany(MOST_MIGRATIONS + 1)
    if "name" not in columns:
        has = ", ".join(columns)[:LONGEST_COLUMNS]
        raise _NoHistoryError(f"history.query gives the columns {has}, and not name")
    if not rows:
        raise _NoHistoryError("the history is empty: no migration is applied")
    if len(rows) > MOST_MIGRATIONS:
        raise _NoHistoryError(
            f"the history has more than {MOST_MIGRATIONS} rows: narrow history.query down"
        )
    at = columns.index("applied_at") if "applied_at" in columns else None
    return [_migration(row, columns.index("name"), at) for row in rows]


def _migration(row: Sequence[Any], name: int, at: int | None) -> tuple[str, str | None]:
    named = str(row[name])
    if len(named) > LONGEST_MIGRATION:
        raise _NoHistoryError(
            f"a migration's name has more than {LONGEST_MIGRATION} characters: select its name only"
        )
    time = row[at] if at is not None else None
    if not isinstance(time, datetime) or time.tzinfo is None:
        return named, None
    return named, time.isoformat()


_KNOWN = (
    ("password authentication failed", "the password or the role of the DSN is wrong"),
    ("no password supplied", "the DSN has no password, and the server requires a password"),
    ("not permitted to log in", "the role of the DSN may not log in"),
    ("connection refused", "the connection was refused"),
    ("timeout", f"it did not answer within {CONNECT_SECONDS} s"),
    ("starting up", "the database is starting up"),
    ("shutting down", "the database is shutting down"),
    ("does not support ssl", "the DSN requires TLS, and the server has none"),
    ("certificate", "the DSN does not accept the certificate of the server"),
    ("too many", "the server accepts no more connections"),
    ("pg_hba.conf", "pg_hba.conf of the server rejects this role or the operator's address"),
    ("does not exist", "the role or the database of the DSN does not exist"),
)


def described(error: psycopg.Error, secret: str) -> str:
    """Describe an error without any part of the DSN."""
    if error.sqlstate is not None and error.diag.message_primary:
        primary = error.diag.message_primary.replace("\n", " ")
        return (primary.replace(secret, "***") if secret else primary)[:300]
    text = str(error).lower()
    known = next((described for part, described in _KNOWN if part in text), None)
    return known or f"the connection has failed ({type(error).__name__})"


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # nothing of libpq is worth an orderly end
