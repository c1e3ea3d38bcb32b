"""Who writes to a version that is no more reads the object anew before it tries again."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.store import ApiStore
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
)
from rollback_operator.ports.failure import CONFLICT_SECONDS, RETRY_SECONDS, Failure, FailureKind
from rollback_operator.reconcile.cache import Cache, Key
from rollback_operator.runtime.intake import Intake, Resync
from tests.builders import make_policy, make_request, make_rollback
from tests.fakes.failures import CONFLICT, GONE, OUTAGE

Raw = dict[str, Any]


class Server:
    """An API server with one object, at a version that nobody has told of."""

    def __init__(self, there: Raw | None) -> None:
        self.there = there
        self.reads = 0
        self.is_down = False
        self.meanwhile: Callable[[], None] = lambda: None

    async def get(self, _: str, **query: str) -> Raw | Failure:
        assert query["fieldSelector"].startswith("metadata.name=")
        self.reads += 1
        self.meanwhile()
        if self.is_down:
            return OUTAGE
        return {"items": None if self.there is None else [copy.deepcopy(self.there)]}

    async def patch(self, _: str, operations: list[Raw]) -> Raw | Failure:
        if self.there is None:
            return GONE
        known = self.there["metadata"]["resourceVersion"]
        return self.there if operations[0]["value"] == known else CONFLICT

    async def delete(self, _: str, version: str) -> Raw | Failure:
        return await self.patch(_, [{"value": version}])


class World:
    def __init__(self, known: Resource, there: str | None) -> None:
        raw = known.model_dump(by_alias=True, exclude_none=True, mode="json")
        if there is not None:
            raw["metadata"] |= {"resourceVersion": there}
        self.server = Server(None if there is None else raw)
        self.cache, self.wanted = Cache(), list[Key]()
        self.cache.remember(known)
        api = cast("ApiServer", self.server)
        intake = Intake(self.cache, lambda key, _: self.wanted.append(key))
        self.refresh = Resync(api, intake).refresh
        now = lambda: datetime(2026, 1, 1, tzinfo=UTC)  # noqa: E731
        self.store = ApiStore(api, "me", now, self.refresh)

    def version(self, of: Resource) -> str | None:
        found = self.cache.version(of.PLURAL, of.key)
        return None if found is None else found.number


def old(made: Any) -> Any:
    metadata = made.metadata.model_copy(update={"resource_version": "7", "finalizers": [FINALIZER]})
    return made.model_copy(update={"metadata": metadata})


POLICY: RollbackPolicy = old(make_policy())
ROLLBACK: Rollback = old(make_rollback())
REQUEST: RollbackRequest = old(make_request())
Write = Callable[[ApiStore], Awaitable[Any]]
WRITES: list[tuple[Resource, Write]] = [
    (POLICY, lambda store: store.write_policy(POLICY, POLICY.status)),
    (POLICY, lambda store: store.guard(POLICY, "a/finalizer")),
    (ROLLBACK, lambda store: store.write_rollback(ROLLBACK, ROLLBACK.status)),
    (ROLLBACK, lambda store: store.release(ROLLBACK, FINALIZER)),
    (ROLLBACK, lambda store: store.delete_rollback(ROLLBACK)),
    (REQUEST, lambda store: store.answer_request(REQUEST, REQUEST.status)),
    (REQUEST, lambda store: store.release(REQUEST, FINALIZER)),
]


@pytest.mark.parametrize(("known", "write"), WRITES)
async def test_after_a_conflict_the_object_is_known_as_it_is(known: Resource, write: Write) -> None:
    world = World(known, "9")

    failure = await write(world.store)

    assert isinstance(failure, Failure)
    assert (failure.kind, failure.wait) == (FailureKind.CONFLICT, CONFLICT_SECONDS)
    assert (world.version(known), world.server.reads) == ("9", 1)
    assert world.wanted  # decided anew at once


@pytest.mark.parametrize(("known", "write"), WRITES)
async def test_what_is_gone_is_known_no_longer(known: Resource, write: Write) -> None:
    world = World(known, None)

    failure = await write(world.store)

    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.GONE
    assert world.version(known) is None


async def test_where_it_cannot_be_read_either_nobody_tries_again_at_once() -> None:
    world = World(ROLLBACK, "9")
    world.server.is_down = True

    failure = await world.store.write_rollback(ROLLBACK, ROLLBACK.status)

    assert isinstance(failure, Failure)
    assert (failure.kind, failure.wait) == (FailureKind.CONFLICT, RETRY_SECONDS)
    assert world.version(ROLLBACK) == "7"


async def test_a_write_that_is_taken_reads_nothing() -> None:
    world = World(ROLLBACK, "7")

    assert isinstance(await world.store.write_rollback(ROLLBACK, ROLLBACK.status), Rollback)

    assert (world.server.reads, world.wanted) == (0, [])


async def test_what_is_known_already_wants_no_pass() -> None:
    world = World(ROLLBACK, "7")

    assert await world.refresh(Rollback.PLURAL, ROLLBACK.key) is None

    assert world.wanted == []


async def test_what_is_made_anew_while_it_was_read_as_gone_stays_known() -> None:
    world = World(ROLLBACK, None)
    anew = ROLLBACK.model_copy(
        update={"metadata": ROLLBACK.metadata.model_copy(update={"uid": "b"})}
    )
    world.server.meanwhile = lambda: world.cache.remember(anew)

    await world.refresh(Rollback.PLURAL, ROLLBACK.key)

    assert world.cache.rollbacks[ROLLBACK.key] == anew
