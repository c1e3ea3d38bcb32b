"""Whole passes on a Deployment that a rollout tool drives, or an image updater pushes to."""

from __future__ import annotations

from rollback_operator.api.checklist import CheckName, CheckResult
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import GitOps
from rollback_operator.api.v1alpha1 import Outcome, SafetySpec, VerdictValue
from rollback_operator.model.conditions import find
from rollback_operator.model.controllers import Claims, Owner, Updater
from tests.builders import make_policy
from tests.world import World, watched

FLAGGER = Owner("Flagger", "Canary shop", "roll back at the source", is_rollout_tool=True)
KEEL = Updater("Keel", "annotation keel.sh/policy=minor", "set keel.sh/policy to never")


async def test_what_a_canary_drives_is_judged_and_told_and_left_alone() -> None:
    world = World(watched(make_policy(safety=SafetySpec(git_ops=GitOps.PROCEED))))
    world.tools.claims = Claims(driver=FLAGGER)
    operator = world.operator()

    await world.run(operator, lambda: world.status.verdict is VerdictValue.BAD)

    assert world.condition(ConditionType.READY) == ("False", Reason.ROLLOUT_OWNER)
    assert world.condition(ConditionType.HEALTHY)[1] == Reason.ROLLOUT_OWNER
    assert world.store.rollbacks == {}
    assert {"pause", "undo"}.isdisjoint(world.journal)


async def test_a_canary_that_comes_between_decision_and_act_blocks() -> None:
    world = World()
    operator = world.operator()
    await operator.inspector.lookout.claimed(world.workloads.workload.deployment)
    # The lookout still knows what it has seen; the checklist looks anew.
    world.tools.claims = Claims(driver=FLAGGER)

    await world.run(operator, world.is_over)

    assert world.rollback.status.outcome is Outcome.BLOCKED
    assert "undo" not in world.journal


async def test_an_image_updater_is_told_and_stands_against_nothing() -> None:
    world = World()
    world.tools.claims = Claims(updaters=(KEEL,))
    operator = world.operator()

    await world.run(operator, world.is_all_done)

    assert world.rollback.status.outcome is Outcome.VERIFIED
    ready = find(world.status.conditions, ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", Reason.IMAGE_UPDATER)
    assert [one.tool for one in world.rollback.spec.updaters] == ["Keel"]
    (item,) = (
        one for one in world.rollback.status.checklist if one.name is CheckName.NOBODY_ELSE_STEERS
    )
    assert item.result is CheckResult.WARNED
    assert "Prevent Keel from deploying the image again" in world.rollback.status.message
