"""Tickets in a real PostgreSQL that a release damages, and what a policy says of them."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from lab.postgres_server import Postgres
from tests.integration.api import eventually
from tests.integration.service import Service
from tests.integration.stand import HOME, PATHS, Stand, rights
from tests.integration.traffic import GOOD

ASSESSED = {
    "name": "invalid",
    "query": "SELECT id FROM tickets WHERE status = 'invalid' ORDER BY id",
}
CHECK = {"name": "invalid", "query": "SELECT count(*) FROM tickets WHERE status = 'invalid'"}
DATABASE = {
    "connectionSecretRef": {"name": "ticket-db"},
    "onUnknownSchema": "Ignore",
    "integrityChecks": [CHECK],
}
MATRIX = [{"severity": "P1", "when": [{"signal": "Integrity"}], "response": "Rollback"}]


@dataclass
class Tickets:
    """A database with three tickets, and a role that may read them."""

    server: Postgres
    name: str = field(default_factory=lambda: f"d{secrets.token_hex(5)}")

    def __post_init__(self) -> None:
        name = sql.Identifier(self.name)
        self._run("postgres", sql.SQL("CREATE DATABASE {}").format(name))
        self.run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'reader'").format(name))
        self.run("CREATE TABLE tickets(id int PRIMARY KEY, status text NOT NULL)")
        self.run("INSERT INTO tickets SELECT id, 'sold' FROM generate_series(1, 3) AS id")
        self.run(sql.SQL("GRANT SELECT ON tickets TO {}").format(name))

    @property
    def dsn(self) -> str:
        where = {"host": self.server.host, "port": self.server.port, "dbname": self.name}
        return psycopg.conninfo.make_conninfo(user=self.name, password="reader", **where)

    @property
    def rows(self) -> list[Any]:
        return self._run(self.name, "SELECT id, status FROM tickets ORDER BY id")

    def are_named(self, stand: Stand, namespace: str) -> None:
        """Make the Secret that a policy names."""
        data = {"dsn": base64.b64encode(self.dsn.encode()).decode()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ticket-db"}}
        stand.api.create(f"/api/v1/namespaces/{namespace}/secrets", {**body, "data": data})

    def may_be_read(self, stand: Stand, namespace: str) -> None:
        """Give the operator of all namespaces the right to read that Secret."""
        named = [{"namespace": namespace, "names": ["ticket-db"]}]
        for one in rights(HOME, readSecrets=named):
            if one["metadata"]["name"].endswith("-secrets"):
                stand.api.create(PATHS[one["kind"]].format(namespace), dict(one))

    def are_damaged_by(self, version: str, service: Service) -> None:
        """A release comes, and damages a ticket once it is known that none was damaged before."""
        service.roll_out(version, GOOD)
        service.wait_for_watch(version)

        def is_intact() -> bool:
            status = service.status()
            known = (status.get("revision") or {}).get("release")
            passed = [(one["name"], one["release"]) for one in status.get("probes", [])]
            return ("Integrity-invalid", known) in passed

        eventually(is_intact, f"the data is known to be intact under {version}")
        self.run("UPDATE tickets SET status = 'invalid' WHERE id = 2")

    def are_repaired(self) -> None:
        """A person repairs what is damaged."""
        self.run("UPDATE tickets SET status = 'sold' WHERE status = 'invalid'")

    def run(self, statement: str | sql.Composable) -> None:
        self._run(self.name, statement)

    def _run(self, database: str, statement: str | sql.Composable) -> list[Any]:
        url = self.server.url.rpartition("/")[0] + f"/{database}"
        with psycopg.connect(url, autocommit=True) as connection:
            done = connection.execute(statement)  # type: ignore[arg-type] # of these tests
            return done.fetchall() if done.description else []
