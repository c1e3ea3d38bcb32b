"""Every open Rollback is carried on or ended in every branch of a pass, and blocks nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import GitOps, OwnerRecord
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    OWNER_FINALIZER,
    LastRollback,
    MatrixSeverity,
    Mode,
    Outcome,
    PolicyRef,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
    StepName,
    TargetRef,
)
from rollback_operator.decide.guards import load_of
from rollback_operator.model.conditions import find
from rollback_operator.model.context import RollbackBudget
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.act.reversible import OWNER_POLL_SECONDS
from rollback_operator.reconcile.cache import Cache, Unreadable
from rollback_operator.reconcile.reconciler import Reconciler
from rollback_operator.remedies import gitops, rollback_status
from rollback_operator.remedies.attempts import name_of
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.report import recent
from rollback_operator.runtime.intake import Intake
from tests.builders import (
    NAME,
    NAMESPACE,
    at,
    make_deployment,
    make_policy,
    make_rollback,
    make_step,
    make_trigger_record,
    make_workload,
)
from tests.fakes.cluster import UNTOUCHED, FakeWorkloads
from tests.fakes.failures import CONFLICT, OUTAGE, REFUSAL
from tests.unit.test_suspending import ARGO
from tests.world import KEY, World, watched

OTHER = "checkout"


@dataclass
class TwoWorkloads(FakeWorkloads):
    """The Deployment that the tests are about, and another one that does well."""

    other: Workload = field(
        default_factory=lambda: make_workload(
            "v1", (), deployment=make_deployment("v1", name=OTHER, uid="other-uid")
        )
    )

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        return self.other if name == OTHER else await super().inspect(namespace, name)


class TwoTargets(World):
    """Two Deployments, of which a policy may watch one or the other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.workloads = TwoWorkloads(calls=self.journal, workload=self.workloads.workload)

    def tell(self, operator: Reconciler) -> None:
        super().tell(operator)
        deployment = self.workloads.other.deployment
        operator.cache.deployments[NAMESPACE, OTHER] = deployment


def named(made: Rollback) -> Rollback:
    metadata = made.metadata.model_copy(update={"name": name_of(made.spec)})
    return made.model_copy(update={"metadata": metadata})


def intent(**changes: Any) -> Rollback:
    """Decided by the policy, nothing begun."""
    return named(make_rollback(**changes))


def begun(*steps: StepName, **changes: Any) -> Rollback:
    """Its undo has begun, and is done where further steps are."""
    names = steps or (StepName.UNDO,)
    *done, last = names
    known = [*(make_step(one, 12, 14) for one in done), make_step(last, 14)]
    return named(make_rollback(status=RollbackStatus(steps=known), **changes))


def verifying(**changes: Any) -> Rollback:
    names = (
        StepName.UNDO,
        StepName.ROLLOUT_COMPLETE,
        StepName.RESTORE_STRATEGY,
        StepName.VERIFY,
    )
    return begun(*names, **changes)


def ended(world: World, decided: Rollback | None = None) -> tuple[Outcome | None, str, str]:
    """How a Rollback ended, and why; None: the only one."""
    done = world.rollback if decided is None else world.store.rollbacks[decided.metadata.name]
    complete = find(done.status.conditions, ConditionType.COMPLETE)
    assert complete is not None, done.status
    return done.status.outcome, complete.reason, complete.message


async def last(world: World, operator: Reconciler, most: int = 900) -> None:
    """Make passes, each when the last one wants it, until the Rollback has ended."""
    for _ in range(most):
        if world.is_over():
            return
        world.tell(operator)
        wait = await operator.reconcile(KEY)
        assert wait is not None or world.is_over(), "the Rollback is open and nobody looks again"
        world.seconds += max(0.05, wait or 0.0)
    raise AssertionError(f"still open after {world.seconds:.0f} s: {world.rollback.status}")


# -- the policy is edited --------------------------------------------------------------------------


async def test_an_undo_goes_on_to_its_end_though_the_policy_watches_another_target_now() -> None:
    world = TwoTargets(policy=watched(make_policy(target_ref=TargetRef(name=OTHER))))
    world.store.hold(begun())

    await last(world, world.operator())

    assert "undo" in world.journal
    outcome, reason, message = ended(world)
    assert outcome is Outcome.UNKNOWN
    assert reason == Reason.NOT_YET_READ
    assert "another Deployment" in message


