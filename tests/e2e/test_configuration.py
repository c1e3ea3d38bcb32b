"""A release that changes a ConfigMap and nothing else."""

from __future__ import annotations

import pytest

from tests.e2e.shop import CONFIG_MAP, ERRORS_ONLY, FLAG, QUICKLY_GOOD, Shop

RESTORE = {"type": "Undo", "to": "LastKnownGood", "restore": [CONFIG_MAP]}
ERRORS = [
    *ERRORS_ONLY,
    {
        "severity": "P2",
        "when": [{"signal": "ErrorRate", "above": "0.05"}],
        "response": "Rollback",
        "withinSeconds": 900,
    },
]


@pytest.mark.extended
def test_a_release_of_a_configmap_alone_goes_back(shop: Shop) -> None:
    shop.service.deploy("v1.2.3")
    shop.has_settings_to_restore()
    shop.is_watched(rate=25, remedies=[RESTORE], safety=QUICKLY_GOOD, matrix=ERRORS)
    shop.has_a_past()
    shop.releases("v1.3.6")  # fails only with the feature
    shop.becomes_good("v1.3.6")
    shop.has_stored_its_settings()

    shop.changes_settings({FLAG: "true"})

    ended = shop.is_over()
    assert ended["status"]["outcome"] == "Verified", ended["status"]
    steps = [one["name"] for one in ended["status"]["steps"]]
    assert steps[:2] == ["RestoreConfiguration", "Undo"]
    assert ended["spec"]["configMaps"][0]["diff"] == f'{FLAG}: "true" -> "false"'
    assert shop.flag() == "false"
    shop.runs("v1.3.6")
    shop.sells()
    assert len(shop.service.rollbacks()) == 1
