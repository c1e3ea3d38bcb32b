"""Releases that a GitOps controller brings from Git, and would bring again after an undo.

The controller is a loop of Argo CD's manner on a real Application: every three seconds it makes the
Deployment what Git wants, unless its auto-sync is off.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from lab.session import Session
from lab.tickets import wait_for
from tests.e2e.shop import Shop
from tests.gitops.controller import AUTOMATED, ArgoCD
from tests.integration.api import Api

FIGHT_SECONDS = 15


@pytest.fixture
def api(lab: Session) -> Api:
    return Api(lab.kubeconfig)


def argo_cd(shop: Shop, api: Api) -> ArgoCD:
    return ArgoCD(
        api,
        name=shop.namespace,
        namespace=shop.namespace,
        deployment="ticket-service",
        container="ticket-service",
        image=image("v1.2.3"),
    )


def image(version: str) -> str:
    return f"localhost/ticket-service:{version}"


def condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    listed = found["status"].get("conditions", [])
    return next((one for one in listed if one["type"] == kind), {})


def stays(shop: Shop, version: str) -> None:
    """For some rounds of the controller's nothing is changed, and no further Rollback is made."""
    until = time.monotonic() + FIGHT_SECONDS
    while time.monotonic() < until:
        assert shop.service.image() == version
        assert len(shop.service.rollbacks()) <= 1
        time.sleep(0.5)


@pytest.mark.extended
def test_an_undo_stays_while_the_application_is_suspended(shop: Shop, api: Api) -> None:
    shop.serves_after("v1.2.3", safety={"gitOps": "Suspend"})
    with argo_cd(shop, api) as git:
        git.commit(image("v1.3.0"))

        ended = shop.goes_back_to("v1.2.3")

        assert [one["name"] for one in ended["status"]["steps"]][:2] == ["SuspendOwner", "Undo"]
        assert "automated" not in git.object()["spec"]["syncPolicy"]
        told = condition(ended, "OwnerSuspended")
        assert f"kubectl patch applications.argoproj.io {git.name} -n argocd" in told["message"]
        assert told["message"].rpartition("-p ")[2] in ended["status"]["message"]
        stays(shop, "v1.2.3")

        git.commit(image("v1.2.3"))

        def is_released() -> bool:
            (found,) = shop.service.rollbacks()
            return bool(condition(found, "OwnerSuspended")["status"] == "False")

        wait_for("the Application to be released", 90, is_released)
        assert git.object()["spec"]["syncPolicy"]["automated"] == AUTOMATED
        stays(shop, "v1.2.3")
    shop.sells()


@pytest.mark.extended
def test_an_undo_that_is_reverted_is_told_and_not_fought(shop: Shop, api: Api) -> None:
    shop.serves_after("v1.2.3", safety={"gitOps": "Proceed"})
    with argo_cd(shop, api) as git:
        git.commit(image("v1.3.0"))

        ended = shop.is_over()

        assert ended["status"]["outcome"] == "Failed", ended["status"]
        told = condition(ended, "Complete")
        assert told["reason"] == "UndoReverted"
        assert "reverted by argocd-controller (Argo CD manages the Deployment)" in told["message"]
        assert "REVERTED" in ended["status"]["message"]
        assert git.object()["spec"]["syncPolicy"]["automated"] == AUTOMATED

        def refusal() -> dict[str, Any]:
            found = shop.condition("Healthy")
            return found if found.get("reason") == "CooldownActive" else {}

        # Looked at once: the judge goes on, and says something else a moment later.
        refused = wait_for("a refusal to do it again", 120, refusal)
        assert "deployed by argocd-controller" in refused["message"]
        assert shop.condition("Recovered")["reason"] == "UndoReverted"
        stays(shop, "v1.3.0")
        shop.runs("v1.3.0")

        git.commit(image("v1.2.3"))
        wait_for("the fix from Git", 30, lambda: shop.service.image() == "v1.2.3")
        shop.has_rolled_out()
    shop.sells()


@pytest.mark.extended
def test_by_default_nothing_is_done_and_that_is_told(shop: Shop, api: Api) -> None:
    shop.serves_after("v1.2.3")
    with argo_cd(shop, api) as git:

        def is_told() -> bool:
            found = shop.condition("Ready")
            return (found.get("status"), found.get("reason")) == ("False", "GitOpsOwner")

        wait_for("that an undo would be reverted", 30, is_told)
        git.commit(image("v1.3.0"))

        def is_refused() -> bool:
            return shop.condition("Healthy").get("reason") == "GitOpsOwner"

        wait_for("a refusal", 120, is_refused)
        assert "set spec.safety.gitOps to Suspend" in shop.condition("Healthy")["message"]
        stays(shop, "v1.3.0")
        assert shop.service.rollbacks() == []
        assert git.object()["spec"]["syncPolicy"]["automated"] == AUTOMATED
