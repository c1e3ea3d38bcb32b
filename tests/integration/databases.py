"""Databases of the tests' own on the lab's PostgreSQL, and how the operator reads their history."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from lab.postgres_server import Postgres
from rollback_operator.adapters.http.addresses import Addresses, Rules
from rollback_operator.adapters.postgres.database import PostgresSchemas
from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.model.schema import Applied, SchemaHistory, UnknownSchema
from rollback_operator.ports.failure import Failure

REF = {"connectionSecretRef": {"name": "ticket-db"}}
TRIES = 5
"""The operator gives a server two seconds: a busy machine may take longer to start a process."""
MIGRATIONS = "CREATE TABLE {}(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"


@dataclass
class Secret:
    """One Secret, with one DSN."""

    value: str | Failure

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        assert (namespace, name, key) == ("shop", "ticket-db", "dsn")
        return self.value


@dataclass
class Database:
    """A database of a test's own on the server, and the reader's role with SELECT only."""

    server: Postgres
    name: str
    role: str = ""
    password: str = field(default_factory=lambda: f"s3cr3t-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self.role = f"reader_{self.name}"
        self._run("postgres", sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        role, password = sql.Identifier(self.role), sql.Literal(self.password)
        self.run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))

    @property
    def dsn(self) -> str:
        return self.dsn_with(self.password)

    def dsn_with(self, password: str, **more: str) -> str:
        fields: dict[str, Any] = {
            "host": self.server.host,
            "port": self.server.port,
            "dbname": self.name,
            "user": self.role,
            "password": password,
            **more,
        }
        return psycopg.conninfo.make_conninfo(**fields)

    def run(self, statement: str | sql.Composable) -> None:
        self._run(self.name, statement)

    def has(self, *names: str, table: str = "schema_migrations") -> None:
        """Make the runbook's table and let the reader see it."""
        self.run(sql.SQL(MIGRATIONS).format(sql.Identifier(table)))
        self.applies(*names, table=table)
        self.lets_read(table)

    def applies(self, *names: str, table: str = "schema_migrations") -> None:
        for name in names:
            self.run(
                sql.SQL("INSERT INTO {} (name) VALUES ({})").format(
                    sql.Identifier(table), sql.Literal(name)
                )
            )

    def lets_read(self, table: str = "schema_migrations") -> None:
        names = sql.Identifier(table), sql.Identifier(self.role)
        self.run(sql.SQL("GRANT SELECT ON {} TO {}").format(*names))

    def _run(self, database: str, statement: str | sql.Composable) -> None:
        url = self.server.url.rpartition("/")[0] + f"/{database}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type] # statements of these tests


async def read(dsn: str | Failure, **spec: Any) -> SchemaHistory:
    addresses = Addresses(Rules(lambda host, namespace: True, is_loopback_allowed=True))
    schemas = PostgresSchemas(Secret(dsn), addresses.pin)
    database = DatabaseSpec.model_validate({**REF, **spec})
    for _ in range(TRIES):
        found = await schemas.read("shop", database)
        if not (isinstance(found, UnknownSchema) and "did not answer within" in found.reason):
            break
    return found


def names(found: SchemaHistory) -> list[str]:
    assert isinstance(found, Applied), found
    return [one.name for one in found.migrations]


def message(found: SchemaHistory) -> str:
    assert isinstance(found, UnknownSchema), found
    return found.reason
