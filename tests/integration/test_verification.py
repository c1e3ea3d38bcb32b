"""After a rollback: functional probes against a real listener, and what follows if they fail."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiohttp import web

from tests.integration.api import Object, eventually
from tests.integration.conftest import RunningOperator
from tests.integration.listener import Listener
from tests.integration.service import Service, outcome
from tests.integration.stand import HOME, PATHS, Stand, rights
from tests.integration.traffic import BAD

pytestmark = [pytest.mark.xdist_group("verification"), pytest.mark.timeout(1200)]

TOKEN = "s3cret-bearer-token"
ORDER = {"eventId": "test-event-id"}


@pytest.fixture(scope="module")
def flags() -> Sequence[str]:
    """The operator may call this machine: the listener is here."""
    return ("--allowed-hosts=127.0.0.1", "--loopback=allowed")


@pytest.fixture
def listener(stand: Stand) -> Iterator[Listener]:
    found = Listener(stand.background)
    found.start()
    yield found
    found.stop()


def give_secret(stand: Stand, namespace: str) -> None:
    """Make the headers' Secret, and what the chart's readSecrets makes for it."""
    data = {"Authorization": base64.b64encode(f"Bearer {TOKEN}\n".encode()).decode()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}, "data": data}
    stand.api.create(f"/api/v1/namespaces/{namespace}/secrets", body)
    listed = [{"namespace": namespace, "names": ["probe"]}]
    for one in rights(HOME, readSecrets=listed):
        if one["metadata"]["name"].endswith("-secrets"):
            stand.api.create(PATHS[one["kind"]].format(namespace), dict(one))


def results(rollback: Object) -> dict[str, str]:
    return {one["name"]: one["result"] for one in rollback["status"]["verification"]}


def reserve(listener: Listener, **fields: Any) -> dict[str, Any]:
    return {
        "name": "reserve",
        "method": "POST",
        "url": listener.url("/api/v1/tickets/reserve"),
        "body": json.dumps(ORDER),
        "expectStatus": [201],
        "expectJson": {"path": "tickets[0].status", "value": "reserved"},
        **fields,
    }


def reserved(_: int) -> web.Response:
    return web.json_response({"tickets": [{"status": "reserved"}]}, status=201)


def test_a_probe_with_a_token_from_a_secret_verifies_a_rollback(
    service: Service, stand: Stand, operator: RunningOperator, listener: Listener
) -> None:
    give_secret(stand, service.namespace)
    listener.answer("/api/v1/tickets/reserve", reserved)
    probe = reserve(listener, headersSecretRef={"name": "probe"})
    service.prepare(verification={"http": [probe], "timeoutSeconds": 60})

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback(90.0)
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    found = results(rollback)
    assert (found["RolloutComplete"], found["reserve"], found["ErrorRate"]) == ("Passed",) * 3
    (heard,) = listener.heard("/api/v1/tickets/reserve")
    assert (heard.method, json.loads(heard.body)) == ("POST", ORDER)
    assert heard.headers["Authorization"] == f"Bearer {TOKEN}"
    service.wait_for("Recovered", "Recovered")
    assert TOKEN not in f"{service.told()}{operator.process.log.read_text()}"


@pytest.mark.extended
def test_a_probe_that_fails_at_first_is_no_verdict(
    service: Service, operator: RunningOperator, listener: Listener
) -> None:
    def warming(count: int) -> web.Response:
        return reserved(count) if count > 2 else web.Response(status=503)

    listener.answer("/api/v1/tickets/reserve", warming)
    service.prepare(verification={"http": [reserve(listener)], "timeoutSeconds": 60})

    service.roll_out("v2", BAD)

    assert outcome(service.wait_for_rollback(90.0)) == ("Verified", "Recovered"), service.told()
    assert len(listener.heard("/api/v1/tickets/reserve")) == 3


def test_a_rollback_that_does_not_help_escalates_and_is_not_rolled_back(
    service: Service, operator: RunningOperator, listener: Listener
) -> None:
    listener.answer("/api/v1/tickets/reserve", lambda _: web.Response(status=500, text=TOKEN))
    service.prepare(verification={"http": [reserve(listener)], "timeoutSeconds": 15})

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback(120.0)
    assert outcome(rollback) == ("NotRecovered", "CheckFailed"), service.told()
    found = results(rollback)
    assert (found["reserve"], found["ErrorRate"]) == ("Failed", "Passed")
    assert len(listener.heard("/api/v1/tickets/reserve")) > 2
    condition = service.wait_for("Recovered", "CheckFailed")
    assert condition["status"] == "False"
    assert "a person is needed" in service.wait_for_event("RollbackNotRecovered")
    operator.wait_for_passes()
    assert len(service.rollbacks()) == 1
    assert service.image == "v1"
    assert TOKEN not in service.told()


@pytest.mark.extended
def test_an_address_elsewhere_is_not_called_and_nothing_is_verified_by_it(
    service: Service, operator: RunningOperator, listener: Listener
) -> None:
    away = reserve(listener, url="http://169.254.169.254/latest/meta-data")
    service.prepare(verification={"http": [away], "timeoutSeconds": 60})

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback(90.0)
    assert outcome(rollback) == ("Unknown", "CheckUnknown"), service.told()
    assert results(rollback)["reserve"] == "Unknown"


def test_what_fails_is_seen_while_it_is_waited_for(
    service: Service, operator: RunningOperator, listener: Listener
) -> None:
    listener.answer("/api/v1/tickets/reserve", lambda _: web.Response(status=500))
    service.prepare(verification={"http": [reserve(listener)], "timeoutSeconds": 600})
    service.roll_out("v2", BAD)

    def failing() -> bool:
        found = service.rollbacks()
        known = found[-1].get("status", {}).get("verification", []) if found else []
        return any(one["name"] == "reserve" and one["result"] == "Failed" for one in known)

    eventually(failing, "the probe is seen to fail", 90.0)
    assert "outcome" not in service.rollbacks()[-1]["status"]
    listener.answer("/api/v1/tickets/reserve", reserved)
    assert outcome(service.wait_for_rollback(60.0)) == ("Verified", "Recovered")
