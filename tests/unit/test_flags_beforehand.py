"""A flag that could not be set is told in the policy's condition before a release is bad."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType
from rollback_operator.api.v1alpha1 import MatrixSeverity, Mode
from rollback_operator.model.conditions import find
from rollback_operator.model.controllers import Owner
from rollback_operator.model.workload import FlagState
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.act.flagging import FLAG_RETRY_SECONDS, FORESEEN_SECONDS
from tests.builders import DISABLE, UNDO, at, make_entry, make_policy, make_workload
from tests.fakes.cluster import flag_state
from tests.fakes.failures import OUTAGE, REFUSAL
from tests.world import KEY, World, watched

ARGO = Owner("Argo CD", "label x", "change it in Git")


def at_rest(remedies: Any = (DISABLE, UNDO), **spec: Any) -> World:
    """A policy with a flag, and a release that is good."""
    policy = watched(make_policy(remedies=list(remedies), **spec))
    running = make_entry("v1").model_copy(update={"since": at(-90_000)})
    status = policy.status.model_copy(update={"revision": running})
    world = World(policy.model_copy(update={"status": status}), bad=frozenset())
    world.workloads.workload = make_workload("v1", older=())
    return world


def is_ready(world: World) -> tuple[str, str, str]:
    found = find(world.status.conditions, ConditionType.READY)
    assert found is not None
    return found.status, found.reason, found.message


@pytest.mark.parametrize(
    ("state", "is_granted", "said"),
    [
        pytest.param(None, True, "not found", id="no ConfigMap"),
        pytest.param(flag_state(None), True, "the ConfigMap has no key FEATURE", id="no key"),
        pytest.param(flag_state(None), False, "has no key", id="neither key nor right"),
        pytest.param(flag_state(is_immutable=True), True, "is immutable", id="immutable"),
        pytest.param(flag_state("x" * 1025), True, "too long", id="a value too long"),
        pytest.param(flag_state(owner=ARGO), True, "would revert it", id="somebody else's"),
        pytest.param(flag_state(), False, "list it in patchConfigMaps", id="no right"),
    ],
)
async def test_what_keeps_a_flag_from_being_set_is_told_before_it_is_needed(
    state: FlagState | None, is_granted: bool, said: str
) -> None:
    world = at_rest()
    world.flags.state, world.flags.is_granted = state, is_granted

    await world.operator().reconcile(KEY)

    status, reason, message = is_ready(world)
    assert (status, reason) == ("True", "FlagUnusable")
    assert message.startswith("spec.remedies: FEATURE_NEW_CHECKOUT=false in ConfigMap ")
    assert said in message
    assert message.endswith("the next remedy would be used")


async def test_where_nothing_else_is_left_the_policy_is_not_ready() -> None:
    mild = UNDO.model_copy(update={"severities": [MatrixSeverity.P1]})
    world = at_rest((DISABLE, mild))
    world.flags.state = None

    await world.operator().reconcile(KEY)

    status, reason, message = is_ready(world)
    assert (status, reason) == ("False", "FlagUnusable")
    assert message.endswith("for P2 no other remedy remains: the operator would not act")


@pytest.mark.parametrize(
    "state",
    [pytest.param(flag_state(), id="on"), pytest.param(flag_state("false"), id="off already")],
)
async def test_a_flag_that_can_be_set_is_no_matter(state: FlagState) -> None:
    world = at_rest()
    world.flags.state = state

    await world.operator().reconcile(KEY)

    assert is_ready(world)[:2] == ("True", "WatchingTarget")


async def test_in_mode_observe_no_right_is_needed() -> None:
    world = at_rest(mode=Mode.OBSERVE)
    world.flags.is_granted = False

    await world.operator().reconcile(KEY)

    assert is_ready(world)[:2] == ("True", "WatchingTarget")
    assert world.flags.asked == []


@pytest.mark.parametrize("call", ["read_flag", "may_set"])
async def test_what_cannot_be_seen_is_not_held_against_it(call: str) -> None:
    world = at_rest()
    world.flags.fail_next(call, OUTAGE)

    await world.operator().reconcile(KEY)

    assert is_ready(world)[:2] == ("True", "WatchingTarget")


async def test_what_may_not_even_be_read_is_told() -> None:
    world = at_rest()
    world.flags.fail_next("read_flag", REFUSAL)

    await world.operator().reconcile(KEY)

    assert is_ready(world)[1] == "FlagUnusable"


@pytest.mark.parametrize("failure", [None, OUTAGE])
async def test_at_rest_it_is_looked_at_once_in_five_minutes_however_often_there_is_a_pass(
    failure: Failure | None,
) -> None:
    world = at_rest()
    operator = world.operator()
    wait = await operator.reconcile(KEY)
    assert wait == pytest.approx(FORESEEN_SECONDS)
    written = list(world.store.writes)

    for _ in range(int(FORESEEN_SECONDS) - 1):
        world.seconds += 1
        world.tell(operator)
        await operator.reconcile(KEY)
    assert len(world.flags.asked) == 1

    world.seconds += 1
    world.flags.fail_next("read_flag", *([failure] if failure else []))
    await operator.reconcile(KEY)
    assert len(world.flags.asked) == (1 if failure else 2)
    assert world.store.writes == written


@pytest.mark.parametrize("state", [None, flag_state(None)], ids=["no ConfigMap", "no key"])
async def test_once_it_is_put_right_that_is_seen_within_a_minute(state: FlagState | None) -> None:
    world = at_rest()
    world.flags.state = state
    operator = world.operator()
    wait = await operator.reconcile(KEY)
    assert wait is not None
    assert wait <= FLAG_RETRY_SECONDS

    world.flags.state = flag_state()
    world.seconds += wait
    world.tell(operator)
    await operator.reconcile(KEY)

    assert is_ready(world)[:2] == ("True", "WatchingTarget")


async def test_what_goes_missing_later_is_told() -> None:
    world = at_rest()
    operator = world.operator()
    wait = await operator.reconcile(KEY)

    world.flags.state = replace(flag_state(), value=None)
    world.seconds += wait or 0
    world.tell(operator)
    await operator.reconcile(KEY)

    assert is_ready(world)[1] == "FlagUnusable"


async def test_a_policy_without_flags_looks_at_none() -> None:
    world = at_rest((UNDO,))

    assert await world.operator().reconcile(KEY) is None

    assert world.flags.asked == []
