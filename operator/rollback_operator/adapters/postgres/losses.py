"""Which data statements would remove: from the locks and the catalog of their transaction.

Dropped, retyped or rewritten tables are among those that the transaction has locked exclusively.
Deleted and updated rows are counted by the server. What no table holds (sequences, large objects)
and effects outside the transaction are not seen.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

COUNT_SECONDS = 5.0
"""For all counts; beyond it the statistics of PostgreSQL are used."""
MOST_COUNTED_ROWS = 5_000_000
"""A larger table is not read."""
MOST_PLACES = 32
MOST_LOCKED = 1000
_NOT_THERE = "is not there: correct migrations.drops"

_LOCKED_TABLES = f"""
SELECT DISTINCT relation FROM pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode = 'AccessExclusiveLock'
LIMIT {MOST_LOCKED + 1}
"""
_TABLES = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relfilenode::bigint,
    a.attnum, a.attname::text, a.atttypid::bigint, a.atttypmod
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = ANY(%s) AND c.relkind = 'r' AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_CHANGED_ROWS = f"""
SELECT schemaname::text, relname::text, n_tup_del, n_tup_upd FROM pg_stat_xact_user_tables
WHERE n_tup_del + n_tup_upd > 0 LIMIT {MOST_PLACES + 1}
"""


@dataclass(frozen=True, slots=True)
class _TableShape:
    schema: str
    name: str
    file: int
    columns: dict[int, tuple[str, int, int]]
    """By number: name, type, modifier."""


@dataclass(frozen=True, slots=True)
class Change:
    """A place whose data goes."""

    schema: str
    table: str
    column: str
    how: str
    values: int | None = None
    """None: to be counted."""

    @property
    def place(self) -> str:
        """Name it as the API does."""
        return ".".join(part for part in (self.schema, self.table, self.column) if part)


def changes_of(
    connection: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> list[Change]:
    """Compare the catalog in an open transaction with that of a connection beside it."""
    locked = [row[0] for row in connection.execute(_LOCKED_TABLES).fetchall()]
    before, after = _tables(second, locked), _tables(connection, locked)
    changes = [
        change for oid, table in before.items() for change in _compared(table, after.get(oid))
    ]
    for schema, name, deleted, updated in connection.execute(_CHANGED_ROWS).fetchall():
        for how, count in (("deleted", deleted), ("updated", updated)):
            if count:
                changes.append(Change(schema, name, "", how, count))
    return changes


def _tables(connection: psycopg.Connection[Any], oids: Sequence[int]) -> dict[int, _TableShape]:
    tables: dict[int, _TableShape] = {}
    for oid, schema, name, file, number, column, kind, modifier in connection.execute(
        _TABLES, (list(oids),)
    ).fetchall():
        table = tables.setdefault(oid, _TableShape(schema, name, file, {}))
        if number is not None:
            table.columns[number] = column, kind, modifier
    return tables


def _compared(before: _TableShape, after: _TableShape | None) -> Iterator[Change]:
    if after is None:
        yield Change(before.schema, before.name, "", "dropped")
        return
    changed = False
    for number, (column, *kind) in before.columns.items():
        now = after.columns.get(number)
        if now is None:
            yield Change(before.schema, before.name, column, "dropped")
        elif list(now[1:]) != kind:
            changed = True
            yield Change(before.schema, before.name, column, "retyped")
    if after.file != before.file and not changed:
        # TRUNCATE, or a rewrite for another reason, which the catalog does not show.
        yield Change(before.schema, before.name, "", "rewritten")


def of_places(
    connection: psycopg.Connection[Any],
    places: Sequence[str],
    most_rows: int = MOST_COUNTED_ROWS,
) -> dict[str, Any]:
    """Count the declared places."""
    changes = []
    for place in places:
        schema, table, *column = place.split(".")
        changes.append(Change(schema, table, column[0] if column else "", "dropped"))
    return counted(connection, changes, most_rows)


def counted(
    connection: psycopg.Connection[Any],
    changes: Sequence[Change],
    most_rows: int = MOST_COUNTED_ROWS,
) -> dict[str, Any]:
    """Count rows and non-null values, or estimate them, and state what stays unknown."""
    deadline, losses, unknown = time.monotonic() + COUNT_SECONDS, [], []
    connection.rollback()
    connection.autocommit = True  # a count that is cancelled ends no transaction
    for change in changes[:MOST_PLACES]:
        counting: tuple[int | str, bool] = (change.values or 0, False)
        if change.values is None:
            counting = _values(connection, change, deadline, most_rows)
        values, is_estimated = counting
        if isinstance(values, str):
            unknown.append(f"{change.place} {values}")
        else:
            losses.append([change.place, change.how, values, is_estimated])
    if len(changes) > MOST_PLACES:
        unknown.append(f"more than {MOST_PLACES} tables and columns")
    return {"losses": losses, "unknown": "; ".join(unknown)}


def _values(
    connection: psycopg.Connection[Any], change: Change, deadline: float, most_rows: int
) -> tuple[int | str, bool]:
    """Give the number, or why it is unknown, and whether it is an estimate."""
    row = connection.execute(
        "SELECT c.reltuples::float8, c.relkind = 'r' FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (change.schema, change.table),
    ).fetchone()
    if row is None:
        return _NOT_THERE, False
    left, why = int((deadline - time.monotonic()) * 1000), ""
    if left > 0 and row[0] <= most_rows:
        what = sql.Identifier(change.column) if change.column else sql.SQL("*")
        # The rows of a partitioned table are those of its partitions.
        only = sql.SQL("ONLY " if row[1] else "")
        query = sql.SQL("SELECT count({}) FROM {}{}").format(
            what, only, sql.Identifier(change.schema, change.table)
        )
        try:
            connection.execute(f"SET statement_timeout = {left}")
            connection.execute("SET lock_timeout = 500")
            exact = connection.execute(query).fetchone()
            return int((exact or (0,))[0]), False
        except psycopg.errors.UndefinedColumn:
            return _NOT_THERE, False
        except psycopg.errors.InsufficientPrivilege:
            why = " and may not be read by the role (GRANT SELECT)"
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
            pass
    estimate = _estimate(connection, change, float(row[0]))
    return (f"has no statistics (ANALYZE){why}" if estimate is None else estimate), True


def _estimate(connection: psycopg.Connection[Any], change: Change, rows: float) -> int | None:
    if rows < 0:
        return None
    connection.execute("SET statement_timeout = 1000")
    nulls = connection.execute(
        "SELECT null_frac FROM pg_stats WHERE schemaname = %s AND tablename = %s AND attname = %s",
        (change.schema, change.table, change.column),
    ).fetchone()
    share = 1.0 - float(nulls[0]) if nulls else 1.0
    return round(rows * share)
