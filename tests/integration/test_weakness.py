"""The database that fails on purpose, on a real PostgreSQL: who is let down, and how often."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from lab.postgres_server import Postgres
from lab.weakness import Weakness

pytestmark = pytest.mark.xdist_group("weakness")
SCHEMA = "a-shop"
BUY = (
    "UPDATE ticket_types SET remaining = remaining - 1",
    "INSERT INTO purchases SELECT count(*) FROM ticket_types RETURNING amount",
)
LOOK = ("SELECT * FROM ticket_types",)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with Postgres() as postgres:
        with psycopg.connect(postgres.url) as connection:
            connection.execute(f'CREATE SCHEMA "{SCHEMA}"')
            connection.execute(f'CREATE TABLE "{SCHEMA}".ticket_types (remaining integer)')
            connection.execute(f'CREATE TABLE "{SCHEMA}".purchases (amount bigint)')
            connection.execute(f'INSERT INTO "{SCHEMA}".ticket_types VALUES (1000)')
        yield postgres.url


def failed(url: str, statements: tuple[str, ...], times: int, application: str = "") -> int:
    """Count the transactions of one session that fail."""
    count = 0
    options = f'-c search_path="{SCHEMA}"'
    with psycopg.connect(
        url, options=options, autocommit=True, application_name=application or None
    ) as connection:
        for _ in range(times):
            try:
                with connection.transaction():
                    for one in statements:
                        connection.execute(one, prepare=True)
            except psycopg.errors.RaiseException:
                count += 1
    return count


def test_no_transaction_fails_unless_told_to(database: str) -> None:
    Weakness(database, SCHEMA)

    assert failed(database, LOOK, 5) == failed(database, BUY, 5) == 0


@pytest.mark.parametrize("statements", [LOOK, BUY], ids=["one statement", "several"])
def test_a_share_of_transactions_fails(database: str, statements: tuple[str, ...]) -> None:
    weakness = Weakness(database, SCHEMA)

    weakness.fails(0.5)
    assert 130 <= failed(database, statements, 400) <= 270  # 7 standard deviations
    weakness.fails(1)
    assert failed(database, statements, 5) == 5
    weakness.fails(0)
    assert failed(database, statements, 5) == 0


def test_sessions_are_told_apart_by_their_name(database: str) -> None:
    weakness = Weakness(database, SCHEMA, "purchases")

    weakness.fails_first(3, application="fresh")

    assert failed(database, BUY, 5, "settled") == 0
    assert failed(database, LOOK, 5, "fresh") == 0
    assert failed(database, BUY, 5, "fresh") == 3
    assert failed(database, BUY, 5, "fresh") == 0
