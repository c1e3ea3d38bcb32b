"""A flag is set in place of an undo: once, guarded, told; the next remedy where it is no cure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import FlagTaking
from rollback_operator.api.v1alpha1 import Health, Mode, Outcome, RemedyType, Rollback, StepName
from rollback_operator.model.conditions import find
from rollback_operator.report.incident import of_rollback
from rollback_operator.report.transitions import transitions
from tests.builders import (
    CONFIG_MAP,
    DISABLE,
    FLAG,
    MOUNTED,
    READ,
    UNDO,
    at,
    make_flag_plan,
    make_policy,
    make_replica_set,
    make_workload,
)
from tests.fakes.cluster import flag_state
from tests.fakes.failures import CONFLICT, GONE, OUTAGE, REFUSAL, Crash
from tests.world import KEY, World, watched

MODES = {"mode": Mode.OBSERVE}
CURES, HELPS_NOT = frozenset({"v2"}), frozenset({"v2", "v2-restarted"})


def flagged(bad: frozenset[str] = CURES, remedies=(DISABLE, UNDO), reads=(READ,), **spec) -> World:
    """A bad v2 whose pods read the flag."""
    world = World(policy=watched(make_policy(remedies=list(remedies), **spec)), bad=bad)
    current = make_replica_set("v2", reads=tuple(reads))
    sets = (current, *make_workload().replica_sets[1:])
    world.workloads.workload = make_workload(replica_sets=sets)
    return world


def made(world: World) -> list[Rollback]:
    return list(world.store.rollbacks.values())


def why(rollback: Rollback) -> str:
    found = find(rollback.status.conditions, ConditionType.COMPLETE)
    assert found is not None
    return found.reason


async def until_two_are_over(world: World) -> list[Rollback]:
    await world.run(world.operator(), lambda: len(made(world)) == 2 and world.is_over())
    return made(world)


async def test_the_intent_with_the_old_value_is_stored_before_the_flag_is_set() -> None:
    world = flagged()

    await world.operator().reconcile(KEY)

    calls = [one for one in world.journal if one not in ("inspect", "post")]
    assert calls[:7] == [
        "list_rollbacks",
        "create_rollback",
        "write_rollback",  # the flag's step begins
        "set_flag",
        "write_rollback",
        "write_rollback",  # the restart begins
        "restart",
    ]
    assert world.rollback.spec.flag == make_flag_plan()


async def test_a_flag_cures_the_release_and_it_stays() -> None:
    world = flagged()

    await world.run(world.operator(), world.is_over)

    done = world.rollback
    assert (done.status.outcome, why(done)) == (Outcome.VERIFIED, Reason.RECOVERED)
    assert [one.name for one in done.status.steps] == [
        StepName.DISABLE_FLAG,
        StepName.RESTART_PODS,
        StepName.ROLLOUT_COMPLETE,
        StepName.VERIFY,
    ]
    assert world.flags.state == flag_state("false", changed_by="rollback-operator")
    assert world.workloads.workload.deployment.template.release == "release-v2"
    assert (world.journal.count("set_flag"), world.journal.count("restart")) == (1, 1)
    assert "undo" not in world.journal


async def test_what_a_flag_has_cured_is_judged_on_and_not_taken_back() -> None:
    world = flagged()
    operator = world.operator()
    await world.run(operator, world.is_over)

    for _ in range(30):
        world.seconds += 5
        world.tell(operator)
        await operator.reconcile(KEY)

    assert len(made(world)) == 1
    assert world.condition(ConditionType.RECOVERED) == ("True", "Recovered")
    assert world.condition(ConditionType.QUARANTINED)[0] == "False"
    assert {one.release: one.health for one in world.status.revisions}["release-v2"] is not (
        Health.BAD
    )


async def test_where_the_flag_does_not_help_the_release_is_undone() -> None:
    world = flagged(HELPS_NOT)

    flag, undo = await until_two_are_over(world)

    assert (flag.status.outcome, why(flag)) == (Outcome.NOT_RECOVERED, Reason.STILL_FAILING)
    assert undo.spec.remedy.type is RemedyType.UNDO
    assert undo.status.outcome is Outcome.VERIFIED
    assert f"{FLAG}=false in ConfigMap {CONFIG_MAP}: it is already 'false'" in (
        undo.spec.trigger.message
    )
    assert world.workloads.workload.deployment.template.digest == "digest-v1"
    assert world.flags.state is not None
    assert world.flags.state.value == "false"  # nobody sets it back


async def test_without_a_remedy_after_it_people_are_told() -> None:
    world = flagged(HELPS_NOT, remedies=[DISABLE])
    operator = world.operator()

    await world.run(operator, lambda: "RollbackRefused" in world.store.told())

    assert [one.status.outcome for one in made(world)] == [Outcome.NOT_RECOVERED]
    assert world.condition(ConditionType.HEALTHY) == ("False", "NoRemedyLeft")


@pytest.mark.parametrize(
    "state",
    [None, flag_state(None), flag_state("false"), flag_state(is_immutable=True)],
    ids=["no ConfigMap", "no key", "off already", "immutable"],
)
async def test_a_flag_that_cannot_be_the_cure_is_passed_over(state) -> None:
    world = flagged()
    world.flags.state = state

    await world.run(world.operator(), world.is_over)

    assert world.rollback.spec.remedy == UNDO
    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert "set_flag" not in world.journal


async def test_who_changes_the_flag_between_plan_and_act_keeps_what_they_set() -> None:
    world = flagged()
    world.flags.overtaken = flag_state("maybe")

    flag, undo = await until_two_are_over(world)

    assert (flag.status.outcome, why(flag)) == (Outcome.ABANDONED, Reason.FLAG_CHANGED)
    assert world.flags.state is not None
    assert world.flags.state.value == "maybe"
    assert "restart" not in world.journal
    assert undo.spec.remedy == UNDO


async def test_a_flag_that_is_refused_is_told_and_the_next_remedy_is_taken_at_once() -> None:
    world = flagged()
    world.flags.fail_next("set_flag", REFUSAL)

    flag, undo = await until_two_are_over(world)

    assert (flag.status.outcome, why(flag)) == (Outcome.FAILED, Reason.STEP_REFUSED)
    assert undo.spec.remedy == UNDO
    assert "tried it on this release (Failed)" in undo.spec.trigger.message


async def test_a_flag_that_somebody_sets_back_is_not_set_again() -> None:
    world = flagged(remedies=[DISABLE])
    operator = world.operator()
    await operator.reconcile(KEY)
    world.flags.state = flag_state("true", changed_by="argocd-controller")

    await world.run(operator, world.is_over)

    assert (world.rollback.status.outcome, why(world.rollback)) == (
        Outcome.FAILED,
        Reason.FLAG_REVERTED,
    )
    assert world.journal.count("set_flag") == 1


async def test_pods_that_read_the_flag_as_a_file_are_left_running() -> None:
    world = flagged(reads=[MOUNTED])
    operator = world.operator()
    await operator.reconcile(KEY)
    assert world.rollback.spec.flag == make_flag_plan(taken_by=FlagTaking.MOUNT)
    renewed = world.seconds

    await world.run(operator, lambda: world.seconds >= renewed + 90)
    world.bad = frozenset()  # the kubelet has renewed the file
    assert not world.is_over()
    await world.run(operator, world.is_over, most=200)

    assert "restart" not in world.journal
    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.rollback.status.steps[-1].name is StepName.VERIFY


async def test_mode_observe_records_it_once_and_touches_nothing() -> None:
    world = flagged(HELPS_NOT, **MODES)
    operator = world.operator()

    await world.run(operator, world.is_over)
    for _ in range(5):
        world.seconds += 5
        world.tell(operator)
        await operator.reconcile(KEY)

    assert [one.status.outcome for one in made(world)] == [Outcome.OBSERVED]
    assert world.rollback.spec.remedy == DISABLE
    assert not {"set_flag", "restart", "undo"} & set(world.journal)


async def test_after_a_crash_at_any_call_the_next_operator_finishes() -> None:
    whole = flagged()
    await whole.run(whole.operator(), whole.is_all_done)
    for number in range(len(whole.journal)):
        world = flagged()
        world.journal.crash_at = number
        with pytest.raises(Crash) as crash:
            await world.run(world.operator(), world.is_all_done)
        world.seconds += 1

        await world.run(world.operator(), world.is_all_done)

        where = f"call {number}, {crash.value}"
        assert world.rollback.status.outcome is Outcome.VERIFIED, where
        done = [one for one in world.journal if one in ("set_flag", "restart")]
        assert done == ["set_flag", "restart"], where
        assert {"RollbackStarted", "RollbackFinished"} <= set(world.store.told()), where


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        ("read_flag", OUTAGE),
        ("set_flag", CONFLICT),
        ("set_flag", OUTAGE),
        ("set_flag", GONE),
        ("restart", CONFLICT),
        ("restart", OUTAGE),
    ],
)
async def test_a_call_that_fails_once_costs_time_only(call: str, failure) -> None:
    world = flagged(remedies=[DISABLE])
    (world.workloads if call == "restart" else world.flags).fail_next(call, failure)

    await world.run(world.operator(), world.is_over)

    assert world.rollback.status.outcome is Outcome.VERIFIED


async def test_the_messages_speak_of_the_flag() -> None:
    world = flagged()
    await world.run(world.operator(), world.is_over)
    done = world.rollback

    told = [of_rollback(done, world.policy, one) for one in transitions(done, at(900))]

    assert told[0].after == (
        f"the same release with {FLAG}=false in ConfigMap {CONFIG_MAP}, which was 'true'"
    )
    assert told[-1].status.startswith("FLAG SET, verified: the release stays")
    steps = [one.text for one in told[-1].timeline]
    assert f"flag: {FLAG}=false in ConfigMap {CONFIG_MAP} was set; it was 'true'" in steps
    assert any(one.startswith("replacement of the pods:") for one in steps)


async def test_what_was_read_of_a_flag_is_used_for_a_moment_only() -> None:
    world = flagged(bad=frozenset())
    switch = world.operator().switch
    policy = world.policy
    assert policy is not None
    key = (CONFIG_MAP, FLAG)
    assert (await switch.states(policy, "a"))[key] == flag_state()
    world.flags.state = replace(flag_state(), value="false")
    assert (await switch.states(policy, "a"))[key] == flag_state()
    world.seconds += 6
    assert (await switch.states(policy, "a"))[key] == flag_state("false")


async def test_what_was_read_of_a_flag_is_not_used_for_another_template() -> None:
    world = flagged(bad=frozenset())
    switch = world.operator().switch
    policy = world.policy
    assert policy is not None
    key = (CONFIG_MAP, FLAG)
    assert (await switch.states(policy, "a"))[key] == flag_state()
    world.flags.state = replace(flag_state(), bare="of-b")
    assert (await switch.states(policy, "b"))[key] == flag_state(bare="of-b")
