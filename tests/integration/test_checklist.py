"""Before an act, with real servers: what cannot work is blocked and told, what is doubtful asks."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql

from lab import chart
from lab.postgres_server import Postgres
from tests.integration.api import ApiError, Object, eventually, rollbacks
from tests.integration.conftest import RunningOperator
from tests.integration.service import Service, outcome, steps
from tests.integration.stand import ACCOUNT, HOME, PATHS, Stand, rights
from tests.integration.traffic import BAD

pytestmark = [pytest.mark.xdist_group("checklist"), pytest.mark.timeout(1200)]

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
APPROVALS = "rollback-operator-approvals"
KINDS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
VERIFIED = {"requireVerified": True}


@pytest.fixture(scope="module")
def flags() -> Sequence[str]:
    """The operator may call this machine: the database is here."""
    return ("--allowed-hosts=127.0.0.1", "--loopback=allowed")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as found:
        yield found


@dataclass
class Database:
    """A service's database with the runbook's table, and the Secret that the policy names."""

    stand: Stand
    namespace: str
    server: Postgres
    name: str = field(default_factory=lambda: f"d{secrets.token_hex(5)}")
    password: str = field(default_factory=lambda: f"s3cr3t-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self._run("postgres", sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        role, password = sql.Identifier(self.name), sql.Literal(self.password)
        self.run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
        self.run(
            "CREATE TABLE schema_migrations(name text PRIMARY KEY,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        self.run(sql.SQL("GRANT SELECT ON schema_migrations TO {}").format(role))
        self.applies("001_create_tickets")

    def applies(self, name: str) -> None:
        self.run(
            sql.SQL("INSERT INTO schema_migrations (name) VALUES ({})").format(sql.Literal(name))
        )

    def is_named(self, password: str | None = None) -> dict[str, Any]:
        """Make the Secret and the right to read it; gives what a policy says of it."""
        dsn = psycopg.conninfo.make_conninfo(
            host=self.server.host,
            port=self.server.port,
            dbname=self.name,
            user=self.name,
            password=password or self.password,
        )
        data = {"dsn": base64.b64encode(dsn.encode()).decode()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ticket-db"}}
        self.stand.api.create(
            f"/api/v1/namespaces/{self.namespace}/secrets", {**body, "data": data}
        )
        for one in rights(
            HOME, readSecrets=[{"namespace": self.namespace, "names": ["ticket-db"]}]
        ):
            if one["metadata"]["name"].endswith("-secrets"):
                self.stand.api.create(PATHS[one["kind"]].format(self.namespace), dict(one))
        return {"connectionSecretRef": {"name": "ticket-db"}}

    def run(self, statement: str | sql.Composable) -> None:
        self._run(self.name, statement)

    def _run(self, database: str, statement: str | sql.Composable) -> None:
        url = self.server.url.rpartition("/")[0] + f"/{database}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type] # statements of these tests


@pytest.fixture
def database(stand: Stand, service: Service, server: Postgres) -> Database:
    return Database(stand, service.namespace, server)


@pytest.fixture
def protected(stand: Stand) -> Iterator[None]:
    """The chart's admission policy on approvals is installed, and bites."""

    values = {"prometheus": {"url": "http://prometheus"}, "admission": {"create": True}}
    made = [
        one
        for one in chart.rendered(values, name=ACCOUNT, namespace=HOME)
        if one["kind"] in KINDS and one["metadata"]["name"] == APPROVALS
    ]
    assert len(made) == 2
    for one in made:
        stand.api.create(f"{ADMISSION}/{KINDS[one['kind']]}", dict(one))
    yield
    for one in made:
        stand.api.delete(f"{ADMISSION}/{KINDS[one['kind']]}/{APPROVALS}")


