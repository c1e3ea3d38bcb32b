"""Traffic that is stopped and restored, on a real API server: by hand, and for damaged data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lab.postgres_server import Postgres
from rollback_operator.remedies.stopped_traffic import RESTORE_TRAFFIC
from tests.integration.api import Object, eventually, rollbacks
from tests.integration.service import Service, outcome
from tests.integration.stand import HOME, PATHS, Stand, rights
from tests.integration.test_crash_walk import UNDO
from tests.integration.tickets import ASSESSED, DATABASE, MATRIX, Tickets

pytestmark = [
    pytest.mark.xdist_group("traffic"),
    pytest.mark.usefixtures("operator"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def flags() -> Sequence[str]:
    """The operator may call this machine: the database is here."""
    return ("--allowed-hosts=127.0.0.1", "--loopback=allowed")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as found:
        yield found


def may_stop(stand: Stand, namespace: str) -> None:
    """Give what `traffic.namespaces` of the chart gives."""
    for one in rights(HOME, traffic={"namespaces": [namespace]}):
        if one["metadata"]["name"].endswith("-traffic"):
            stand.api.create(PATHS[one["kind"]].format(namespace), dict(one))


def replicas(service: Service) -> int:
    return int(service.deployment()["spec"]["replicas"])


def only(service: Service) -> Object:
    listed: list[Object] = service.stand.api.get(rollbacks(service.namespace))["items"]
    (made,) = listed
    return made


def test_a_deployment_is_scaled_to_zero_by_hand_and_back(service: Service, stand: Stand) -> None:
    may_stop(stand, service.namespace)
    service.prepare()
    before = replicas(service)

    service.ask(remedy={"type": "Scale", "replicas": 0})

    eventually(lambda: outcome(only(service)) == ("Unknown", "TrafficStopped"), "it is stopped")
    assert replicas(service) == 0
    made = only(service)
    assert made["status"]["traffic"]["replicas"] == before
    path = f"{rollbacks(service.namespace)}/{made['metadata']['name']}"
    annotations = {RESTORE_TRAFFIC: "requested"}

    stand.api.merge(path, {"metadata": {"annotations": annotations}})

    eventually(lambda: replicas(service) == before, "the replicas are back", 90.0)
    eventually(lambda: "restoredTime" in only(service)["status"]["traffic"], "that is on record")
    eventually(lambda: service.status().get("recentRollbacks"), "the policy knows it")
    assert [one["replicas"] for one in service.status()["recentRollbacks"]] == [0]


def test_a_service_is_stopped_for_damaged_data_and_selects_its_pods_again(
    service: Service, stand: Stand, server: Postgres
) -> None:
    tickets = Tickets(server)
    may_stop(stand, service.namespace)
    tickets.are_named(stand, service.namespace)
    tickets.may_be_read(stand, service.namespace)
    service.deploy()
    service.is_reached_by({"app": "shop"})
    service.remember()
    rules: dict[str, Any] = {"response": "Proceed", "assess": [ASSESSED]}
    rules |= {"stopTraffic": "Service", "service": "web"}
    database = {**DATABASE, "onCorruption": rules}
    service.adopt(remedies=[UNDO], matrix=MATRIX, database=database)

    tickets.are_damaged_by("v2", service)

    eventually(lambda: service.image == "v1", "the release is undone", 120.0)
    tickets.are_repaired()
    eventually(service.is_over, "the rollback is over", 180.0)
    made = only(service)
    assert outcome(made) == ("Verified", "Recovered")
    assert made["status"]["traffic"]["selector"] == "app=shop"
    path = f"/api/v1/namespaces/{service.namespace}/services/web"
    assert stand.api.get(path)["spec"]["selector"] == {"app": "shop"}
    assert [one["rows"] for one in made["status"]["assessment"]] == [['{"id":2}']]


@pytest.mark.extended
def test_data_that_was_damaged_before_the_release_is_no_fault_of_it(
    service: Service, stand: Stand, server: Postgres
) -> None:
    tickets = Tickets(server)
    tickets.are_named(stand, service.namespace)
    tickets.may_be_read(stand, service.namespace)
    service.deploy()
    service.remember()
    tickets.run("UPDATE tickets SET status = 'invalid' WHERE id = 2")
    service.adopt(remedies=[UNDO], matrix=MATRIX, database=DATABASE)

    service.roll_out("v2")

    service.wait_for("Healthy", "ThereBefore", seconds=120.0)
    assert service.rollbacks() == []
    assert service.image == "v2"