async def test_an_intent_of_a_policy_that_watches_another_target_now_is_abandoned() -> None:
    world = TwoTargets(policy=watched(make_policy(target_ref=TargetRef(name=OTHER))))
    world.store.hold(intent())

    await last(world, world.operator(), most=3)

    assert ended(world)[:2] == (Outcome.ABANDONED, Reason.TARGET_CHANGED)
    assert "undo" not in world.journal


async def test_an_intent_is_abandoned_once_the_mode_is_observe() -> None:
    world = World(policy=watched(make_policy(mode=Mode.OBSERVE)))
    decided = intent()
    world.store.hold(decided)

    await last(world, world.operator(), most=3)

    assert ended(world, decided)[:2] == (Outcome.ABANDONED, Reason.MODE_CHANGED)
    assert "undo" not in world.journal


STOPPED = {
    "suspended": {"suspend": True},
    "mode Observe": {"mode": Mode.OBSERVE},
    "another target": {"target_ref": TargetRef(name=OTHER)},
}


@pytest.mark.parametrize("edit", STOPPED.values(), ids=STOPPED)
async def test_what_was_abandoned_before_it_began_is_done_once_the_policy_wants_it_again(
    edit: dict[str, Any],
) -> None:
    world = TwoTargets(policy=watched(make_policy(**edit)))
    decided = intent()
    world.store.hold(decided)
    operator = world.operator()
    await last(world, operator, most=3)
    assert ended(world, decided)[0] is Outcome.ABANDONED

    known, wanted = world.store.policies[NAME], make_policy()
    world.store.hold(known.model_copy(update={"spec": wanted.spec}))
    operator.cache.remember(world.store.policies[NAME])

    def is_done() -> bool:
        made = world.store.rollbacks.values()
        return any(one.spec.attempt == 2 and one.status.outcome for one in made)

    await world.run(operator, is_done)

    (again,) = [one for one in world.store.rollbacks.values() if one.spec.attempt == 2]
    assert again.status.outcome is Outcome.VERIFIED
    assert world.workloads.workload.deployment.template.digest == "digest-v1"


async def test_an_intent_whose_answer_was_lost_gets_the_severity_that_is_seen_by_then() -> None:
    """The policy's status told P1, and the record of the rollback P2, for ever."""
    world = World()
    decided = intent(severity=MatrixSeverity.P2)
    world.store.hold(decided)

    await last(world, world.operator())

    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert world.rollback.status.severity is MatrixSeverity.P1


async def test_a_suspended_policy_does_not_say_that_its_rollback_is_still_running() -> None:
    world = World(policy=watched(make_policy()))
    operator = world.operator()
    await operator.reconcile(KEY)
    assert world.condition(ConditionType.RECOVERED) == ("Unknown", Reason.IN_PROGRESS)
    decided, known = world.rollback, world.store.policies[NAME]
    unbegun = decided.status.model_copy(update={"steps": []})
    world.store.hold(decided.model_copy(update={"status": unbegun}))
    suspended = known.spec.model_copy(update={"suspend": True})
    world.store.hold(known.model_copy(update={"spec": suspended}))
    world.workloads.workload = make_workload()

    await world.run(world.operator(), world.is_over)
    await world.operator().reconcile(KEY)

    assert ended(world)[:2] == (Outcome.ABANDONED, Reason.SUSPENDED)
    assert world.condition(ConditionType.RECOVERED) == ("Unknown", Reason.SUSPENDED)


class Edited(World):
    """Somebody has made a policy of it that the models refuse."""

    def tell(self, operator: Reconciler) -> None:
        super().tell(operator)
        known = self.store.policies[NAME]
        said = "spec.mode: no such mode"
        operator.cache.policies[KEY] = Unreadable(known.metadata, said, known.status)


async def test_an_undo_goes_on_to_its_end_though_the_policy_cannot_be_read_any_more() -> None:
    world = Edited()
    world.store.hold(begun())

    await last(world, world.operator())

    assert "undo" in world.journal
    assert ended(world)[0] is Outcome.UNKNOWN


async def test_an_intent_of_a_policy_that_cannot_be_read_is_abandoned_with_the_field() -> None:
    world = Edited()
    world.store.hold(intent())

    await last(world, world.operator(), most=3)

    outcome, reason, message = ended(world)
    assert (outcome, reason) == (Outcome.ABANDONED, Reason.INVALID_SPEC)
    assert "spec.mode" in message


