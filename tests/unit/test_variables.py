"""A flag that is a variable of the pod template: set once, judged, and the ladder goes on."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import ConfigMapRef, EnvFlag, Flag, FlagTaking
from rollback_operator.api.v1alpha1 import Outcome, Remedy, RemedyType, StepName
from rollback_operator.model.conditions import find
from rollback_operator.model.workload import FlagState
from tests.builders import FLAG, UNDO, make_policy, make_workload
from tests.fakes.failures import Crash
from tests.world import KEY, World, watched

VARIABLE = Remedy(
    type=RemedyType.DISABLE_FLAG,
    flag=Flag(name=FLAG, value="false", env=EnvFlag(container="ticket-service")),
)
SET = "release-v2-set"
"""The template of v2 with the variable set, as the fake sets it."""


def flagged(bad: frozenset[str] = frozenset({"v2"}), remedies=(VARIABLE, UNDO)) -> World:
    world = World(policy=watched(make_policy(remedies=list(remedies))), bad=bad)
    world.flags.state = FlagState("deployment-uid", "true", bare=SET)
    return world


def names(world: World) -> list[list[StepName]]:
    return [[one.name for one in made.status.steps] for made in world.store.rollbacks.values()]


async def test_a_variable_that_cures_stays_and_nothing_is_undone() -> None:
    world = flagged()

    await world.run(world.operator(), world.is_all_done)

    assert names(world) == [[StepName.DISABLE_FLAG, StepName.ROLLOUT_COMPLETE, StepName.VERIFY]]
    plan = world.rollback.spec.flag
    assert (plan.taken_by, plan.old_value) == (FlagTaking.TEMPLATE, "true")
    assert (plan.config_map_uid, plan.unannotated_digest) == (None, SET)
    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.workloads.workload.deployment.template.bare == SET
    assert world.journal.count("apply_in_place") == 1
    assert "set_flag" not in world.journal
    assert world.condition(ConditionType.QUARANTINED)[0] == "False"


async def test_where_it_does_not_help_the_next_remedy_follows() -> None:
    world = flagged(bad=frozenset({"v2", "v2-set"}))
    operator = world.operator()

    def are_both_over() -> bool:
        made = world.store.rollbacks.values()
        if made and world.workloads.workload.deployment.template.bare == SET:
            world.flags.state = FlagState("deployment-uid", "false", bare=SET)
        return len(made) == 2 and world.is_over()

    await world.run(operator, are_both_over, 400)

    first, second = world.store.rollbacks.values()
    assert first.status.outcome is Outcome.NOT_RECOVERED
    assert second.spec.remedy.type is RemedyType.UNDO
    assert second.spec.to_revision.number == 1
    assert "already 'false'" in second.spec.trigger.message


@pytest.mark.parametrize(
    "obstacle", ["variable FEATURE has valueFrom: set the flag at its source", ""]
)
async def test_a_variable_that_cannot_be_set_is_passed_over(obstacle) -> None:
    world = flagged()
    world.flags.state = FlagState("deployment-uid", obstacle=obstacle)

    await world.run(world.operator(), world.is_all_done)

    assert world.rollback.spec.remedy.type is RemedyType.UNDO
    assert (obstacle or "has no key") in world.rollback.spec.trigger.message


async def test_an_operator_that_dies_at_any_call_sets_it_once() -> None:
    calm = flagged()
    await calm.run(calm.operator(), calm.is_all_done)
    for number in range(len(calm.journal)):
        world = flagged()
        world.journal.crash_at = number
        operator = world.operator()
        for _ in range(120):
            if world.is_all_done():
                break
            world.tell(operator)
            try:
                await operator.reconcile(KEY)
            except Crash:
                operator = world.operator()
            world.seconds += 2
        assert world.is_all_done(), number
        assert world.rollback.status.outcome is Outcome.VERIFIED, number
        assert world.journal.count("apply_in_place") == 1, number


async def test_another_template_meanwhile_is_kept() -> None:
    world = flagged()
    operator = world.operator()
    await world.run(operator, lambda: bool(world.store.rollbacks))
    workload = world.workloads.workload
    if workload.deployment.template.bare != SET:
        pytest.fail("the variable is set in the pass of the decision")
    world.workloads.workload = make_workload("v3", older=("v1", "v2"))

    await world.run(operator, world.is_over)

    made = next(iter(world.store.rollbacks.values()))
    done = find(made.status.conditions, ConditionType.COMPLETE)
    assert (made.status.outcome, done.reason) == (Outcome.ABANDONED, Reason.TARGET_MOVED)


@pytest.mark.parametrize(
    "places",
    [{}, {"env": EnvFlag(container="a"), "config_map_ref": ConfigMapRef(name="a")}],
)
def test_a_flag_has_one_place(places) -> None:
    with pytest.raises(ValidationError, match="set either configMapRef or env"):
        Flag(name="A", value="", **places)
