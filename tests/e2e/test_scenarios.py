"""The runbook's four scenarios: the commands of docs/scenarios, run as they stand there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from lab import session
from lab.session import Session
from tests.e2e.conftest import MakeShop
from tests.e2e.provider import POSTGRES, OwnWay
from tests.e2e.shop import Shop

DOCUMENTS = Path(__file__).parents[2] / "docs" / "scenarios"
LIMIT_SECONDS = 780
PASSWORD = "of-this-run"


def commands(document: str) -> str:
    """Join the fenced commands of a document, in their order."""
    text = (DOCUMENTS / f"{document}.md").read_text()
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M))


def follows(shop: Shop, document: str) -> str:
    """Run a document's commands in one shell; what they print."""
    argv = ["bash", "-euo", "pipefail", "-c", commands(document)]
    argv, environment = session.command_in(shop.lab, argv)
    environment |= {"NAMESPACE": shop.namespace, "IMAGES": "localhost"}
    environment["PGOPTIONS"] = f"-c search_path={shop.namespace}"
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def ended(shop: Shop) -> dict[str, Any]:
    """The only Rollback, which is verified; the restored release is whole and sells."""
    (made,) = shop.service.rollbacks()
    assert made["status"]["outcome"] == "Verified", made["status"]
    shop.runs("v1.2.3")
    shop.is_whole()
    return made


@pytest.mark.extended
def test_a_breaking_api_change(shop: Shop) -> None:
    shop.has_customers_of("v1.2.3")
    shop.has_a_past()

    printed = follows(shop, "breaking-api-change")

    made = ended(shop)
    assert made["spec"]["trigger"]["errors"] > 0
    assert made["spec"]["trigger"]["controlErrors"] == 0
    assert "v1.3.9" in printed


@pytest.mark.extended
def test_a_performance_regression(make_shop: MakeShop) -> None:
    shop = make_shop(SLOW_MS="1500")
    shop.has_customers_of("v1.2.3", rate=25)
    shop.has_a_past()

    printed = follows(shop, "performance-regression")

    made = ended(shop)
    assert made["spec"]["trigger"]["signal"] == "LatencyRatio"
    assert "took longer than the objective of 500 ms" in printed


@pytest.mark.extended
def test_a_memory_leak(lab: Session, shop: Shop) -> None:
    lab.start_metrics_server()
    shop.has_customers_of("v1.2.3")
    shop.has_a_past()

    follows(shop, "memory-leak")

    made = ended(shop)
    assert made["spec"]["severity"] == "P2"
    assert "OOM-killed" in made["spec"]["trigger"]["message"]
    found = made["status"]["diagnosis"]
    assert found["pod"], found
    # After a restart of both containers there are no numbers for a while.
    assert "MiB" in found["memory"] or "has no numbers" in found["memory"], found
    assert "Rss:" in found["output"] or "failed" in found["message"], found


def test_database_corruption(lab: Session, shop: Shop) -> None:
    shop.has_customers_of("v1.2.3")
    reads_tickets(lab, shop)
    before = shop.service.deployment()["spec"]["replicas"]
    shop.has_a_past()

    follows(shop, "database-corruption")

    made = ended(shop)
    names = [step["name"] for step in made["status"]["steps"]]
    assert names == [
        "AwaitingApproval",
        "StopTraffic",
        "AssessDamage",
        "Undo",
        "RestoreTraffic",
        "RolloutComplete",
        "Verify",
    ]
    (found,) = made["status"]["assessment"]
    assert found["rows"], found
    assert made["status"]["traffic"]["replicas"] == before
    assert shop.service.deployment()["spec"]["replicas"] == before
    assert invalid(lab, shop) == 0


def reads_tickets(lab: Session, shop: Shop) -> None:
    """A Secret names a role that may read this shop's tickets and nothing else."""
    role, schema = sql.Identifier(f"{shop.namespace}-reader"[:63]), sql.Identifier(shop.namespace)
    for statement in (
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD)),
        sql.SQL("ALTER ROLE {} SET search_path = {}").format(role, schema),
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role),
        sql.SQL("GRANT SELECT ON {0}.tickets, {0}.schema_migrations TO {1}").format(schema, role),
    ):
        with psycopg.connect(lab.database_url, autocommit=True) as connection:
            connection.execute(statement)
    way = OwnWay(lab, shop.namespace, POSTGRES)
    way.open()
    name = lab.database_url.rpartition("/")[2]
    where = f"{way.host}:{POSTGRES.port}/{name}"
    dsn = f"postgresql://{role.as_string(None)[1:-1]}:{PASSWORD}@{where}"
    shop.has_secret("ticket-db", dsn=dsn)


def invalid(lab: Session, shop: Shop) -> int:
    asked = sql.SQL("SELECT count(*) FROM {}.tickets WHERE status = 'invalid'")
    with psycopg.connect(lab.database_url) as connection:
        row = connection.execute(asked.format(sql.Identifier(shop.namespace))).fetchone()
    assert row is not None
    return int(row[0])
