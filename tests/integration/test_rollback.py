"""Bad releases are undone, by each remedy; good ones and other people's are left alone."""

from __future__ import annotations

import pytest

from tests.integration.service import Service, outcome, steps
from tests.integration.traffic import BAD

pytestmark = [pytest.mark.xdist_group("rollback"), pytest.mark.usefixtures("operator")]


def test_a_bad_release_is_undone_to_the_last_known_good(service: Service) -> None:
    service.deploy("v1")
    before = service.deployment()["spec"]
    service.remember()
    service.adopt()

    service.roll_out("v2", BAD)

    rollback = service.wait_for_rollback()
    assert outcome(rollback) == ("Verified", "Recovered"), service.told()
    assert rollback["spec"]["severity"] == "P1"
    assert rollback["spec"]["pace"] == "Express"
    assert steps(rollback) == ["Undo", "RolloutComplete", "RestoreStrategy", "Verify"]
    assert service.deployment()["spec"] == before
