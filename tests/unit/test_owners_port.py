"""The Owners port: an object that its controller writes all the time is suspended all the same."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, cast

import pytest

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.target.owners import MOST_CONFLICTS, ApiOwners
from rollback_operator.api.remedy import OwnerKind
from rollback_operator.model.controllers import OwnedDeployment, OwnerObject, OwnerState
from rollback_operator.ports.failure import Failure, FailureKind

STEERED = OwnedDeployment(
    OwnerObject(OwnerKind.APPLICATION, "argocd", "shop"), "production", "shop"
)
RESOURCE = {"group": "apps", "kind": "Deployment", "namespace": "production", "name": "shop"}


class Busy:
    """An API server with one Application, whose controller writes between a look and a write."""

    def __init__(self, writes: int, edit: dict[str, Any] | None = None) -> None:
        self.writes = writes
        self.edit = edit or {}
        self.patches: list[Any] = []
        self.stored: dict[str, Any] = {
            "metadata": {"namespace": "argocd", "name": "shop", "resourceVersion": "1"},
            "spec": {"syncPolicy": {"automated": {"prune": True}}},
            "status": {"resources": [RESOURCE]},
        }

    async def get(self, path: str) -> dict[str, Any]:
        if path == "/apis/argoproj.io":
            return {"preferredVersion": {"version": "v1alpha1"}}
        return deepcopy(self.stored)

    async def patch(self, path: str, changes: Any) -> dict[str, Any] | Failure:
        if self.writes:
            self.writes -= 1
            version = int(self.stored["metadata"]["resourceVersion"]) + 1
            self.stored["metadata"]["resourceVersion"] = str(version)
            self.stored["spec"] |= self.edit
        guard, *others = changes
        if guard["value"] != self.stored["metadata"]["resourceVersion"]:
            return Failure(FailureKind.CONFLICT, "the test failed")
        self.patches.append(others)
        return deepcopy(self.stored)


async def suspended(server: Busy) -> OwnerState | Failure:
    owners = ApiOwners(cast("ApiServer", server), "argocd")
    state = await owners.read_owner(STEERED)
    assert isinstance(state, OwnerState)
    assert json.loads(state.automated) == {"prune": True}
    return await owners.suspend(STEERED, state, "production/shop-1")


@pytest.mark.parametrize("writes", [0, 1, MOST_CONFLICTS - 1])
async def test_what_its_controller_writes_is_no_reason_to_wait(writes: int) -> None:
    server = Busy(writes)

    assert isinstance(await suspended(server), OwnerState)
    assert [one["path"] for one in server.patches[0]][-1] == "/spec/syncPolicy/automated"
    assert len(server.patches) == 1


async def test_a_controller_that_never_rests_ends_the_look_as_a_conflict() -> None:
    server = Busy(MOST_CONFLICTS)

    found = await suspended(server)

    assert isinstance(found, Failure)
    assert found.kind is FailureKind.CONFLICT
    assert server.patches == []


async def test_what_a_person_changes_meanwhile_is_looked_at_anew() -> None:
    server = Busy(1, edit={"syncPolicy": {}})

    found = await suspended(server)

    assert isinstance(found, Failure)
    assert found.message == "Application shop has changed since it was read"
    assert server.patches == []
