"""Who would revert an act is suspended first and released last: each write on record around it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import GitOps, OwnerKind
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Rollback,
    RollbackPolicy,
    SafetySpec,
    StepName,
)
from rollback_operator.api.verification import VerificationSpec
from rollback_operator.model.conditions import find
from rollback_operator.model.controllers import Owner, OwnerObject
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.act.execution import MOST_STEP_ATTEMPTS, Again
from rollback_operator.reconcile.act.reversible import OWNER_POLL_SECONDS, OWNER_SECONDS
from rollback_operator.reconcile.observe.observation import Observer
from rollback_operator.reconcile.preflight import (
    ApprovalProtection,
    ChannelCheck,
    PolicyRights,
    Preflight,
)
from rollback_operator.remedies import gitops, suspension
from rollback_operator.remedies.progress import Done, RollbackEnd
from rollback_operator.report.readiness import Around
from tests.builders import make_deployment, make_policy, make_rollback, make_template, make_workload
from tests.carrying import Carried
from tests.fakes.channels import FakeChannels
from tests.fakes.cluster import UNTOUCHED, FakeRights
from tests.fakes.failures import CONFLICT, GONE, OUTAGE, REFUSAL, Crash
from tests.fakes.metrics import FakeMetrics

ARGO = Owner(
    "Argo CD",
    "label x",
    "roll back in Git",
    object=OwnerObject(OwnerKind.APPLICATION, "", "shop"),
)
ABSENT = Failure(FailureKind.UNKNOWN_KIND, "there is no Application in this cluster")


def suspending(response: GitOps = GitOps.SUSPEND) -> Rollback:
    return make_rollback(
        owner=gitops.planned(ARGO, response), verification=VerificationSpec(timeout_seconds=10)
    )


@dataclass
class World(Carried):
    """A Deployment that an Application steers, and a rollback of it."""

    rollback: Rollback = field(default_factory=suspending)

    SILENT = ("post", "look_at_owner", "inspect")

    def target(self) -> Workload:
        return make_workload(deployment=make_deployment(owner=ARGO))

    def policy_of(self, _: Rollback) -> RollbackPolicy:
        assert self.rollback.spec.owner is not None
        return make_policy(safety=SafetySpec(git_ops=self.rollback.spec.owner.response))

    async def settle(self) -> float | None:
        return await self.executor.actor.suspender.settle(
            [self.stored], self.workloads.workload.deployment
        )

    async def is_released(self) -> None:
        """Let Git want what runs, and look after who is suspended until nobody is."""
        moment = (self.now() + timedelta(minutes=1)).timestamp()
        self.owners.state = replace(self.owners.state, in_sync_at=moment)
        for _ in range(20):
            wait = await self.settle()
            if wait is None:
                return
            self.seconds += wait
        raise AssertionError(f"not released: {self.stored.status.owner}")


def why(rollback: Rollback, kind: ConditionType = ConditionType.COMPLETE) -> tuple[str, str]:
    found = find(rollback.status.conditions, kind)
    assert found is not None
    return found.reason, found.message


# -- suspended -------------------------------------------------------------------------------------


async def test_an_owner_is_suspended_before_the_undo_and_how_it_was_is_stored_before_that() -> None:
    world = World()

    await world.carry_on()

    assert world.writes[:6] == [
        "write_rollback",
        "guard_owner",
        "write_rollback",
        "suspend_owner",
        "write_rollback",
        "write_rollback",
    ]
    assert world.writes.index("suspend_owner") < world.writes.index("undo")
    record = world.stored.status.owner
    assert record is not None
    assert (record.namespace, record.automated) == ("argocd", UNTOUCHED.automated)
    assert record.is_open
    assert world.owners.state.is_suspended
    assert world.owners.state.suspended_for == "production/ticket-service-0123456789"


async def test_it_is_told_how_to_release() -> None:
    world = World()

    done = await world.last()

    reason, said = why(done, ConditionType.OWNER_SUSPENDED)
    assert reason == Reason.SUSPENDED_FOR_ROLLBACK
    assert "kubectl patch applications.argoproj.io shop -n argocd" in said
    assert world.store.told() == ["RollbackStarted", "OwnerSuspended", "RollbackFinished"]
    assert said in [one.message for one in world.store.notices]
    (step,) = (one for one in done.status.steps if one.name is StepName.SUSPEND_OWNER)
    assert "is suspended for this rollback" in step.message


async def test_an_owner_that_somebody_has_suspended_is_left_alone() -> None:
    world = World()
    world.owners.state = replace(UNTOUCHED, is_suspended=True, automated="")

    done = await world.last()
    await world.is_released()

    assert "undo" in world.journal
    assert {"suspend_owner", "resume_owner"}.isdisjoint(world.journal)
    assert why(done, ConditionType.OWNER_SUSPENDED)[0] == Reason.SUSPENDED_BEFORE
    assert "OwnerSuspended" not in world.store.told()


async def test_where_the_policy_proceeds_no_owner_is_looked_at() -> None:
    world = World(suspending(GitOps.PROCEED))

    await world.last()

    assert "undo" in world.journal
    assert not [one for one in world.journal if one.endswith("owner")]


BLOCKS = {
    "no CRD": ABSENT,
    "no such object": GONE,
    "no right": REFUSAL,
}


@pytest.mark.parametrize("failure", BLOCKS.values(), ids=BLOCKS)
async def test_an_owner_that_cannot_be_suspended_blocks(failure: Failure) -> None:
    world = World()
    world.owners.fail_next("look_at_owner", failure)

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert done.status.outcome is Outcome.BLOCKED
    assert failure.message in why(done)[1]
    assert "undo" not in world.journal


async def test_an_owner_that_would_not_stay_suspended_blocks() -> None:
    world = World()
    world.owners.state = replace(UNTOUCHED, obstacle="ApplicationSet shops would turn it on")

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert (done.status.outcome, "ApplicationSet shops" in why(done)[1]) == (Outcome.BLOCKED, True)


async def test_an_object_that_does_not_name_the_deployment_counts_as_no_suspended_owner() -> None:
    world = World()
    suspender, deployment = world.executor.actor.suspender, world.workloads.workload.deployment
    policy = make_policy(safety=SafetySpec(git_ops=GitOps.SUSPEND))
    world.owners.state = replace(
        UNTOUCHED, is_suspended=True, is_proved=False, obstacle="it does not name the Deployment"
    )

    assert await suspender.obstacle(policy, deployment) == world.owners.state.obstacle
    taken = await suspender.suspend(world.rollback)

    assert isinstance(taken.next, RollbackEnd)
    assert world.owners.state.obstacle in taken.next.message


@pytest.mark.parametrize("failure", BLOCKS.values(), ids=BLOCKS)
async def test_what_the_checklist_did_not_see_ends_it_before_the_undo(failure: Failure) -> None:
    world = World()
    world.owners.fail_next("look_at_owner", OUTAGE, failure)

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert (done.status.outcome, why(done)[0]) == (Outcome.FAILED, Reason.OWNER_NOT_SUSPENDED)
    assert "nothing was done" in why(done)[1]
    assert "undo" not in world.journal


async def test_a_conflict_is_looked_at_again_and_what_is_new_is_recorded() -> None:
    world = World()
    world.owners.fail_next("suspend_owner", CONFLICT)
    assert isinstance(await world.carry_on(), Again)
    assert "undo" not in world.journal
    world.owners.state = replace(UNTOUCHED, version="9", automated='{"prune": true}')

    await world.carry_on()

    record = world.stored.status.owner
    assert record is not None
    assert record.automated == '{"prune": true}'
    assert "undo" in world.journal


async def test_a_refused_suspension_is_given_up_and_nothing_is_undone() -> None:
    world = World()
    world.owners.fail_next("suspend_owner", *[REFUSAL] * 2 * MOST_STEP_ATTEMPTS)

    done = await world.last()

    assert (done.status.outcome, why(done)[0]) == (Outcome.FAILED, Reason.STEP_REFUSED)
    assert world.journal.count("suspend_owner") == MOST_STEP_ATTEMPTS
    assert "undo" not in world.journal


async def test_an_outage_is_waited_out() -> None:
    world = World()
    world.owners.fail_next("suspend_owner", *[OUTAGE] * 3 * MOST_STEP_ATTEMPTS)

    done = await world.last()

    assert done.status.outcome is Outcome.UNKNOWN
    assert "undo" in world.journal


async def test_for_a_newer_release_nobody_is_suspended() -> None:
    world = World()
    moved = make_workload("v3", ("v2", "v1"))
    world.workloads.workload = replace(moved, deployment=replace(moved.deployment, owner=ARGO))

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert why(done)[0] == Reason.TARGET_MOVED
    assert "suspend_owner" not in world.journal


# -- reverted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("response", [GitOps.PROCEED, GitOps.SUSPEND])
async def test_an_undo_that_is_reverted_is_told_and_not_done_again(response: GitOps) -> None:
    world = World(suspending(response))
    await world.carry_on()
    deployment = replace(
        world.workloads.workload.deployment,
        template=make_template("v2"),
        changed_by="argocd-controller",
    )
    world.workloads.workload = replace(world.workloads.workload, deployment=deployment)

    done = await world.carry_on()

    assert isinstance(done, Rollback)
    assert (done.status.outcome, why(done)[0]) == (Outcome.FAILED, Reason.UNDO_REVERTED)
    assert "reverted by argocd-controller (Argo CD manages the Deployment)" in why(done)[1]
    assert world.journal.count("undo") == 1


# -- released --------------------------------------------------------------------------------------


async def test_an_owner_goes_on_once_git_wants_what_runs() -> None:
    world = World()
    await world.last()
    assert await world.settle() == OWNER_POLL_SECONDS
    looks = world.journal.count("look_at_owner")
    assert await world.settle() == OWNER_POLL_SECONDS
    assert world.journal.count("look_at_owner") == looks

    world.seconds += OWNER_POLL_SECONDS
    await world.is_released()

    assert world.owners.state.automated == UNTOUCHED.automated
    assert not world.owners.state.is_suspended
    assert why(world.stored, ConditionType.OWNER_SUSPENDED)[0] == Reason.OWNER_RELEASED
    record = world.stored.status.owner
    assert record is not None
    assert record.release_message == "Git contains the restored state"
    assert world.store.told()[-1] == "OwnerReleased"


async def test_an_owner_whose_rollback_ended_before_its_act_goes_on() -> None:
    """Git has the release that runs: nothing changes."""
    world = World()
    world.workloads.fail_next("undo", *[REFUSAL] * MOST_STEP_ATTEMPTS)
    done = await world.last()
    assert why(done)[0] == Reason.STEP_REFUSED
    assert world.owners.state.is_suspended

    assert await world.settle() is None

    assert not world.owners.state.is_suspended
    record = world.stored.status.owner
    assert record is not None
    assert "ended before its act" in record.release_message


async def test_an_owner_goes_on_once_the_deployment_is_another_object() -> None:
    """Git is not known to want what runs: that is of no concern for what is no more."""
    world = World()
    await world.last()
    assert await world.settle() is not None
    suspender, anew = world.executor.actor.suspender, make_deployment(uid="made-anew", owner=ARGO)

    world.seconds += OWNER_POLL_SECONDS
    assert await suspender.settle([world.stored], None) is not None  # gone: it may come back
    world.seconds += OWNER_POLL_SECONDS
    assert await suspender.settle([world.stored], anew) is None

    record = world.stored.status.owner
    assert record is not None
    assert not record.is_open
    assert "recreated" in record.release_message
    assert "resume_owner" in world.journal
    assert world.stored.metadata.finalizers == []


async def test_while_a_rollback_goes_on_its_owner_is_left_suspended() -> None:
    world = World()
    await world.carry_on()
    world.owners.state = replace(world.owners.state, in_sync_at=world.now().timestamp() + 60)

    assert await world.settle() is None
    assert "resume_owner" not in world.journal


async def test_what_a_person_has_released_is_on_record_and_touched_no_more() -> None:
    world = World()
    await world.last()
    world.owners.state = replace(UNTOUCHED, version="20")

    assert await world.settle() is None
    # Suspended again by a person, it is theirs.
    world.owners.state = replace(UNTOUCHED, version="21", is_suspended=True, is_ours=True)
    world.seconds += OWNER_POLL_SECONDS
    await world.is_released()

    assert "resume_owner" not in world.journal
    assert "another client resumed it" in why(world.stored, ConditionType.OWNER_SUSPENDED)[1]


@pytest.mark.parametrize("failure", [GONE, ABSENT])
async def test_an_owner_that_is_gone_is_suspended_no_more(failure: Failure) -> None:
    world = World()
    await world.last()
    world.owners.fail_next("look_at_owner", failure)

    assert await world.settle() is None
    assert "it is gone" in why(world.stored, ConditionType.OWNER_SUSPENDED)[1]


async def test_an_owner_that_does_not_answer_is_asked_again() -> None:
    world = World()
    await world.last()
    world.owners.fail_next("look_at_owner", OUTAGE, REFUSAL)
    world.owners.fail_next("resume_owner", CONFLICT, OUTAGE)
    world.store.fail_next("write_rollback", OUTAGE)

    await world.is_released()

    assert not world.owners.state.is_suspended
    assert not suspension.is_open(world.stored)


# -- killed at each call ---------------------------------------------------------------------------


async def test_a_crash_at_any_call_loses_nothing_of_what_an_owner_was() -> None:
    points = 0
    for point in range(200):
        world = World()
        world.journal.crash_at = point
        try:
            await world.last()
            await world.is_released()
        except Crash:
            points += 1
            world.executor = world.operator()
            if world.stored.status.outcome is None:
                await world.last()
            await world.is_released()
        told = world.store.told()

        assert world.stored.status.outcome is Outcome.UNKNOWN
        assert world.owners.state.automated == UNTOUCHED.automated, point
        assert not world.owners.state.is_suspended
        assert (world.journal.count("undo"), world.journal.count("suspend_owner")) == (1, 1)
        assert world.journal.count("resume_owner") == 1
        assert {"OwnerSuspended", "OwnerReleased"} <= set(told)
        assert told.count("OwnerSuspended") <= 2
        if world.journal.crash_at is not None:
            break
    assert points > 15


# -- beforehand ------------------------------------------------------------------------------------


async def test_what_stands_against_a_suspension_is_said_beforehand_and_asked_seldom() -> None:
    world = World()
    suspender, deployment = world.executor.actor.suspender, world.workloads.workload.deployment
    policy = make_policy(safety=SafetySpec(git_ops=GitOps.SUSPEND))
    world.owners.fail_next("look_at_owner", REFUSAL)

    assert await suspender.obstacle(policy, deployment) == REFUSAL.message
    assert await suspender.obstacle(policy, deployment) == REFUSAL.message
    assert world.journal.count("look_at_owner") == 1
    world.seconds += OWNER_SECONDS
    # Nothing new is known while nobody answers.
    world.owners.fail_next("look_at_owner", OUTAGE)
    assert await suspender.obstacle(policy, deployment) == REFUSAL.message
    world.seconds += OWNER_SECONDS
    assert await suspender.obstacle(policy, deployment) == ""


async def test_the_read_before_a_suspension_replaces_an_obstacle_that_was_known() -> None:
    world = World()
    suspender, deployment = world.executor.actor.suspender, world.workloads.workload.deployment
    policy = make_policy(safety=SafetySpec(git_ops=GitOps.SUSPEND))
    world.owners.fail_next("look_at_owner", REFUSAL)
    assert await suspender.obstacle(policy, deployment) == REFUSAL.message

    taken = await suspender.suspend(world.stored)

    assert isinstance(taken.next, Done)
    looks = world.journal.count("look_at_owner")
    assert await suspender.obstacle(policy, deployment) == ""
    assert world.journal.count("look_at_owner") == looks


@pytest.mark.parametrize("changes", [{"safety": SafetySpec()}, {"mode": Mode.OBSERVE}])
async def test_where_nobody_is_to_be_suspended_nobody_is_looked_at(changes: dict[str, Any]) -> None:
    world = World()
    fields = {"safety": SafetySpec(git_ops=GitOps.SUSPEND)} | changes
    deployment = world.workloads.workload.deployment

    actor = world.executor.actor
    observer = Observer(FakeMetrics(), lambda: world.now().timestamp())
    foresight = Preflight(
        actor.suspender,
        actor.switch,
        observer,
        "",
        PolicyRights(FakeRights(), world.now),
        ApprovalProtection(world.surroundings, world.now),
        ChannelCheck(FakeChannels(), world.now),
    )
    for target in (deployment, None):
        found = await foresight.check(make_policy(**fields), target, Around())
        assert found == (Around(), None)
    assert world.journal == []


async def test_an_owner_whose_suspension_was_not_recorded_stays_on_record() -> None:
    rehearsal = World()
    await rehearsal.last()
    calls = list(rehearsal.journal)
    world = World()
    at = calls.index("suspend_owner") + 1
    world.journal.crash_at = at + next(n for n, call in enumerate(calls[at:]) if call != "post")
    with pytest.raises(Crash):
        await world.last()
    assert world.owners.state.is_suspended

    world.seconds += 5000
    world.executor = world.operator()
    await world.last()

    assert suspension.is_open(world.stored)
    assert suspension.is_guarded(world.stored)
    await world.settle()  # the act had not begun
    assert not world.owners.state.is_suspended
