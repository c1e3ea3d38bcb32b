"""Rollouts that are held and let go: whole passes, and the operator dying at each call of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    HOLD_FINALIZER,
    Health,
    Hold,
    HoldReason,
    Mode,
    Outcome,
    RollbackPolicyStatus,
    SafetySpec,
    StageSpec,
    TargetRef,
)
from rollback_operator.decide.hold_end import HoldEnd
from rollback_operator.decide.holds import let_go
from rollback_operator.model.controllers import Claims, Updater
from rollback_operator.model.samples import CounterSeries
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Unreadable
from tests.builders import (
    NAME,
    T0,
    at,
    make_deployment,
    make_entry,
    make_pods,
    make_policy,
    make_workload,
)
from tests.fakes.failures import CONFLICT, GONE, OUTAGE, REFUSAL, Crash
from tests.fakes.metrics import NOTHING
from tests.sizes import few_of
from tests.world import KEY, World, watched

GOOD: frozenset[str] = frozenset()
STAGED = {"stage": StageSpec(max_seconds=120)}
OLD = make_pods(3, "v1", created=T0 - 600, started=T0 - 600, ready_since=T0 - 599)


def half(**changes: Any) -> Workload:
    """Two new pods beside three old ones."""
    fields = {"updated": 2, "total": 5, "available": 5} | changes
    return make_workload(deployment=make_deployment(**fields), pods=(*make_pods(2), *OLD))


@dataclass
class Rollout(World):
    """A rollout that stands half-way, and goes on to its end when a pause has been lifted."""

    bad: frozenset[str] = GOOD
    failing: str = ""
    """The one pod that fails."""
    is_silent: bool = False
    """Prometheus does not answer."""
    was_paused: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.workloads.workload = half()

    def tell(self, operator: Any) -> None:
        is_judged = self.deployment.template.digest == "digest-v2"
        if self.was_paused and not self.deployment.paused and is_judged:
            self.workloads.workload = make_workload()
        if self.deployment.template.digest == "digest-v1" and self.deployment.total > 4:
            back = replace(self.deployment, updated=4, total=4, available=4)
            self.workloads.workload = replace(self.workloads.workload, deployment=back, pods=OLD)
        self.was_paused = self.deployment.paused
        super().tell(operator)
        if self.is_silent:
            self.metrics.reading = NOTHING

    def _counted(self, workload: Workload, versions: frozenset[str]) -> list[CounterSeries]:
        counted = super()._counted(workload, versions)
        if versions is not self.bad or not self.failing:
            return counted
        everything = super()._counted(workload, frozenset({"v2"}))
        failed = {one.pod: one for one in everything}
        return [failed[self.failing] if one.pod == self.failing else one for one in counted]

    @property
    def deployment(self) -> Deployment:
        return self.workloads.workload.deployment

    @property
    def hold(self) -> Hold:
        found = self.status.hold
        assert found is not None
        return found

    @property
    def finalizers(self) -> list[str]:
        return self.store.policies[NAME].metadata.finalizers

    @property
    def writes(self) -> list[str]:
        kept = ("guard_policy", "release_policy", "pause", "resume", "write_policy", "undo")
        return [one for one in self.journal if one in kept]

    def is_held(self) -> bool:
        return self.deployment.is_held and self.hold.paused_time is not None

    def is_let_go(self) -> bool:
        return self.status.hold is not None and self.is_at_rest()

    def is_at_rest(self) -> bool:
        known = self.status.hold
        is_open = known is None or known.is_open
        return not self.deployment.paused and not is_open and self.finalizers == []


def suspected(**spec: Any) -> Rollout:
    """One of the two new pods fails: something is wrong, and people are told."""
    return Rollout(policy=watched(make_policy(**spec)), failing=f"{NAME}-hashv2-0")


def staged(**spec: Any) -> Rollout:
    return Rollout(policy=watched(make_policy(**STAGED, **spec)), seconds=3)


async def held(**spec: Any) -> Rollout:
    """A rollout that is held on suspicion."""
    world = suspected(**spec)
    await world.run(world.operator(), world.is_held)
    world.journal.clear()
    return world


def amend(world: World, operator: Any, **spec: Any) -> None:
    """Change the policy's spec, as a person does, and let the watch tell it."""
    known = world.store.policies[NAME]
    changed = known.model_copy(update={"spec": known.spec.model_copy(update=spec)})
    world.store.hold(changed)
    operator.cache.remember(changed)


# -- on suspicion ----------------------------------------------------------------------------------


