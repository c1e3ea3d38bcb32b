"""Nothing bad comes back: releases that were taken back, restarts, requests that are too old."""

from __future__ import annotations

import pytest

from tests.integration.service import Service, outcome
from tests.integration.traffic import BAD, GOOD

pytestmark = [pytest.mark.xdist_group("memory"), pytest.mark.usefixtures("operator")]

QUICK = {"safety": {"watchSeconds": 600, "goodAfterSeconds": 10}}


def health(service: Service, version: str) -> str:
    """Give what the ledger says of a version."""
    known = {one["images"][0]: one["health"] for one in service.status().get("revisions", [])}
    found = [health for image, health in known.items() if image.endswith(f":{version}")]
    return found[0] if found else "None"


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
