"""Which migrations are applied, asked of a real PostgreSQL: every shape, and every way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from lab.postgres_server import Postgres
from rollback_operator.adapters.http.addresses import Addresses, Pinned, Rules
from rollback_operator.adapters.postgres.database import PostgresSchemas
from rollback_operator.adapters.postgres.reader import MOST_MIGRATIONS
from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import Applied, DirtyReason, DirtySchema
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.rollback.integrity import QueryFailure, QueryRows
from tests.integration.databases import REF, Database, Secret, message, names, read

pytestmark = pytest.mark.xdist_group("database")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as found:
        yield found


@pytest.fixture
def database(server: Postgres, request: pytest.FixtureRequest) -> Database:
    return Database(server, f"d{secrets.token_hex(5)}")


def peak() -> int:
    """Give the most memory that this process has held, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# -- shapes ----------------------------------------------------------------------------------------


async def test_the_runbooks_table_is_read_in_the_order_of_application(database: Database) -> None:
    database.has("002_b", "001_a", "003_c")

    found = await read(database.dsn)

    assert names(found) == ["002_b", "001_a", "003_c"]
    assert isinstance(found, Applied)
    assert all(one.applied is not None and one.applied.tzinfo for one in found.migrations)


async def test_other_keys_are_found_and_times_without_a_zone_are_none(database: Database) -> None:
    database.run(
        "CREATE TABLE schema_migrations(version bigint, applied_at timestamp DEFAULT now())"
    )
    database.run("INSERT INTO schema_migrations VALUES (7), (8)")
    database.lets_read()

    auto = await read(database.dsn)
    exact = await read(database.dsn, history={"preset": "SchemaMigrations"})

    assert names(auto) == ["7", "8"]
    assert isinstance(auto, Applied)
    assert all(one.applied is None for one in auto.migrations)
    assert (
        "history.preset SchemaMigrations expects schema_migrations(applied_at, name), and there is"
        " schema_migrations(applied_at, version)"
    ) in message(exact)


async def test_a_mark_of_an_unknown_tool_counts(database: Database) -> None:
    database.run("CREATE TABLE schema_migrations(id int, version bigint, dirty boolean)")
    database.run("INSERT INTO schema_migrations VALUES (1, 6, false), (2, 7, true)")
    database.lets_read()

    found = await read(database.dsn)

    assert isinstance(found, DirtySchema)
    assert (found.reason, found.names) == (DirtyReason.HALF_APPLIED, ("7",))


async def test_a_schema_may_be_named(database: Database) -> None:
    database.has("in_public")
    database.run("CREATE SCHEMA shop")
    database.run("CREATE TABLE shop.schema_migrations AS SELECT 'in_shop'::text AS name")
    database.run(f"GRANT USAGE ON SCHEMA shop TO {database.role}")
    database.lets_read("schema_migrations")
    database.run(f"GRANT SELECT ON shop.schema_migrations TO {database.role}")

    assert names(await read(database.dsn)) == ["in_public"]
    assert names(await read(database.dsn, history={"schema": "shop"})) == ["in_shop"]


async def test_an_own_query_is_one_select(database: Database) -> None:
    database.run("CREATE TABLE steps(id int, at timestamptz)")
    database.run("INSERT INTO steps VALUES (2, '2030-01-02 00:00+01'), (1, '2030-01-01 00:00+01')")
    database.lets_read("steps")
    query = "SELECT 'step ' || id AS name, at AS applied_at FROM steps WHERE id % 10 > 0;"

    assert names(await read(database.dsn, history={"query": query})) == ["step 1", "step 2"]

    for wrong, said in {
        "SELECT id FROM steps": "gives the columns id, and not name",
        "DELETE FROM steps RETURNING id AS name": "syntax error",
        "SELECT 'a' AS name) AS a; DROP TABLE steps; SELECT * FROM (SELECT 1 AS name": "multiple",
        "SELECT 'a' AS name FROM nowhere": 'relation "nowhere" does not exist',
        f"SELECT i::text AS name FROM generate_series(1, {MOST_MIGRATIONS + 1}) AS i": "more than",
        "SELECT pg_sleep(9)::text AS name": "statement timeout",
    }.items():
        assert said in message(await read(database.dsn, history={"query": wrong})), wrong


async def test_nothing_is_written(database: Database) -> None:
    database.has("001")
    database.run(
        "CREATE FUNCTION tamper() RETURNS text LANGUAGE sql AS"
        " $$ INSERT INTO schema_migrations VALUES ('x') RETURNING name $$"
    )
    database.run(f"GRANT INSERT ON schema_migrations TO {database.role}")

    found = await read(database.dsn, history={"query": "SELECT tamper() AS name"})

    assert "read-only" in message(found)
    assert names(await read(database.dsn)) == ["001"]


