"""A release that has migrated the database: whether the old one may go back onto its schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from lab.session import Session
from lab.tickets import wait_for
from tests.e2e.conftest import MakeShop
from tests.e2e.person import GROUP, Person
from tests.e2e.provider import POSTGRES, OwnWay
from tests.e2e.shop import Shop

SECRET, PASSWORD = "ticket-history", "of-this-run"
CONNECTION = {"connectionSecretRef": {"name": SECRET, "key": "dsn"}}
RETIRED_SECONDS = 100
APPROVER = "jane@example.com"


class History:
    """What a policy needs to ask for the applied migrations: a way, a role, a Secret, its right."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._role = f"{shop.namespace}-history"[:63]
        self._owner_url = shop.lab.database_url
        self._way = OwnWay(shop.lab, shop.namespace, POSTGRES)

    def is_readable(self, password: str = PASSWORD) -> dict[str, object]:
        """Set it up for a shop that is deployed; what the policy says of its database."""
        namespace = self.shop.namespace
        role, schema = sql.Identifier(self._role), sql.Identifier(namespace)
        self._is_reached(self._owner_url.rpartition("/")[2], password)
        self._run(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
        self._run(sql.SQL("GRANT SELECT ON {}.schema_migrations TO {}").format(schema, role))
        return {**CONNECTION, "history": {"preset": "SchemaMigrations", "schema": namespace}}

    def is_elsewhere(self) -> dict[str, object]:
        """Name a database that answers and has no migrations on record."""
        self._is_reached("postgres", PASSWORD)
        return CONNECTION

    def _is_reached(self, database: str, password: str) -> None:
        role = sql.Identifier(self._role)
        self._run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD)))
        self._way.open()
        where = f"{self._way.host}:{POSTGRES.port}/{database}"
        self.shop.has_secret(SECRET, dsn=f"postgresql://{self._role}:{password}@{where}")

    def is_remembered(self) -> None:
        """The migrations that the running release was found with are on record."""

        def look() -> bool:
            known = self.shop.service.policy().get("status", {}).get("revisions", [])
            return any(one.get("migrations") for one in known)

        wait_for("the migrations of the good release", 60, look)

    def applied_for(self, name: str, seconds: float) -> None:
        """This migration has been applied for so long, by the database's own clock."""
        asked = sql.SQL(
            "SELECT now() - applied_at > {} FROM {}.schema_migrations WHERE name = {}"
        ).format(
            sql.Literal(f"{seconds} seconds"),
            sql.Identifier(self.shop.namespace),
            sql.Literal(name),
        )

        def look() -> bool:
            with psycopg.connect(self._owner_url) as connection:
                row = connection.execute(asked).fetchone()
            return row is not None and bool(row[0])

        wait_for(f"{name} to be {seconds} s old", 3 * seconds, look)

    @contextmanager
    def away(self) -> Iterator[None]:
        with self._way.cut():
            yield

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._owner_url, autocommit=True) as connection:
            connection.execute(statement)


def said_of_the_schema(rollback: dict[str, object]) -> tuple[str, str]:
    """Give the checklist's result on the schema, and its sentence."""
    status = rollback["status"]
    assert isinstance(status, dict)
    item = next(one for one in status["checklist"] if one["name"] == "DatabaseSchema")
    return item["result"], item["message"]


@pytest.fixture
def jane(lab: Session, shop: Shop) -> Person:
    """May decide on rollbacks; comes into being with the shop's namespace."""
    return Person(lab, shop.namespace, APPROVER)


MAY_DECIDE = {
    f"rollbacks.{GROUP}": ["get", "list", "patch", "update"],
    f"rollbacks.{GROUP}/approval": ["update"],
}
MAY_PATCH = {f"rollbacks.{GROUP}": ["get", "list", "patch", "update"]}


@pytest.mark.extended
def test_a_release_with_a_newer_schema_is_not_rolled_back_and_people_are_told(shop: Shop) -> None:
    shop.service.deploy("v1.2.3")
    history = History(shop)
    shop.is_watched(database=history.is_readable())
    history.is_remembered()
    shop.has_a_past()

    shop.releases("v1.5.0")

    ended = shop.is_over()
    assert ended["status"]["outcome"] == "Blocked", ended["status"]
    result, said = said_of_the_schema(ended)
    assert result == "Failed"
    assert "005_retire_classic_checkout" in said
    assert "005_retire_classic_checkout" in shop.tells("RollbackBlocked")
    shop.runs("v1.5.0")


