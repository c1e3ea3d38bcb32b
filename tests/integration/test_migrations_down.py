"""Migrations rolled back by SQL on a real PostgreSQL: whole or not at all, whatever the SQL is."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql

from lab.postgres_server import Postgres
from rollback_operator.adapters.http.addresses import Addresses, Rules
from rollback_operator.adapters.postgres import losses
from rollback_operator.adapters.postgres.down import TRY_SECONDS, PostgresChanges
from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import DirtyReason, DirtySchema
from rollback_operator.remedies.database.migrations import (
    HalfWay,
    LossReport,
    StatementFault,
    Undone,
)
from tests.sizes import chosen_of

pytestmark = pytest.mark.xdist_group("database")

DROP = "ALTER TABLE tickets DROP COLUMN seat"


@dataclass
class Database:
    """Two migrations: a table of tickets, then their seats; a reader, and an owner of it all."""

    server: Postgres
    name: str = field(default_factory=lambda: f"d{secrets.token_hex(5)}")
    password: str = field(default_factory=lambda: f"s3cr3t-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
            for role in (self.reader, self.owner):
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(self.password)
                    )
                )
        owner, reader = sql.Identifier(self.owner), sql.Identifier(self.reader)
        self.run(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(owner))
        database = sql.Identifier(self.name)
        self.run(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, owner))
        self.run_as_owner(
            "CREATE TABLE schema_migrations(name text PRIMARY KEY, applied_at timestamptz"
            " NOT NULL DEFAULT now());"
            " CREATE TABLE tickets(id bigint PRIMARY KEY, name text, seat text);"
            " CREATE TABLE undone(id bigint);"
            " INSERT INTO schema_migrations VALUES ('001_tickets'), ('002_seats')"
        )
        self.run_as_owner(sql.SQL("GRANT SELECT ON schema_migrations TO {}").format(reader))

    @property
    def reader(self) -> str:
        return f"reader_{self.name}"

    @property
    def owner(self) -> str:
        return f"owner_{self.name}"

    def dsn(self, role: str, **more: Any) -> str:
        known = {
            "host": self.server.host,
            "port": self.server.port,
            "dbname": self.name,
            "user": role,
            "password": self.password,
        }
        return psycopg.conninfo.make_conninfo(**{**known, **more})

    def run(self, statement: str | sql.Composable) -> None:
        with self._connect(self.name) as connection:
            connection.execute(statement)  # type: ignore[arg-type] # statements of these tests

    def run_as_owner(self, statement: str | sql.Composable) -> None:
        with psycopg.connect(self.dsn(self.owner), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type] # statements of these tests

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.dsn(self.owner), autocommit=True) as connection:
            return [row[0] for row in connection.execute(query).fetchall()]  # type: ignore[call-overload]

    @property
    def history(self) -> list[str]:
        return self.rows("SELECT name FROM schema_migrations ORDER BY name")

    @property
    def columns(self) -> set[str]:
        return set(
            self.rows(
                "SELECT table_name || '.' || column_name FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name IN ('tickets', 'undone')"
            )
        )

    def sells(self, count: int = 10, seats: int = 0) -> None:
        self.run_as_owner(
            f"INSERT INTO tickets SELECT n, 'name', CASE WHEN n <= {seats} THEN 'A1' END"
            f" FROM generate_series(1, {count}) AS n"
        )

    def is_in_use_by_us(self) -> bool:
        found = self.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rollback-operator'"
            f" AND datname = '{self.name}'"
        )
        return bool(found[0])

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        url = self.server.url.rpartition("/")[0] + f"/{database}"
        return psycopg.connect(url, autocommit=True)


@dataclass
class Own:
    """The namespace's two Secrets."""

    database: Database
    owner: str = ""

    async def read(self, namespace: str, name: str, key: str) -> str:
        if name == "reader":
            return self.database.dsn(self.database.reader)
        return self.owner or self.database.dsn(self.database.owner)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as found:
        yield found


@pytest.fixture
def database(server: Postgres) -> Database:
    return Database(server)


