"""A Rollback that is deleted while an autoscaler's bounds are raised: put back first, and told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    BOUNDS_FINALIZER,
    ObjectMeta,
    Outcome,
    RollbackPolicy,
    RollbackPolicyStatus,
)
from rollback_operator.model.workload import Bounds
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.cache import Unreadable
from rollback_operator.remedies import autoscaling
from tests.builders import (
    NAME,
    NAMESPACE,
    at,
    make_autoscaler,
    make_ended,
    make_policy,
    make_workload,
)
from tests.fakes.failures import OUTAGE, REFUSAL, Crash
from tests.unit.test_scaling import BEFORE, LEFT, RAISED, World, bounds_set, raised, scaling, why
from tests.world import KEY, watched
from tests.world import World as Whole


def said_last(world: World) -> str:
    return world.store.notices[-1].message


async def deleted(outcome: Outcome = Outcome.UNKNOWN) -> World:
    """A person deletes the Rollback while its bounds are raised."""
    world = await raised(outcome)
    world.is_deleted()
    return world


async def test_deleted_it_stays_until_its_bounds_are_put_back_and_that_is_told() -> None:
    world = await deleted()
    assert world.stored.metadata.finalizers == [BOUNDS_FINALIZER]
    assert autoscaling.is_open(world.stored)
    reason, said = why(world.stored, ConditionType.BOUNDS_RAISED)
    assert (reason, "2 to 4 replicas" in said) == (Reason.RAISED_FOR_ROLLBACK, True)

    assert await world.settle() is None

    assert world.bounds == BEFORE
    assert world.store.told()[-1] == "BoundsRestored"
    assert "ticket-service-0123456789, which raised them, is deleted" in said_last(world)
    assert world.store.rollbacks == {}


async def test_deleted_between_two_looks_it_does_not_wait_for_the_next() -> None:
    world = await raised()
    assert await world.settle()

    world.is_deleted()
    assert await world.settle() is None

    assert world.bounds == BEFORE


async def test_deleted_it_leaves_bounds_alone_that_somebody_has_set_since() -> None:
    world = await deleted()
    world.is_set(Bounds(6, 12))

    assert await world.settle() is None

    assert world.bounds == Bounds(6, 12)
    assert world.store.told()[-1] == "BoundsLeft"
    assert world.store.rollbacks == {}


async def test_once_they_are_put_back_nothing_keeps_it_from_being_deleted() -> None:
    world = await raised()
    world.is_asked()

    assert await world.settle() is None

    assert world.stored.metadata.finalizers == []


async def test_deleted_while_it_goes_on_it_goes_on_and_puts_back_after_its_end() -> None:
    world = World(is_followed=False)
    await world.carry_on()
    world.is_deleted()
    assert await world.settle() is None
    assert world.bounds == RAISED

    world.is_followed = True
    assert (await world.last()).status.outcome is not None
    assert await world.settle() is None

    assert world.bounds == BEFORE
    assert world.store.rollbacks == {}


async def test_deleted_before_they_are_raised_they_are_left_as_they_are() -> None:
    world = World()
    world.is_deleted()

    done = await world.last()

    assert (done.status.outcome, why(done)[0]) == (Outcome.ABANDONED, Reason.ROLLBACK_DELETED)
    assert bounds_set(world.journal) == 0
    assert world.store.rollbacks == {}


@pytest.mark.parametrize("failure", [OUTAGE, REFUSAL], ids=["outage", "no right"])
async def test_deleted_it_stays_on_record_as_long_as_they_cannot_be_put_back(
    failure: Failure,
) -> None:
    world = await deleted()
    world.autoscalers.fail_next("set_bounds", failure)

    wait = await world.settle()
    assert wait
    assert world.stored.metadata.finalizers == [BOUNDS_FINALIZER]

    world.seconds += wait
    assert await world.settle() is None
    assert world.store.rollbacks == {}


async def test_a_crash_while_a_deleted_one_puts_them_back_leaves_nothing_undone() -> None:
    rehearsal = await deleted()
    await rehearsal.settle()
    assert len(rehearsal.journal) > 3
    for crash_at in range(len(rehearsal.journal)):
        world = await deleted()
        world.journal.crash_at = crash_at
        try:
            await world.settle()
        except Crash:
            assert list(world.store.rollbacks) != []  # the record is there for who follows
            world.executor = world.operator()
            assert await world.settle() is None
        assert world.bounds == BEFORE, crash_at
        assert bounds_set(world.journal) == 1, crash_at
        assert "BoundsRestored" in world.store.told(), crash_at
        assert world.store.rollbacks == {}, crash_at


# -- by a whole operator ---------------------------------------------------------------------------


async def unreadable(whole: Whole) -> None:
    operator = whole.operator()
    metadata = ObjectMeta(name=NAME, namespace=NAMESPACE, resource_version="1", generation=2)
    operator.cache.policies[KEY] = Unreadable(metadata, "spec.mode: wrong", RollbackPolicyStatus())
    await operator.reconcile(KEY)


async def readable(whole: Whole) -> None:
    await whole.operator().reconcile(KEY)


@pytest.mark.parametrize(
    ("policy", "make_pass"),
    [
        pytest.param(watched(make_policy()), readable, id="watching"),
        pytest.param(watched(make_policy(suspend=True)), readable, id="suspended"),
        pytest.param(watched(make_policy()), unreadable, id="unreadable"),
        pytest.param(None, readable, id="without its policy"),
    ],
)
async def test_whatever_becomes_of_the_policy_a_deleted_rollback_does_not_hang(
    policy: RollbackPolicy | None, make_pass: Callable[[Whole], Awaitable[None]]
) -> None:
    whole = Whole(policy=policy)
    raised = make_autoscaler(6, 6, is_ours=True, set_by="rollback-operator")
    whole.workloads.workload = make_workload("v1", older=(), autoscaler=raised)
    status = make_ended(Outcome.UNKNOWN).model_copy(update={"autoscaler": LEFT})
    changes = {"finalizers": [BOUNDS_FINALIZER], "deletion_timestamp": at(5)}
    metadata = scaling().metadata.model_copy(update=changes)
    whole.store.hold(scaling().model_copy(update={"status": status, "metadata": metadata}))

    await make_pass(whole)

    found = whole.workloads.workload.autoscaler
    assert found is not None
    assert found.bounds == BEFORE
    assert whole.store.rollbacks == {}