async def test_the_hold_is_on_record_before_the_deployment_is_paused() -> None:
    world = suspected()

    await world.operator().reconcile(KEY)

    assert world.writes[:4] == ["guard_policy", "write_policy", "pause", "write_policy"]
    assert world.deployment.is_held
    assert world.finalizers == [HOLD_FINALIZER]
    assert (world.hold.reason, world.hold.paused_time) == (HoldReason.SUSPICION, at(20))
    assert world.condition(ConditionType.ROLLOUT_HELD) == ("True", "Suspicion")
    assert world.condition(ConditionType.READY) == ("True", "WatchingTarget")
    assert "RolloutHeld" in world.store.told()
    held = next(one for one in world.store.notices if one.reason == "RolloutHeld")
    assert "To roll back now: kubectl rollback undo" in held.message


async def test_a_suspicion_that_fades_lets_the_rollout_go() -> None:
    world = await held()
    world.failing = ""

    await world.run(world.operator(), world.is_let_go)

    # The next leader, who has never paused anything, knows it from the record.
    assert world.hold.release_reason == Reason.SUSPICION_FADED
    assert world.condition(ConditionType.ROLLOUT_HELD) == ("False", "SuspicionFaded")
    assert [one for one in world.store.told() if one.startswith("Rollout")] == [
        "RolloutHeld",
        "RolloutLetGo",
    ]


async def test_a_suspicion_that_stands_holds_no_longer_than_its_limit() -> None:
    world = await held(safety=SafetySpec(max_pause_seconds=20))

    await world.run(world.operator(), lambda: not world.deployment.paused)

    assert world.seconds <= 20 + 20 + 2
    assert world.hold.release_reason == Reason.HOLD_TIMED_OUT
    # It stays suspect and is not held again: the time for this release is spent.
    world.workloads.workload = half()
    await world.run(world.operator(), lambda: world.seconds > 70)
    assert not world.deployment.paused


async def test_the_next_look_is_at_the_limit() -> None:
    world = await held(safety=SafetySpec(max_pause_seconds=20))
    world.seconds = 39.7

    assert await world.operator().reconcile(KEY) == pytest.approx(0.4)


async def test_a_hold_writes_nothing_while_it_lasts() -> None:
    world = await held()
    operator = world.operator()
    await operator.reconcile(KEY)
    world.journal.clear()

    for _ in range(3):
        world.tell(operator)
        await operator.reconcile(KEY)

    assert set(world.journal) <= {"inspect"}


async def test_a_bad_release_is_undone_and_not_left_paused() -> None:
    world = await held()
    world.failing, world.bad = "", frozenset({"v2"})

    await world.run(world.operator(), world.is_all_done)

    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.deployment.template.digest == "digest-v1"
    await world.run(world.operator(), world.is_at_rest)
    assert world.hold.release_reason == Reason.RELEASE_TAKEN_BACK
    # The undo has lifted the pause: nothing was let go in between.
    assert world.writes.index("undo") < world.writes.index("release_policy")


# -- as a stage ------------------------------------------------------------------------------------


async def test_a_staged_rollout_is_held_before_anything_is_read() -> None:
    world = staged()

    await world.operator().reconcile(KEY)

    assert world.journal[1:5] == ["guard_policy", "write_policy", "pause", "post"]
    assert world.journal[0] == "inspect"
    assert (world.hold.reason, world.is_held()) == (HoldReason.STAGE, True)
    assert world.condition(ConditionType.ROLLOUT_HELD) == ("True", "Stage")


async def test_a_release_is_on_record_as_under_watch_before_it_is_held() -> None:
    """Replaced before its first judgement was stored, it was taken for older than the policy."""
    world = Rollout(policy=make_policy(**STAGED), seconds=3)
    world.journal.crash_at = 3

    with pytest.raises(Crash, match="pause"):
        await world.operator().reconcile(KEY)

    known = {one.release: one.health for one in world.status.revisions}
    assert known == {"release-v2": Health.UNKNOWN}


async def test_a_healthy_release_is_proved_and_let_go() -> None:
    world = staged()

    await world.run(world.operator(), world.is_let_go)

    assert world.hold.release_reason == Reason.PROVED_NO_WORSE
    assert world.seconds < 40
    assert world.store.rollbacks == {}


async def test_a_release_that_follows_on_an_unproved_one_is_compared_with_that() -> None:
    unknown = make_entry("v1", Health.UNKNOWN)
    status = RollbackPolicyStatus(revision=unknown, revisions=[unknown])
    world = Rollout(policy=watched(make_policy(**STAGED), status=status), seconds=3)

    await world.run(world.operator(), world.is_let_go)

    assert world.hold.release_reason == Reason.PROVED_NO_WORSE


async def test_a_staged_release_without_proof_goes_on_when_its_time_is_up() -> None:
    world = staged()
    world.is_silent = True
    operator = world.operator()
    await world.run(operator, world.is_held)

    await world.run(world.operator(), lambda: not world.deployment.paused, most=80)

    assert world.hold.release_reason == Reason.HOLD_TIMED_OUT
    assert world.seconds == pytest.approx(3 + 120, abs=4)


async def test_a_bad_staged_release_is_undone() -> None:
    world = staged()
    world.bad = frozenset({"v2"})

    await world.run(world.operator(), world.is_all_done)
    await world.run(world.operator(), world.is_at_rest)

    assert world.deployment.template.digest == "digest-v1"
    assert world.hold.release_reason == Reason.RELEASE_TAKEN_BACK


# -- what a person does meanwhile ------------------------------------------------------------------


ENDS: dict[str, tuple[dict[str, Any], Reason]] = {
    "suspended": ({"suspend": True}, Reason.SUSPENDED),
    "mode Observe": ({"mode": Mode.OBSERVE}, Reason.HOLDS_TURNED_OFF),
    "turned off": ({"safety": SafetySpec(pause_on_suspicion=False)}, Reason.HOLDS_TURNED_OFF),
    "another target": ({"target_ref": TargetRef(name="another")}, Reason.TARGET_NOT_FOUND),
}


@pytest.mark.parametrize(("spec", "reason"), ENDS.values(), ids=ENDS)
async def test_a_changed_policy_lets_the_rollout_go(spec: dict[str, Any], reason: Reason) -> None:
    world = await held()
    operator = world.operator()
    if "target_ref" in spec:
        world.workloads.fail_next("inspect", GONE)
    amend(world, operator, **spec)

    await operator.reconcile(KEY)

    assert world.is_at_rest()
    assert world.hold.release_reason == reason


@pytest.mark.parametrize("call", ["write_policy", "release_policy"])
async def test_an_edit_between_an_event_of_a_hold_and_its_record_repeats_no_event(
    call: str,
) -> None:
    """The policy is retargeted and back just then: the record meets a conflict."""
    world = suspected()
    operator = world.operator()
    kept = world.store.post

    async def post(regarding: Any, notice: Any) -> None:
        await kept(regarding, notice)
        if notice.reason in ("RolloutHeld", "RolloutLetGo"):
            world.store.fail_next(call, CONFLICT)

    world.store.post = post  # type: ignore[method-assign]
    await world.run(operator, world.is_held)
    world.failing = ""
    await world.run(operator, world.is_let_go)

    said = [one for one in world.store.told() if one.startswith("Rollout")]
    assert said == ["RolloutHeld", "RolloutLetGo"]


async def test_a_deleted_policy_lets_the_rollout_go_first() -> None:
    world = await held()
    operator = world.operator()
    known = world.store.policies[NAME]
    metadata = known.metadata.model_copy(update={"deletion_timestamp": at(30)})
    going = known.model_copy(update={"metadata": metadata})
    world.store.hold(going)
    operator.cache.remember(going)

    await operator.reconcile(KEY)

    assert not world.deployment.paused
    assert world.store.policies == {}
    assert world.journal.index("resume") < world.journal.index("release_policy")


async def test_a_policy_that_cannot_be_read_any_more_lets_the_rollout_go() -> None:
    world = await held()
    operator = world.operator()
    known = world.store.policies[NAME]
    operator.cache.policies[KEY] = Unreadable(known.metadata, "spec.mode: odd", known.status)

    await operator.reconcile(KEY)

    assert world.is_at_rest()
    assert isinstance(operator.cache.policies[KEY], Unreadable)


async def test_another_release_is_let_go_before_its_replica_set_can_be_made() -> None:
    world = await held()
    template = make_deployment("v3").template
    workload = world.workloads.workload
    changed = replace(workload, deployment=replace(workload.deployment, template=template))
    world.workloads.workload = changed
    operator = world.operator()

    await operator.reconcile(KEY)

    assert world.is_at_rest()
    assert world.hold.release_reason == Reason.RELEASE_CHANGED


