"""A policy or a Rollback that is deleted while an owner is suspended: released, or told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    OWNER_FINALIZER,
    ObjectMeta,
    PrometheusSpec,
    RollbackPolicy,
    RollbackPolicyStatus,
)
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.act.reversible import OWNER_POLL_SECONDS
from rollback_operator.reconcile.cache import Unreadable
from rollback_operator.remedies import suspension
from tests.builders import NAME, NAMESPACE, make_policy, make_template
from tests.fakes.cluster import UNTOUCHED
from tests.fakes.failures import OUTAGE, REFUSAL, Crash
from tests.unit.test_suspending import World, suspending
from tests.world import KEY, watched
from tests.world import World as Whole

ELSEWHERE = PrometheusSpec(url="http://elsewhere.example.com:9090")


def delete(world: World) -> None:
    """A person deletes the Rollback: it is gone as soon as no finalizer holds it."""
    stored = world.stored
    changes = {"deletion_timestamp": world.now()}
    metadata = stored.metadata.model_copy(update=changes)
    world.store.hold(stored.model_copy(update={"metadata": metadata}))


async def deleted() -> World:
    world = World()
    await world.last()
    await world.settle()
    delete(world)
    return world


def wants_what_runs(world: World) -> None:
    moment = (world.now() + timedelta(minutes=1)).timestamp()
    world.owners.state = replace(world.owners.state, in_sync_at=moment)


def told_last(world: World) -> tuple[str, str]:
    return world.store.told()[-1], world.store.notices[-1].message


async def test_a_record_is_guarded_before_the_owner_is_suspended() -> None:
    world = World()

    await world.last()

    assert world.journal.index("guard_owner") < world.journal.index("suspend_owner")
    assert OWNER_FINALIZER in world.stored.metadata.finalizers
    await world.is_released()
    assert world.stored.metadata.finalizers == []


async def test_an_owner_that_somebody_has_suspended_guards_nothing() -> None:
    world = World()
    world.owners.state = replace(UNTOUCHED, is_suspended=True, automated="")

    await world.last()

    assert "guard_owner" not in world.journal


async def test_deleted_it_says_that_the_owner_stays_suspended_and_goes() -> None:
    world = await deleted()

    assert await world.settle() is None

    reason, said = told_last(world)
    assert reason == "OwnerLeftSuspended"
    assert "stays suspended after production/ticket-service-0123456789 is deleted" in said
    assert "kubectl patch applications.argoproj.io shop -n argocd" in said
    assert world.owners.state.is_suspended
    assert world.store.rollbacks == {}


async def test_deleted_when_git_is_in_order_it_releases_the_owner_first() -> None:
    world = await deleted()
    wants_what_runs(world)

    assert await world.settle() is None

    assert told_last(world)[0] == "OwnerReleased"
    assert world.owners.state.automated == UNTOUCHED.automated
    assert not world.owners.state.is_suspended
    assert world.store.rollbacks == {}


async def test_deleted_between_two_looks_it_does_not_wait_for_the_next() -> None:
    world = World()
    await world.last()
    assert await world.settle() == OWNER_POLL_SECONDS

    delete(world)

    assert await world.settle() is None
    assert world.store.rollbacks == {}


async def test_without_its_deployment_nobody_is_released() -> None:
    world = await deleted()
    wants_what_runs(world)

    assert await world.executor.actor.suspender.settle([world.stored], None) is None

    assert world.owners.state.is_suspended
    assert told_last(world)[0] == "OwnerLeftSuspended"


@pytest.mark.parametrize(
    ("failure", "is_kept"), [(OUTAGE, True), (REFUSAL, False)], ids=["outage", "no right"]
)
async def test_a_deletion_waits_for_an_answer_and_for_no_right(
    failure: Failure, is_kept: bool
) -> None:
    world = await deleted()
    world.owners.fail_next("look_at_owner", failure)

    wait = await world.settle()

    assert (wait is not None) is is_kept
    assert bool(world.store.rollbacks) is is_kept
    if wait is not None:
        world.seconds += wait
        assert await world.settle() is None
        assert world.store.rollbacks == {}


async def test_deleted_while_it_goes_on_it_goes_on_first() -> None:
    world = World()
    await world.carry_on()
    delete(world)
    assert await world.settle() is None
    assert list(world.store.rollbacks) != []

    await world.last()
    assert FINALIZER not in world.stored.metadata.finalizers
    assert await world.settle() is None

    assert told_last(world)[0] == "OwnerLeftSuspended"
    assert world.store.rollbacks == {}


@pytest.mark.parametrize("is_in_order", [False, True])
async def test_a_crash_while_a_deleted_one_is_settled_leaves_nothing_unsaid(
    is_in_order: bool,
) -> None:
    rehearsal = await deleted()
    begin, points = len(rehearsal.journal), 0
    for point in range(begin, begin + 30):
        world = await deleted()
        if is_in_order:
            wants_what_runs(world)
        world.journal.crash_at = point
        try:
            await world.settle()
        except Crash:
            points += 1
            assert list(world.store.rollbacks) != []  # the record is there for who follows
            world.executor = world.operator()
            for _ in range(4):
                if await world.settle() is None:
                    break
        expected = "OwnerReleased" if is_in_order else "OwnerLeftSuspended"
        assert expected in world.store.told(), point
        assert world.owners.state.is_suspended is not is_in_order, point
        assert world.store.rollbacks == {}, point
        if world.journal.crash_at is not None:
            break
    assert points > 1


# -- by a whole operator ---------------------------------------------------------------------------


async def suspended(policy: RollbackPolicy | None) -> Whole:
    """An ended rollback has the owner suspended; Git contains the restored state by now."""
    past = World()
    await past.last()
    wants_what_runs(past)
    whole = Whole(policy=policy)
    whole.owners.state = past.owners.state
    whole.workloads.workload = past.workloads.workload
    whole.store.hold(past.stored)
    return whole


@pytest.mark.parametrize(
    ("policy", "is_released"),
    [
        pytest.param(watched(make_policy()), True, id="watching"),
        pytest.param(None, True, id="deleted"),
        pytest.param(watched(make_policy(prometheus=ELSEWHERE)), True, id="cannot be used"),
        pytest.param(watched(make_policy(suspend=True)), False, id="suspended"),
    ],
)
async def test_an_owner_is_released_whatever_has_become_of_the_policy(
    policy: RollbackPolicy | None, is_released: bool
) -> None:
    whole = await suspended(policy)

    await whole.operator().reconcile(KEY)

    assert whole.owners.state.is_suspended is not is_released
    assert suspension.is_open(whole.rollback) is not is_released
    assert (OWNER_FINALIZER in whole.rollback.metadata.finalizers) is not is_released


async def test_an_owner_is_released_while_the_policy_cannot_be_read() -> None:
    whole = await suspended(watched(make_policy()))
    operator = whole.operator()
    metadata = ObjectMeta(name=NAME, namespace=NAMESPACE, resource_version="1", generation=2)
    operator.cache.policies[KEY] = Unreadable(metadata, "spec.mode: wrong", RollbackPolicyStatus())

    await operator.reconcile(KEY)

    assert not whole.owners.state.is_suspended
    assert whole.rollback.metadata.finalizers == []


async def test_without_its_policy_the_bad_release_is_not_let_back() -> None:
    whole = await suspended(None)
    bad = suspending().spec.from_revision
    workload = whole.workloads.workload
    template = replace(make_template("v2"), release=bad.release)
    running: Deployment = replace(workload.deployment, template=template)
    whole.workloads.workload = replace(workload, deployment=running)

    wait = await whole.operator().reconcile(KEY)

    assert wait is not None
    assert whole.owners.state.is_suspended
