"""Telling: each transition once a channel, whoever dies; a dead channel delays nothing."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from rollback_operator.api.notify import Channel, Notification
from rollback_operator.api.reasons import ConditionType
from rollback_operator.api.v1alpha1 import (
    Outcome,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    StepName,
)
from rollback_operator.model.conditions import find
from rollback_operator.model.controllers import Owner
from rollback_operator.model.message import Message
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Cache
from rollback_operator.reconcile.notifier import DeliveryPorts, Notifier
from rollback_operator.report import outbox
from tests.builders import NAME, NAMESPACE, at, make_policy, make_rollback, make_step
from tests.fakes.channels import FakeChannels
from tests.fakes.failures import CONFLICT, OUTAGE
from tests.fakes.store import FakeStore
from tests.world import World, watched

KEY = (NAMESPACE, NAME)
TURNS = 40


def hook(name: str = "chat", **changes: Any) -> Channel:
    return Channel(name=name, type="Webhook", url="http://bridge.production/", **changes)


@dataclass
class Desk:
    """A policy, a rollback, whoever is told, and the time."""

    policy: RollbackPolicy = field(default_factory=lambda: make_policy(notify=[hook()]))
    seconds: float = 20.0
    is_leading: bool = True

    def __post_init__(self) -> None:
        self.channels, self.store = FakeChannels(), FakeStore()
        self.woken: list[tuple[str, str]] = []
        self.store.hold(self.policy, make_rollback())

    def now(self) -> datetime:
        return at(self.seconds)

    def operator(self) -> Notifier:
        """Start an operator on what is stored."""
        self.cache = Cache()
        for one in (*self.store.policies.values(), *self.store.rollbacks.values()):
            self.cache.remember(one)
        refresh = self.store.refresher(self.cache)
        runtime = DeliveryPorts(self.now, lambda: self.is_leading, self.woken.append, refresh)
        return Notifier(self.channels, self.store, self.cache, runtime)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Notifier]:
        teller = self.operator()
        task = asyncio.create_task(teller.run())
        try:
            yield teller
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def pass_(self, teller: Notifier) -> float | None:
        """Make a pass's end, let what it handed over be delivered, and take in what came of it."""
        await teller.settle(KEY)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return await teller.settle(KEY)

    @property
    def rollback(self) -> Rollback:
        (one,) = self.store.rollbacks.values()
        return one

    @property
    def notifications(self) -> list[Notification]:
        return self.rollback.status.notifications

    async def go_to(self, teller: Notifier, **changes: Any) -> None:
        """Store a new status the way the executor does."""
        status = self.rollback.status.model_copy(update=changes)
        written = await self.store.write_rollback(
            self.rollback, teller.announced(self.rollback, status)
        )
        assert isinstance(written, Rollback)
        self.cache.remember(written)

    async def start(self, teller: Notifier) -> None:
        await self.go_to(teller, steps=[make_step(StepName.UNDO, self.seconds)])

    async def end(self, teller: Notifier, outcome: Outcome = Outcome.VERIFIED) -> None:
        await self.go_to(teller, outcome=outcome, finished_time=self.now())


async def test_each_transition_is_told_once() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        for _ in range(3):
            await desk.pass_(teller)
        desk.seconds = 60
        await desk.end(teller)
        for _ in range(3):
            await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started", "Verified"]
    assert [one.delivered_time for one in desk.notifications] == [at(20), at(60)]
    assert [m.id for _, m in desk.channels.told] == [one.id for one in desk.notifications]


async def test_who_follows_tells_what_is_on_record_and_nothing_twice() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        await desk.pass_(teller)
        desk.seconds = 60
        await desk.end(teller)
    async with desk.running() as teller:
        await desk.pass_(teller)
    async with desk.running() as teller:
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started", "Verified"]


@pytest.mark.parametrize(("failures", "told"), [([], 1), ([OUTAGE], 2)])
async def test_who_follows_with_an_old_view_tells_again_only_what_it_cannot_look_up(
    failures: list[Failure], told: int
) -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        before = desk.rollback
        await desk.pass_(teller)
    async with desk.running() as teller:
        desk.cache.drop_rollback(before.key)
        desk.cache.remember(before)  # no watch has told yet that it is delivered
        desk.store.fail_next("refresh", *failures)
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started"] * told
    assert [one.delivered_time for one in desk.notifications] == [at(20)]


async def test_killed_between_delivery_and_record_it_is_told_twice_under_one_id() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        await teller.settle(KEY)
        for _ in range(TURNS):
            await asyncio.sleep(0)
    async with desk.running() as teller:
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started", "Started"]
    assert len({message.id for _, message in desk.channels.told}) == 1


