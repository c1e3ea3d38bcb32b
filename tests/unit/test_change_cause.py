"""A change-cause stays on the Deployment for as long as its Rollback goes on, and no longer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.adapters.kube.projections.deployments import deployment_of
from rollback_operator.api.v1alpha1 import Outcome
from rollback_operator.ports.failure import RETRY_SECONDS
from rollback_operator.reconcile.reconciler import Reconciler
from rollback_operator.remedies.change_cause import Overdue
from tests.builders import make_deployment, make_ended, make_replica_set, make_rollback
from tests.fakes.failures import CONFLICT, OUTAGE, REFUSAL
from tests.unit.test_ends import begun
from tests.world import KEY, World

SAID = "rollback-operator: undo of revision 2 to revision 1 (P1), Rollback "


def cause(world: World) -> str:
    return world.workloads.workload.deployment.change_cause


async def undone(world: World) -> Reconciler:
    operator = world.operator()
    await world.run(operator, lambda: "undo" in world.journal)
    return operator


async def test_it_is_there_until_the_rollback_is_over() -> None:
    world = World()
    operator = await undone(world)
    said = cause(world)
    assert said == f"{SAID}{world.rollback.metadata.name}"

    await world.run(operator, world.is_over)
    assert cause(world) == said

    await world.run(operator, lambda: not cause(world))
    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.workloads.dropped == [Overdue(is_inherited=False)]


async def test_a_crash_before_it_is_taken_off_leaves_it_for_the_next_operator() -> None:
    world = World()
    operator = await undone(world)
    await world.run(operator, world.is_over)

    await world.run(world.operator(), lambda: not cause(world))


async def test_a_release_that_follows_while_it_goes_on_is_freed_of_it() -> None:
    world = World()
    operator = await undone(world)
    workload = world.workloads.workload
    sets = (make_replica_set("v3"), *workload.replica_sets)
    deployment = make_deployment("v3", change_cause=cause(world))
    world.workloads.workload = replace(workload, deployment=deployment, replica_sets=sets, pods=())

    await world.run(operator, lambda: not cause(world))

    assert world.rollback.status.outcome is Outcome.ABANDONED
    assert world.workloads.dropped == [Overdue(is_inherited=True)]


async def test_it_is_taken_off_though_the_policy_is_deleted() -> None:
    world = World(policy=None)
    world.store.hold(begun())
    operator = world.operator()
    await world.run(operator, lambda: "undo" in world.journal, most=400)

    assert cause(world)

    await world.run(operator, world.is_over, most=400)

    assert not cause(world), "no event of a policy leads to another pass"


async def test_one_that_kubectl_has_put_back_later_is_taken_off_again() -> None:
    """`kubectl rollout undo` puts the ReplicaSet's annotations on the Deployment."""
    world = World()
    ended = make_rollback(status=make_ended())
    world.store.hold(ended)
    deployment = make_deployment("v1", change_cause=f"{SAID}{ended.metadata.name}")
    workload = world.workloads.workload
    world.workloads.workload = replace(workload, deployment=deployment)

    await world.run(world.operator(), lambda: not cause(world))

    assert world.workloads.dropped == [Overdue(is_inherited=False)]


@pytest.mark.parametrize("refused", [CONFLICT, REFUSAL])
async def test_what_is_refused_is_not_tried_until_a_watch_tells_of_it(refused: object) -> None:
    world = World()
    operator = await undone(world)
    await world.run(operator, world.is_over)
    world.workloads.fail_next("drop_cause", refused)

    world.tell(operator)
    await operator.reconcile(KEY)
    await operator.reconcile(KEY)

    assert world.journal.count("drop_cause") == 1


async def test_an_outage_is_waited_out() -> None:
    world = World()
    operator = await undone(world)
    await world.run(operator, world.is_over)
    world.workloads.fail_next("drop_cause", OUTAGE)

    world.tell(operator)
    wait = await operator.reconcile(KEY)

    assert wait is not None
    assert wait <= RETRY_SECONDS
    await world.run(operator, lambda: not cause(world))


def test_only_one_of_ours_is_known() -> None:
    def known(said: str | None) -> str:
        annotations = {} if said is None else {"kubernetes.io/change-cause": said}
        metadata = {"namespace": "production", "name": "shop", "uid": "a"}
        return deployment_of({"metadata": {**metadata, "annotations": annotations}}).change_cause

    assert known(f"{SAID}x") == f"{SAID}x"
    assert known(None) == known("") == known("v1.3.0") == ""
