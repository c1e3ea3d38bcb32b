"""Policies and Deployments that change in the midst of a rollback: it ends, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.api import deployments, eventually, policies
from tests.integration.conftest import RunningOperator
from tests.integration.service import Service, outcome
from tests.integration.traffic import BAD, SILENT

pytestmark = [pytest.mark.xdist_group("ends"), pytest.mark.timeout(1200)]


def undone(service: Service, seconds: int = 30) -> None:
    """Have v2 taken back, and v1 serve nobody then: its verification lasts until its time is up."""
    service.prepare(verification={"timeoutSeconds": seconds})
    service.flow("v1", SILENT)
    service.roll_out("v2", BAD)

    def is_verifying() -> bool:
        found = service.rollbacks()
        return bool(found) and found[-1].get("status", {}).get("step") == "Verify"

    eventually(is_verifying, "the rollback is being verified", 120)


def complete(rollback: dict[str, Any]) -> str:
    listed = rollback["status"]["conditions"]
    return str(next(one["message"] for one in listed if one["type"] == "Complete"))


@pytest.mark.extended
def test_it_ends_though_the_policy_watches_another_deployment(
    service: Service, operator: RunningOperator
) -> None:
    undone(service)
    other = Service(service.stand, service.namespace, "other")
    other.deploy(replicas=1)

    service.amend(targetRef={"name": "other"})

    done = service.wait_for_rollback(120)
    assert outcome(done) == ("Unknown", "NotYetRead"), service.told()
    assert "another Deployment" in complete(done)
    assert service.image == "v1"


@pytest.mark.extended
def test_it_ends_though_the_policy_was_deleted_and_made_anew(
    service: Service, operator: RunningOperator
) -> None:
    undone(service)

    service.unwatch()
    eventually(
        lambda: service.stand.api.find(f"{policies(service.namespace)}/{service.name}") is None,
        "the policy is gone",
    )
    service.watch()

    assert outcome(service.wait_for_rollback(120))[0] in ("Unknown", "Verified"), service.told()


def test_it_ends_when_the_deployment_is_deleted_and_created_anew(
    service: Service, operator: RunningOperator
) -> None:
    undone(service, 600)
    api = service.stand.api
    api.delete(f"{deployments(service.namespace)}/{service.name}")
    eventually(lambda: api.find(service.path) is None, "the Deployment no longer exists")

    service.deploy("v1", replicas=1)

    done = service.wait_for_rollback(60)
    assert outcome(done) == ("Abandoned", "TargetDeleted"), service.told()
