"""Histories that the real migration tools made: recognized, compared, and read while they run.

`make histories` makes the dumps. The matrix of docs/database.md has a row for each, as it is here.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from lab.postgres_server import Postgres
from rollback_operator.adapters.postgres.presets import PRESETS, Preset
from rollback_operator.model.schema import (
    Applied,
    Compatible,
    DirtyReason,
    DirtySchema,
    HistoryForm,
    NewerSchema,
    SchemaHistory,
)
from rollback_operator.remedies.database.schema import HistoryComparison, compare, recorded
from tests.integration.databases import Database, message, read

pytestmark = pytest.mark.xdist_group("database")

HISTORIES = Path(__file__).with_name("histories")
MATRIX = Path(__file__).parents[2] / "docs" / "database.md"
MARK = "-- == "
NOW = datetime(2030, 1, 1, tzinfo=UTC)
UNMARKED = {
    *("SchemaMigrations", "NodePgMigrate", "Sequelize", "TypeORM", "Alembic", "Django", "Goose"),
    *("Dbmate", "Rails"),
}
"""Tools that leave no mark of a migration that has failed."""
BY_NAME = {preset.name: preset for preset in PRESETS}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as found:
        yield found


def dump_of(preset: Preset) -> tuple[str, dict[str, str]]:
    """Give the tool that made a dump, and the SQL of each stage."""
    header, *parts = HISTORIES.joinpath(f"{preset.name}.sql").read_text().split(MARK)
    stages = dict(part.split("\n", maxsplit=1) for part in parts)
    return header.strip().rpartition(" with ")[2], stages


def loaded(server: Postgres, statements: str) -> Database:
    """Make a database with these tables, and a role that may read them."""
    database = Database(server, f"h{secrets.token_hex(5)}")
    database.run(statements)
    database.run(
        sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(
            sql.Identifier(database.role)
        )
    )
    return database


async def stages_of(server: Postgres, preset: Preset) -> dict[str, SchemaHistory]:
    _, stages = dump_of(preset)
    return {stage: await read(loaded(server, text).dsn) for stage, text in stages.items()}


def compared(history: SchemaHistory, known: SchemaHistory) -> object:
    """Compare a history with a target that was good while `known` was applied."""
    assert isinstance(known, Applied), known
    released = NOW - timedelta(days=36500)  # no migration is older than the release
    return compare(history, HistoryComparison(recorded(known, NOW), released, timedelta(0)))


def wrong_preset_for(preset: Preset) -> str:
    """Another tool whose table has the same name, if there is any."""
    same = [
        one.name for one in PRESETS if one.table == preset.table and one.columns != preset.columns
    ]
    return next(iter(same), "Knex" if preset.name == "Flyway" else "Flyway")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda one: one.name)
async def test_a_history_is_compatible_newer_or_dirty(server: Postgres, preset: Preset) -> None:
    made_by, dumps = dump_of(preset)
    clean, newer, dirty = (await stages_of(server, preset)).values()
    assert isinstance(clean, Applied), clean
    assert (clean.tool, clean.form) == (preset.name, HistoryForm(preset.form))

    same, later, after = (compared(each, clean) for each in (clean, newer, dirty))

    assert isinstance(same, Compatible)
    assert isinstance(later, NewerSchema)
    assert later.count == (1 if preset.form == "List" else None)
    if preset.name in UNMARKED:
        assert after == later
        mark = "no mark"
    else:
        assert isinstance(after, DirtySchema)
        mark = " ".join((after.reason, *after.names))
    wrong = wrong_preset_for(preset)
    said = message(await read(loaded(server, dumps["clean"]).dsn, history={"preset": wrong}))
    expected, _, there = said.partition(" (in ")[0].partition(", and ")
    assert expected == f"history.preset {wrong} expects {BY_NAME[wrong]}"
    count = same.count if preset.form == "List" else f"at {clean.migrations[0].name}"
    cells = (f"`{preset.name}`", made_by, str(count), later.names[-1], mark, f"{wrong}: {there}")
    row = f"| {' | '.join(cells)} |"
    assert row in MATRIX.read_text().splitlines(), row


@pytest.mark.parametrize("preset", PRESETS, ids=lambda one: one.name)
async def test_a_tool_that_migrates_now_is_seen_and_holds_nothing_up(
    server: Postgres, preset: Preset
) -> None:
    database = loaded(server, dump_of(preset)[1]["clean"])
    table = sql.Identifier(preset.table)
    url = server.url.rpartition("/")[0] + f"/{database.name}"
    with psycopg.connect(url) as connection:
        connection.execute(sql.SQL("DELETE FROM {}").format(table))
        writing = await read(database.dsn, history={"preset": preset.name})
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        locked = await read(database.dsn)
        connection.rollback()

    for found in (writing, locked):
        assert isinstance(found, DirtySchema), found
        assert found.reason is DirtyReason.LOCKED
    assert isinstance(await read(database.dsn), Applied)


@pytest.mark.parametrize(
    "preset", [one for one in PRESETS if one.advisory], ids=lambda one: one.name
)
async def test_a_tool_s_advisory_lock_is_seen(server: Postgres, preset: Preset) -> None:
    database = loaded(server, dump_of(preset)[1]["clean"])
    url = server.url.rpartition("/")[0] + f"/{database.name}"
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [preset.advisory])
        found = await read(database.dsn)

    assert isinstance(found, DirtySchema)
    assert found.reason is DirtyReason.LOCKED
    assert isinstance(await read(database.dsn), Applied)


async def test_a_table_under_another_name_is_read(server: Postgres) -> None:
    for preset in (BY_NAME["Flyway"], BY_NAME["Knex"]):
        text = dump_of(preset)[1]["clean"].replace(preset.table, "steps")
        database = loaded(server, text)

        assert isinstance(await read(database.dsn, history={"table": "steps"}), Applied)
        assert "no table of a known" in message(await read(database.dsn))


async def test_a_lock_that_the_role_may_not_read_is_said(server: Postgres) -> None:
    database = loaded(server, dump_of(BY_NAME["Knex"])[1]["clean"])
    database.run(f"REVOKE SELECT ON knex_migrations_lock FROM {database.role}")

    assert "knex_migrations_lock" in message(await read(database.dsn))


async def test_what_flyway_undid_or_ran_again_counts_as_it_is(server: Postgres) -> None:
    """The paid edition undoes: its row is made here, as its documentation describes it."""
    database = loaded(server, dump_of(BY_NAME["Flyway"])[1]["newer"])
    before = await read(database.dsn)
    for rank, kind, script, checksum in (
        (91, "UNDO_SQL", "V10__prices.sql", "checksum"),
        (92, "SQL", "R__view.sql", "7"),
    ):
        database.run(
            f"INSERT INTO flyway_schema_history SELECT {rank}, version, description, '{kind}',"
            f" script, {checksum}, installed_by, now(), 1, true FROM flyway_schema_history"
            f" WHERE script = '{script}'"
        )

    after = await read(database.dsn)

    assert isinstance(before, Applied)
    assert isinstance(after, Applied)
    names = [each.name for each in after.migrations]
    assert names == ["V1__tickets.sql", "V2__seats.sql", "R__view.sql (7)"]
    assert isinstance(compared(after, before), NewerSchema)


async def test_what_goose_took_back_in_a_row_of_its_own_is_not_applied(server: Postgres) -> None:
    database = loaded(server, dump_of(BY_NAME["Goose"])[1]["newer"])
    database.run("INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, false)")

    found = await read(database.dsn)

    assert isinstance(found, Applied)
    assert [each.name for each in found.migrations] == ["1", "2"]
