"""A database that lets a ticket service down: of every version alike, or of one.

By row security on one table: a statement that touches it asks a function first, which raises an
error as often as it is told to. Each transaction is let down or not as a whole, so that a share of
transactions is a share of requests. The owner of the tables is bound by it; the readiness probe,
which touches no table, goes on passing.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

_TABLE = """
CREATE SEQUENCE IF NOT EXISTS {schema}.weakness;
CREATE OR REPLACE FUNCTION {schema}.{bears}() RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN RETURN true; END $$;
DROP POLICY IF EXISTS weakness ON {schema}.{table};
CREATE POLICY weakness ON {schema}.{table}
  USING ((SELECT {schema}.{bears}())) WITH CHECK ((SELECT {schema}.{bears}()));
ALTER TABLE {schema}.{table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.{table} FORCE ROW LEVEL SECURITY;
"""
_FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.{bears}() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting({asked}, true), '') = '' THEN
    IF {condition} THEN
      RAISE EXCEPTION 'the database has been told to fail';
    END IF;
    PERFORM set_config({asked}, 'yes', true);
  END IF;
  RETURN true;
END $$
"""


class Weakness:
    """Of one table in the schema of one shop.

    `ticket_types` is touched by every request, `purchases` by purchases alone.
    """

    def __init__(self, url: str, schema: str, table: str = "ticket_types") -> None:
        self._url = url
        self._schema = sql.Identifier(schema)
        self._bears = sql.Identifier(f"bears_{table}")
        self._asked = sql.Literal(f"lab.asked_{table}")
        name = sql.Identifier(table)
        self._run(sql.SQL(_TABLE).format(schema=self._schema, bears=self._bears, table=name))

    def fails(self, share: float) -> None:
        """From now on this share of transactions fails, whoever sends them; 0: none."""
        self._when(sql.SQL("random() < {}").format(sql.Literal(share)))

    def fails_first(self, most: int, application: str) -> None:
        """From now on so many transactions of sessions under this application name fail."""
        self._run(sql.SQL("ALTER SEQUENCE {}.weakness RESTART").format(self._schema))
        # A sequence is not taken back with the transaction that failed.
        condition = sql.SQL(
            "current_setting('application_name') = {} AND nextval('{}.weakness') <= {}"
        )
        name = sql.Literal(application)
        self._when(condition.format(name, self._schema, sql.Literal(most)))

    def _when(self, condition: sql.Composed) -> None:
        names = {"schema": self._schema, "bears": self._bears, "asked": self._asked}
        self._run(sql.SQL(_FUNCTION).format(**names, condition=condition))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)