@pytest.mark.extended
def test_who_may_not_decide_is_refused_and_who_may_sends_the_release_back(
    lab: Session, shop: Shop, jane: Person
) -> None:
    shop.service.deploy("v1.2.3")
    history = History(shop)
    database = {**history.is_readable(), "onNewerSchema": "RequireApproval"}
    joe = Person(lab, shop.namespace, "joe@example.com")
    jane.may(MAY_DECIDE)
    joe.may(MAY_PATCH)
    shop.is_watched(database=database)
    history.is_remembered()
    shop.has_a_past()

    shop.releases("v1.3.7")  # with a migration that the old release can live with

    asked = shop.awaits_approval()
    name = asked["metadata"]["name"]
    assert "004_add_seat_label" in said_of_the_schema(asked)[1]
    assert "004_add_seat_label" in shop.tells("ApprovalNeeded")
    shop.runs("v1.3.7")
    said = joe.is_refused("rollback", "approve", name, "--reason", "it hurts")
    assert "rollbacks/approval" in said
    jane.does("rollback", "approve", name, "--reason", "004 only adds a column")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["approval"]["by"] == APPROVER


@pytest.mark.extended
def test_a_rollback_that_does_not_help_is_told_and_not_rolled_back(
    shop: Shop, jane: Person
) -> None:
    shop.service.deploy("v1.2.3")
    history = History(shop)
    database = {**history.is_readable(), "onNewerSchema": "RequireApproval"}
    jane.may(MAY_DECIDE)
    shop.is_watched(database=database)
    history.is_remembered()
    shop.has_a_past()
    shop.releases("v1.5.0")
    name = shop.awaits_approval()["metadata"]["name"]
    history.applied_for("005_retire_classic_checkout", RETIRED_SECONDS)

    jane.does("rollback", "approve", name, "--reason", "nobody knew that it retires a checkout")

    ended = shop.is_over()
    assert ended["status"]["outcome"] == "NotRecovered", ended["status"]
    assert name in shop.tells("RollbackNotRecovered")
    assert shop.condition("Recovered")["status"] == "False"
    shop.runs("v1.2.3")
    assert len(shop.service.rollbacks()) == 1


@pytest.mark.extended
def test_while_the_schema_cannot_be_read_a_person_is_asked(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.service.deploy("v1.2.3")
    history = History(shop)
    shop.is_watched(database=history.is_readable())
    history.is_remembered()
    shop.has_a_past()

    with history.away():
        shop.releases("v1.3.0")
        result, said = said_of_the_schema(shop.awaits_approval())
        assert result == "Warned", said
        shop.runs("v1.3.0")

    # It answers again, and nothing is newer: nobody needs to decide any more.
    shop.goes_back_to("v1.2.3")


@pytest.mark.extended
def test_a_wrong_password_is_told_and_asks(shop: Shop) -> None:
    shop.service.deploy("v1.2.3")
    database = History(shop).is_readable(password="wrong-one")
    shop.is_watched(database=database)
    shop.has_a_past()

    shop.releases("v1.3.0")

    asked = shop.awaits_approval()
    result, said = said_of_the_schema(asked)
    assert result == "Warned", said
    assert "password" in said
    assert "wrong-one" not in str(asked)
    assert "wrong-one" not in str(shop.service.policy())
    shop.runs("v1.3.0")


@pytest.mark.extended
def test_without_a_table_of_migrations_a_person_is_asked_and_may_go_back(
    shop: Shop, jane: Person
) -> None:
    shop.service.deploy("v1.2.3")
    jane.may(MAY_DECIDE)
    shop.is_watched(database=History(shop).is_elsewhere())
    shop.has_a_past()

    shop.releases("v1.3.0")

    asked = shop.awaits_approval()
    result, said = said_of_the_schema(asked)
    assert result == "Warned", said
    assert "there is no table of a known migration tool" in said
    assert "no table of a known migration tool" in shop.tells("ApprovalNeeded")
    known = shop.service.policy()["status"]["revisions"]
    assert not any(one.get("migrations") for one in known)
    shop.runs("v1.3.0")
    name = asked["metadata"]["name"]
    jane.does("rollback", "approve", name, "--reason", "v1.3.0 has brought no migration")

    ended = shop.goes_back_to("v1.2.3")
    assert ended["spec"]["approval"]["by"] == APPROVER
