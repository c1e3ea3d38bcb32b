"""What is let go before the operator goes for good: nothing of it keeps anything from deletion."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    OWNER_FINALIZER,
    Rollback,
    RollbackStatus,
    StepName,
)
from rollback_operator.cli.releasing import Sweep
from tests.builders import NAMESPACE, make_ended, make_rollback, make_step

UNDER_WAY = RollbackStatus(steps=[make_step(StepName.UNDO, 10)])
ANOTHERS = "example.com/audit"


@dataclass
class Server:
    """An API server with Rollbacks and nothing else."""

    rollbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusals: int = 0

    def put(self, rollback: Rollback, *finalizers: str) -> None:
        raw = rollback.model_dump(by_alias=True, exclude_none=True, mode="json")
        raw["metadata"] |= {"finalizers": list(finalizers), "resourceVersion": "7"}
        self.rollbacks[rollback.metadata.name] = raw

    async def list(self, request: web.Request) -> web.Response:
        items = list(self.rollbacks.values()) if request.path.endswith("/rollbacks") else []
        return web.json_response({"metadata": {}, "items": items})

    async def patch(self, request: web.Request) -> web.Response:
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"reason": "Forbidden", "message": "no right"}, status=403)
        found = self.rollbacks[request.path.rpartition("/")[2]]
        test, change = json.loads(await request.text())
        assert test["value"] == found["metadata"]["resourceVersion"]
        assert (change["op"], change["path"]) == ("add", "/metadata/finalizers")
        found["metadata"] |= {"finalizers": change["value"], "resourceVersion": "8"}
        return web.json_response(found)

    def finalizers(self) -> Any:
        (found,) = self.rollbacks.values()
        return found["metadata"]["finalizers"]


@asynccontextmanager
async def asked(server: Server) -> AsyncIterator[ApiServer]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.list)
    app.router.add_patch("/{path:.*}", server.patch)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    api = ApiServer(client.ApiClient(configuration), lambda *_: None)
    try:
        yield api
    finally:
        await api.close()
        await runner.cleanup()


@pytest.mark.parametrize("status", [UNDER_WAY, make_ended()], ids=["under way", "over"])
async def test_a_rollback_keeps_nothing_from_deletion_when_the_operator_goes(
    status: RollbackStatus,
) -> None:
    server = Server()
    server.put(make_rollback(status=status), FINALIZER, OWNER_FINALIZER, ANOTHERS)

    async with asked(server) as api:
        results = await Sweep(api, "release", "argocd").through([""])

    (name,) = server.rollbacks
    assert server.finalizers() == [ANOTHERS]
    assert results == {f"Rollback {NAMESPACE}/{name}": ""}


async def test_a_rollback_that_could_not_be_let_go_is_named() -> None:
    server = Server(refusals=1)
    server.put(make_rollback(status=UNDER_WAY), FINALIZER)

    async with asked(server) as api:
        results = await Sweep(api, "release", "argocd").through([""])

    assert server.finalizers() == [FINALIZER]
    assert ["no right" in fault for fault in results.values()] == [True]


async def test_of_a_rollback_that_holds_nothing_nothing_is_said() -> None:
    server = Server()
    server.put(make_rollback(status=make_ended()))

    async with asked(server) as api:
        assert await Sweep(api, "release", "argocd").through([""]) == {}