# -- failures --------------------------------------------------------------------------------------


async def test_what_is_not_there_is_said(database: Database) -> None:
    assert "no table of a known migration tool" in message(await read(database.dsn))
    database.run("CREATE TABLE schema_migrations(name text)")
    assert "that the role may read" in message(await read(database.dsn))
    database.lets_read()
    assert "empty" in message(await read(database.dsn))


async def test_no_word_of_the_dsn_is_told(database: Database) -> None:
    wrong = f"wr0ng-{secrets.token_hex(4)}"
    for dsn, said in {
        database.dsn_with(wrong): "the password or the role of the DSN is wrong",
        database.dsn_with(wrong, dbname="nowhere"): "the password or the role",
        f"postgresql://x:{wrong}@[": "is not a valid DSN",
        f"{wrong} is no dsn": "is not a valid DSN",
        database.dsn_with(wrong, options=f"-c x={wrong}"): "is not a valid DSN",
        database.dsn_with(wrong, passfile=f"/{wrong}"): "is not a valid DSN",
        database.dsn_with(wrong, sslrootcert=f"/{wrong}"): "is not a valid DSN",
        database.dsn_with(wrong, service=wrong): "is not a valid DSN",
        database.dsn_with(wrong, hostaddr="127.0.0.2"): "is not a valid DSN",
        database.dsn_with(wrong, host="127.0.0.1,127.0.0.2"): "is not a valid DSN",
        database.dsn_with(wrong, host="/run/postgresql"): "is not a valid DSN",
        database.dsn_with(wrong, sslmode="require"): "requires TLS",
    }.items():
        found = message(await read(dsn))
        assert said in found, (dsn, found)
        assert wrong not in found
        assert database.password not in found


async def test_a_query_that_tells_the_password_is_silenced(database: Database) -> None:
    query = f"SELECT '{database.password}'::int::text AS name"

    assert database.password not in message(await read(database.dsn, history={"query": query}))


async def test_an_answer_that_has_the_password_has_it_no_more(database: Database) -> None:
    text = f"postgresql://x:{database.password}@db"

    (found,) = (await ask(database.dsn, told=f"SELECT '{text}' AS url")).values()

    assert found == QueryRows(('{"url":"postgresql://x:***@db"}',))


async def test_a_secret_that_cannot_be_read_is_said() -> None:
    failure = Failure(FailureKind.GONE, "there is no Secret ticket-db in namespace shop")

    assert message(await read(failure)) == failure.message


async def test_a_host_that_may_not_be_called_is_not_called(database: Database) -> None:
    asked: list[str] = []

    async def pin(host: str, port: int, namespace: str) -> Pinned | Failure:
        asked.append(f"{host} {port} {namespace}")
        return Failure(FailureKind.REJECTED, f"{host} may not be called")

    schemas = PostgresSchemas(Secret(database.dsn), pin)
    found = await schemas.read("shop", DatabaseSpec.model_validate(REF))

    assert "may not be called" in message(found)
    assert asked == [f"{database.server.host} {database.server.port} shop"]


async def test_the_server_is_called_where_it_was_pinned(database: Database) -> None:
    database.has("001")
    named = database.dsn_with(database.password, host="db.shop.svc")

    async def pin(host: str, port: int, namespace: str) -> Pinned | Failure:
        return Pinned(host, port, (database.server.host,))

    schemas = PostgresSchemas(Secret(named), pin)
    found = await schemas.read("shop", DatabaseSpec.model_validate(REF))

    assert names(found) == ["001"]


