"""A process of its own that reads applied migrations from one PostgreSQL.

libpq and psycopg process what a tenant's server sends, in C: a forged array header ends the process
that reads it, and a high SCRAM iteration count occupies it for minutes. Here both end this process
alone. It gets one request on stdin, limits its own CPU time, memory and duration, connects to the
operator's relay only, and writes one answer to stdout.

    {"parameters": {...}, "history": {"query", "preset", "schema", "table"}} ->
    {"migrations": [[name, time or null], ...], "form", "tool"}, {"dirty": reason, "names": [...],
    "tool"}, {"missing": message} or {"error": message}
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
from datetime import datetime
from typing import Any, Required, TypedDict
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rollback_operator.adapters.postgres import presets
from rollback_operator.adapters.postgres.presets import (
    LONGEST_COLUMNS,
    Preset,
    Recognized,
    TableColumns,
)
from rollback_operator.adapters.postgres.questioning import Rows, answered

CONNECT_SECONDS = 2
STATEMENT_MILLISECONDS = 1500
CPU_SECONDS = 2
READER_SECONDS = 10
MOST_MEMORY_BYTES = 64 * 1024 * 1024
"""Private memory of this process; a history of the largest permitted size takes a third."""
MOST_MIGRATIONS = 5000
LONGEST_MIGRATION = 1024
LEAST_SEARCHED = 6
"""Characters of a password that is searched for in all that a server sends."""
MOST_DIRTY = 5
"""Dirty migrations that are named."""
_END_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


class HistorySource(TypedDict):
    """Where the applied migrations stand."""

    query: str | None
    preset: str
    schema: str
    table: str


class ReaderQuestion(TypedDict, total=False):
    """Either the history, or SELECT statements by name."""

    history: HistorySource
    questions: Mapping[str, str]


class ReadRequest(ReaderQuestion):
    """Parameters of the connection, and what is asked."""

    parameters: Required[Mapping[str, str | int]]


class ReadAnswer(TypedDict, total=False):
    """Either migrations, dirty, answers, missing or error."""

    answers: Mapping[str, Rows]
    migrations: Sequence[tuple[str, str | None]]
    form: str
    tool: str
    dirty: str
    names: Sequence[str]
    missing: str
    error: str


class NoHistoryError(Exception):
    """The server answers, and the answer is no history; the text says why."""


def main() -> None:
    """Answer the request on stdin."""
    limit()
    request: ReadRequest = json.load(sys.stdin.buffer)
    tell(answer(request), request["parameters"])


def tell(answered: Mapping[str, Any], parameters: Mapping[str, str | int]) -> None:
    """Write the answer, without the password wherever the server has sent it back.

    The only path from a server to the operator: errors, rows, names of migrations and tables. A
    short password would be found in any text, and is searched for in errors alone (`described`).
    """
    secret = _password(parameters)
    safe = _without(answered, secret) if len(secret) >= LEAST_SEARCHED else answered
    sys.stdout.write(json.dumps(safe) + "\n")


def _without(value: Any, secret: str) -> Any:
    if isinstance(value, str):
        return redacted(value, secret)
    if isinstance(value, Mapping):
        return {name: _without(inner, secret) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without(inner, secret) for inner in value]
    return value


def redacted(text: str, secret: str) -> str:
    """Replace a password, also as a URL or a quoted string has it."""
    quoted = secret.replace("\\", "\\\\")
    forms = (secret, quote(secret, safe=""), quote(secret), quoted.replace("'", "\\'"))
    for form in (*forms, secret.replace("'", "''"), json.dumps(secret)[1:-1]):
        text = text.replace(form, "***") if form else text
    return text


def _password(parameters: Mapping[str, str | int]) -> str:
    return str(parameters.get("password") or "")


def limit(seconds: int = READER_SECONDS) -> None:
    """Limit what a server can take: beyond it the kernel ends this process."""
    ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The soft limit's signal says why it ended; the hard limit ends it in any case.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    signal.alarm(seconds)  # without a handler: it also ends C code that never returns


def answer(request: ReadRequest) -> ReadAnswer:
    """Read the history, or answer the questions."""
    try:
        with _opened(request["parameters"]) as connection:
            if "history" in request:
                return _history(connection, request["history"])
            parameters = request["parameters"]
            return {
                "answers": {
                    name: answered(connection, text, lambda error: described(error, parameters))
                    for name, text in request["questions"].items()
                }
            }
    except NoHistoryError as error:
        return {"missing": str(error)}
    except psycopg.Error as error:
        return {"error": described(error, request["parameters"])}
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


def _history(connection: psycopg.Connection[Any], source: HistorySource) -> ReadAnswer:
    if source["query"] is not None:
        return {"migrations": _rows(connection, own_query(source["query"]))}
    return _of_tool(connection, recognized(connection, source))


def own_query(text: str) -> sql.Composable:
    """Give the policy's own query of the history."""
    return sql.SQL(f"{text.strip().rstrip(';')}\n")  # a comment may end it


def _of_tool(connection: psycopg.Connection[Any], history: Recognized) -> ReadAnswer:
    """Read a tool's history, unless its own marks say that it is between two states."""
    preset = history.preset
    if _is_being_written(connection, history):
        return {"dirty": "Locked", "tool": preset.name}
    if dirty := marked(connection, history):
        return dirty
    rows = _rows(connection, filled(preset.rows, history), preset)
    return {"migrations": rows, "form": preset.form, "tool": preset.name}


