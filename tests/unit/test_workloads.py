"""What a write to a Deployment is guarded by."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from bench.simulation.patching import PatchError, apply
from rollback_operator.adapters.workloads import ApiWorkloads
from rollback_operator.api.v1alpha1 import FIELD_MANAGER, StoredStrategy
from rollback_operator.apiserver import ApiServer
from rollback_operator.core.workload import Deployment
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.projections.deployments import REVISION_ANNOTATION
from rollback_operator.projections.templates import template_of
from tests.builders import make_hold, make_ref, make_rollback
from tests.fakes.failures import OUTAGE

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


# -- a person's pause ------------------------------------------------------------------------------

UNDONE = {
    "metadata": {"labels": {"app": "shop"}},
    "spec": {"containers": [{"name": "shop", "image": "shop:v1"}]},
}
OURS = [{"manager": FIELD_MANAGER, "fieldsV1": {"f:spec": {"f:paused": {}}}}]


class Undoing(Lost):
    """... with the ReplicaSet that is gone back to."""

    async def get(self, path: str) -> dict[str, Any]:
        if "/replicasets/" not in path:
            return await super().get(path)
        owner = {"controller": True, "uid": "a"}
        metadata = {"name": "shop-v1", "uid": "rs-v1", "ownerReferences": [owner]}
        return {"metadata": metadata, "spec": {"template": copy.deepcopy(UNDONE)}}


async def undone(
    raw: dict[str, Any], surge: StoredStrategy | None = None
) -> tuple[Deployment | Failure, list[dict[str, Any]]]:
    api = Undoing(raw)
    judged = make_ref("v2", digest=template_of(TEMPLATE).digest)
    target = make_ref("v1", digest=template_of(UNDONE).digest, replica_set_uid="rs-v1")
    rollback = make_rollback(
        target_ref={"name": "shop", "uid": "a"}, from_revision=judged, to_revision=target
    )
    return await ApiWorkloads(cast("ApiServer", api)).undo(rollback, surge), api.sent


@pytest.mark.parametrize("surge", [None, StoredStrategy(max_surge="100%", max_unavailable="25%")])
async def test_an_undo_does_not_pass_a_pause_that_a_person_sets_meanwhile(
    surge: StoredStrategy | None,
) -> None:
    raw = deployment(**{REVISION_ANNOTATION: "2"})
    raw["spec"]["strategy"] = {"rollingUpdate": {}}
    paused = copy.deepcopy(raw)
    paused["spec"]["paused"] = True

    _, sent = await undone(raw, surge)

    with pytest.raises(PatchError):
        apply(paused, sent)
    apply(raw, sent)
    assert raw["spec"]["template"] == UNDONE


async def test_an_undo_is_not_sent_to_what_a_person_has_paused() -> None:
    raw = deployment()
    raw["spec"]["paused"] = True

    found, sent = await undone(raw)

    assert isinstance(found, Failure)
    assert (found.kind, found.message) == (
        FailureKind.CONFLICT,
        "somebody has paused the Deployment",
    )
    assert sent == []


async def test_an_undo_lifts_the_operators_own_pause() -> None:
    raw = deployment()
    raw["spec"]["paused"] = True
    raw["metadata"]["managedFields"] = OURS

    _, sent = await undone(raw)

    apply(raw, sent)
    assert "paused" not in raw["spec"]
    assert raw["spec"]["template"] == UNDONE