def items(rollback: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    listed = rollback.get("status", {}).get("checklist", [])
    return {one["name"]: (one["result"], one["message"]) for one in listed}


def asked(service: Service) -> Object:
    """Wait until a person is asked; the Rollback as it stands then."""

    def probe() -> Object | None:
        found = service.rollbacks()
        status = found[-1].get("status", {}) if found else {}
        return found[-1] if status.get("step") == "AwaitingApproval" else None

    return eventually(probe, f"{service.namespace}: a person is asked", 60)


def decide(service: Service, decision: str, by: str) -> None:
    waiting = asked(service)
    approval = {
        "decision": decision,
        "by": by,
        "reason": "seen",
        "planDigest": waiting["status"]["planDigest"],
    }
    path = f"{rollbacks(service.namespace)}/{waiting['metadata']['name']}"
    service.stand.api.merge(path, {"spec": {"approval": approval}})


def administrator(stand: Stand) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    made = stand.api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(made["status"]["userInfo"]["username"])


def approved(rollback: Mapping[str, Any]) -> tuple[str, str]:
    listed = rollback["status"]["conditions"]
    found = next(one for one in listed if one["type"] == "Approved")
    return found["status"], found["reason"]


def nothing_was_done(service: Service, operator: RunningOperator) -> bool:
    """Tell whether no remedy was tried; a rollout held on suspicion is none."""
    return operator.proxy.acts_on_deployments(service.namespace) == []


# -- the list --------------------------------------------------------------------------------------


def test_an_undo_stores_what_was_looked_at(service: Service, operator: RunningOperator) -> None:
    service.prepare()
    service.roll_out("v2", BAD)

    done = service.wait_for_rollback()

    assert outcome(done) == ("Verified", "Recovered")
    found = items(done)
    assert {name: result for name, (result, _) in found.items() if result != "Passed"} == {
        "TargetKnownGood": "Warned",  # it was there before the policy was
        "Images": "Warned",  # KWOK's nodes have none
        "DatabaseSchema": "Skipped",
        "Configuration": "Skipped",
    }
    assert "more pods are needed" in found["Room"][1]
    assert "at least 3 of 4 replicas are kept" in found["Capacity"][1]


def test_a_target_that_could_not_start_is_blocked_and_told(
    service: Service, stand: Stand, operator: RunningOperator
) -> None:
    path = f"/api/v1/namespaces/{service.namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    stand.api.create(path, {**body, "data": {"a": "b"}})
    service.deploy()
    environment = [{"configMapRef": {"name": "settings"}}]
    image = "registry.example.com/shop:v1"
    container = {"name": "shop", "image": image, "envFrom": environment}
    service.change(template={"spec": {"containers": [container]}})
    service.wait_for_rollout()
    service.remember()
    service.adopt()
    stand.api.delete(f"{path}/settings")
    service.roll_out("v2", BAD)

    done = service.wait_for_rollback()

    assert outcome(done) == ("Blocked", "ReferenceGone")
    assert "missing: ConfigMap settings" in items(done)["References"][1]
    assert "ConfigMap settings" in service.wait_for_event("RollbackBlocked")
    assert nothing_was_done(service, operator)
    assert service.image == "v2"


# -- the database ----------------------------------------------------------------------------------


def test_an_old_release_does_not_go_onto_a_newer_schema(
    service: Service, database: Database, operator: RunningOperator
) -> None:
    service.prepare(database=database.is_named())
    eventually(
        lambda: "migrations" in service.status()["revisions"][0], "migrations are remembered"
    )
    database.applies("002_retire_classic_checkout")
    service.roll_out("v2", BAD)

    done = service.wait_for_rollback()

    assert outcome(done) == ("Blocked", "NewerSchema")
    assert "002_retire_classic_checkout" in items(done)["DatabaseSchema"][1]
    assert "fix forward" in service.wait_for_event("RollbackBlocked")
    assert nothing_was_done(service, operator)


@pytest.mark.extended
def test_a_schema_that_the_target_knows_lets_it_go_back(
    service: Service, database: Database, operator: RunningOperator
) -> None:
    service.prepare(database=database.is_named())
    eventually(
        lambda: "migrations" in service.status()["revisions"][0], "migrations are remembered"
    )
    service.roll_out("v2", BAD)

    done = service.wait_for_rollback()

    assert outcome(done) == ("Verified", "Recovered")
    assert items(done)["DatabaseSchema"][0] == "Passed"


def test_a_database_that_does_not_let_us_in_asks_a_person_and_tells_no_password(
    service: Service, database: Database, operator: RunningOperator
) -> None:
    wrong = f"wr0ng-{secrets.token_hex(4)}"
    service.prepare(database=database.is_named(wrong))
    service.roll_out("v2", BAD)

    waiting = asked(service)

    result, said = items(waiting)["DatabaseSchema"]
    assert result == "Warned"
    assert "the password or the role of the DSN is wrong" in said
    assert "DatabaseSchema" in service.wait_for_event("ApprovalNeeded")
    for text in (
        str(waiting),
        str(service.policy()),
        str(service.events()),
        operator.process.tail(),
    ):
        assert wrong not in text
    assert nothing_was_done(service, operator)


# -- a person --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("protected")
def test_a_person_approves_and_it_goes_on(
    service: Service, stand: Stand, operator: RunningOperator
) -> None:
    service.prepare(safety=VERIFIED)
    service.roll_out("v2", BAD)

    decide(service, "Approve", administrator(stand))

    done = service.wait_for_rollback()
    assert outcome(done) == ("Verified", "Recovered")
    assert steps(done)[0] == "AwaitingApproval"
    assert service.image == "v1"
    told = [one.partition(":")[0] for one in service.events()]
    assert told.count("ApprovalNeeded") == told.count("RollbackApproved") == 1


@pytest.mark.usefixtures("protected")
@pytest.mark.extended
def test_a_plan_is_decided_on_once_and_in_ones_own_name(
    service: Service, stand: Stand, operator: RunningOperator
) -> None:
    service.prepare(safety=VERIFIED)
    service.roll_out("v2", BAD)
    asked(service)

    def refused() -> str:
        try:
            decide(service, "Approve", "somebody-else")
        except ApiError as error:
            return str(error)
        raise AssertionError("an approval in another's name was taken")

    assert "decide in your own name" in refused()
    decide(service, "Reject", administrator(stand))

    done = service.wait_for_rollback()
    assert outcome(done) == ("Rejected", "RejectedByPerson")
    assert nothing_was_done(service, operator)
    path = f"{rollbacks(service.namespace)}/{done['metadata']['name']}"
    with pytest.raises(ApiError, match="approved or rejected only once"):
        stand.api.merge(path, {"spec": {"approval": {"decision": "Approve"}}})


def test_without_the_admission_policy_no_decision_counts(
    service: Service, stand: Stand, operator: RunningOperator
) -> None:
    service.prepare(safety=VERIFIED)
    service.roll_out("v2", BAD)

    decide(service, "Approve", administrator(stand))

    assert "is not installed" in service.wait_for_event("ApprovalRefused")
    refused = ("False", "ApprovalUnprotected")
    # It is told before it is stored.
    eventually(lambda: approved(asked(service)) == refused, "the refusal is stored")
    assert nothing_was_done(service, operator)


@pytest.mark.extended
def test_nobody_decides_and_it_is_abandoned(service: Service, operator: RunningOperator) -> None:
    service.prepare(safety=VERIFIED, approval={"timeoutSeconds": 10})
    service.roll_out("v2", BAD)

    assert outcome(service.wait_for_rollback()) == ("Abandoned", "ApprovalTimedOut")
    assert nothing_was_done(service, operator)