async def test_a_pause_that_a_person_lifts_is_not_set_again() -> None:
    world = await held()
    world.workloads.workload = half()

    await world.run(world.operator(), world.is_at_rest)
    await world.run(world.operator(), lambda: world.seconds > 60)

    assert "pause" not in world.journal
    assert world.hold.release_reason == Reason.PAUSE_LIFTED


async def test_a_persons_own_pause_stays() -> None:
    world = suspected()
    world.workloads.workload = half(paused=True)
    operator = world.operator()

    await operator.reconcile(KEY)

    assert world.deployment.paused
    assert world.condition(ConditionType.READY) == ("False", "TargetPaused")
    assert {"pause", "resume"}.isdisjoint(world.journal)


async def test_a_pause_that_a_person_has_made_their_own_stays() -> None:
    world = await held()
    world.workloads.workload = half(paused=True)

    await world.operator().reconcile(KEY)

    assert world.deployment.paused
    assert (world.hold.is_open, world.finalizers) == (False, [])
    assert world.hold.release_reason == Reason.TARGET_PAUSED


async def test_a_pause_of_ours_that_nobody_has_a_record_of_is_lifted() -> None:
    world = Rollout()
    world.workloads.workload = half(paused=True, is_held=True)

    await world.operator().reconcile(KEY)

    assert not world.deployment.paused


async def test_a_finalizer_that_a_crash_has_left_is_taken_off() -> None:
    world = Rollout()
    known = world.store.policies[NAME]
    metadata = known.metadata.model_copy(update={"finalizers": [HOLD_FINALIZER, "another"]})
    world.store.hold(known.model_copy(update={"metadata": metadata}))

    await world.operator().reconcile(KEY)

    assert world.finalizers == ["another"]


async def test_a_younger_policy_leaves_the_older_ones_hold_alone() -> None:
    world = await held()
    younger = make_policy("younger")
    metadata = younger.metadata.model_copy(update={"creation_timestamp": at(0)})
    world.store.hold(younger.model_copy(update={"metadata": metadata}))

    await world.operator().reconcile((KEY[0], "younger"))

    assert world.deployment.is_held


# -- failures and crashes --------------------------------------------------------------------------

FAILURES: list[tuple[str, Failure]] = [
    (call, failure)
    for call in ("guard_policy", "write_policy", "pause", "resume", "release_policy")
    for failure in (CONFLICT, OUTAGE)
]


@pytest.mark.parametrize("failure", [CONFLICT, OUTAGE])
async def test_our_own_pause_lifted_is_never_taken_for_a_persons(failure: Failure) -> None:
    """The pause was off and the record was not written: the release was never held again."""
    world = await held()
    world.failing = ""
    operator = world.operator()
    for _ in range(40):
        # Whatever is written next: only that which lets the rollout go comes with a resume.
        world.tell(operator)
        world.store.fail_next("write_policy", failure)
        await operator.reconcile(KEY)
        assert world.deployment.paused or not world.hold.is_open
        world.store.take("write_policy")
        world.seconds += 2
        await operator.reconcile(KEY)
        if world.is_let_go():
            break
    assert world.hold.release_reason == Reason.SUSPICION_FADED
    assert world.store.told().count("RolloutLetGo") == 1


async def test_an_operator_that_ends_between_an_event_and_the_finalizer_repeats_no_event() -> None:
    """The next leader finds the finalizer, and does not know what was posted."""
    world = await held()
    world.failing = ""
    world.store.fail_next("release_policy", OUTAGE)
    await world.run(world.operator(), lambda: "RolloutLetGo" in world.store.told())
    assert world.finalizers == [HOLD_FINALIZER]

    await world.run(world.operator(), world.is_at_rest)

    assert world.store.told().count("RolloutLetGo") == 1


async def test_what_cannot_be_put_on_record_holds_no_longer_than_the_limit() -> None:
    world = await held(safety=SafetySpec(max_pause_seconds=20))
    operator = world.operator()
    world.store.fail_next("write_policy", *[OUTAGE] * 100)

    await world.run(operator, lambda: not world.deployment.paused)

    assert world.seconds >= 40
    assert world.hold.is_open

    while world.store.take("write_policy"):
        pass
    await world.run(world.operator(), world.is_at_rest)


async def test_a_target_that_was_held_is_let_go_after_the_record_and_a_crash() -> None:
    """The policy watches another Deployment by then: the one that was held is the record's."""
    world = await held()
    world.store.hold(
        world.store.policies[NAME].model_copy(
            update={
                "status": world.status.model_copy(
                    update={
                        "hold": let_go(world.hold, HoldEnd(Reason.TARGET_CHANGED, "other"), at(30))
                    }
                )
            }
        )
    )
    operator = world.operator()
    world.workloads.fail_next("inspect", GONE)
    amend(world, operator, target_ref=TargetRef(name="another"))

    await operator.reconcile(KEY)

    assert world.is_at_rest()


