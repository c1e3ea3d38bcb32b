"""An operator that slept through its lease wakes in the middle of a pass and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.api.reasons import EventReason
from rollback_operator.model.message import Notice
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.runtime.bootstrap import Outside, Parts, wire
from rollback_operator.runtime.settings import Settings
from rollback_operator.runtime.telemetry import Telemetry
from tests.builders import at, make_policy

LEASE = "/apis/coordination.k8s.io/v1/namespaces/rollback-operator/leases/rollback-operator"
SHOP = paths.object_in(paths.DEPLOYMENTS, "production", "shop")


@dataclass
class Machine:
    """Both clocks of the machine on which the operator runs."""

    monotonic: float = 1000.0
    wall: float = 0.0

    def now(self) -> datetime:
        return at(0) + timedelta(seconds=self.wall)

    def sleep(self, monotonic: float, wall: float) -> None:
        self.monotonic += monotonic
        self.wall += wall


@dataclass
class Connection:
    """A connection to an API server that does what it is asked."""

    sent: list[str] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    async def param_serialize(self, method: str, path: str, **_: Any) -> tuple[str, str]:
        return method, path

    async def call_api(self, method: str, path: str, **_: Any) -> Any:
        self.sent.append(f"{method} {path}")
        self.before_answer()
        metadata = {"name": "shop", "namespace": "production", "resourceVersion": "7"}
        body = json.dumps({"metadata": metadata, "spec": {}}).encode()

        async def chunks() -> Any:
            yield body

        content = SimpleNamespace(iter_any=chunks)
        return SimpleNamespace(status=200, headers={}, response=SimpleNamespace(content=content))

    @property
    def writes(self) -> list[str]:
        return [one for one in self.sent if not one.startswith("GET ")]


@dataclass
class Operator:
    machine: Machine = field(default_factory=Machine)
    connection: Connection = field(default_factory=Connection)

    def __post_init__(self) -> None:
        api = ApiServer(cast("Any", self.connection), lambda *_: None)
        absent = cast("Any", None)
        outside = Outside(
            api=api,
            metrics=absent,
            trends=absent,
            pods=absent,
            schemas=absent,
            changes=absent,
            probes=absent,
            channels=absent,
            clock=self.machine.now,
            monotonic=lambda: self.machine.monotonic,
            wall=self.machine.now,
        )
        self.parts: Parts = wire(outside, Settings(identity="one", lease_seconds=15), Telemetry())

    async def lead(self) -> None:
        assert await self.parts.elector.renew()
        self.connection.sent.clear()


@pytest.fixture
async def operator() -> Operator:
    it = Operator()
    await it.lead()
    return it


WRITES: dict[str, Callable[[ApiServer], Awaitable[object]]] = {
    "create": lambda api: api.create(paths.in_namespace(paths.ROLLBACKS, "production"), {}),
    "update": lambda api: api.update(SHOP, {}),
    "patch": lambda api: api.patch(SHOP, []),
    "delete": lambda api: api.delete(SHOP, "7"),
}
SLEEPS = {
    "stopped": (60.0, 60.0),
    "a paused virtual machine": (0.0, 60.0),
    "stopped, with the wall clock set back": (60.0, -3600.0),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("sleep", SLEEPS.values(), ids=SLEEPS)
async def test_no_write_is_sent_after_the_lease_has_run_out(
    operator: Operator,
    write: Callable[[ApiServer], Awaitable[object]],
    sleep: tuple[float, float],
) -> None:
    api = operator.parts.api
    assert not isinstance(await write(api), Failure)
    operator.connection.sent.clear()

    operator.machine.sleep(*sleep)
    refused = await write(api)

    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.UNAVAILABLE
    assert operator.connection.sent == []


async def test_a_pass_that_slept_between_its_read_and_its_write_does_not_write(
    operator: Operator,
) -> None:
    """The ports of a pass are wired to the same fence: nothing writes around it."""
    policy = make_policy()
    operator.connection.before_answer = lambda: operator.machine.sleep(0.0, 60.0)
    assert not isinstance(await operator.parts.api.get(SHOP), Failure)

    store = operator.parts.reconciler.reporter.store
    written = await store.write_policy(policy, policy.status)
    await store.post(policy, Notice(EventReason.ROLLOUT_HELD, "is not posted"))

    assert isinstance(written, Failure)
    assert operator.connection.writes == []


async def test_reads_and_the_writes_of_the_lease_go_on_and_open_the_fence_again(
    operator: Operator,
) -> None:
    operator.machine.sleep(0.0, 60.0)
    assert not isinstance(await operator.parts.api.get(SHOP), Failure)
    assert operator.connection.writes == []

    await operator.lead()

    assert not isinstance(await operator.parts.api.patch(SHOP, []), Failure)
    assert operator.connection.writes == [f"PATCH {SHOP}"]


async def test_nothing_is_written_after_the_lease_was_given_up(operator: Operator) -> None:
    await operator.parts.elector.release()

    assert isinstance(await operator.parts.api.patch(SHOP, []), Failure)
