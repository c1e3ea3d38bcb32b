"""A process of its own that rolls migrations back by SQL, or measures what that would lose.

It runs a tenant's statements and processes what a tenant's server sends: see `reader`, whose limits
it shares. All statements run in one transaction, inside a DO block, where PostgreSQL refuses every
command that controls transactions.

    {"parameters", "history", "task", "names", "sql", "applied", "places", "lock", "seconds"} ->
    {"result": ...}, {"fault": message}, {"missing": message}
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypedDict

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rollback_operator.adapters.postgres import losses, reader
from rollback_operator.adapters.postgres.presets import Recognized
from rollback_operator.adapters.postgres.reader import HistorySource, NoHistoryError

Connection = psycopg.Connection[Any]
SPARE_SECONDS = 15
"""For connections, locks and counts, beyond the time of the statements."""
_ADVISORY_KEY = 7_305_523_118
"""Of the operators' own lock in each database."""
_CANCELED, _LOCKED, _DEADLOCK = "57014", "55P03", "40P01"
_AWAY = ("08", "53", "57P")
"""Classes of errors of the connection or the server: another try may succeed."""


class UndoRequest(TypedDict):
    """What to do, on which database."""

    parameters: Mapping[str, str | int]
    history: HistorySource
    task: Literal["undo", "try", "count"]
    names: Sequence[str]
    """The newest first."""
    sql: Sequence[str]
    """Statements of each."""
    applied: int
    """Number of migrations that are applied before."""
    places: Sequence[str]
    """Declared tables and columns, to be counted."""
    lock: int
    seconds: int


class _StatementError(Exception):
    """The policy's statements cannot be executed; the text names the field."""


class _SlowStatementError(_StatementError):
    """They take longer than they may; the text names the migration."""


def main() -> None:
    """Answer the request on stdin."""
    request: UndoRequest = json.load(sys.stdin.buffer)
    reader.limit(request["seconds"] + SPARE_SECONDS)
    reader.tell(answer(request), request["parameters"])


def answer(request: UndoRequest) -> dict[str, Any]:
    """Execute the task."""
    try:
        with _connected(request) as connection:
            return {"result": _TASKS[request["task"]](connection, request)}
    except _SlowStatementError as error:
        return _slow(str(error), request)
    except _StatementError as error:
        return {"fault": str(error)}
    except NoHistoryError as error:
        return {"missing": str(error)}
    except psycopg.Error as error:
        words = _words(error, request)
        return {"missing" if _is_passing(error) else "fault": words}
    except Exception as error:  # psycopg's loaders raise whatever the bytes lead to
        return {"missing": f"its answer cannot be decoded ({type(error).__name__})"}


@contextmanager
def _connected(request: UndoRequest) -> Iterator[Connection]:
    """Connect, and close without a commit and without waiting for a silent server."""
    given: dict[str, Any] = dict(request["parameters"])
    connection = psycopg.Connection.connect(make_conninfo(**given))
    try:
        yield connection
    finally:
        connection.close()


def _undo(connection: Connection, request: UndoRequest) -> dict[str, Any]:
    """Roll all migrations back, or none; gives what the history shows if it is not as planned."""
    names, deadline = request["names"], time.monotonic() + request["seconds"]
    _set_limits(connection, request)
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_KEY,))
    history = _LockedHistory(connection, request["history"])
    history.lock()
    if dirty := history.marked():
        return dict(dirty)
    before = history.names()
    left = [name for name in names if name in before]
    undone = [name for name in names if name not in before]
    if undone or len(before) != request["applied"]:
        return {"undone": undone, "left": left, "count": len(before)}
    for name, statements in zip(names, request["sql"], strict=True):
        _execute(connection, request, name, statements, deadline)
        history.remove(name)
    after = history.names()
    if sorted(after) != sorted(set(before) - set(names)):
        raise _StatementError(
            "after the statements of migrations.sql, the history differs from the earlier history "
            f"without {', '.join(names)}: with history.query, the statements must remove the rows"
        )
    connection.commit()
    return {"undone": list(names), "left": [], "count": len(after)}


def _try(connection: Connection, request: UndoRequest) -> dict[str, Any]:
    """Execute the statements, compare the catalog, roll back, then count what would be lost.

    The second connection sees the catalog as it is without them: which tables they change, and have
    to be compared, is known only after them. It is made before, since they may lock what it needs.
    """
    with _connected(request) as second:
        _set_limits(connection, request)
        deadline = time.monotonic() + request["seconds"]
        for name, statements in zip(request["names"], request["sql"], strict=True):
            _execute(connection, request, name, statements, deadline)
        changes = losses.changes_of(connection, second)
        connection.rollback()
        second.rollback()
        return losses.counted(second, changes)


