"""An Event that precedes its record is posted once, though the record is written again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from rollback_operator.api.reasons import EventReason
from rollback_operator.api.v1alpha1 import Resource
from rollback_operator.model.message import Notice
from rollback_operator.ports.failure import Failure
from tests.carrying import Carried
from tests.fakes.failures import CONFLICT, OUTAGE
from tests.fakes.store import FakeStore
from tests.unit import test_approval, test_scaling, test_stopping, test_suspending


@dataclass
class Contended(FakeStore):
    """The first write after an Event of a reason meets a change by another client."""

    seen: set[EventReason] = field(default_factory=set)

    async def post(self, regarding: Resource, notice: Notice) -> Failure | None:
        if notice.reason not in self.seen:
            self.seen.add(notice.reason)
            self.fail_next("write_rollback", CONFLICT)
        return await super().post(regarding, notice)


def contended(world: Carried) -> None:
    world.store = Contended(rollbacks=world.store.rollbacks, calls=world.journal)
    world.executor = world.operator()


def stopping() -> Carried:
    return test_stopping.World()


def stopping_service() -> Carried:
    return test_stopping.World(test_stopping.stopping(test_stopping.SERVICE))


def scaling() -> Carried:
    return test_scaling.World()


@pytest.mark.parametrize(
    ("make", "begin", "end"),
    [
        (stopping, EventReason.TRAFFIC_STOPPED, EventReason.TRAFFIC_RESTORED),
        (stopping_service, EventReason.TRAFFIC_STOPPED, EventReason.TRAFFIC_RESTORED),
        (scaling, EventReason.BOUNDS_RAISED, None),
    ],
)
async def test_an_act_is_reported_once_though_its_record_meets_a_conflict(
    make: Callable[[], Carried], begin: EventReason, end: EventReason | None
) -> None:
    world = make()
    contended(world)

    await world.until_end()

    told = world.store.told()
    assert [told.count(reason) for reason in (begin, end) if reason is not None] == (
        [1] if end is None else [1, 1]
    )


async def test_restored_bounds_are_reported_once_though_the_record_meets_a_conflict() -> None:
    world = test_scaling.World()
    contended(world)
    await world.until_end()
    world.is_asked()

    for _ in range(5):
        world.seconds += 4000
        await world.settle()

    assert world.stored.status.autoscaler is not None
    assert not world.stored.status.autoscaler.is_open
    assert world.store.told().count(EventReason.BOUNDS_RESTORED) == 1


async def test_an_owner_is_reported_once_though_the_records_meet_conflicts() -> None:
    world = test_suspending.World()
    contended(world)
    await world.until_end()

    await world.is_released()

    told = world.store.told()
    assert told.count(EventReason.OWNER_SUSPENDED) == 1
    assert told.count(EventReason.OWNER_RELEASED) == 1


async def test_an_owner_that_stays_suspended_is_reported_once_though_its_guard_stays() -> None:
    world = test_suspending.World()
    await world.until_end()
    metadata = world.stored.metadata.model_copy(update={"deletion_timestamp": world.now()})
    world.store.hold(world.stored.model_copy(update={"metadata": metadata}))
    world.store.fail_next("release_owner", OUTAGE, OUTAGE)

    for _ in range(3):
        world.seconds += 60
        await world.settle()

    assert world.store.told().count(EventReason.OWNER_LEFT_SUSPENDED) == 1


async def test_a_question_and_its_answer_are_reported_once_though_the_records_meet_conflicts() -> (
    None
):
    world = test_approval.asking()
    contended(world)

    for _ in range(2):
        await world.carry_on()
        world.seconds += 10
    world.store.decide(world.stored, test_approval.decision(world))
    await world.until_end()

    told = world.store.told()
    assert told.count(EventReason.APPROVAL_NEEDED) == 1
    assert told.count(EventReason.ROLLBACK_APPROVED) == 1


async def test_each_refused_decision_is_reported() -> None:
    """The Event of a reason is not posted once for all: another decision is another occurrence."""
    world = test_approval.asking()
    await world.carry_on()

    for digest in ("old-1", "old-2"):
        world.store.decide(world.stored, test_approval.decision(world, plan_digest=digest))
        await world.carry_on()
        spec = world.stored.spec.model_copy(update={"approval": None})
        world.store.hold(world.stored.model_copy(update={"spec": spec}))
        await world.carry_on()

    assert world.store.told().count(EventReason.APPROVAL_REFUSED) == 2