async def test_a_server_that_falls_silent_is_given_up(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        async with asyncio.timeout(120):
            found = await read(database.dsn_with(database.password, host="127.0.0.1", port=port))

    assert "did not answer" in message(found)


async def test_a_row_of_any_size_is_not_taken_into_memory(database: Database) -> None:
    query = {"query": "SELECT repeat('x', 8000000) AS name"}

    found = message(await read(database.dsn, history=query))

    assert "sends more than 4 MiB" in found


async def test_a_server_that_sends_without_an_end_is_given_up() -> None:
    """Not even a database: it says that a row of a gigabyte follows, and goes on and on."""
    sent = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            writer.write(b"R" + (8).to_bytes(4, "big") + bytes(4))  # nobody needs a password
            writer.write(b"D" + (1 << 30).to_bytes(4, "big"))
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()
                sent += 1 << 20

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before = peak()
    found = message(await read(f"host=127.0.0.1 port={port} user=a dbname=b sslmode=disable"))
    server.close()

    assert "sends more than 4 MiB" in found or "failed" in found
    assert sent < 64 << 20
    assert peak() - before < 100 * 1024


async def test_nobody_listening_is_said(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = str(gone.getsockname()[1])

    found = await read(database.dsn_with(database.password, port=port))

    assert "refused" in message(found)


async def test_a_dsn_without_a_password_leaves_no_line_in_the_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What libpq prints is no line of the operator's log, and nobody can turn it off."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    await read(f"host=127.0.0.1 port={port} user=a dbname=b")

    assert capfd.readouterr().err == ""


async def test_a_table_that_is_locked_does_not_hold_up(database: Database) -> None:
    database.has("001")
    url = database.server.url.rpartition("/")[0] + f"/{database.name}"
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE")
        found = await read(database.dsn)

    assert isinstance(found, DirtySchema)
    assert found.reason is DirtyReason.LOCKED


async def test_a_migration_that_is_not_committed_is_seen(database: Database) -> None:
    """Its row is not visible yet, and the release that runs it is about to change the schema."""
    database.has("001")
    url = database.server.url.rpartition("/")[0] + f"/{database.name}"
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO schema_migrations (name) VALUES ('002')")
        during = await read(database.dsn)
    after = await read(database.dsn)

    assert isinstance(during, DirtySchema)
    assert during.reason is DirtyReason.LOCKED
    assert names(after) == ["001", "002"]


async def test_a_read_that_is_cancelled_leaves_nothing_behind(database: Database) -> None:
    query = {"query": "SELECT pg_sleep(60)::text AS name"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await read(database.dsn, history=query)

    url = database.server.url.rpartition("/")[0] + f"/{database.name}"
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(50):
            open_ = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [database.role]
            ).fetchone()
            if open_ == (0,):
                break
            await asyncio.sleep(0.1)
    assert open_ == (0,)


# -- queries of integrity checks, and on damage ----------------------------------------------------


async def ask(dsn: str, **questions: str) -> Any:
    addresses = Addresses(Rules(lambda host, namespace: True, is_loopback_allowed=True))
    schemas = PostgresSchemas(Secret(dsn), addresses.pin)
    return await schemas.ask("shop", DatabaseSpec.model_validate(REF), questions)


async def test_rows_are_given_as_json_few_and_short(database: Database) -> None:
    found = await ask(
        database.dsn,
        one="SELECT count(*) AS n FROM generate_series(1, 7);",
        many="SELECT id FROM generate_series(1, 1000000) AS id ORDER BY id",
        wide="SELECT repeat('x', 5000) AS text",
        odd="SELECT '2030-01-01'::date AS day, ARRAY[1,2] AS list, NULL AS nothing",
        none="SELECT 1 WHERE false",
        noted="SELECT 1 AS n -- a comment",
    )

    assert found["one"] == QueryRows(('{"n":7}',))
    assert (len(found["many"].rows), found["many"].is_whole) == (10, False)
    assert len(found["wide"].rows[0]) == 2000
    assert found["odd"].rows == ('{"day":"2030-01-01","list":[1,2],"nothing":null}',)
    assert found["none"] == QueryRows()
    assert found["noted"] == QueryRows(('{"n":1}',))


async def test_a_query_that_fails_spoils_no_other(database: Database) -> None:
    database.has("001")
    table = sql.Identifier("schema_migrations"), sql.Identifier(database.role)
    database.run(sql.SQL("GRANT ALL ON {} TO {}").format(*table))

    found = await ask(
        database.dsn,
        wrong="SELECT nothing FROM nowhere",
        writing="DELETE FROM schema_migrations RETURNING name",
        hidden="WITH gone AS (DELETE FROM schema_migrations RETURNING name) SELECT * FROM gone",
        two="SELECT 1) AS own) AS asked; DELETE FROM schema_migrations; SELECT * FROM (SELECT (1",
        ending="SELECT 1); COMMIT; DROP TABLE schema_migrations; --",
        endless="SELECT pg_sleep(3600)",
        right="SELECT count(*) AS n FROM schema_migrations",
    )

    assert found.pop("right") == QueryRows(('{"n":1}',))
    assert all(isinstance(one, QueryFailure) and one.message for one in found.values()), found
    assert "nowhere" in found["wrong"].message
    assert "timeout" in found["endless"].message


async def test_a_database_that_is_away_answers_nothing(database: Database) -> None:
    assert isinstance(await ask(database.dsn_with("wrong"), one="SELECT 1"), Missing)