def spec(*statements: str, **more: Any) -> DatabaseSpec:
    """What a policy says; the statements are those of 002, 001 and so on."""
    names = ("002_seats", "001_tickets")
    known = [{"name": name, "sql": each} for name, each in zip(names, statements, strict=False)]
    limits = {
        "migrationsSecretRef": {"name": "owner", "key": "dsn"},
        "timeoutSeconds": 3,
        "lockTimeoutSeconds": 1,
    }
    terms = {"sql": limits, "backup": {"required": False}, "migrations": known}
    return DatabaseSpec.model_validate(
        {
            "connectionSecretRef": {"name": "reader"},
            "onNewerSchema": "RollbackMigrations",
            "rollbackMigrations": {**terms, **more.pop("terms", {})},
            **more,
        }
    )


def record(*names: str, applied: int = 2) -> MigrationRecord:
    return MigrationRecord(
        names=list(names or ("002_seats",)), applied=applied, order="MigrateFirst"
    )


def changes(database: Database, *, try_seconds: int = TRY_SECONDS, **more: str) -> PostgresChanges:
    addresses = Addresses(Rules(lambda host, namespace: True, is_loopback_allowed=True))
    own = Own(database, **more)
    return PostgresChanges(own, addresses.pin, try_seconds)  # type: ignore[arg-type]


