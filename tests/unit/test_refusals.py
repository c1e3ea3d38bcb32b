"""A request that is refused reaches whoever asked, and the team: once a channel, whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rollback_operator.api.notify import Channel, Notification
from rollback_operator.api.reasons import ConditionType
from rollback_operator.model.conditions import find
from rollback_operator.reconcile.reconciler import Reconciler
from tests.builders import make_policy, make_request
from tests.fakes.failures import REFUSAL, Crash
from tests.world import KEY, World, watched

TURNS = 20
ID = "uid-by-hand.Refused.chat"
NOT_THERE = {"type": "Undo", "to": "Revision", "revision": 9}


def hook(name: str = "chat", **changes: Any) -> Channel:
    return Channel(name=name, type="Webhook", url="http://bridge.production/", **changes)


def asked_in_vain(*channels: Channel, **spec: Any) -> World:
    """Somebody asks for a revision that is not there; the release that runs is well."""
    world = World(watched(make_policy(notify=list(channels), **spec)), bad=frozenset())
    made = make_request(NOT_THERE, seconds=15, requestedBy="ann")
    world.store.hold(made)
    return world


def notifications(world: World) -> list[Notification]:
    return world.store.requests["by-hand"].status.notifications


def is_told(world: World) -> Callable[[], bool]:
    return lambda: any(one.delivered_time for one in notifications(world))


async def passes(world: World, until: Callable[[], bool], operator: Reconciler) -> None:
    """Make passes until something has happened, and two more."""
    task = asyncio.create_task(operator.teller.run())
    try:
        left = 2
        for _ in range(30):
            world.tell(operator)
            await operator.reconcile(KEY)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            world.seconds += 2
            left -= until()
            if not left:
                return
        raise AssertionError(f"never: {world.journal[-20:]}")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("suspend", [False, True])
async def test_each_channel_is_told_once_who_asked_for_what_and_why_not(suspend: bool) -> None:
    world = asked_in_vain(hook("chat"), hook("mail"), suspend=suspend)

    await passes(world, is_told(world), world.operator())

    assert sorted(channel for channel, _ in world.channels.told) == ["chat", "mail"]
    message = world.channels.told[0][1]
    assert message.transition == "Refused"
    assert message.status.startswith("ROLLBACK REFUSED: nothing was done - ")
    assert message.reason == "Undo: requested by ann: customers call"
    assert world.condition(ConditionType.NOTIFIED) == ("True", "Delivered")


async def test_it_is_on_record_with_the_refusal_itself() -> None:
    world = asked_in_vain(hook())

    await world.operator().reconcile(KEY)

    assert world.journal.count("answer_request") == 1
    assert [(one.id, one.severity) for one in notifications(world)] == [(ID, "P3")]


async def test_a_crash_at_any_call_loses_nothing_and_tells_under_one_id() -> None:
    for point in range(20):
        world = asked_in_vain(hook())
        world.journal.crash_at = point
        try:
            await passes(world, is_told(world), world.operator())
        except Crash:
            await passes(world, is_told(world), world.operator())
        else:
            break
        assert {message.id for _, message in world.channels.told} == {ID}
        assert len(world.channels.told) <= 2  # killed between delivery and record
    else:
        raise AssertionError("there are more calls than points")


async def test_a_channel_for_what_is_worse_is_left_in_peace() -> None:
    world = asked_in_vain(hook("chat"), hook("pager", severities=["P1", "P2"]))

    await passes(world, is_told(world), world.operator())

    assert [one.channel for one in notifications(world)] == ["chat"]


async def test_a_channel_that_takes_nothing_is_seen_in_the_policys_condition() -> None:
    world = asked_in_vain(hook())
    world.channels.dead = {"chat"}

    def is_failing() -> bool:
        told = find(world.status.conditions, ConditionType.NOTIFIED)
        return told is not None and told.reason == "DeliveryFailing"

    await passes(world, is_failing, world.operator())

    assert notifications(world)[0].attempts >= 3


async def test_what_is_not_stored_is_not_told() -> None:
    world = asked_in_vain(hook())
    world.store.fail_next("answer_request", *[REFUSAL] * 3)

    await passes(world, lambda: len(world.journal) > 0, world.operator())

    assert world.channels.told == []