async def test_an_intent_of_a_policy_that_was_made_anew_is_abandoned_and_the_release_judged() -> (
    None
):
    world = World()
    old = intent(policy_ref=PolicyRef(name=NAME, uid="uid-of-the-deleted-policy"))
    world.store.hold(old)
    operator = world.operator()

    for _ in range(40):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2

    done = {one.metadata.name: one.status.outcome for one in world.store.rollbacks.values()}
    assert done.pop(old.metadata.name) is Outcome.ABANDONED
    assert list(done.values()) == [Outcome.VERIFIED]


@pytest.mark.parametrize("started", [begun, verifying])
async def test_a_begun_undo_of_a_policy_that_was_made_anew_is_carried_to_its_end(
    started: Callable[..., Rollback],
) -> None:
    world = World(bad=frozenset())
    world.store.hold(started(policy_ref=PolicyRef(name=NAME, uid="uid-of-the-deleted-policy")))

    await last(world, world.operator())

    assert ended(world)[1] not in (Reason.POLICY_DELETED, Reason.NOT_OF_THIS_POLICY)


class LateWorkloads(FakeWorkloads):
    """While the target is read, the watch delivers a Rollback."""

    arrive: Callable[[], None] = staticmethod(lambda: None)

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        self.arrive()
        return await super().inspect(namespace, name)


async def test_an_intent_of_a_recreated_policy_that_arrives_during_a_pass_ends_by_its_course() -> (
    None
):
    world = World(bad=frozenset())
    late = world.workloads = LateWorkloads(calls=world.journal, workload=world.workloads.workload)
    operator = world.operator()
    old = intent(policy_ref=PolicyRef(name=NAME, uid="uid-of-the-deleted-policy"))

    def arrive() -> None:
        late.arrive = lambda: None
        world.store.hold(old)
        operator.cache.remember(old)

    late.arrive = arrive
    await last(world, operator, most=3)

    assert ended(world)[:2] == (Outcome.ABANDONED, Reason.POLICY_DELETED)


# -- the Deployment is another object --------------------------------------------------------------


@pytest.mark.parametrize("make", [intent, begun, verifying])
async def test_a_rollback_ends_when_its_deployment_was_deleted_and_created_anew(make: Any) -> None:
    world = World(bad=frozenset())
    world.store.hold(make())
    deployment = make_deployment("v2", uid="uid-of-the-new-one")
    world.workloads.workload = make_workload(deployment=deployment)

    await last(world, world.operator(), most=3)

    outcome, reason, message = ended(world)
    assert (outcome, reason) == (Outcome.ABANDONED, Reason.TARGET_DELETED)
    assert "recreated" in message


async def test_who_was_suspended_for_a_deployment_that_was_created_anew_goes_on() -> None:
    world = World(bad=frozenset())
    made = begun(StepName.SUSPEND_OWNER, StepName.UNDO, owner=gitops.planned(ARGO, GitOps.SUSPEND))
    record = OwnerRecord(namespace="argocd", automated="{}", suspended_time=at(13))
    metadata = made.metadata.model_copy(update={"finalizers": [FINALIZER, OWNER_FINALIZER]})
    status = made.status.model_copy(update={"owner": record})
    made = made.model_copy(update={"metadata": metadata, "status": status})
    world.store.hold(made)
    world.owners.state = replace(
        UNTOUCHED, is_suspended=True, suspended_for="/".join(made.key), is_ours=True, automated=""
    )
    deployment = make_deployment("v2", uid="uid-of-the-new-one")
    world.workloads.workload = make_workload(deployment=deployment)

    operator = world.operator()
    await last(world, operator, most=3)
    for _ in range(3):
        world.seconds += OWNER_POLL_SECONDS
        world.tell(operator)
        await operator.reconcile(KEY)

    assert ended(world, made)[1] == Reason.TARGET_DELETED
    assert not world.owners.state.is_suspended
    assert world.store.rollbacks[made.metadata.name].metadata.finalizers == []


@pytest.mark.parametrize("name", [NAME, OTHER])
async def test_the_policy_tells_how_its_last_rollback_of_another_deployment_ended(
    name: str,
) -> None:
    world = TwoTargets(bad=frozenset())
    made = begun()
    world.store.hold(made)
    spec = world.policy.spec.model_copy(update={"target_ref": TargetRef(name=name)})
    last_one = LastRollback(name=made.metadata.name, outcome=None, time=at(12))
    known = world.policy.status.model_copy(update={"last_rollback": last_one})
    world.store.hold(world.policy.model_copy(update={"spec": spec, "status": known}))
    if name == NAME:
        deployment = make_deployment("v2", uid="uid-of-the-new-one")
        world.workloads.workload = make_workload(deployment=deployment)

    operator = world.operator()
    await last(world, operator, most=1000)
    for _ in range(3):
        world.tell(operator)
        await operator.reconcile(KEY)

    told = world.store.policies[NAME].status.last_rollback
    assert told is not None
    assert told.outcome is world.store.rollbacks[made.metadata.name].status.outcome is not None


async def test_a_deployment_that_is_never_readable_again_holds_no_rollback_open_for_ever() -> None:
    world = World(policy=None)
    world.store.hold(begun())
    forbidden = Failure(FailureKind.REJECTED, "deployments.apps is forbidden")
    world.workloads.fail_next("inspect", *[forbidden] * 2000)

    await last(world, world.operator(), most=2000)

    outcome, reason, message = ended(world)
    assert (outcome, reason) == (Outcome.UNKNOWN, Reason.READ_FAILED)
    assert "forbidden" in message


# -- restored from a backup ------------------------------------------------------------------------


async def test_an_undo_that_was_begun_hours_ago_and_never_done_is_not_done_now() -> None:
    world = World(seconds=6 * 3600.0)
    world.store.hold(begun())

    await last(world, world.operator(), most=3)

    assert ended(world)[:2] == (Outcome.ABANDONED, Reason.ROLLBACK_STALE)
    assert "undo" not in world.journal


async def test_an_undo_of_hours_ago_that_is_done_is_carried_to_its_end() -> None:
    world = World(seconds=6 * 3600.0, bad=frozenset())
    world.store.hold(begun())
    world.workloads.workload = make_workload("v1", ("v2",))

    await last(world, world.operator())

    assert "undo" not in world.journal
    assert ended(world)[0] is Outcome.VERIFIED


async def test_an_approval_that_timed_out_hours_ago_lets_nothing_proceed() -> None:
    world = World(seconds=6 * 3600.0, bad=frozenset())
    status = RollbackStatus(
        steps=[make_step(StepName.AWAITING_APPROVAL, 14)], approval_deadline_time=at(134)
    )
    proceed = make_rollback(requires_approval=True, approval_policy={"onTimeout": "Proceed"})
    world.store.hold(named(proceed.model_copy(update={"status": status})))

    await last(world, world.operator(), most=3)

    assert ended(world)[:2] == (Outcome.ABANDONED, Reason.ROLLBACK_STALE)
    assert "undo" not in world.journal


@pytest.mark.parametrize("is_by_hand", [False, True])
async def test_an_intent_for_one_revision_is_not_carried_out_on_a_later_one(is_by_hand) -> None:
    """The bad release was taken back; a backup brings both back, or people roll it out mended."""
    world = World(seconds=60.0, bad=frozenset())
    decided = intent()
    if is_by_hand:
        status = RollbackStatus(plan=decided.spec.plan)
        decided = decided.model_copy(update={"status": status})
    world.store.hold(decided)
    again = make_deployment("v2", revision=4)
    world.workloads.workload = make_workload("v2", ("v1",), deployment=again)

    await last(world, world.operator(), most=3)

    outcome, reason, message = ended(world)
    assert (outcome, reason) == (Outcome.ABANDONED, Reason.TARGET_MOVED)
    assert "revision 2 was rolled out again as revision 4" in message
    assert not world.rollback.status.steps
    assert "undo" not in world.journal


async def test_times_ahead_of_the_clock_hold_nothing_up() -> None:
    """A backup was restored to a cluster whose clock is a year behind."""
    world = World(bad=frozenset())
    ahead = 365 * 86_400.0
    steps = [
        make_step(StepName.UNDO, ahead, ahead + 1),
        make_step(StepName.ROLLOUT_COMPLETE, ahead + 1),
    ]
    world.store.hold(named(make_rollback(status=RollbackStatus(steps=steps))))
    stuck = make_deployment("v1", available=1)
    world.workloads.workload = make_workload("v1", ("v2",), deployment=stuck)

    await last(world, world.operator(), most=1000)

    assert ended(world)[:2] == (Outcome.NOT_RECOVERED, Reason.ROLLOUT_TIMED_OUT)


# -- it says why -----------------------------------------------------------------------------------


async def ended_before_an_outage() -> tuple[World, Rollback, Rollback]:
    """A world whose Rollback has ended; it before and after its finalizer was removed."""
    world = World()
    world.store.fail_next("release_rollback", OUTAGE)
    operator = world.operator()
    await world.run(operator, world.is_over)
    before = world.rollback
    await world.run(operator, world.is_all_done)
    return world, before, world.rollback


def told_of_end(world: World) -> int:
    return world.store.told().count("RollbackFinished")


async def test_an_end_that_was_told_before_is_not_told_again_by_who_knows_it_late() -> None:
    world, before, after = await ended_before_an_outage()
    known = told_of_end(world)
    assert FINALIZER in before.metadata.finalizers
    follower = world.operator()
    follower.cache.drop_rollback(before.key)
    follower.cache.remember(before)  # no watch has told it yet

    for _ in range(3):
        await follower.reconcile(KEY)
        world.seconds += 2

    assert told_of_end(world) == known
    assert follower.cache.rollbacks[after.key] == after


async def test_an_end_is_told_by_who_can_read_the_record_again() -> None:
    world, before, _ = await ended_before_an_outage()
    world.store.notices.clear()  # the first leader ended before it could post
    world.store.hold(before)
    follower = world.operator()
    world.store.fail_next("refresh", OUTAGE)

    wait = await follower.reconcile(KEY)
    assert wait is not None
    assert wait <= OUTAGE.wait
    assert told_of_end(world) == 0
    await follower.reconcile(KEY)

    assert told_of_end(world) == 1
    assert world.rollback.metadata.finalizers == []


def in_question(world: World, **metadata: Any) -> Rollback:
    """It waits for an approval, and a person deletes it; the policy knows that it waits."""
    changes = {"finalizers": [FINALIZER], "deletion_timestamp": at(15)} | metadata
    status = RollbackStatus(
        steps=[make_step(StepName.AWAITING_APPROVAL, 14)], approval_deadline_time=at(3600)
    )
    made = named(make_rollback(status=status))
    made = made.model_copy(update={"metadata": made.metadata.model_copy(update=changes)})
    assert world.policy is not None
    status = recent.with_ends(world.policy.status, [made], world.policy.spec.safety, at(16))
    world.store.hold(made, world.policy.model_copy(update={"status": status}))
    return made


def recorded_end(world: World) -> Outcome | None:
    (known,) = world.store.policies[NAME].status.recent_rollbacks
    return known.outcome


async def test_a_rejection_by_deletion_is_on_record_before_the_object_can_vanish() -> None:
    world = World()
    in_question(world)

    await world.operator().reconcile(KEY)

    assert recorded_end(world) is Outcome.REJECTED
    done = world.journal
    assert done.index("write_policy") < done.index("release_rollback")
    assert done.count("write_policy") == 1, "the report of the pass has stored it"
    assert not world.store.rollbacks, "its object is gone"


@pytest.mark.parametrize("failure", [OUTAGE, CONFLICT])
async def test_an_end_that_is_not_on_record_keeps_its_object(failure: Failure) -> None:
    world = World()
    in_question(world)
    operator = world.operator()
    world.store.fail_next("write_policy", failure, failure)

    wait = await operator.reconcile(KEY)

    assert wait is not None
    assert wait <= failure.wait
    assert ended(world)[0] is Outcome.REJECTED
    assert world.rollback.metadata.finalizers == [FINALIZER]
    follower = world.operator()  # the first is killed in between
    await follower.reconcile(KEY)
    assert recorded_end(world) is Outcome.REJECTED
    assert not world.store.rollbacks, "its object is gone"


async def test_an_end_is_put_on_record_by_a_pass_that_reports_nothing() -> None:
    world = World()
    in_question(world)
    operator = world.operator()
    world.workloads.fail_next("inspect", *[OUTAGE] * 9)
    operator.cache.remember(world.rollback.model_copy(update={"status": _rejected(world)}))
    world.store.hold(operator.cache.rollbacks[world.rollback.key])

    await operator.reconcile(KEY)

    assert recorded_end(world) is Outcome.REJECTED
    assert not world.store.rollbacks, "its object is gone"


def _rejected(world: World) -> RollbackStatus:
    end = RollbackEnd(Outcome.REJECTED, Reason.ROLLBACK_DELETED, "deleted")
    return rollback_status.ended(world.rollback, end, at(17))


async def test_a_status_that_is_refused_for_good_holds_no_deletion_up() -> None:
    world = World()
    in_question(world)
    world.store.fail_next("write_policy", REFUSAL, REFUSAL)

    await world.operator().reconcile(KEY)

    assert not world.store.rollbacks, "its object is gone"


async def test_what_is_on_record_is_not_written_again() -> None:
    world = World(bad=frozenset())
    in_question(world)
    operator = world.operator()
    for _ in range(3):
        await operator.reconcile(KEY)
        world.seconds += 2
    known = list(world.journal)

    await operator.reconcile(KEY)

    writes = ("write_policy", "write_rollback", "release_rollback", "refresh")
    assert [one for one in world.journal[len(known) :] if one in writes] == []


async def test_a_verification_without_a_policy_says_why_it_sees_nothing() -> None:
    world = World(policy=None)
    world.store.hold(verifying())
    world.workloads.workload = make_workload("v1", ("v2",))
    operator = world.operator()

    world.tell(operator)
    await operator.reconcile(KEY)

    said = {one.name: one.message for one in world.rollback.status.verification}
    assert "the policy was deleted" in said["ErrorRate"]


# -- nobody else is held up ------------------------------------------------------------------------


def test_orphans_use_up_nothing_of_the_operators_budget() -> None:
    now = at(2 * 86_400.0)
    orphans = [
        named(make_rollback(trigger=make_trigger_record(decided_time=at(number))))
        for number in range(10)
    ]
    forged = [
        make_rollback(
            f"forged-{number}",
            trigger=make_trigger_record(decided_time=now - timedelta(seconds=5)),
        )
        for number in range(10)
    ]
    live = begun(trigger=make_trigger_record(decided_time=now - timedelta(seconds=30)))

    records, budget = [*orphans, *forged, live], RollbackBudget(max_concurrent=10, max_per_day=10)
    load = load_of(records, live.metadata.namespace, budget, now)

    assert (load.active, load.day) == (1, 1)
    assert not load.exhausted


def test_a_younger_policy_is_looked_at_when_the_older_one_leaves_its_target() -> None:
    cache, wanted = Cache(), []
    intake = Intake(cache, lambda key, _: wanted.append(key))

    def raw(name: str, made: str, target: str, version: int) -> dict[str, Any]:
        return {
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": name,
                "resourceVersion": str(version),
                "creationTimestamp": made,
            },
            "spec": {"targetRef": {"kind": "Deployment", "name": target}, "mode": "Enforce"},
        }

    intake.take(RollbackPolicy.PLURAL, raw("older", "2026-11-30T09:00:00Z", NAME, 1))
    intake.take(RollbackPolicy.PLURAL, raw("younger", "2026-11-30T10:00:00Z", NAME, 2))

    wanted.clear()
    intake.take(RollbackPolicy.PLURAL, raw("older", "2026-11-30T09:00:00Z", NAME, 3))
    assert wanted == [(NAMESPACE, "older"), (NAMESPACE, "younger")], "it learns what is known"

    wanted.clear()
    intake.take(RollbackPolicy.PLURAL, raw("younger", "2026-11-30T10:00:00Z", NAME, 4))
    assert wanted == [(NAMESPACE, "younger")]

    wanted.clear()
    intake.take(RollbackPolicy.PLURAL, raw("older", "2026-11-30T09:00:00Z", OTHER, 5))
    retargeted = list(wanted)
    wanted.clear()
    intake.take(RollbackPolicy.PLURAL, raw("older", "2026-11-30T09:00:00Z", NAME, 6))
    back = list(wanted)
    wanted.clear()
    broken = raw("older", "2026-11-30T09:00:00Z", NAME, 7)
    broken["spec"]["mode"] = "Whatever"
    intake.take(RollbackPolicy.PLURAL, broken)

    both = [(NAMESPACE, "older"), (NAMESPACE, "younger")]
    assert (retargeted, back, wanted) == (both, both, both)


async def test_an_undo_that_began_and_was_never_done_is_attempted_again() -> None:
    """The operator was away: the record said that the release is evaluated anew, and it was not."""
    world = World(seconds=1000.0)
    world.store.hold(begun(StepName.UNDO))
    operator = world.operator()

    for _ in range(60):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 10

    outcomes = [each.status.outcome for each in world.store.rollbacks.values()]
    assert outcomes == [Outcome.ABANDONED, Outcome.VERIFIED]
    assert world.journal.count("undo") == 1