@dataclass
class SlowAnswers(FakeChannels):
    """Channels of which one answers when it is let."""

    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        failure = await super().send(channel, namespace, message)
        if channel.name == "slow":
            await self.answer.wait()
        return failure


@dataclass
class SlowStore(FakeStore):
    """While it writes, something happens."""

    meanwhile: Callable[[], None] = lambda: None

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        self.meanwhile()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return await super().write_rollback(rollback, status)


async def test_what_is_answered_while_another_is_put_on_record_is_not_told_again() -> None:
    desk = Desk(policy=make_policy(notify=[hook("quick"), hook("slow")]))
    channels, store = SlowAnswers(), SlowStore()
    store.hold(*desk.store.policies.values(), *desk.store.rollbacks.values())
    desk.channels, desk.store = channels, store
    async with desk.running() as teller:
        await desk.start(teller)
        await teller.settle(KEY)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        store.meanwhile = channels.answer.set
        for _ in range(3):
            await desk.pass_(teller)

    assert (channels.of("quick"), channels.of("slow")) == (["Started"], ["Started"])
    assert all(one.delivered_time for one in desk.notifications)


async def test_ended_in_good_order_it_records_first() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        await teller.settle(KEY)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        await teller.finish()
    async with desk.running() as teller:
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started"]


async def test_who_does_not_lead_tells_nobody() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        desk.is_leading = False
        await desk.pass_(teller)
        await teller.finish()
    assert desk.channels.tried == []
    desk.is_leading = True
    async with desk.running() as teller:
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started"]


async def test_a_result_wakes_its_policy() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        await desk.pass_(teller)

    assert desk.woken == [KEY]


async def test_a_dead_channel_is_tried_less_and_less_and_then_given_up() -> None:
    desk = Desk()
    desk.channels.dead = {"chat"}
    tries: list[float] = []
    async with desk.running() as teller:
        await desk.end(teller, Outcome.ABANDONED)
        while desk.notifications[0].is_open:
            before = len(desk.channels.tried)
            await desk.pass_(teller)
            if len(desk.channels.tried) > before:
                tries.append(desk.seconds)
            desk.seconds += 5
        await desk.pass_(teller)
        written = desk.store.calls.count("write_rollback")

    assert len(tries) == outbox.MOST_SEND_ATTEMPTS
    waits = [later - sooner for sooner, later in itertools.pairwise(tries)]
    assert waits == sorted(waits)
    assert written == 1 + outbox.MOST_SEND_ATTEMPTS
    assert desk.notifications[0].message == OUTAGE.message
    condition = outbox.notified(desk.policy, [desk.rollback])
    assert (condition.status, condition.reason) == ("False", "DeliveryGivenUp")


async def test_an_end_waits_for_its_beginning_and_follows_it_at_once() -> None:
    desk = Desk()
    desk.channels.failures["chat"] = deque([OUTAGE])
    async with desk.running() as teller:
        await desk.start(teller)
        await desk.pass_(teller)
        await desk.end(teller)
        await desk.pass_(teller)
        assert desk.channels.of("chat") == []
        desk.seconds += 5
        await desk.pass_(teller)
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started", "Verified"]
    assert [one.attempts for one in desk.notifications] == [1, 0]


async def test_a_server_that_asks_for_time_gets_it() -> None:
    desk = Desk()
    desk.channels.failures["chat"] = deque([Failure(FailureKind.UNAVAILABLE, "429", 40.0)])
    async with desk.running() as teller:
        await desk.start(teller)
        wait = await desk.pass_(teller)
        assert wait == pytest.approx(40)
        desk.seconds += 39
        await desk.pass_(teller)
        assert desk.channels.of("chat") == []
        desk.seconds += 1
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started"]


async def test_a_channel_that_hangs_holds_up_neither_the_pass_nor_the_others() -> None:
    desk = Desk(make_policy(notify=[hook("hung"), hook("chat")]))
    desk.channels.hung = {"hung"}
    async with desk.running() as teller:
        await desk.start(teller)
        async with asyncio.timeout(5):
            await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started"]


async def test_a_bug_in_a_sender_is_told_by_its_type_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    desk.channels.failures["chat"] = deque([RuntimeError("s3cret")])
    with caplog.at_level(logging.DEBUG):
        async with desk.running() as teller:
            await desk.start(teller)
            await desk.pass_(teller)

    assert desk.notifications[0].message == "a bug: RuntimeError"
    assert "s3cret" not in caplog.text


async def test_a_result_that_cannot_be_stored_is_stored_later_and_not_told_again() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        desk.store.fail_next("write_rollback", CONFLICT, OUTAGE)
        for _ in range(3):
            await desk.pass_(teller)

    assert desk.channels.tried == [desk.notifications[0].id]
    assert desk.notifications[0].delivered_time == at(20)