T = TypeVar("T")


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until a busy machine has let the server answer in time."""
    for _ in range(20):
        found = await ask()
        said = found.unknown if isinstance(found, LossReport) else getattr(found, "message", "")
        if "did not answer" not in said:
            break
    return found


async def undo(
    database: Database, policy: DatabaseSpec, plan: MigrationRecord | None = None
) -> Undone | HalfWay | DirtySchema | StatementFault | Missing:
    return await answered(lambda: changes(database).roll_back("shop", policy, plan or record()))


async def measure(
    database: Database, policy: DatabaseSpec, plan: MigrationRecord | None = None
) -> LossReport:
    return await answered(lambda: changes(database).measure("shop", policy, plan or record()))


WHOLE = {"tickets.id", "tickets.name", "tickets.seat", "undone.id"}


def untouched(database: Database) -> bool:
    return database.history == ["001_tickets", "002_seats"] and database.columns == WHOLE


# -- rolling back ----------------------------------------------------------------------------------


async def test_the_statements_and_the_row_go_together_and_once(database: Database) -> None:
    policy = spec(f"{DROP}; INSERT INTO undone VALUES (1)")

    assert await undo(database, policy) == Undone()
    assert await undo(database, policy) == Undone()

    assert database.history == ["001_tickets"]
    assert database.columns == WHOLE - {"tickets.seat"}
    assert database.rows("SELECT id FROM undone") == [1]


async def test_a_rollback_needs_a_single_connection(database: Database) -> None:
    """As of a role with a limit, or of a server that has hardly any left in the incident."""
    database.run(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(database.owner)))

    assert await undo(database, spec(DROP)) == Undone()

    assert database.history == ["001_tickets"]


async def test_two_migrations_are_rolled_back_the_newest_first(database: Database) -> None:
    policy = spec(
        "INSERT INTO undone VALUES (2); ALTER TABLE tickets DROP COLUMN seat",
        "INSERT INTO undone SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM information_schema.columns"
        " WHERE column_name = 'seat'); DROP TABLE tickets",
    )

    assert await undo(database, policy, record("002_seats", "001_tickets")) == Undone()

    assert database.history == []
    assert database.rows("SELECT id FROM undone ORDER BY id") == [1, 2]


async def test_if_one_of_two_fails_both_stay(database: Database) -> None:
    policy = spec(DROP, "DROP TABLE nothing")

    found = await undo(database, policy, record("002_seats", "001_tickets"))

    assert isinstance(found, StatementFault)
    assert 'migrations.sql of 001_tickets: table "nothing" does not exist' in found.message
    assert untouched(database)


FAULTS = {
    "ends the transaction": (f"{DROP}; COMMIT", "transaction"),
    "in a block": (f"{DROP}; DO 'BEGIN COMMIT; END'", "transaction"),
    "prepares it": (f"{DROP}; PREPARE TRANSACTION 'x'", "transaction"),
    "no SQL": ("'", "unterminated"),
    "another database": (f"{DROP}; DROP TABLE other.public.tickets", "cross-database"),
    "no transaction": ("DROP INDEX CONCURRENTLY tickets_pkey", "cannot"),
    "endless": ("DO 'BEGIN LOOP END LOOP; END'", "take too long: raise sql.timeoutSeconds"),
    "sleeps": ("SELECT pg_sleep(3600)", "take too long"),
    "no time-out of its own": (
        "SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_sleep(3600)",
        "take too long",
    ),
    "not its table": ("DROP TABLE pg_catalog.pg_class", "must be owner"),
    "a file": ("COPY tickets TO '/tmp/x'", "superuser"),
    "a program": ("COPY tickets TO PROGRAM 'id'", "superuser"),
    "the history itself": (f"{DROP}; DROP TABLE schema_migrations", "does not exist"),
    "more of the history": (
        f"{DROP}; DELETE FROM schema_migrations",
        "differs from the earlier history",
    ),
    "an entry of its own": (
        f"{DROP}; INSERT INTO schema_migrations VALUES ('003')",
        "differs from the earlier history",
    ),
}
WORST_FAULTS = (
    *("ends the transaction", "endless", "no time-out of its own", "a program"),
    "more of the history",
)


@pytest.mark.parametrize("case", chosen_of(FAULTS, WORST_FAULTS))
async def test_faulty_or_hostile_statements_change_nothing(database: Database, case: str) -> None:
    statements, said = FAULTS[case]

    found = await undo(database, spec(statements))

    assert isinstance(found, StatementFault), found
    assert said in found.message
    assert untouched(database)


async def test_no_statement_tells_the_password(database: Database) -> None:
    quoted = database.password.replace("'", "''")
    raised = f"DO $$BEGIN RAISE EXCEPTION 'login as x:{quoted}@db'; END$$"
    filled = f"DO $$BEGIN RAISE EXCEPTION '{'-' * 295}{quoted}'; END$$"

    for statements in (raised, filled):
        for found in (
            await undo(database, spec(statements)),
            await measure(database, spec(statements)),
        ):
            assert "migrations.sql of 002_seats" in str(found)
            assert database.password[:4] not in str(found)


async def test_statements_that_swallow_the_time_out_end_with_their_process(
    database: Database,
) -> None:
    caught = (
        "DO 'BEGIN LOOP BEGIN PERFORM pg_sleep(9); EXCEPTION WHEN query_canceled THEN NULL; END;"
        " END LOOP; END'"
    )

    found = await undo(database, spec(caught, terms={}))

    assert isinstance(found, Missing), found
    await gone(database)
    assert untouched(database)


async def gone(database: Database) -> None:
    """Wait until the server has ended our session."""
    async with asyncio.timeout(30):
        while database.is_in_use_by_us():  # noqa: ASYNC110 (a server ends it)
            await asyncio.sleep(0.1)


async def test_killed_in_the_middle_the_server_rolls_back(database: Database) -> None:
    policy = spec(f"{DROP}; SELECT pg_sleep(2)")
    task = asyncio.create_task(undo(database, policy))
    async with asyncio.timeout(30):
        while not database.is_in_use_by_us():  # noqa: ASYNC110 (a server begins it)
            await asyncio.sleep(0.05)

    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    await gone(database)
    assert untouched(database)
    assert await undo(database, spec(DROP)) == Undone()


async def test_a_lock_that_another_holds_is_not_waited_for_longer_than_allowed(
    database: Database,
) -> None:
    with psycopg.connect(database.dsn(database.owner)) as other:
        other.execute("LOCK TABLE tickets IN ACCESS SHARE MODE")

        found = await undo(database, spec(DROP))

        assert isinstance(found, Missing)
        assert "lockTimeoutSeconds" in found.message
        assert "within 1 s" in found.message
        assert not database.is_in_use_by_us()
    assert untouched(database)
    assert await undo(database, spec(DROP)) == Undone()


async def test_two_operators_do_not_do_it_at_once(database: Database) -> None:
    policy = spec(f"SELECT pg_sleep(0.5); {DROP}; INSERT INTO undone VALUES (1)")

    found = await asyncio.gather(undo(database, policy), undo(database, policy))

    assert Undone() in found
    assert await undo(database, policy) == Undone()
    assert database.rows("SELECT id FROM undone") == [1]


STATES = {
    "somebody has migrated": ("INSERT INTO schema_migrations VALUES ('003')", 3),
    "an older migration is gone": ("DELETE FROM schema_migrations WHERE name = '001_tickets'", 1),
}


@pytest.mark.parametrize("case", STATES)
async def test_another_history_than_planned_stops_it(database: Database, case: str) -> None:
    statement, count = STATES[case]
    database.run_as_owner(statement)

    found = await undo(database, spec(DROP))

    assert found == HalfWay((), ("002_seats",), count)
    assert database.columns == WHOLE


KNEX = (
    "CREATE TABLE knex_migrations(id serial, name text, batch int, migration_time timestamptz);"
    " CREATE TABLE knex_migrations_lock(index int, is_locked int);"
    " INSERT INTO knex_migrations(name) SELECT name FROM schema_migrations ORDER BY name;"
    " INSERT INTO knex_migrations_lock VALUES (1, 0); DROP TABLE schema_migrations"
)
PRISMA = (
    "CREATE TABLE _prisma_migrations(id serial, checksum text, finished_at timestamptz,"
    " migration_name text, logs text, rolled_back_at timestamptz, started_at timestamptz);"
    " INSERT INTO _prisma_migrations(migration_name, finished_at, started_at)"
    " SELECT name, now(), now() FROM schema_migrations ORDER BY name; DROP TABLE schema_migrations"
)
MARKS = {
    "Knex's lock": (
        KNEX,
        "UPDATE knex_migrations_lock SET is_locked = 1",
        "UPDATE knex_migrations_lock SET is_locked = 0",
        DirtyReason.LOCKED,
        (),
    ),
    "Prisma's failure": (
        PRISMA,
        "INSERT INTO _prisma_migrations(migration_name, logs) VALUES ('003_fails', 'why')",
        "UPDATE _prisma_migrations SET rolled_back_at = now() WHERE logs = 'why'",
        DirtyReason.FAILED,
        ("003_fails",),
    ),
}


@pytest.mark.parametrize("case", MARKS)
async def test_a_mark_of_the_tool_changes_nothing(database: Database, case: str) -> None:
    tables, mark, cure, reason, names = MARKS[case]
    database.run_as_owner(tables)
    database.run_as_owner(mark)

    found = await undo(database, spec(DROP))

    assert isinstance(found, DirtySchema), found
    assert (found.reason, found.names) == (reason, names)
    assert database.columns == WHOLE
    database.run_as_owner(cure)
    assert await undo(database, spec(DROP)) == Undone()


TOOLS = {
    "Knex": (KNEX, "UPDATE knex_migrations_lock SET is_locked = 1"),
    "Prisma": (PRISMA, "SELECT pg_advisory_lock(72707369)"),
}


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_tool_that_takes_its_lock_at_this_moment_is_not_overtaken(
    database: Database, tool: str
) -> None:
    tables, lock = TOOLS[tool]
    database.run_as_owner(tables)
    with psycopg.connect(database.dsn(database.owner)) as other:
        other.execute(lock)

        found = await undo(database, spec(DROP))

        assert isinstance(found, Missing), found
        assert "lockTimeoutSeconds" in found.message
    assert database.columns == WHOLE


async def test_with_an_own_query_the_statements_remove_the_row(database: Database) -> None:
    query = {"query": "SELECT name FROM schema_migrations"}

    kept = await undo(database, spec(DROP, history=query))
    assert isinstance(kept, StatementFault)
    assert "history.query" in kept.message
    assert untouched(database)

    removes = f"{DROP}; DELETE FROM schema_migrations WHERE name = '002_seats'"
    assert await undo(database, spec(removes, history=query)) == Undone()
    assert database.history == ["001_tickets"]


async def test_the_role_that_only_reads_is_not_used(database: Database) -> None:
    same = changes(database, owner=database.dsn(database.reader))
    elsewhere = changes(database, owner=database.dsn(database.owner, dbname="postgres"))

    for port, said in ((same, "names the role of"), (elsewhere, "names another database")):
        found = await port.roll_back("shop", spec(DROP), record())
        assert isinstance(found, StatementFault)
        assert said in found.message
    assert untouched(database)


async def test_a_database_that_is_away_is_said_to_be(database: Database) -> None:
    nobody = changes(database, owner=database.dsn(database.owner, port=1))

    found = await nobody.roll_back("shop", spec(DROP), record())

    assert isinstance(found, Missing)
    assert "refused" in found.message
    assert database.password not in found.message


# -- the report ------------------------------------------------------------------------------------

LOSSES: dict[str, tuple[str, set[tuple[str, str, int]]]] = {
    "a column": (DROP, {("public.tickets.seat", "dropped", 4)}),
    "a table": ("DROP TABLE tickets", {("public.tickets", "dropped", 10)}),
    "all tables of a schema": (
        "DROP SCHEMA shows CASCADE",
        {("shows.halls", "dropped", 3)},
    ),
    "a type": (
        "ALTER TABLE tickets ALTER COLUMN name TYPE char(2) USING left(name, 2)",
        {("public.tickets.name", "retyped", 10)},
    ),
    "all rows": ("TRUNCATE tickets", {("public.tickets", "rewritten", 10)}),
    "some rows": ("DELETE FROM tickets WHERE id > 7", {("public.tickets", "deleted", 3)}),
    "old values": ("UPDATE tickets SET seat = NULL", {("public.tickets", "updated", 10)}),
    "a new name": ("ALTER TABLE tickets RENAME COLUMN seat TO place", set()),
    "an index": ("ALTER TABLE tickets DROP CONSTRAINT tickets_pkey", set()),
    "a new column": ("ALTER TABLE tickets ADD COLUMN hall text", set()),
}


@pytest.mark.parametrize(
    "case", chosen_of(LOSSES, ["a column", "a table", "some rows", "a new name"])
)
async def test_what_would_go_is_counted_and_nothing_is_changed(
    database: Database, case: str
) -> None:
    statements, lost = LOSSES[case]
    database.sells(10, seats=4)
    database.run_as_owner("CREATE SCHEMA shows")
    database.run_as_owner("CREATE TABLE shows.halls AS SELECT n FROM generate_series(1, 3) AS n")

    found = await measure(database, spec(statements))

    assert (found.unknown, found.fault) == ("", "")
    assert {(one.place, one.how, one.values) for one in found.losses} == lost
    assert not any(one.is_estimated for one in found.losses)
    assert untouched(database)
    assert database.rows("SELECT count(seat) FROM tickets") == [4]


async def test_faulty_statements_are_known_before_any_act(database: Database) -> None:
    found = await measure(database, spec("DROP TABLE other.public.tickets"))

    assert "migrations.sql of 002_seats" in found.fault
    assert untouched(database)


async def test_statements_that_are_slow_when_tried_leave_the_loss_unknown(
    database: Database,
) -> None:
    hasty = changes(database, try_seconds=1)
    policy = spec("SELECT pg_sleep(3600)")

    found = await answered(lambda: hasty.measure("shop", policy, record()))

    assert found.fault == ""
    assert "of 002_seats take longer than 1 s when they are tried" in found.unknown
    assert "set migrations.drops" in found.unknown


@dataclass
class Tenants:
    """The Secrets of several namespaces."""

    databases: dict[str, Database]

    async def read(self, namespace: str, name: str, key: str) -> str:
        return await Own(self.databases[namespace]).read(namespace, name, key)


async def test_a_namespace_whose_statements_last_delays_itself_alone(server: Postgres) -> None:
    databases = {name: Database(server) for name in ("tenant", "victim")}
    addresses = Addresses(Rules(lambda host, namespace: True, is_loopback_allowed=True))
    shared = PostgresChanges(Tenants(databases), addresses.pin)  # type: ignore[arg-type]
    limits = {"migrationsSecretRef": {"name": "owner", "key": "dsn"}, "timeoutSeconds": 90}
    endless = spec("SELECT pg_sleep(3600)", terms={"sql": limits})
    hanging: list[asyncio.Task[Any]] = [
        asyncio.create_task(shared.roll_back("tenant", endless, record()))
    ]
    for _ in range(600):
        if databases["tenant"].is_in_use_by_us():
            break
        await asyncio.sleep(0.1)
    hanging += [asyncio.create_task(shared.measure("tenant", endless, record())) for _ in range(5)]

    async with asyncio.timeout(60):
        found = await answered(lambda: shared.measure("victim", spec(DROP), record()))
        undone = await answered(lambda: shared.roll_back("victim", spec(DROP), record()))

    assert found.unknown == found.fault == ""
    assert undone == Undone()
    assert not any(task.done() for task in hanging)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_a_busy_table_leaves_the_loss_unknown(database: Database) -> None:
    with psycopg.connect(database.dsn(database.owner)) as other:
        other.execute("LOCK TABLE tickets IN ACCESS SHARE MODE")

        found = await measure(database, spec(DROP))

    assert "another session holds it" in found.unknown
    assert found.losses == ()


async def test_declared_places_are_counted_without_trying_anything(database: Database) -> None:
    database.sells(10, seats=4)
    declared = {
        "migrations": [
            {
                "name": "002_seats",
                "sql": "not even SQL",
                "drops": ["public.tickets.seat", "public.nothing", "public.tickets.nothing"],
            }
        ]
    }

    found = await measure(database, spec(terms=declared))

    assert [(one.place, one.values) for one in found.losses] == [("public.tickets.seat", 4)]
    for place in ("public.nothing", "public.tickets.nothing"):
        assert f"{place} is not there: correct migrations.drops" in found.unknown
    assert found.fault == ""


async def test_a_declared_partitioned_table_has_the_rows_of_its_partitions(
    database: Database,
) -> None:
    database.run_as_owner(
        "CREATE TABLE sales(id int) PARTITION BY RANGE (id);"
        " CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (1) TO (100);"
        " INSERT INTO sales SELECT generate_series(1, 7)"
    )
    drops = [{"name": "002_seats", "sql": "DROP TABLE sales", "drops": ["public.sales"]}]

    found = await measure(database, spec(terms={"migrations": drops}))

    assert [(one.place, one.values) for one in found.losses] == [("public.sales", 7)]


def by_job(**known: Any) -> DatabaseSpec:
    return DatabaseSpec.model_validate(
        {
            "connectionSecretRef": {"name": "reader"},
            "onNewerSchema": "RollbackMigrations",
            "rollbackMigrations": {
                "job": {"command": ["down"]},
                "backup": {"required": False},
                "migrations": [{"name": "002_seats", **known}],
            },
        }
    )


async def test_what_may_not_be_read_is_estimated_and_said_to_be(database: Database) -> None:
    database.run_as_owner("ALTER TABLE tickets SET (autovacuum_enabled = false)")
    database.sells(1000, seats=400)
    never = await measure(database, by_job(drops=["public.tickets.seat"]))
    database.run_as_owner("ANALYZE tickets")
    found = await measure(database, by_job(drops=["public.tickets.seat"]))

    assert "public.tickets.seat has no statistics" in never.unknown
    assert "GRANT SELECT" in never.unknown
    (lost,) = found.losses
    # Statistics of columns are for those who may read them: all rows are taken for values.
    assert (lost.values, lost.is_estimated) == (1000, True)


async def test_past_the_bound_the_statistics_are_used(database: Database) -> None:
    database.sells(1000, seats=400)
    database.run_as_owner("ANALYZE tickets")

    with psycopg.connect(database.dsn(database.owner)) as connection:
        found = losses.of_places(connection, ["public.tickets.seat", "public.tickets"], 100)

    assert found["losses"] == [
        ["public.tickets.seat", "dropped", 400, True],
        ["public.tickets", "dropped", 1000, True],
    ]


async def test_a_job_whose_drops_nobody_declares_is_not_known(database: Database) -> None:
    found = await measure(database, by_job())

    assert "002_seats" in found.unknown
    assert "migrations.drops" in found.unknown
