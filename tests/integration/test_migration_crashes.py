"""A release and its migration are taken back, on a real API server and a real PostgreSQL.

By SQL, the operator is killed at each of its writes: the migration is rolled back once, before the
application, and nothing else of the database changes. By a Job, KWOK ends each Job without doing
anything: the history, not the exit code, decides.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.postgres_server import Postgres
from tests.integration.api import eventually
from tests.integration.operator_process import Zygote
from tests.integration.service import outcome
from tests.integration.stand import PATHS, Stand, rights
from tests.integration.test_crash_walk import UNDO, Walk, side_by_side
from tests.integration.test_migrations_down import DROP, Database
from tests.integration.writes import BY_CUTTING, Cutting, chosen

pytestmark = [pytest.mark.xdist_group("migrations"), pytest.mark.timeout(1200)]

CUTS = (
    ("rollbacks", 1),
    ("rollbacks/status: Backup begun", 1),
    ("rollbacks/status: Backup ended", 1),
    ("rollbacks/status: MigrateDown begun", 1),
    ("rollbacks/status: MigrateDown ended", 1),
    ("rollbacks/status: Undo begun", 1),
    ("deployments: act", 1),
    ("rollbacks/status: Undo ended", 1),
    ("rollbacks/status: over", 1),
)
SHORT = tuple((f"rollbacks/status: MigrateDown {each}", 1) for each in ("begun", "ended"))
RUNS = {"name": "002_seats", "newReleaseRuns": True}
BY_SQL = {
    "sql": {"migrationsSecretRef": {"name": "database", "key": "owner"}},
    "backup": {"required": False},
    "migrations": [{**RUNS, "sql": f"{DROP}; INSERT INTO undone VALUES (1)"}],
}
DOWN = {"command": ["npm", "run", "down", "--", "--step=$(STEPS)"], "timeoutSeconds": 60}
BY_JOB = {
    "job": DOWN,
    "backup": {"job": {"command": ["backup"]}},
    "migrations": [{**RUNS, "drops": ["public.tickets.seat"]}],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as found:
        yield found


@dataclass
class MigrationWalk(Walk):
    """A release that brings a migration."""

    server: Postgres | None = None
    seconds: float = 240.0
    terms: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        assert self.server is not None
        database = self.database = Database(self.server)
        database.run_as_owner("DELETE FROM schema_migrations WHERE name = '002_seats'")
        database.run_as_owner(DROP)
        database.run_as_owner("INSERT INTO tickets SELECT n, 'sold' FROM generate_series(1, 5) n")
        # It counts what is lost: an estimate would ask a person.
        database.run_as_owner(f"GRANT SELECT ON tickets TO {database.reader}")
        namespace, api = self.service.namespace, self.stand.api
        data = {
            "reader": database.dsn(database.reader),
            "owner": database.dsn(database.owner),
        }
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}}
        api.create(f"/api/v1/namespaces/{namespace}/secrets", {**body, "data": coded})
        given = rights(
            namespace,
            watchNamespaces=[namespace],
            migrations={"namespaces": [namespace]},
        )
        for one in given:
            if one["metadata"]["name"].endswith("-migrations"):
                api.create(PATHS[one["kind"]].format(namespace), dict(one))
        self.flags = ("--allowed-hosts=127.0.0.1", "--loopback=allowed")
        yield

    def adopt(self) -> None:
        database = {
            "connectionSecretRef": {"name": "database", "key": "reader"},
            "onNewerSchema": "RollbackMigrations",
            "rollbackMigrations": self.terms or BY_SQL,
            **self.more,
        }
        self.service.adopt(remedies=[self.remedy], database=database)

        def is_remembered() -> bool:
            return "migrations" in (self.service.status().get("revisions") or [{}])[0]

        eventually(is_remembered, "the migrations of v1 are on record", 60)

    def release(self) -> None:
        self.database.run_as_owner("ALTER TABLE tickets ADD COLUMN seat text")
        self.database.run_as_owner("INSERT INTO schema_migrations VALUES ('002_seats')")
        super().release()

    def state(self) -> str:
        """Show what may neither be lost nor changed twice."""
        count = self.database.rows("SELECT count(*) FROM tickets")[0]
        times = self.database.rows("SELECT count(*) FROM undone")[0]
        history = ", ".join(self.database.history)
        replicas = self.service.deployment()["spec"]["replicas"]
        return f"{count} tickets; {history}; undone {times}; {self.service.image} x {replicas}"

    def left_wrong(self) -> Iterator[str]:
        yield from super().left_wrong()
        if self.database.history != ["001_tickets"]:
            yield f"the history is {self.database.history}"
        if "tickets.seat" in self.database.columns:
            yield "the column is there"
        if (times := len(self.database.rows("SELECT id FROM undone"))) != 1:
            yield f"the statements were executed {times} times"
        if self.database.rows("SELECT id FROM tickets ORDER BY id") != [1, 2, 3, 4, 5]:
            yield "tickets are lost"
        record = self.service.rollbacks()[0]["status"]["migrations"]
        if record["undone"] != ["002_seats"]:
            yield f"on record is {record}"


NEITHER_RUNS = {
    **BY_SQL,
    "migrations": [{"name": RUNS["name"], "sql": f"{DROP}; INSERT INTO undone VALUES (1)"}],
}
STOPPED_CUTS = (
    ("rollbacks/status: StopTraffic begun", 1),
    ("rollbacks/status: StopTraffic ended", 1),
    ("rollbacks/status: MigrateDown begun", 1),
    ("rollbacks/status: Undo begun", 1),
    ("rollbacks/status: RestoreTraffic begun", 1),
    ("rollbacks/status: RestoreTraffic ended", 1),
)
STOPPED_SHORT = (("rollbacks/status: RestoreTraffic begun", 1),)


@dataclass
class StoppedWalk(MigrationWalk):
    """... that neither release can do without: traffic is stopped for it, though no data is bad."""

    terms: Any = field(default_factory=lambda: NEITHER_RUNS)
    more: Mapping[str, Any] = field(
        default_factory=lambda: {"onCorruption": {"response": "Proceed"}}
    )
    seconds: float = 300.0
    changes: int = 3

    def left_wrong(self) -> Iterator[str]:
        yield from super().left_wrong()
        (made,) = self.service.rollbacks()
        names = [one["name"] for one in made["status"]["steps"]]
        wanted = ["StopTraffic", "Backup", "MigrateDown", "Undo", "RestoreTraffic"]
        if [name for name in names if name != "AwaitingApproval"][:5] != wanted:
            yield f"steps {names}"
        if "restoredTime" not in made["status"]["traffic"]:
            yield "the traffic is stopped, by the record"


@BY_CUTTING
def test_no_crash_loses_or_repeats_a_migration(
    stand: Stand, zygote: Zygote, tmp_path: Path, server: Postgres, cutting: Cutting
) -> None:
    """Beside the old release, or while traffic is stopped."""
    done = side_by_side(
        walk(stand, zygote, tmp_path, UNDO, number, is_before, point, server=server)
        for walk, cuts, short in (
            (MigrationWalk, CUTS, SHORT),
            (StoppedWalk, STOPPED_CUTS, STOPPED_SHORT),
        )
        for point, number, is_before in chosen(cutting, cuts, short)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []


@dataclass
class JobWalk(MigrationWalk):
    """... whose Jobs end well and do nothing."""

    terms: Any = None

    def left_wrong(self) -> Iterator[str]:
        (found,) = self.service.rollbacks()
        if outcome(found) != ("Failed", "MigrationFailed"):
            yield f"outcome {outcome(found)}"
        status = found["status"]
        # On a busy machine the database answers too late at first, and a person is asked meanwhile.
        names = [one["name"] for one in status["steps"] if one["name"] != "AwaitingApproval"]
        if names != ["Backup", "MigrateDown"]:
            yield f"steps {status['steps']}"
        jobs = self.stand.api.get(f"/apis/batch/v1/namespaces/{self.service.namespace}/jobs")
        names = sorted(one["metadata"]["name"] for one in jobs["items"])
        if names != sorted(status["migrations"]["jobs"]):
            yield f"Jobs {names}, on record {status['migrations']['jobs']}"
        for one in jobs["items"]:
            pod = one["spec"]["template"]
            if "app" in pod["metadata"]["labels"]:
                yield "a Service may lead to the Job's pod"
            if pod["spec"]["containers"][0]["image"] != "registry.example.com/shop:v2":
                yield "the Job is not of the bad release"
        if self.service.image != "v2" or self.database.history != ["001_tickets", "002_seats"]:
            yield "something was changed"


JOB_CUTS = (
    ("rollbacks/status: Backup begun", 1),
    ("jobs", 1),
    ("rollbacks/status: Backup begun", 2),
    ("rollbacks/status: Backup ended", 1),
    ("rollbacks/status: MigrateDown begun", 1),
    ("jobs", 2),
    ("rollbacks/status: MigrateDown begun", 2),
    ("rollbacks/status: over", 1),
)
JOB_SHORT = (("jobs", 1),)


@BY_CUTTING
def test_a_job_that_does_nothing_ends_it_and_no_crash_runs_a_job_twice(
    stand: Stand, zygote: Zygote, tmp_path: Path, server: Postgres, cutting: Cutting
) -> None:
    done = side_by_side(
        JobWalk(
            stand, zygote, tmp_path, UNDO, number, is_before, point, server=server, terms=BY_JOB
        )
        for point, number, is_before in chosen(cutting, JOB_CUTS, JOB_SHORT)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []
