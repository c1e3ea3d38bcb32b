"""Answers SELECT statements of a policy, in the reading process: a few rows of each, as JSON.

PostgreSQL makes the JSON, so that no value is decoded here. Each statement is a subquery in a
savepoint of a read-only transaction: anything but a SELECT is refused, and a failure does not
spoil the others.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import psycopg
from psycopg import sql

MOST_ROWS = 10
LONGEST_JSON = 2000
"""Characters of a row that are read."""


class Rows(TypedDict, total=False):
    """At most one row more than MOST_ROWS, or the reason why there are none."""

    rows: list[str]
    error: str


def answered(
    connection: psycopg.Connection[Any], text: str, described: Callable[[psycopg.Error], str]
) -> Rows:
    """Answer one statement; `described` words an error without any part of the DSN."""
    # The line ends before the bracket: a comment may end the statement.
    whole = sql.SQL(
        "SELECT left(to_json(asked)::text, {}) FROM (SELECT * FROM ({}) AS own LIMIT {}) AS asked"
    ).format(LONGEST_JSON, sql.SQL(f"{text.strip().rstrip(';')}\n"), MOST_ROWS + 1)
    try:
        with connection.transaction():
            given = connection.execute(whole, binary=True).fetchall()
    except psycopg.OperationalError as error:
        if connection.broken:
            raise
        return {"error": described(error)}
    except psycopg.Error as error:
        return {"error": described(error)}
    return {"rows": [str(row[0]) for row in given]}
