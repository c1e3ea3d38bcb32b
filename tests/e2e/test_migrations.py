"""A bad release that has migrated the database is taken back with its migrations."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.e2e.shop import Shop
from tests.e2e.test_schema import History, said_of_the_schema

ROLLBACK = ["npm", "run", "migrate:rollback", "--", "--step=$(STEPS)"]
STATUS = ["npm", "run", "migrate:status"]
BEFORE = ["001_create_tickets", "002_seed_events", "003_index_ticket_status"]
BROUGHT = ["004_add_seat_label", "005_retire_classic_checkout"]


def terms(shop: Shop, down: list[str]) -> dict[str, Any]:
    """Both releases can do without what the migrations bring."""
    seat = f"{shop.namespace}.tickets.seat_label"
    drops: dict[str, list[str]] = {BROUGHT[0]: [seat], BROUGHT[1]: []}
    return {
        "job": {"command": down, "timeoutSeconds": 60},
        "backup": {"job": {"command": STATUS, "timeoutSeconds": 60}},
        "migrations": [
            {"name": name, "drops": drops[name], "newReleaseRuns": True} for name in BROUGHT
        ],
    }


def watched(shop: Shop, down: list[str]) -> None:
    """A release with three migrations sells, and the operator may roll back what comes after."""
    shop.service.deploy("v1.2.3")
    history = History(shop)
    database = {
        **history.is_readable(),
        "onNewerSchema": "RollbackMigrations",
        "rollbackMigrations": terms(shop, down),
    }
    # The reader counts what is lost.
    grant = sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(
        sql.Identifier(shop.namespace), sql.Identifier(f"{shop.namespace}-history"[:63])
    )
    with psycopg.connect(shop.lab.database_url, autocommit=True) as connection:
        connection.execute(grant)
    shop.is_watched(database=database)
    history.is_remembered()
    shop.has_a_past()


def applied(shop: Shop) -> list[str]:
    query = sql.SQL("SELECT name FROM {}.schema_migrations ORDER BY name")
    with psycopg.connect(shop.lab.database_url) as connection:
        found = connection.execute(query.format(sql.Identifier(shop.namespace)))
        return [row[0] for row in found.fetchall()]


def jobs(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shop.service.kubectl("get", "jobs", "-o", "json"))[
        "items"
    ]
    return found


def test_a_release_goes_back_with_its_migrations_by_a_job_of_its_image(shop: Shop) -> None:
    watched(shop, ROLLBACK)

    shop.releases("v1.5.0")

    ended = shop.goes_back_to("v1.2.3")
    result, said = said_of_the_schema(ended)
    assert result == "Warned", said
    assert "seat_label dropped (0)" in said
    steps = [one["name"] for one in ended["status"]["steps"]]
    assert steps[:3] == ["Backup", "MigrateDown", "Undo"]
    assert ended["status"]["migrations"]["undone"] == BROUGHT[::-1]
    assert applied(shop) == BEFORE
    made = jobs(shop)
    assert sorted(one["metadata"]["name"] for one in made) == sorted(
        ended["status"]["migrations"]["jobs"]
    )
    assert all(one["status"].get("succeeded") == 1 for one in made), made


@pytest.mark.extended
def test_a_job_that_fails_stops_it_and_says_what_is_applied(shop: Shop) -> None:
    watched(shop, ["npm", "run", "migrate:rollback", "--", "--step=none"])

    shop.releases("v1.5.0")

    ended = shop.is_over()
    assert ended["status"]["outcome"] == "Failed", ended["status"]
    (complete,) = [one for one in ended["status"]["conditions"] if one["type"] == "Complete"]
    assert complete["reason"] == "MigrationFailed"
    assert "the history is as before" in complete["message"]
    assert applied(shop) == [*BEFORE, *BROUGHT]
    assert shop.service.image() == "v1.5.0"
