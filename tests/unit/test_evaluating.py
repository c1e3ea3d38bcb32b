"""Whole passes for a policy that somebody watches: what is written, how often, and when no more."""

from __future__ import annotations

from rollback_operator.api.policy_status import WATCHED_UNTIL
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.reconcile.reconciler import Reconciler
from tests.builders import NAME, at, make_policy
from tests.world import KEY, World, watched

EVERY_SECONDS = 0.5


def asking(seconds: float) -> RollbackPolicy:
    """A policy whose counts are asked for until so many seconds after T0."""
    policy = watched(make_policy())
    annotations = {WATCHED_UNTIL: f"{at(seconds):%Y-%m-%dT%H:%M:%SZ}"}
    metadata = policy.metadata.model_copy(update={"annotations": annotations})
    return policy.model_copy(update={"metadata": metadata})


def healthy(policy: RollbackPolicy | None = None) -> World:
    """A release that does well."""
    return World(policy or watched(make_policy()), bad=frozenset())


def writes(world: World) -> int:
    return world.journal.count("write_policy")


async def passes(world: World, seconds: float, operator: Reconciler | None = None) -> None:
    """Make passes, two a second, of an operator that runs already or of a new one."""
    operator = operator or world.operator()
    until = world.seconds + seconds
    while world.seconds < until:
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += EVERY_SECONDS


async def test_counts_are_on_record_while_somebody_watches() -> None:
    world = healthy(asking(60))

    await passes(world, 10)

    found = world.status.evaluation
    assert found is not None
    assert found.reason == Reason.NO_EVIDENCE_AGAINST
    assert (found.new.pods, found.new.errors, found.revision) == (4, 0, 2)
    assert found.new.requests > 0
    assert (world.seconds - (found.time.timestamp() - at().timestamp())) <= 2 + EVERY_SECONDS


async def test_they_are_written_every_other_second_at_most() -> None:
    quiet = healthy()
    await passes(quiet, 20)
    world = healthy(asking(80))
    await passes(world, 20)

    assert 8 <= writes(world) - writes(quiet) <= 11


async def test_without_the_annotation_nothing_is_written_for_counts() -> None:
    world = healthy()
    operator = world.operator()
    await passes(world, 6, operator)
    settled = writes(world)

    await passes(world, 20, operator)

    assert world.status.evaluation is None
    assert writes(world) == settled


async def test_the_end_of_the_watch_is_one_write() -> None:
    world = healthy(asking(30))
    operator = world.operator()
    await passes(world, 9, operator)
    assert world.status.evaluation is not None
    world.seconds, before = 30.0, writes(world)

    await passes(world, 20, operator)

    assert world.status.evaluation is None
    assert writes(world) == before + 1


async def test_counts_of_a_bad_release_are_of_the_look_that_decided() -> None:
    world = World(asking(60))

    await world.operator().reconcile(KEY)

    found = world.status.evaluation
    assert found is not None
    assert found.reason == Reason.ERROR_RATE_ABOVE_CONTROL
    assert found.new.errors == found.new.requests > 0
    assert float(found.odds) >= found.bad_odds


async def test_a_policy_at_rest_keeps_no_counts() -> None:
    world = healthy(asking(60))
    await passes(world, 4)
    assert world.status.evaluation is not None
    policy = world.store.policies[NAME]
    spec = policy.spec.model_copy(update={"suspend": True})
    world.store.hold(policy.model_copy(update={"spec": spec}))

    await passes(world, 4)

    assert world.status.evaluation is None
