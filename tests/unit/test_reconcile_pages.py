"""Passes of a policy whose pods can be read between scrapes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.model.pod import MetricsPage
from tests.builders import T0, make_counters, make_request, make_series
from tests.world import KEY, World


def reachable(world: World) -> World:
    """A world whose pods can be read, and in which no scrape comes any more."""
    workload = world.workloads.workload
    pods = tuple(
        replace(pod, address="10.244.0.7", page=MetricsPage(port=9102)) for pod in workload.pods
    )
    world.workloads.workload = replace(workload, pods=pods)
    return world


def expose(world: World, failing: bool) -> None:
    """Each new pod has served twenty requests a second since it was ready."""
    served = [
        make_series(
            [(world.seconds, 20 * (world.seconds - 2))], pod=pod.name, instance=f"{pod.name}:9102"
        )
        for pod in world.workloads.workload.pods
    ]
    none = [replace(one, samples=((one.samples[0][0], 0.0),)) for one in served]
    world.pods.reading = make_counters(served, served if failing else none)
    world.metrics.reading = make_counters([make_series([(-60, 1), (-55, 2)], pod="another")])
    world.metrics.clock = T0 + world.seconds


async def test_a_bad_release_is_taken_back_before_its_first_scrape() -> None:
    world = reachable(World(seconds=3))
    operator = world.operator()
    for _ in range(3):
        expose(world, failing=True)
        await operator.reconcile(KEY)
        if world.store.rollbacks:
            break
        world.seconds += 0.5

    assert world.rollback.spec.severity == "P1"
    assert "undo" in world.journal
    assert operator.watches[KEY].evidence.scraped == {}


async def test_between_two_reads_of_the_pods_nobody_else_is_asked() -> None:
    world = reachable(World(seconds=3))
    operator = world.operator()
    expose(world, failing=False)
    assert await operator.reconcile(KEY) == pytest.approx(0.5)
    asked = len(world.metrics.queries)

    world.seconds += 0.5
    expose(world, failing=False)
    operator.cache.deployments[KEY] = world.workloads.workload.deployment
    world.journal.clear()
    await operator.reconcile(KEY)

    assert len(world.pods.queries) == 2
    assert "inspect" not in world.journal
    assert len(world.metrics.queries) == asked
    assert world.condition(ConditionType.POD_METRICS_AVAILABLE) == ("True", Reason.PODS_READ)

    world.seconds += 0.6
    await operator.reconcile(KEY)
    assert world.journal.count("inspect") == 1


async def test_a_change_of_the_deployment_is_looked_at_at_once() -> None:
    world = reachable(World(seconds=3))
    operator = world.operator()
    expose(world, failing=False)
    await operator.reconcile(KEY)
    deployment = world.workloads.workload.deployment

    world.seconds += 0.2
    operator.cache.deployments[KEY] = replace(deployment, available=3)
    world.journal.clear()
    await operator.reconcile(KEY)

    assert world.journal.count("inspect") == 1


async def test_whether_a_rollback_has_helped_is_for_scrapes_to_show() -> None:
    world = reachable(World(seconds=3))
    operator = world.operator()
    for _ in range(3):
        expose(world, failing=True)
        await operator.reconcile(KEY)
        if world.store.rollbacks:
            break
        world.seconds += 0.5
    asked = len(world.pods.queries)

    world.seconds += 5
    await operator.reconcile(KEY)

    assert world.rollback.status.outcome is None
    assert len(world.pods.queries) == asked


async def test_what_was_just_undone_is_not_looked_at_as_it_was_read_before() -> None:
    world = reachable(World(seconds=3))
    operator = world.operator()
    expose(world, failing=False)
    await operator.reconcile(KEY)
    asked = make_request()
    world.store.hold(asked)
    operator.cache.remember(asked)

    # All within a second, and before a watch has told anything.
    for _ in range(6):
        await operator.reconcile(KEY)
        world.seconds += 0.05

    assert "undo" in world.journal
    assert world.rollback.status.outcome is None
