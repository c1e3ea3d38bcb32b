"""What people see, ask for and may not do, on the node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from lab.errors import LabError
from lab.session import Session
from lab.tickets import TOKEN, wait_for
from tests.e2e.person import GROUP, Person
from tests.e2e.shop import CONFIG_MAP, FLAG, Shop

ORDER = '{"eventId":"test-event-id","tickets":[{"ticketTypeId":"test-type","quantity":1}]}'
PROBE = "ticket-probe"


@pytest.mark.extended
def test_a_restored_release_is_asked_by_probe_and_its_logs_are_counted(shop: Shop) -> None:
    address = f"http://ticket-service.{shop.namespace}.svc/api/v1/tickets/reserve"
    probe = {
        "name": "reserve",
        "url": address,
        "method": "POST",
        "headersSecretRef": {"name": PROBE},
        "body": ORDER,
        "expectStatus": [201],
        "expectJson": {"path": "status", "value": "reserved"},
    }
    logs = {"pattern": "ERROR|FATAL", "atMost": 10}
    shop.service.deploy("v1.2.3")
    shop.has_secret(PROBE, Authorization=f"Bearer {TOKEN}")
    shop.is_watched(verification={"http": [probe], "logs": logs})
    shop.has_a_past()

    shop.releases("v1.3.0")

    ended = shop.goes_back_to("v1.2.3")
    checks = {one["name"]: one["result"] for one in ended["status"]["verification"]}
    wanted = ("RolloutComplete", "HealthEndpoints", "reserve", "ErrorRate", "Logs")
    assert {name: checks[name] for name in wanted} == dict.fromkeys(wanted, "Passed"), checks
    assert TOKEN not in json.dumps(ended)


@pytest.mark.extended
def test_what_was_rolled_back_is_refused_and_where_it_is_let_in_told_and_not_fought(
    shop: Shop,
) -> None:
    shop.serves_after("v1.2.3", safety={"onQuarantined": "Refuse"})
    shop.releases("v1.3.0")
    shop.goes_back_to("v1.2.3")

    with pytest.raises(LabError, match="in quarantine until"):
        shop.releases("v1.3.0")
    shop.runs("v1.2.3")
    shop.service.apply_policy({"safety": {"onQuarantined": "Tell"}})
    wait_for("the policy to let it in", 30, lambda: _released(shop, "v1.3.0"))

    assert "v1.3.0" in shop.tells("ReleaseCameBack")
    assert shop.condition("Quarantined")["status"] == "True"
    assert len(shop.service.rollbacks()) == 1
    shop.runs("v1.3.0")


def _released(shop: Shop, version: str) -> bool:
    try:
        shop.releases(version)
    except LabError:
        return False
    return True


@pytest.mark.extended
def test_a_rollback_by_hand_goes_back_and_one_to_a_foreign_image_is_refused(
    lab: Session, shop: Shop
) -> None:
    shop.opens("v1.2.3")
    shop.releases("v1.4.0")
    shop.has_rolled_out()
    jane = Person(lab, shop.namespace, "jane@example.com")
    jane.may_view()
    jane.may({f"rollbacks.{GROUP}": ["create"], "deployments.apps": ["patch"]})
    why = ("--reason", "customers call")

    foreign = ("--image", "ticket-service=localhost/ticket-service:v9.9.9")
    said = jane.is_refused("rollback", "undo", "tickets", *foreign, *why, "--wait")
    assert "v9.9.9" in said
    shop.runs("v1.4.0")
    planned = jane.does("rollback", "undo", "tickets", "--to", "previous", *why, "--dry-run")
    assert "v1.2.3" in planned
    jane.does("rollback", "undo", "tickets", "--to", "previous", *why, "--wait")

    shop.runs("v1.2.3")
    ended = shop.service.rollbacks()[-1]
    assert (ended["status"]["outcome"], ended["spec"]["requestedBy"]) == ("Verified", jane.name)
    assert "customers call" in jane.does("rollback", "explain", ended["metadata"]["name"])


POLICY: dict[str, Any] = {
    "apiVersion": f"{GROUP}/v1alpha1",
    "kind": "RollbackPolicy",
    "metadata": {"name": "by-an-author"},
}
AUTHOR = {
    f"rollbackpolicies.{GROUP}": ["create", "get", "update", "patch"],
    "deployments.apps:ticket-service": ["get", "patch"],
}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"targetRef": {"name": "another"}}, "may not patch Deployment another"),
        (
            {
                "targetRef": {"name": "ticket-service"},
                "verification": {
                    "http": [
                        {
                            "name": "read",
                            "url": "http://ticket-service.shop.svc/",
                            "headersSecretRef": {"name": "ticket-service"},
                        }
                    ]
                },
            },
            "may not get Secret ticket-service",
        ),
        (
            {
                "targetRef": {"name": "ticket-service"},
                "remedies": [
                    {
                        "type": "DisableFlag",
                        "flag": {
                            "name": FLAG,
                            "value": "false",
                            "configMapRef": {"name": CONFIG_MAP},
                        },
                    }
                ],
            },
            "may not patch ConfigMap ticket-service-config",
        ),
    ],
    ids=["target", "secret", "config-map"],
)
@pytest.mark.extended
def test_an_author_gains_no_right_by_a_policy(
    lab: Session, shop: Shop, spec: Mapping[str, Any], says: str
) -> None:
    lab.kubectl("create", "namespace", shop.namespace)
    author = Person(lab, shop.namespace, "author@example.com")
    author.may(AUTHOR)
    plain = {**POLICY, "spec": {"mode": "Observe", "targetRef": {"name": "ticket-service"}}}
    wait_for(
        "the right to be known",
        30,
        lambda: author.does("apply", "--dry-run=server", "-f", "-", document=json.dumps(plain)),
    )

    asked = {**POLICY, "spec": {"mode": "Observe", **spec}}
    said = author.is_refused("apply", "-f", "-", document=json.dumps(asked))

    assert says in said
