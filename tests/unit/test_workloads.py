"""What a write to a Deployment is guarded by."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from bench.simulation.patching import PatchError, apply
from rollback_operator.adapters.workloads import ApiWorkloads
from rollback_operator.apiserver import ApiServer
from rollback_operator.ports import Failure
from rollback_operator.projections import REVISION_ANNOTATION, template_of
from tests.builders import make_hold
from tests.fakes import OUTAGE

TEMPLATE = {"spec": {"containers": [{"name": "shop", "image": "shop:v2"}]}}


def deployment(**annotations: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "production", "name": "shop", "uid": "a"}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"template": TEMPLATE}}


class Lost:
    """An API server whose answers to patches get lost."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.sent: list[dict[str, Any]] = []

    async def get(self, _: str) -> dict[str, Any]:
        return copy.deepcopy(self.raw)

    async def patch(self, _: str, operations: list[dict[str, Any]]) -> Failure:
        self.sent = operations
        return OUTAGE


async def sent(raw: dict[str, Any]) -> list[dict[str, Any]]:
    api = Lost(raw)
    digest = template_of(TEMPLATE).digest
    hold = make_hold(deployment="shop", deployment_uid="a", digest=digest)
    assert await ApiWorkloads(cast("ApiServer", api)).pause("production", hold) == OUTAGE
    return api.sent


async def test_a_patch_that_comes_late_does_not_meet_a_release_that_has_come_back() -> None:
    judged, back = (
        deployment(**{REVISION_ANNOTATION: "2"}),
        deployment(**{REVISION_ANNOTATION: "4"}),
    )
    late = await sent(judged)

    with pytest.raises(PatchError):
        apply(back, late)
    apply(judged, late)
    assert judged["spec"]["paused"] is True


async def test_a_deployment_without_a_revision_yet_is_guarded_by_its_template() -> None:
    raw = deployment()
    apply(raw, await sent(raw))
    assert raw["spec"]["paused"] is True
