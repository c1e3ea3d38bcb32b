"""A Scale where an autoscaler sets the replicas: raised once, followed, put back once, told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import AutoscalerPlan, AutoscalerRecord
from rollback_operator.api.v1alpha1 import Outcome, Remedy, RemedyType, Rollback, RollbackPolicy
from rollback_operator.api.verification import VerificationSpec
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.conditions import find
from rollback_operator.model.workload import Bounds, Deployment, Workload
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.act.execution import Again
from rollback_operator.reconcile.act.reversible import RecordRules, Reversible
from rollback_operator.remedies import autoscaling
from tests.builders import (
    at,
    make_autoscaler,
    make_deployment,
    make_ended,
    make_policy,
    make_rollback,
    make_workload,
)
from tests.carrying import Carried
from tests.fakes.failures import CONFLICT, GONE, OUTAGE, REFUSAL, Crash
from tests.fakes.store import FakeStore
from tests.world import KEY, watched
from tests.world import World as Whole

SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
PLAN = AutoscalerPlan(name="shop-hpa", uid="hpa-uid", restore_after_seconds=3600)
BEFORE, RAISED = Bounds(2, 4), Bounds(6, 6)


def scaling() -> Rollback:
    verification = VerificationSpec(timeout_seconds=10)
    return make_rollback(remedy=SCALE, to_revision=None, autoscaler=PLAN, verification=verification)


@dataclass
class World(Carried):
    """A Deployment that an autoscaler scales, and a rollback of it."""

    rollback: Rollback = field(default_factory=scaling)
    is_followed: bool = True
    """The autoscaler sets the replicas that its bounds ask for."""

    def target(self) -> Workload:
        return make_workload(autoscaler=make_autoscaler())

    async def carry_on(self, watch: Watch | None = None) -> Rollback | Again:
        self.follow()
        return await super().carry_on(watch)

    def follow(self) -> None:
        """Have the autoscaler look, as it does every 15 seconds."""
        workload = self.workloads.workload
        found, old = workload.autoscaler, workload.deployment
        if found is None or not self.is_followed:
            return
        count = min(max(old.replicas, found.bounds.least), found.bounds.most)
        scaled = replace(old, replicas=count, updated=count, total=count, available=count)
        self.workloads.workload = replace(workload, deployment=scaled)

    async def settle(self) -> float | None:
        return await self.executor.actor.scaler.settle([self.stored])

    def ends(self, outcome: Outcome) -> None:
        """Put another outcome on record than a world without metrics gives."""
        status = self.stored.status.model_copy(update={"outcome": outcome})
        self.store.hold(self.stored.model_copy(update={"status": status}))

    def is_asked(self) -> None:
        """A person runs `kubectl rollback resume`."""
        annotations = {autoscaling.RESTORE: "requested"}
        metadata = self.stored.metadata.model_copy(update={"annotations": annotations})
        self.store.hold(self.stored.model_copy(update={"metadata": metadata}))

    def is_deleted(self) -> None:
        """A person runs `kubectl delete rollback --wait=false`."""
        metadata = self.stored.metadata.model_copy(update={"deletion_timestamp": self.now()})
        self.store.hold(self.stored.model_copy(update={"metadata": metadata}))

    def is_set(self, bounds: Bounds) -> None:
        """Somebody else sets the bounds."""
        found = make_autoscaler(bounds.least, bounds.most, set_by="kubectl-edit")
        self.workloads.workload = replace(self.workloads.workload, autoscaler=found)

    @property
    def bounds(self) -> Bounds:
        found = self.workloads.workload.autoscaler
        assert found is not None
        return found.bounds


def why(rollback: Rollback, kind: ConditionType = ConditionType.COMPLETE) -> tuple[str, str]:
    found = find(rollback.status.conditions, kind)
    assert found is not None
    return found.reason, found.message


def bounds_set(journal: Sequence[str]) -> int:
    return list(journal).count("set_bounds")


# -- raised ----------------------------------------------------------------------------------------


async def test_the_bounds_are_raised_and_the_deployment_is_not_written_to() -> None:
    world = World()

    done = await world.last()

    assert world.bounds == RAISED
    assert {"apply_in_place", "undo", "resume"}.isdisjoint(world.journal)
    assert bounds_set(world.journal) == 1
    record = done.status.autoscaler
    assert record is not None
    assert autoscaling.before(record) == BEFORE
    assert record.is_open


async def test_what_the_bounds_were_is_stored_before_they_are_raised() -> None:
    world = World()

    await world.carry_on()

    calls = list(world.journal)
    act = calls.index("set_bounds")
    assert calls[act - 2 : act + 3] == [
        "guard_bounds",
        "write_rollback",
        "set_bounds",
        "post",
        "write_rollback",
    ]
    assert world.store.told() == ["RollbackStarted", "BoundsRaised"]
    reason, said = why(world.stored, ConditionType.BOUNDS_RAISED)
    assert reason == Reason.RAISED_FOR_ROLLBACK
    assert "has 6 to 6 replicas instead of 2 to 4 replicas" in said
    assert "kubectl rollback resume ticket-service -n production" in said


async def test_until_the_autoscaler_follows_nothing_else_is_done() -> None:
    world = World(is_followed=False)

    done = await world.last()

    assert done.status.outcome is Outcome.NOT_RECOVERED
    assert why(done)[0] == Reason.AUTOSCALER_IDLE
    assert bounds_set(world.journal) == 1


async def test_our_own_pause_is_lifted_for_it() -> None:
    world = World()
    held = make_deployment(paused=True, is_held=True)
    world.workloads.workload = replace(world.workloads.workload, deployment=held)

    await world.last()

    calls = list(world.journal)
    assert calls.index("resume") < calls.index("set_bounds")


async def test_bounds_that_somebody_sets_meanwhile_are_not_fought() -> None:
    world = World(is_followed=False)
    await world.carry_on()
    world.is_set(Bounds(3, 5))

    done = await world.last()

    assert done.status.outcome is Outcome.FAILED
    assert why(done) == (
        Reason.BOUNDS_CHANGED,
        "kubectl-edit set 3 to 5 replicas for HorizontalPodAutoscaler shop-hpa: the bounds "
        "stay unchanged",
    )
    assert world.bounds == Bounds(3, 5)


async def test_an_outage_is_waited_out() -> None:
    world = World()
    world.autoscalers.fail_next("set_bounds", OUTAGE, CONFLICT)

    await world.last()

    assert world.bounds == RAISED
    assert world.store.told().count("BoundsRaised") == 1


async def test_a_refusal_is_given_up_and_nothing_is_left_to_be_put_back() -> None:
    world = World()
    world.autoscalers.fail_next("set_bounds", *[REFUSAL] * 20)

    await world.carry_on()
    reason, message = why(world.stored, ConditionType.BOUNDS_RAISED)
    assert reason == Reason.BOUNDS_REFUSED
    assert message.startswith("HorizontalPodAutoscaler shop-hpa keeps 2 to 4 replicas")
    done = await world.last()
    assert all(item.reason != "BoundsRaised" for item in world.store.notices)
    assert await world.settle() is None

    assert (done.status.outcome, why(done)[0]) == (Outcome.FAILED, Reason.STEP_REFUSED)
    assert bounds_set(world.journal) == 5
    assert world.bounds == BEFORE
    assert not autoscaling.is_open(world.stored)


# -- put back --------------------------------------------------------------------------------------


async def raised(outcome: Outcome = Outcome.VERIFIED) -> World:
    world = World()
    await world.last()
    world.ends(outcome)
    world.journal.clear()
    return world


async def test_they_are_put_back_some_time_after_a_verified_end() -> None:
    world = await raised()
    ended = world.seconds

    while (wait := await world.settle()) is not None:
        assert world.bounds == RAISED
        world.seconds += wait

    assert 3600 <= world.seconds - ended < 3700
    assert world.bounds == BEFORE
    assert why(world.stored, ConditionType.BOUNDS_RAISED)[0] == Reason.BOUNDS_RESTORED
    assert world.store.told()[-1] == "BoundsRestored"


@pytest.mark.parametrize("outcome", [Outcome.NOT_RECOVERED, Outcome.UNKNOWN, Outcome.FAILED])
async def test_else_they_stay_until_a_person_asks(outcome: Outcome) -> None:
    world = await raised(outcome)
    for _ in range(100):
        world.seconds += await world.settle() or 0
    assert world.bounds == RAISED

    world.is_asked()
    assert await world.settle() is None

    assert world.bounds == BEFORE
    assert "a person requested it" in why(world.stored, ConditionType.BOUNDS_RAISED)[1]


async def test_bounds_that_somebody_has_set_since_are_left_alone_and_told() -> None:
    world = await raised()
    await world.settle()
    world.is_set(Bounds(6, 12))
    world.is_asked()

    assert await world.settle() is None

    assert world.bounds == Bounds(6, 12)
    reason, said = why(world.stored, ConditionType.BOUNDS_RAISED)
    assert reason == Reason.BOUNDS_CHANGED
    assert "kubectl-edit set 6 to 12 replicas since" in said
    assert world.store.told()[-1] == "BoundsLeft"
    assert bounds_set(world.journal) == 0


async def test_between_two_looks_nothing_is_asked() -> None:
    world = await raised()
    first = await world.settle()
    asked = len(world.journal)

    world.seconds += 10
    second = await world.settle()

    assert first is not None
    assert second == pytest.approx(first - 10)
    assert len(world.journal) == asked


@pytest.mark.parametrize("failure", [OUTAGE, REFUSAL], ids=["outage", "no right"])
async def test_what_fails_is_tried_again(failure: Failure) -> None:
    world = await raised()
    world.is_asked()
    world.autoscalers.fail_next("set_bounds", failure)

    wait = await world.settle()
    assert wait
    world.seconds += wait
    assert await world.settle() is None

    assert world.bounds == BEFORE


async def test_an_autoscaler_that_is_gone_is_no_more_looked_after() -> None:
    world = await raised()
    world.autoscalers.fail_next("look_at_autoscaler", GONE)

    assert await world.settle() is None

    assert why(world.stored, ConditionType.BOUNDS_RAISED)[0] == Reason.AUTOSCALER_GONE


async def test_while_a_rollback_goes_on_its_bounds_stay() -> None:
    world = World(is_followed=False)
    await world.carry_on()
    world.is_asked()

    assert await world.settle() is None

    assert world.bounds == RAISED


# -- crashes ---------------------------------------------------------------------------------------


async def test_a_crash_at_any_call_neither_loses_nor_repeats_anything() -> None:
    rehearsal = World()
    await rehearsal.last()
    for crash_at in range(len(rehearsal.journal)):
        world = World()
        world.journal.crash_at = crash_at
        try:
            await world.last()
        except Crash:
            world.executor = world.operator()
            await world.last()
        assert world.bounds == RAISED, crash_at
        record = world.stored.status.autoscaler
        assert record is not None
        assert autoscaling.before(record) == BEFORE, crash_at
        assert bounds_set(world.journal) == 1, crash_at
        await world.settle()
        assert "BoundsRaised" in world.store.told(), crash_at
        assert why(world.stored, ConditionType.BOUNDS_RAISED)[0] == Reason.RAISED_FOR_ROLLBACK


async def test_a_crash_while_they_are_put_back_leaves_nothing_undone() -> None:
    rehearsal = await raised()
    rehearsal.is_asked()
    await rehearsal.settle()
    for crash_at in range(len(rehearsal.journal)):
        world = await raised()
        world.is_asked()
        world.journal.crash_at = crash_at
        try:
            await world.settle()
        except Crash:
            world.executor = world.operator()
            assert await world.settle() is None
        assert world.bounds == BEFORE, crash_at
        assert bounds_set(world.journal) == 1, crash_at
        assert not autoscaling.is_open(world.stored), crash_at
        assert "BoundsRestored" in world.store.told(), crash_at


# -- by a whole operator ---------------------------------------------------------------------------

LEFT = AutoscalerRecord(
    min_replicas=2, max_replicas=4, raised_min_replicas=6, raised_max_replicas=6
)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(watched(make_policy()), BEFORE, id="watching"),
        pytest.param(watched(make_policy(suspend=True)), RAISED, id="suspended"),
        pytest.param(None, BEFORE, id="without its policy"),
    ],
)
async def test_a_pass_looks_after_bounds_that_are_raised(
    policy: RollbackPolicy | None, expected: Bounds
) -> None:
    whole = Whole(policy=policy)
    raised = make_autoscaler(6, 6, is_ours=True, set_by="rollback-operator")
    whole.workloads.workload = make_workload("v1", older=(), autoscaler=raised)
    status = make_ended(Outcome.UNKNOWN).model_copy(update={"autoscaler": LEFT})
    metadata = scaling().metadata.model_copy(
        update={"annotations": {autoscaling.RESTORE: "requested"}}
    )
    ended = scaling().model_copy(update={"status": status, "metadata": metadata})
    whole.store.hold(ended)

    await whole.operator().reconcile(KEY)

    found = whole.workloads.workload.autoscaler
    assert found is not None
    assert found.bounds == expected


class Patient(Reversible):
    """Looks again after a minute, and never restores anything."""

    rules = RecordRules("guard", lambda _: True, lambda _: True, lambda _: False)

    async def restore(self, _: Rollback, __: Deployment | None) -> float:
        return 60.0


async def test_of_rollbacks_that_are_gone_no_time_is_kept() -> None:
    time = [0.0]

    async def write(rollback: Rollback, _: object) -> Rollback:
        return rollback

    acts = Patient(FakeStore(), lambda: at(time[0]), write, lambda _: None)
    await acts.settle([make_rollback(name="gone")])
    time[0] = 61.0
    await acts.settle([make_rollback(name="stays")])

    assert list(acts.due) == ["uid-stays"]