async def test_at_rest_nothing_is_written() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        await desk.end(teller)
        for _ in range(3):
            await desk.pass_(teller)
        before = list(desk.store.calls)
        for _ in range(3):
            desk.seconds += 600
            assert await desk.pass_(teller) is None

    assert desk.store.calls == before


async def test_of_updates_that_were_missed_only_the_newest_is_told() -> None:
    desk = Desk()
    desk.channels.dead = {"chat"}
    async with desk.running() as teller:
        await desk.start(teller)
        for _ in range(10):
            await desk.pass_(teller)
            desk.seconds += 200
        desk.channels.dead = set()
        for _ in range(4):
            desk.seconds += 60
            await desk.pass_(teller)
        await desk.end(teller)
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started", "Update-3", "Verified"]


async def test_a_long_one_is_told_again() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        wait = await desk.pass_(teller)
        assert wait == pytest.approx(290)  # decided at 10 s
        desk.seconds += 290
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started", "Update-1"]


@pytest.mark.parametrize("change", ["policy gone", "another policy", "channel gone"])
async def test_what_has_nobody_to_go_to_is_given_up(change: str) -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
    if change == "policy gone":
        desk.store.policies.clear()
    elif change == "channel gone":
        desk.store.policies[NAME] = make_policy(notify=[hook("other")])
    else:
        other = make_policy(notify=[hook()])
        metadata = other.metadata.model_copy(update={"uid": "another"})
        desk.store.policies[NAME] = other.model_copy(update={"metadata": metadata})
    async with desk.running() as teller:
        await desk.pass_(teller)

    assert desk.channels.of("chat") == []
    assert not desk.notifications[0].is_open


async def test_a_policy_that_cannot_be_read_for_a_while_loses_no_message() -> None:
    desk = Desk()
    async with desk.running() as teller:
        await desk.start(teller)
        raw = {"metadata": desk.policy.metadata.model_dump(by_alias=True), "spec": {}}
        raw["metadata"]["resourceVersion"] = "900"
        desk.cache.put_policy(raw)
        await desk.pass_(teller)
        assert desk.notifications[0].is_open
        desk.cache.drop_policy(KEY)
        desk.cache.remember(desk.policy)
        await desk.pass_(teller)

    assert desk.channels.of("chat") == ["Started"]


# -- whole passes ----------------------------------------------------------------------------------


async def carried(world: World, until: Callable[[], bool]) -> None:
    operator = world.operator()
    task = asyncio.create_task(operator.teller.run())
    try:
        for _ in range(90):
            await world.run(operator, lambda: True)
            world.tell(operator)
            await operator.reconcile(KEY)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if until():
                return
            world.seconds += 2
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise AssertionError(world.journal[-20:])


async def test_a_rollback_tells_its_start_and_its_end_and_the_policy_says_so() -> None:
    world = World(watched(make_policy(notify=[hook()])))

    def is_told() -> bool:
        told = find(world.status.conditions, ConditionType.NOTIFIED)
        return world.is_over() and told is not None and told.status == "True"

    await carried(world, is_told)

    assert world.channels.of("chat") == ["Started", "Verified"]
    assert "Status: ROLLBACK COMPLETED" in world.rollback.status.message
    assert world.condition(ConditionType.NOTIFIED) == ("True", "Delivered")


async def test_a_dead_channel_does_not_keep_a_rollback_from_its_end() -> None:
    world = World(watched(make_policy(notify=[hook("hung"), hook("dead")])))
    world.channels.hung, world.channels.dead = {"hung"}, {"dead"}

    await carried(world, world.is_all_done)

    quiet = World(watched(make_policy()))
    await carried(quiet, quiet.is_all_done)
    assert world.seconds == quiet.seconds
    assert acts(world) == acts(quiet) != []


def acts(world: World) -> list[str]:
    return [one for one in world.journal if one in ("undo", "set_strategy", "apply_in_place")]


async def test_a_rollback_that_is_refused_is_told_from_the_policy() -> None:
    world = World(watched(make_policy(notify=[hook()])))
    owner = Owner("Argo CD", "a label", "do it there")
    deployment = replace(world.workloads.workload.deployment, owner=owner)
    world.workloads.workload = replace(world.workloads.workload, deployment=deployment)

    await carried(world, lambda: world.channels.of("chat") != [])
    await carried(world, lambda: world.status.notifications[0].delivered_time is not None)

    assert set(world.channels.of("chat")) == {"RollbackRefused"}
    assert world.store.rollbacks == {}
    ((_, message), *_) = world.channels.told
    assert message.status == "NO ROLLBACK: it was refused"
    assert "Argo CD" in message.reason
