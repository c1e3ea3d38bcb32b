"""Nothing bad comes back: releases that were taken back, restarts, requests that are too old."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.api import ApiError, eventually, policies, rollbacks
from tests.integration.service import Service, outcome
from tests.integration.traffic import BAD, GOOD

pytestmark = [pytest.mark.xdist_group("memory"), pytest.mark.usefixtures("operator")]

QUICK = {"safety": {"watchSeconds": 600, "goodAfterSeconds": 10}}


def health(service: Service, version: str) -> str:
    """Give what the ledger says of a version."""
    known = {one["images"][0]: one["health"] for one in service.status().get("revisions", [])}
    found = [health for image, health in known.items() if image.endswith(f":{version}")]
    return found[0] if found else "None"


def entry(service: Service, version: str) -> dict[str, Any]:
    """Give the ledger's entry of a version."""
    known = service.status().get("revisions", [])
    return next(one for one in known if one["images"][0].endswith(f":{version}"))


def lose_the_status(service: Service) -> None:
    """Set the ledger back to where v1 was running when the policy began, and v2 became Good."""
    known = service.status()
    forged = [
        {
            **one,
            "condemned": None,
            "health": "Good" if one["images"][0].endswith("v2") else "Assumed",
        }
        for one in known["revisions"]
    ]
    path = f"{policies(service.namespace)}/{service.name}/status"
    service.stand.api.merge(path, {"status": {"revisions": forged}})


def trust(service: Service, version: str) -> None:
    known = entry(service, version)
    word = {
        "release": known["release"],
        "revision": known["number"],
        "reason": "it was the database",
        "by": "jane@example.com",
        "time": datetime.now(UTC).isoformat(),
    }
    service.amend(trust=[word])


def take_back(service: Service, version: str, restored: str) -> None:
    """Roll a bad version out, and wait until it has been taken back."""
    before = len(service.rollbacks())
    service.roll_out(version, BAD)
    eventually(lambda: len(service.rollbacks()) > before, f"{version} is taken back", 120)
    assert outcome(service.wait_for_rollback(120)) == ("Verified", "Recovered"), service.told()
    assert service.image == restored, service.told()


def test_what_was_taken_back_is_no_target_until_a_person_trusts_it(service: Service) -> None:
    service.prepare(safety={"maxRollbacksPerDay": 9})
    take_back(service, "v2", "v1")
    lose_the_status(service)

    take_back(service, "v3", "v1")

    assert health(service, "v2") == "Bad", service.told()
    trust(service, "v2")
    assert "jane@example.com: it was the database" in service.wait_for_event("ReleaseTrusted")
    service.wait_for("Trusted", "TrustedByPerson")
    service.flow("v2", GOOD)
    take_back(service, "v4", "v2")


@pytest.mark.extended
def test_what_was_found_bad_stays_so_without_its_record(service: Service) -> None:
    service.prepare(safety={"maxRollbacksPerDay": 9})
    take_back(service, "v2", "v1")
    for one in service.rollbacks():
        service.stand.api.delete(f"{rollbacks(service.namespace)}/{one['metadata']['name']}")
    eventually(lambda: not service.rollbacks(), "nothing is on record")

    take_back(service, "v3", "v1")

    assert health(service, "v2") == "Bad", service.told()
    both = "deleting a record does not end a quarantine"
    eventually(lambda: len(service.status()["quarantine"]) == 2, both)


@pytest.mark.extended
def test_what_was_blocked_is_done_once_its_cause_is_mended(service: Service) -> None:
    service.has_flag("true")
    service.prepare()
    body = service.forget_flags()

    service.roll_out("v2", BAD)
    assert outcome(service.wait_for_rollback()) == ("Blocked", "ReferenceGone"), service.told()
    time.sleep(45)  # longer than until the next try: nobody is told again of what stands still
    assert len(service.rollbacks()) == 1, service.told()
    assert service.image == "v2"
    service.stand.api.create(f"/api/v1/namespaces/{service.namespace}/configmaps", body)

    eventually(lambda: service.image == "v1", "it is undone after all", 120)
    eventually(service.is_over, "it has ended", 120)
    first, second = service.rollbacks()
    assert outcome(first) == ("Blocked", "ReferenceGone")
    assert (outcome(second)[0], second["spec"]["attempt"]) == ("Verified", 2), service.told()
    assert len(service.events("RollbackBlocked")) == 1


@pytest.mark.extended
def test_a_request_that_is_older_than_what_it_would_undo_is_refused(service: Service) -> None:
    service.prepare()
    service.roll_out("v2", GOOD)
    service.wait_for_watch("v2")
    service.wait_for_rollout()
    seen = service.seen()
    service.roll_out("v3", GOOD)
    service.wait_for_rollout()

    service.ask("too-old", seen=seen)
    eventually(lambda: service.request("too-old").get("status"), "it is answered")

    assert outcome(service.request("too-old")) == ("Refused", "RequestOutdated")
    assert service.image == "v3"
    service.ask("in-time")
    eventually(lambda: service.image == "v2", "what was seen is undone")


def test_a_request_says_what_was_seen_and_is_younger_than_its_policy(service: Service) -> None:
    service.deploy()
    service.remember()
    with pytest.raises(ApiError, match="seen is required"):
        service.ask("blind", seen=None)
    service.ask("before-its-policy")
    time.sleep(1.1)  # of whole seconds this is the younger one
    service.adopt()
    eventually(lambda: service.request("before-its-policy").get("status"), "it is answered")
    assert outcome(service.request("before-its-policy")) == ("Refused", "RequestBeforePolicy")


@pytest.mark.extended
def test_a_restart_of_what_was_restored_does_not_lead_to_an_older_release(
    service: Service,
) -> None:
    service.deploy("v0")
    service.remember()
    service.adopt(**QUICK)
    service.roll_out("v1", GOOD)
    service.wait_for_event("ReleaseGood", seconds=120)
    service.roll_out("v2", BAD)
    assert outcome(service.wait_for_rollback()) == ("Verified", "Recovered"), service.told()
    assert service.image == "v1"

    service.flow("v1", BAD)
    service.restart()

    service.wait_for("Healthy", "IsARollback", seconds=120)
    assert service.image == "v1"
    assert len(service.rollbacks()) == 1, service.told()
