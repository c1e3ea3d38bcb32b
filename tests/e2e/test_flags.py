"""A feature flag that is turned off in place of taking the release back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.shop import CONFIG_MAP, FLAG, Shop

DISABLE: dict[str, Any] = {
    "type": "DisableFlag",
    "severities": ["P2", "P3"],
    "flag": {"name": FLAG, "value": "false", "configMapRef": {"name": CONFIG_MAP}},
}
UNDO = {"type": "Undo", "to": "LastKnownGood"}
RESTARTED = "kubectl.kubernetes.io/restartedAt"


@pytest.mark.extended
def test_a_flag_cures_a_release_and_the_release_stays(shop: Shop) -> None:
    shop.service.deploy("v1.2.3")
    shop.has_flag_on()
    shop.is_watched(rate=25, remedies=[DISABLE, UNDO])
    shop.has_a_past()

    shop.releases("v1.3.6")

    ended = shop.is_over()
    assert ended["status"]["outcome"] == "Verified", ended["status"]
    assert ended["spec"]["remedy"]["type"] == "DisableFlag"
    assert (ended["spec"]["flag"]["oldValue"], ended["spec"]["flag"]["takenBy"]) == (
        "true",
        "Restart",
    )
    steps = [one["name"] for one in ended["status"]["steps"]]
    assert steps == ["DisableFlag", "RestartPods", "RolloutComplete", "Verify"]
    assert shop.flag() == "false"
    shop.runs("v1.3.6")
    shop.sells()
    metadata = shop.service.deployment()["spec"]["template"]["metadata"]
    assert RESTARTED in metadata["annotations"]
    assert shop.condition("Recovered")["status"] == "True"
    assert shop.condition("Quarantined")["status"] == "False"
    assert len(shop.service.rollbacks()) == 1


@pytest.mark.extended
def test_where_the_flag_does_not_help_the_release_is_undone(shop: Shop) -> None:
    shop.service.deploy("v1.2.3")
    shop.has_flag_on()
    shop.is_watched(rate=25, remedies=[DISABLE, UNDO])
    shop.has_a_past()

    shop.releases("v1.3.1")  # fails with the flag and without

    first = shop.is_over_by("DisableFlag")
    assert first["status"]["outcome"] == "NotRecovered", first["status"]
    undone = shop.is_over_by("Undo")
    assert undone["status"]["outcome"] == "Verified", undone["status"]
    assert f"{FLAG}=false in ConfigMap {CONFIG_MAP}" in undone["spec"]["trigger"]["message"]
    assert shop.flag() == "false"
    shop.runs("v1.2.3")
    shop.sells()
