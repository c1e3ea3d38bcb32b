"""A healthy release under watch: looked at again and again, written about once."""

from __future__ import annotations

import pytest

from tests.integration.api import Object, eventually
from tests.integration.conftest import RunningOperator
from tests.integration.service import Service
from tests.integration.traffic import GOOD

pytestmark = [pytest.mark.xdist_group("under-watch"), pytest.mark.timeout(1200)]

LOOKS = 10


def test_a_healthy_release_under_watch_changes_no_status_once_it_has_settled(
    service: Service, operator: RunningOperator
) -> None:
    service.deploy(replicas=2)
    service.remember()
    service.adopt()
    service.roll_out("v2", GOOD)
    service.wait_for_rollout()
    eventually(lambda: settled(service), "the new release does well", 60.0)
    before = service.policy()["metadata"]["resourceVersion"]

    operator.wait_for_passes(LOOKS)

    assert changed(service, before) is None

    assert service.status()["verdict"] == "Watching"
    assert service.reason("Healthy") == ("Unknown", "NoEvidenceAgainst")


def settled(service: Service) -> bool:
    images = service.status()["revision"].get("images", [""])
    is_clean = service.reason("Healthy") == ("Unknown", "NoEvidenceAgainst")
    is_told_of_pods = service.reason("PodMetricsAvailable")[0] == "False"
    return is_clean and is_told_of_pods and images[0].endswith(":v2")


def changed(service: Service, before: str) -> Object | None:
    found = service.policy()
    return None if found["metadata"]["resourceVersion"] == before else found["status"]