def _count(connection: Connection, request: UndoRequest) -> dict[str, Any]:
    return losses.of_places(connection, request["places"])


_TASKS = {"undo": _undo, "try": _try, "count": _count}


def _set_limits(connection: Connection, request: UndoRequest) -> None:
    connection.execute(f"SET LOCAL lock_timeout = {request['lock'] * 1000}")
    connection.execute(f"SET LOCAL statement_timeout = {request['seconds'] * 1000}")
    connection.execute("SET LOCAL client_min_messages = error")
    if connection.info.server_version >= 140000:  # noqa: PLR2004 (a version)
        # The server notices within a second that this process was killed.
        connection.execute("SET LOCAL client_connection_check_interval = 1000")


def _execute(
    connection: Connection, request: UndoRequest, name: str, statements: str, deadline: float
) -> None:
    left = max(1, int((deadline - time.monotonic()) * 1000))
    connection.execute(f"SET LOCAL statement_timeout = {left}")
    try:
        connection.execute("SELECT set_config('rollback.statements', %s, true)", (statements,))
        # Inside PL/pgSQL, COMMIT, ROLLBACK and PREPARE TRANSACTION are errors.
        connection.execute("DO 'BEGIN EXECUTE current_setting(''rollback.statements''); END'")
    except psycopg.Error as error:
        if error.sqlstate == _CANCELED:
            raise _SlowStatementError(name) from None
        if _is_passing(error):
            raise
        words = reader.described(error, request["parameters"])
        raise _StatementError(f"migrations.sql of {name}: {words}") from None


class _LockedHistory:
    """The history in this transaction."""

    def __init__(self, connection: Connection, source: HistorySource) -> None:
        self._connection = connection
        self._known: Recognized | None = None
        self._table: sql.Identifier | None = None
        self._key: sql.Composable = sql.SQL("")
        if source["query"] is not None:
            self._select = reader.own_query(source["query"])
            return
        history = reader.recognized(connection, source)
        preset = history.preset
        if preset.form != "List":
            raise NoHistoryError(
                f"{preset.name} keeps its current version alone: roll back by its own command"
            )
        self._known = history
        self._select = reader.filled(preset.rows, history)
        self._table = sql.Identifier(history.schema, preset.table)
        self._key = sql.SQL(preset.key)

    def lock(self) -> None:
        """Keep tools from beginning or recording a migration until this transaction ends."""
        if self._known is None:
            return
        if self._known.preset.advisory is not None:
            key = (self._known.preset.advisory,)
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", key)
        # Of a tool without a lock table, {lock} is the history itself.
        mode = "LOCK TABLE {lock}, {table} IN SHARE ROW EXCLUSIVE MODE"
        self._connection.execute(reader.filled(mode, self._known))

    def marked(self) -> reader.ReadAnswer | None:
        """Give the tool's marks: without them, its own command would not go on either."""
        return reader.marked(self._connection, self._known) if self._known is not None else None

    def names(self) -> list[str]:
        """List the applied migrations; unlike `reader`, none is an answer."""
        query = sql.SQL("SELECT name::text FROM ({}) AS history LIMIT {}").format(
            self._select, reader.MOST_MIGRATIONS + 1
        )
        return [row[0] for row in self._connection.execute(query).fetchall()]

    def remove(self, name: str) -> None:
        """Remove a row, where the table is known."""
        if self._table is None:
            return
        delete = sql.SQL("DELETE FROM {} WHERE ({})::text = {}").format(
            self._table, self._key, sql.Literal(name)
        )
        self._connection.execute(delete)


def _slow(name: str, request: UndoRequest) -> dict[str, str]:
    """Only tried, they may still be fast enough for the time that the policy gives them."""
    if request["task"] == "try":
        seconds = f"longer than {request['seconds']} s when they are tried"
        return {"missing": f"the statements of {name} take {seconds}: set migrations.drops"}
    text = f"the statements of {name} take too long: raise sql.timeoutSeconds, or shorten them"
    return {"fault": text}


def _is_passing(error: psycopg.Error) -> bool:
    """Tell whether another try may succeed."""
    state = error.sqlstate or ""
    return not state or state in (_CANCELED, _LOCKED, _DEADLOCK) or state.startswith(_AWAY)


def _words(error: psycopg.Error, request: UndoRequest) -> str:
    if error.sqlstate == _LOCKED:
        return (
            f"a lock was not free within {request['lock']} s (sql.lockTimeoutSeconds): another "
            "session holds it"
        )
    return reader.described(error, request["parameters"])


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # nothing of libpq is worth an orderly end
