"""A flag in a ConfigMap that is part of the release: with its new value the release is another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rollback_operator.api.reasons import ConditionType
from rollback_operator.api.v1alpha1 import Health, Outcome, Remedy, RemedyType, Rollback, UndoTo
from rollback_operator.model.surroundings import Reference
from rollback_operator.model.workload import ConfigState
from tests.builders import (
    CONFIG_MAP,
    DISABLE,
    READ,
    UNDO,
    make_policy,
    make_replica_set,
    make_workload,
)
from tests.fakes.cluster import flag_state
from tests.fakes.configurations import config_state
from tests.world import KEY, World, watched

PREVIOUS = Remedy(type=RemedyType.UNDO, to=UndoTo.PREVIOUS)
CURES, HELPS_NOT = frozenset({"v2"}), frozenset({"v2", "v2-restarted"})


class Contents(dict[str, ConfigState]):
    """The ConfigMap as it is with the flag."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def get(self, key: str, default: object = None) -> ConfigState:  # type: ignore[override]
        state = self._world.flags.state
        assert state is not None
        return config_state(FLAG=str(state.value))


def flagged(bad: frozenset[str], undo: Remedy = UNDO) -> World:
    world = World(policy=watched(make_policy(remedies=[DISABLE, undo])), bad=bad)
    references = (Reference("ConfigMap", CONFIG_MAP, is_configuration=True),)
    current = make_replica_set("v2", reads=(READ,), references=references)
    sets = (current, *make_workload().replica_sets[1:])
    world.workloads.workload = make_workload(replica_sets=sets)
    world.configurations.states = Contents(world)
    return world


def made(world: World) -> list[Rollback]:
    return list(world.store.rollbacks.values())


def healths(world: World) -> Mapping[int, Health]:
    return {one.number: one.health for one in world.status.revisions}


async def test_what_a_flag_has_cured_is_recovered_and_stays() -> None:
    world = flagged(CURES)
    operator = world.operator()
    await world.run(operator, world.is_over)

    for _ in range(30):
        world.seconds += 5
        world.tell(operator)
        await operator.reconcile(KEY)

    assert [one.status.outcome for one in made(world)] == [Outcome.VERIFIED]
    assert world.condition(ConditionType.RECOVERED) == ("True", "Recovered")
    assert world.status.revision.release != made(world)[0].spec.from_revision.release
    assert healths(world)[3] is not Health.BAD


@pytest.mark.parametrize("undo", [UNDO, PREVIOUS], ids=["last known good", "previous"])
async def test_where_the_flag_does_not_help_the_undo_leaves_the_template(undo: Remedy) -> None:
    world = flagged(HELPS_NOT, undo)

    await world.run(world.operator(), lambda: len(made(world)) == 2 and world.is_over())

    flag, undone = made(world)
    assert flag.status.outcome is Outcome.NOT_RECOVERED
    assert undone.status.outcome is Outcome.VERIFIED
    assert world.workloads.workload.deployment.template.digest == "digest-v1"
    assert healths(world)[2] is Health.BAD
    assert healths(world)[3] is Health.BAD


async def test_a_flag_that_somebody_sets_back_is_not_set_again() -> None:
    world = flagged(HELPS_NOT)
    operator = world.operator()
    await world.run(operator, lambda: world.journal.count("restart") == 1)

    world.flags.state = replace(flag_state("true"), changed_by="kubectl-edit")
    await world.run(operator, lambda: len(made(world)) == 2 and world.is_over())

    assert world.journal.count("set_flag") == 1
    assert made(world)[1].spec.remedy.type is RemedyType.UNDO