@pytest.mark.parametrize(("call", "failure"), FAILURES)
async def test_what_fails_is_tried_again(call: str, failure: Failure) -> None:
    world = staged()
    failing = world.workloads if call in ("pause", "resume") else world.store
    failing.fail_next(call, failure)

    await world.run(world.operator(), world.is_let_go)

    assert world.hold.release_reason == Reason.PROVED_NO_WORSE


async def test_a_hold_that_cannot_be_settled_keeps_no_release_from_being_judged() -> None:
    """A Deployment that is resumed comes back without claims: no pass takes that for a change."""
    world = await held()
    world.failing = ""
    world.tools.claims = Claims(updaters=(Updater("Keel", "an annotation", "remove it"),))
    world.store.fail_next("release_policy", *[REFUSAL] * 500)
    operator = world.operator()
    await world.run(operator, lambda: not world.deployment.paused)
    seen = operator.watches[KEY].evidence.newest_scrape

    await world.run(operator, lambda: operator.watches[KEY].evidence.newest_scrape != seen, most=9)


FORBIDDEN = Failure(
    FailureKind.REJECTED,
    'PATCH /apis/apps/v1/deployments/shop: 403 Forbidden deployments.apps "shop" is forbidden: '
    'User "operator" cannot patch resource "deployments" in API group "apps"',
)


async def test_a_refused_pause_is_not_shown_as_a_hold_and_rests_ever_longer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = suspected()
    world.workloads.fail_next("pause", *[FORBIDDEN] * 500)
    operator = world.operator()
    begun = world.seconds

    await world.run(operator, lambda: world.seconds > begun + 120, most=400)

    assert world.condition(ConditionType.ROLLOUT_HELD) == ("False", "PauseRefused")
    assert world.status.summary != "Held"
    message = next(
        item.message for item in world.status.conditions if item.type == ConditionType.ROLLOUT_HELD
    )
    assert "the operator may not patch Deployment" in message
    assert world.journal.count("pause") < 10
    assert sum("its hold" in record.message for record in caplog.records) < 10
    while world.workloads.take("pause"):
        pass
    await world.run(operator, world.is_held)
    assert world.condition(ConditionType.ROLLOUT_HELD) == ("True", "Suspicion")
    assert world.status.summary == "Held"


async def test_a_refused_resume_is_shown_until_the_deployment_is_resumed() -> None:
    world = await held()
    world.failing = ""
    world.workloads.fail_next("resume", FORBIDDEN)
    operator = world.operator()

    await world.run(operator, lambda: not world.hold.is_open)

    assert world.condition(ConditionType.ROLLOUT_HELD) == ("True", "ResumeRefused")
    await world.run(operator, world.is_at_rest)
    assert world.condition(ConditionType.ROLLOUT_HELD) == ("False", "SuspicionFaded")


async def finish(world: Rollout) -> int:
    """Run an operator until nothing is left to do; the number of its calls."""

    def is_over() -> bool:
        return (not world.bad or world.is_all_done()) and world.status.hold is not None

    await world.run(world.operator(), lambda: is_over() and world.is_at_rest())
    return len(world.journal)


def staged_and_good() -> Rollout:
    return staged()


def staged_and_bad() -> Rollout:
    world = staged()
    world.bad = frozenset({"v2"})
    return world


def on_suspicion() -> Rollout:
    return suspected(safety=SafetySpec(max_pause_seconds=20))


@pytest.mark.parametrize("make", few_of([staged_and_good, staged_and_bad, on_suspicion], 1))
async def test_no_crash_at_any_call_leaves_a_deployment_paused(
    make: Callable[[], Rollout],
) -> None:
    for number in range(await finish(make())):
        world = make()
        world.journal.crash_at = number
        with pytest.raises(Crash) as crash:
            await world.run(world.operator(), lambda: False)
        world.seconds += 1

        await finish(world)

        where = f"call {number}, {crash.value}"
        assert not world.deployment.paused, where
        assert world.hold.release_reason, where
        told = set(world.store.told())
        assert ("RolloutHeld" in told) == ("RolloutLetGo" in told), where
        assert world.deployment.template.digest == ("digest-v1" if world.bad else "digest-v2")
