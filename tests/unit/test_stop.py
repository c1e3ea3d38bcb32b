"""A stop for everything: nobody acts, whatever was decided, asked for or begun; then it goes on."""

from __future__ import annotations

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Outcome, RollbackRequest
from rollback_operator.model.conditions import find
from rollback_operator.reconcile.reconciler import Reconciler
from tests.builders import make_request
from tests.unit.test_ends import begun, intent
from tests.world import KEY, World

SAID = "everything is suspended by ann since 2027-01-15T08:00:00Z: maintenance"
ACTS = {"undo", "restart", "apply_in_place", "pause", "set_flag", "suspend_owner"}


async def passes(world: World, operator: Reconciler, count: int = 10) -> None:
    for _ in range(count):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2


def acts(world: World) -> list[str]:
    return [one for one in world.journal if one in ACTS]


async def test_a_bad_release_is_left_and_each_policy_says_why() -> None:
    world = World(stopped=SAID)

    await passes(world, world.operator())

    assert acts(world) == []
    assert world.store.rollbacks == {}
    assert world.condition(ConditionType.READY) == ("False", "EverythingSuspended")
    assert world.status.summary == "EverythingSuspended"
    found = find(world.status.conditions, ConditionType.READY)
    assert found is not None
    assert found.message == SAID


async def test_it_goes_on_once_that_is_lifted() -> None:
    world = World(stopped=SAID)
    operator = world.operator()
    await passes(world, operator, 3)

    world.stopped = ""
    await world.run(operator, world.is_all_done)

    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.journal.count("undo") == 1


async def test_what_was_decided_and_not_begun_is_not_done_and_then_tried_again() -> None:
    world = World(stopped=SAID)
    world.store.hold(intent())
    operator = world.operator()

    await passes(world, operator, 3)
    assert acts(world) == []
    (first,) = world.store.rollbacks.values()
    assert first.status.outcome is Outcome.ABANDONED

    world.stopped = ""
    await world.run(operator, lambda: len(world.store.rollbacks) == 2 and world.is_over())
    assert world.journal.count("undo") == 1


async def test_an_undo_that_was_about_to_be_sent_is_not_sent() -> None:
    world = World(stopped=SAID)
    world.store.hold(begun())
    operator = world.operator()

    await passes(world, operator, 5)
    assert acts(world) == []
    assert world.rollback.status.outcome is None

    world.stopped = ""
    await world.run(operator, world.is_over)
    assert world.journal.count("undo") == 1


async def test_what_is_done_is_seen_to_its_end_and_the_strategy_put_back() -> None:
    world = World()
    operator = world.operator()
    await world.run(operator, lambda: "undo" in world.journal)

    world.stopped = SAID
    await world.run(operator, world.is_over, most=400)

    # Metrics are not read: that it has helped is seen by nobody.
    assert world.rollback.status.outcome is Outcome.UNKNOWN
    assert acts(world) == ["undo"]
    assert world.journal.count("set_strategy") == 1


async def test_what_a_person_asks_for_is_refused_with_the_word() -> None:
    world = World(stopped=SAID)
    world.store.hold(make_request())
    operator = world.operator()

    await passes(world, operator, 2)

    (answer,) = world.store.requests.values()
    assert isinstance(answer, RollbackRequest)
    assert answer.status.outcome is Outcome.REFUSED
    done = find(answer.status.conditions, ConditionType.COMPLETE)
    assert done is not None
    assert (done.reason, done.message) == (Reason.EVERYTHING_SUSPENDED, SAID)
    assert acts(world) == []