def recognized(connection: psycopg.Connection[Any], source: HistorySource) -> Recognized:
    """Find the history among the tables that the role may read."""
    cursor = connection.execute(
        "SELECT table_schema::text, table_name::text, column_name::text"
        " FROM information_schema.columns"
        " WHERE table_name = ANY(%(tables)s) AND CASE WHEN %(schema)s = '' THEN"
        " table_schema::name = ANY(current_schemas(false)) ELSE table_schema = %(schema)s END"
        " ORDER BY array_position(current_schemas(false), table_schema::name)",
        {"tables": presets.names_to_find(source["table"]), "schema": source["schema"]},
    )
    columns: dict[tuple[str, str], list[str]] = {}
    for schema, table, column in cursor.fetchmany(MOST_MIGRATIONS):
        columns.setdefault((schema, table), []).append(column)
    tables = [TableColumns(*name, frozenset(names)) for name, names in columns.items()]
    history = presets.recognized(tables, source["preset"], source["table"])
    if isinstance(history, Recognized):
        return history
    where = f"schema {source['schema']}" if source["schema"] else "the search path"
    raise NoHistoryError(f"{history} (in {where}, among the tables that the role may read)")


def _is_being_written(connection: psycopg.Connection[Any], history: Recognized) -> bool:
    """Return whether another session migrates now, by its locks: everybody may read pg_locks.

    An open transaction that wrote to the history has not shown its row yet. Reading would wait for
    a session that holds the table exclusively.
    """
    row = connection.execute(
        "SELECT true FROM pg_catalog.pg_locks AS held WHERE granted AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_catalog.pg_database"
        " WHERE datname = current_database())"
        " AND (locktype = 'relation' AND relation = to_regclass(format('%%I.%%I', %(schema)s::text,"
        " %(table)s::text)) AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock',"
        " 'ExclusiveLock', 'AccessExclusiveLock')"
        " OR locktype = 'advisory' AND objsubid = 1"
        " AND (classid::bigint << 32) | objid::bigint = %(advisory)s::bigint) LIMIT 1",
        {
            "schema": history.schema,
            "table": history.preset.table,
            "advisory": history.preset.advisory,
        },
    ).fetchone()
    return row is not None


def marked(connection: psycopg.Connection[Any], history: Recognized) -> ReadAnswer | None:
    """Give the tool's own marks that the schema is between two states; None: there are none."""
    preset = history.preset
    if not preset.dirty:
        return None
    query = filled(preset.dirty, history)
    limited = sql.SQL("SELECT * FROM ({}) AS history LIMIT {}").format(query, MOST_DIRTY)
    marks = [(str(reason), str(name)) for reason, name in connection.execute(limited).fetchall()]
    if not marks:
        return None
    reason = marks[0][0]
    names = [name[:LONGEST_MIGRATION] for why, name in marks if why == reason and name]
    return {"dirty": reason, "names": names, "tool": preset.name}


def filled(text: str, history: Recognized) -> sql.Composed:
    """Put the names of the tables into a preset's SELECT."""
    preset = history.preset
    return sql.SQL(text).format(
        table=sql.Identifier(history.schema, preset.table),
        lock=sql.Identifier(history.schema, preset.lock or preset.table),
    )


def _rows(
    connection: psycopg.Connection[Any], query: sql.Composable, preset: Preset | None = None
) -> Sequence[tuple[str, str | None]]:
    # As a subquery in a single statement, so that anything but a SELECT is refused.
    whole = sql.SQL("SELECT * FROM ({}) AS history LIMIT {}").format(query, MOST_MIGRATIONS + 1)
    cursor = connection.execute(whole, binary=True)
    columns = [column.name for column in cursor.description or ()]
    rows = cursor.fetchmany(MOST_MIGRATIONS + 1)
    if "name" not in columns:
        has = ", ".join(columns)[:LONGEST_COLUMNS]
        raise NoHistoryError(f"history.query gives the columns {has}, and not name")
    if not rows and not (preset and preset.is_known):
        raise NoHistoryError("the history is empty: no migration is applied")
    if len(rows) > MOST_MIGRATIONS:
        raise NoHistoryError(
            f"the history has more than {MOST_MIGRATIONS} rows: narrow history.query down"
        )
    at = columns.index("applied_at") if "applied_at" in columns else None
    return [_migration(row, columns.index("name"), at) for row in rows]


def _migration(row: Sequence[Any], name: int, at: int | None) -> tuple[str, str | None]:
    named = str(row[name])
    if len(named) > LONGEST_MIGRATION:
        raise NoHistoryError(
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


def described(error: psycopg.Error, parameters: Mapping[str, str | int]) -> str:
    """Describe an error without any part of the DSN."""
    if error.sqlstate is not None and error.diag.message_primary:
        # Before it is cut: a part of the password is one too much.
        return redacted(error.diag.message_primary, _password(parameters)).replace("\n", " ")[:300]
    text = str(error).lower()
    known = next((described for part, described in _KNOWN if part in text), None)
    return known or f"the connection has failed ({type(error).__name__})"


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # nothing of libpq is worth an orderly end
