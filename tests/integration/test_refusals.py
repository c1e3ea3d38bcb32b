"""A rollback that is wanted and not made: it is told once, with the reason, and nothing is done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.api import eventually
from tests.integration.conftest import RunningOperator
from tests.integration.service import Service, outcome
from tests.integration.traffic import BAD, GOOD

pytestmark = [pytest.mark.xdist_group("refusals"), pytest.mark.usefixtures("operator")]

MakeService = Callable[..., Service]
PREVIOUS = [{"type": "Undo", "to": "Previous"}]
OWNERS = {
    "Argo CD": ("annotations", "argocd.argoproj.io/tracking-id", "shop:apps/Deployment:shop/shop"),
    "Flux": ("labels", "kustomize.toolkit.fluxcd.io/name", "shop"),
    "Helm": ("annotations", "meta.helm.sh/release-name", "shop"),
}


def refused(service: Service, reason: str) -> str:
    """Wait for a refusal; what is told."""
    message = str(service.wait_for("Healthy", reason)["message"])
    told = service.wait_for_event("RollbackRefused")
    why = message.partition(". Not rolled back: ")[2][:100]
    assert why
    assert why in told.partition(". Evidence: ")[0]
    on_it = eventually(lambda: service.events_on_deployment("RollbackRefused"), "told on it too")
    assert why in on_it[0]
    return message


@pytest.mark.extended
def test_who_else_steers_a_deployment_is_not_overruled(
    make_service: MakeService, operator: RunningOperator
) -> None:
    services = {owner: make_service() for owner in OWNERS}
    for owner, service in services.items():
        kind, name, value = OWNERS[owner]
        service.deploy()
        service.remember()
        service.mark(kind, name, value)
        service.adopt()
    for owner, service in services.items():
        said = service.wait_for("Ready", "GitOpsOwner")
        assert said["status"] == "False"
        assert owner in said["message"]
        service.roll_out("v2", BAD)

    for owner, service in services.items():
        assert owner in refused(service, "GitOpsOwner")
        assert service.image == "v2"
        assert service.rollbacks() == []
        assert operator.proxy.changes_of_deployments(service.namespace) == []


@pytest.mark.extended
def test_a_restarted_release_is_undone_to_the_one_before(
    service: Service, operator: RunningOperator
) -> None:
    """The revision before it is the same release."""
    service.prepare(remedies=PREVIOUS)
    service.roll_out("v2", GOOD)
    service.wait_for_rollout()
    service.wait_for_watch("v2")

    service.flow("v2", BAD)
    service.restart()

    assert outcome(service.wait_for_rollback()) == ("Verified", "Recovered"), service.told()
    assert service.image == "v1"
    assert len(service.rollbacks()) == 1


def test_a_release_that_comes_back_is_told_and_the_days_budget_holds(service: Service) -> None:
    service.prepare(safety={"maxRollbacksPerDay": 1})
    service.roll_out("v2", BAD)
    first = service.wait_for_rollback()
    assert outcome(first)[0] == "Verified", service.told()

    service.roll_out("v2")
    said = service.wait_for("Healthy", "CooldownActive")["message"]
    assert first["metadata"]["name"] in said
    assert "remove it at its source" in said

    service.roll_out("v3", BAD)
    said = service.wait_for("Healthy", "BudgetExhausted")["message"]
    assert "spec.safety.maxRollbacksPerDay is 1" in said

    told = eventually(lambda: service.events("RollbackRefused")[1:], "both refusals are told")
    assert ["spec.safety.maxRollbacksPerDay is 1" in one for one in told] == [True]
    assert len(service.rollbacks()) == 1
    assert service.image == "v3"


@pytest.mark.extended
def test_what_a_rollback_restored_is_not_rolled_back(service: Service) -> None:
    service.prepare(remedies=PREVIOUS)
    service.roll_out("v2", GOOD)
    service.wait_for_rollout()
    service.wait_for_watch("v2")
    service.roll_out("v3", BAD)
    service.wait_for_rollout()
    service.flow("v2", BAD)

    assert outcome(service.wait_for_rollback()) == ("NotRecovered", "StillFailing")
    assert "was restored by" in refused(service, "IsARollback")
    assert service.image == "v2"
    assert len(service.rollbacks()) == 1
