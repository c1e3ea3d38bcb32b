"""Whole passes for one policy, edge to edge, with the ports swapped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.adapters.kube.apiserver import TooLarge
from rollback_operator.api.policy_status import QuarantineEntry
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import AutoscalerPlan, AutoscalerRecord
from rollback_operator.api.v1alpha1 import (
    FINALIZER,
    Condemnation,
    Health,
    MatrixSeverity,
    Mode,
    ObjectMeta,
    Outcome,
    Pace,
    PolicyRef,
    Rollback,
    RollbackPolicyStatus,
    RollbackStatus,
    RollbackTarget,
    StepName,
    VerdictValue,
)
from rollback_operator.model.conditions import find
from rollback_operator.model.samples import Missing
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Unreadable
from rollback_operator.reconcile.reconciler import RETRY_SECONDS, Reconciler
from rollback_operator.releases.records import KEPT
from rollback_operator.remedies import rollback_status
from rollback_operator.remedies.attempts import name_of
from rollback_operator.remedies.progress import RollbackEnd
from tests.builders import (
    NAME,
    NAMESPACE,
    T0,
    at,
    make_deployment,
    make_ended,
    make_entry,
    make_policy,
    make_replica_set,
    make_request,
    make_rollback,
    make_step,
    make_trigger_record,
    make_workload,
)
from tests.fakes.failures import CONFLICT, GONE, OUTAGE, REFUSAL, Crash
from tests.world import KEY, World, watched

AWAY = Missing(Reason.PROVIDER_UNREACHABLE, "connection refused")


def begun(**changes: Any) -> Rollback:
    """A Rollback that the policy has decided and whose undo has begun."""
    made = decided(**changes)
    status = made.status.model_copy(update={"steps": [make_step(StepName.UNDO, 10)]})
    return made.model_copy(update={"status": status})


def decided(**changes: Any) -> Rollback:
    made = make_rollback(**changes)
    metadata = made.metadata.model_copy(update={"name": name_of(made.spec)})
    return made.model_copy(update={"metadata": metadata})


# -- a bad release ---------------------------------------------------------------------------------


async def test_the_intent_is_stored_before_the_deployment_is_touched() -> None:
    world = World()

    await world.operator().reconcile(KEY)

    calls = [one for one in world.journal if one not in ("inspect", "post")]
    assert calls == [
        "list_rollbacks",
        "create_rollback",
        "write_rollback",  # the undo begins, with the strategy that it changes
        "undo",
        "write_rollback",  # the undo is done
        "write_rollback",  # the rollout begins
        "write_rollback",
        "write_rollback",  # the strategy is about to be put back
        "set_strategy",
        "write_rollback",
        "write_rollback",  # verification begins
        "write_policy",
    ]


async def test_an_express_undo_leaves_the_strategy_as_it_was() -> None:
    world = World()
    deployment = replace(world.workloads.workload.deployment, max_surge="1", max_unavailable="10%")
    world.workloads.workload = replace(world.workloads.workload, deployment=deployment)

    await world.run(world.operator(), world.is_over)

    assert world.rollback.spec.pace is Pace.EXPRESS
    assert [one.max_surge for one in world.workloads.surges if one] == ["100%"]
    left = world.workloads.workload.deployment
    assert (left.max_surge, left.max_unavailable) == ("1", "10%")


async def test_a_bad_release_is_taken_back_verified_and_told_once() -> None:
    world = World()

    await world.run(world.operator(), world.is_over)

    done = world.rollback
    assert done.status.outcome is Outcome.VERIFIED
    assert [one.name for one in done.status.steps] == [
        StepName.UNDO,
        StepName.ROLLOUT_COMPLETE,
        StepName.RESTORE_STRATEGY,
        StepName.VERIFY,
    ]
    assert all(one.finished_time is not None for one in done.status.steps)
    assert done.metadata.finalizers == []
    told = world.store.told()
    assert (told.count("RollbackStarted"), told.count("RollbackFinished")) == (1, 1)
    assert {one.release: one.health for one in world.status.revisions}["release-v2"] is Health.BAD


async def test_the_restored_release_is_not_taken_back_in_its_turn() -> None:
    world = World(bad=frozenset({"v1", "v2"}))
    operator = world.operator()

    await world.run(operator, world.is_over)
    for _ in range(10):
        world.seconds += 5
        world.tell(operator)
        await operator.reconcile(KEY)

    assert world.rollback.status.outcome is Outcome.NOT_RECOVERED
    assert world.journal.count("undo") == 1


@pytest.mark.parametrize("uid", ["deployment-uid", "uid-anew"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["deleted", "kept"])
async def test_a_release_that_comes_back_is_left_whatever_became_of_the_record_and_the_target(
    is_kept: bool, uid: str
) -> None:
    world = World()
    await world.run(world.operator(), world.is_over)
    made = world.rollback
    world.tell(operator := world.operator())
    await operator.reconcile(KEY)
    if not is_kept:
        world.store.rollbacks.clear()
    deployment = make_deployment("v2", uid=uid, revision=7)
    current = make_replica_set("v2", revision=7, created=T0 + world.seconds)
    there = make_workload("v2", deployment=deployment, pods=())
    world.workloads.workload = replace(there, replica_sets=(current, *there.replica_sets[1:]))

    operator = world.operator()
    for _ in range(60):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2

    assert world.journal.count("undo") == 1
    assert set(world.store.rollbacks) == ({made.metadata.name} if is_kept else set())
    healthy = find(world.status.conditions, ConditionType.HEALTHY)
    assert healthy is not None
    assert healthy.reason == Reason.COOLDOWN_ACTIVE
    assert made.metadata.name in healthy.message


@pytest.mark.parametrize("number", [2, 4], ids=["it ran on", "it was rolled out again"])
async def test_a_release_that_came_back_while_no_operator_ran_is_evaluated_anew(
    number: int,
) -> None:
    """Its template is that of the record: only the number shows the replacement in between."""
    world = World()
    assert world.policy is not None
    known = make_entry("v2", Health.UNKNOWN, since=at(-90_000))
    status = world.policy.status.model_copy(
        update={"revision": known, "revisions": [known, make_entry("v1")]}
    )
    world.store.hold(world.policy.model_copy(update={"status": status}))
    deployment = make_deployment("v2", revision=number)
    current = make_replica_set("v2", revision=number, created=T0 - 90_000)
    there = make_workload("v2", deployment=deployment, pods=())
    before = make_replica_set("v1", revision=number - 1, replicas=0, created=T0 - 100_000)
    world.workloads.workload = replace(there, replica_sets=(current, before))

    operator = world.operator()
    for _ in range(30):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2

    assert world.journal.count("undo") == (number == 4)


async def test_a_good_release_is_left_alone() -> None:
    world = World(bad=frozenset())
    operator = world.operator()

    for _ in range(20):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 5

    assert not world.store.rollbacks
    assert "undo" not in world.journal


async def test_a_release_is_judged_though_nobody_led_through_the_most_of_its_watch() -> None:
    world = World(seconds=3.0)
    await world.operator().reconcile(KEY)
    assert world.status.revision is not None
    assert world.status.revision.number == 2
    assert not world.store.rollbacks

    world.seconds = 3 * 3600.0
    await world.run(world.operator(), world.is_over)

    assert world.rollback.status.outcome is Outcome.VERIFIED


async def test_a_release_is_judged_when_metrics_are_back_after_its_watch() -> None:
    world = World(seconds=3.0)
    operator = world.operator()
    for _ in range(100):
        world.tell(operator)
        world.metrics.reading = AWAY
        await operator.reconcile(KEY)
        world.seconds += 100
    assert not world.store.rollbacks

    await world.run(operator, world.is_over)

    assert world.rollback.status.outcome is Outcome.VERIFIED


async def test_observe_records_and_does_nothing() -> None:
    world = World(watched(make_policy(mode=Mode.OBSERVE)))

    await world.run(world.operator(), world.is_over)

    assert world.rollback.status.outcome is Outcome.OBSERVED
    assert world.rollback.status.steps == []
    assert not {"undo", "set_strategy", "apply_in_place"} & set(world.journal)


# -- crashes and failures --------------------------------------------------------------------------


async def calls_of_a_whole_rollback() -> int:
    world = World()
    await world.run(world.operator(), world.is_over)
    return len(world.journal)


async def test_after_a_crash_at_any_call_the_next_operator_finishes() -> None:
    for number in range(await calls_of_a_whole_rollback()):
        world = World()
        world.journal.crash_at = number
        with pytest.raises(Crash) as crash:
            await world.run(world.operator(), world.is_over)
        world.seconds += 1

        await world.run(world.operator(), world.is_all_done)

        where = f"call {number}, {crash.value}"
        assert world.rollback.status.outcome is Outcome.VERIFIED, where
        assert len(world.workloads.surges) == 1, where
        assert world.workloads.workload.deployment.max_surge == "25%", where
        assert {"RollbackStarted", "RollbackFinished"} <= set(world.store.told()), where


@pytest.mark.parametrize("failure", [CONFLICT, OUTAGE], ids=lambda one: one.kind)
@pytest.mark.parametrize(
    "call",
    [
        "inspect",
        "list_rollbacks",
        "create_rollback",
        "write_rollback",
        "undo",
        "set_strategy",
        "release_rollback",
        "write_policy",
    ],
)
async def test_a_call_that_fails_once_costs_time_only(call: str, failure: Failure) -> None:
    world = World()
    held = world.workloads if call in ("inspect", "undo", "set_strategy") else world.store
    held.fail_next(call, failure)

    await world.run(world.operator(), world.is_all_done)

    assert world.rollback.status.outcome is Outcome.VERIFIED
    assert len(world.workloads.surges) == 1
    assert world.workloads.workload.deployment.max_surge == "25%"


async def test_an_outage_with_a_time_is_waited_out() -> None:
    world = World()
    world.workloads.fail_next("inspect", Failure(FailureKind.UNAVAILABLE, "busy", 17.0))

    assert await world.operator().reconcile(KEY) == 17.0


async def test_a_target_that_may_not_be_read_is_reported() -> None:
    world = World()
    world.workloads.fail_next("inspect", REFUSAL)

    await world.operator().reconcile(KEY)

    assert world.condition(ConditionType.READY) == ("False", Reason.READ_FAILED)


async def test_a_fresh_list_with_an_unknown_rollback_stops_the_intent() -> None:
    world = World()
    operator = world.operator()
    # Stored by the leader before this one; the watch has not told of it yet.
    world.store.hold(decided(policy_ref={"name": "another", "uid": "policy-another"}))

    assert await operator.reconcile(KEY) == 0.1

    assert "create_rollback" not in world.journal
    assert "undo" not in world.journal


async def test_an_intent_that_exists_already_is_made_once() -> None:
    world = World()
    world.store.fail_next("create_rollback", Failure(FailureKind.EXISTS, "already exists"))

    await world.operator().reconcile(KEY)

    assert "undo" not in world.journal


# -- what changes on the way -----------------------------------------------------------------------


async def test_a_target_that_moved_on_is_left_to_its_owner() -> None:
    world = World()
    operator = world.operator()
    world.store.fail_next("write_rollback", OUTAGE)
    await operator.reconcile(KEY)
    world.workloads.workload = make_workload("v3", ("v2", "v1"))
    world.seconds += 2

    await world.run(operator, world.is_over)

    assert world.rollback.status.outcome is Outcome.ABANDONED
    assert complete(world.rollback) == Reason.TARGET_MOVED
    assert world.workloads.workload.deployment.template.digest == "digest-v3"


async def test_the_surge_is_taken_off_a_deployment_that_moved_on() -> None:
    world = World()
    world.store.fail_next("write_policy", OUTAGE)
    world.workloads.fail_next("set_strategy", OUTAGE)
    operator = world.operator()
    await operator.reconcile(KEY)
    moved = make_workload("v3", ("v2", "v1"))
    surged = replace(moved.deployment, max_surge="100%")
    world.workloads.workload = replace(moved, deployment=surged)
    world.seconds += 2

    await world.run(operator, world.is_over)

    assert world.workloads.workload.deployment.max_surge == "25%"
    assert world.workloads.workload.deployment.template.digest == "digest-v3"


async def test_a_deleted_target_ends_the_rollback() -> None:
    world = World()
    operator = world.operator()
    await operator.reconcile(KEY)
    del operator.cache.deployments[KEY]
    world.workloads.fail_next("inspect", GONE, GONE)

    await operator.reconcile(KEY)

    assert world.rollback.status.outcome is Outcome.ABANDONED
    assert complete(world.rollback) == Reason.TARGET_DELETED
    assert world.condition(ConditionType.READY) == ("False", Reason.TARGET_NOT_FOUND)


async def test_a_target_that_cannot_be_read_is_said_to_be_so() -> None:
    """It is there, and too large to be taken in: to wait for it in silence would be for ever."""
    world = World()
    operator = world.operator()
    del operator.cache.deployments[KEY]
    large = TooLarge(FailureKind.UNAVAILABLE, "the answer takes more than 24 MiB of memory")
    world.workloads.fail_next("inspect", large, large)

    await operator.reconcile(KEY)

    assert world.condition(ConditionType.READY) == ("False", Reason.TARGET_NOT_FOUND)
    assert "24 MiB" in str(world.status)


async def test_a_policy_deleted_half_way_leaves_nothing_half_done() -> None:
    world = World()
    world.workloads.fail_next("set_strategy", OUTAGE)
    operator = world.operator()
    await operator.reconcile(KEY)
    assert world.workloads.workload.deployment.max_surge == "100%"
    operator.cache.drop_policy(KEY)
    world.store.policies.clear()

    while not world.is_over():
        world.seconds += 20
        assert world.seconds < 3000
        await operator.reconcile(KEY)

    assert world.workloads.workload.deployment.max_surge == "25%"
    assert world.rollback.status.outcome is Outcome.UNKNOWN
    assert world.rollback.metadata.finalizers == []


async def test_an_intent_of_a_deleted_policy_is_abandoned_before_its_first_step() -> None:
    world = World(policy=None)
    world.store.hold(decided())

    await world.operator().reconcile(KEY)

    assert world.rollback.status.outcome is Outcome.ABANDONED
    assert complete(world.rollback) == Reason.POLICY_DELETED
    assert "undo" not in world.journal


async def test_a_policy_suspended_half_way_ends_what_it_began() -> None:
    world = World()
    world.workloads.fail_next("set_strategy", OUTAGE)
    operator = world.operator()
    await operator.reconcile(KEY)
    suspend(world, operator)

    world.seconds += 2
    await operator.reconcile(KEY)

    assert world.workloads.workload.deployment.max_surge == "25%"
    assert world.condition(ConditionType.READY) == ("True", Reason.SUSPENDED)


async def test_a_suspended_policy_begins_nothing() -> None:
    world = World()
    operator = world.operator()
    suspend(world, operator)

    assert await operator.reconcile(KEY) is None

    assert world.workloads.calls == ["write_policy"]


def suspend(world: World, operator: Reconciler) -> None:
    known = world.store.policies[NAME]
    spec = known.spec.model_copy(update={"suspend": True})
    world.store.policies[NAME] = changed = known.model_copy(update={"spec": spec})
    operator.cache.remember(changed)


async def test_no_finalizer_is_left_on_when_the_policy_is_gone() -> None:
    world = World(policy=None)
    made = decided()
    kept = made.metadata.model_copy(update={"finalizers": [FINALIZER]})
    world.store.hold(made.model_copy(update={"metadata": kept}))
    world.store.fail_next("release_rollback", OUTAGE, OUTAGE)
    operator = world.operator()

    waits = [await operator.reconcile(KEY) for _ in range(3)]

    assert waits == [RETRY_SECONDS, RETRY_SECONDS, None]
    assert world.rollback.status.outcome is Outcome.ABANDONED
    assert world.rollback.metadata.finalizers == []


# -- Rollbacks of others ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "end"),
    [
        pytest.param("by-hand", (Outcome.FAILED, Reason.NOT_OF_THIS_POLICY), id="any name"),
        pytest.param(
            None, (Outcome.ABANDONED, Reason.POLICY_DELETED), id="the operator's name for it"
        ),
    ],
)
async def test_a_rollback_made_by_hand_is_not_carried_out(
    name: str | None, end: tuple[Outcome, Reason]
) -> None:
    world = World(bad=frozenset())
    made = make_rollback(policy_ref={"name": NAME, "uid": "made-up"})
    metadata = made.metadata.model_copy(update={"name": name or name_of(made.spec)})
    world.store.hold(made.model_copy(update={"metadata": metadata}))

    await world.operator().reconcile(KEY)

    assert (world.rollback.status.outcome, complete(world.rollback)) == end
    assert "undo" not in world.journal


async def test_the_rollback_of_another_policy_is_left_to_it() -> None:
    world = World(bad=frozenset())
    world.store.hold(begun(policy_ref={"name": "another", "uid": "policy-another"}))

    await world.operator().reconcile(KEY)

    assert world.rollback.status.outcome is None
    assert "undo" not in world.journal


async def test_a_finalizer_left_by_a_crash_is_taken_off() -> None:
    world = World(bad=frozenset())
    ended = decided().model_copy(update={"status": make_ended()})
    finalizers = {"finalizers": [FINALIZER]}
    metadata = ended.metadata.model_copy(update=finalizers)
    world.store.hold(ended.model_copy(update={"metadata": metadata}))

    await world.operator().reconcile(KEY)

    assert world.rollback.metadata.finalizers == []


async def test_old_records_are_pruned_the_newest_kept() -> None:
    world = World()
    raised = AutoscalerRecord(
        min_replicas=2, max_replicas=4, raised_min_replicas=6, raised_max_replicas=6
    )
    for number in range(KEPT + 4):
        past = make_rollback(
            f"old-{number:02}",
            make_ended(finished=-90_000),
            trigger=make_trigger_record(decided_time=at(-100_000 - number)),
        )
        world.store.hold(past)
    left = past.status.model_copy(update={"autoscaler": raised, "outcome": Outcome.UNKNOWN})
    plan = AutoscalerPlan(name="hpa", uid="hpa-uid", restore_after_seconds=3600)
    spec = past.spec.model_copy(update={"autoscaler": plan})
    world.store.hold(past.model_copy(update={"status": left, "spec": spec}))
    world.autoscalers.fail_next("look_at_autoscaler", *[OUTAGE] * 100)
    operator = world.operator()

    await world.run(operator, lambda: len(world.store.rollbacks) <= KEPT + 2)

    assert "old-00" in world.store.rollbacks
    # What is still to be put back is on record there, and nowhere else.
    assert past.metadata.name in world.store.rollbacks
    assert f"old-{KEPT + 2:02}" not in world.store.rollbacks


# -- what is told ----------------------------------------------------------------------------------


async def test_a_status_is_written_once_and_not_again_while_nothing_changes() -> None:
    world = World(bad=frozenset())
    operator = world.operator()
    for _ in range(3):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 5
    written = world.store.writes.count("write_policy")

    for _ in range(5):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 5

    assert world.store.writes.count("write_policy") == written
    assert world.status.verdict is VerdictValue.WATCHING


async def test_a_policy_that_cannot_be_read_is_told_so_once() -> None:
    world = World()
    operator = world.operator()
    metadata = ObjectMeta(name=NAME, namespace=NAMESPACE, resource_version="1", generation=2)
    said = "spec.mode: Input should be 'Observe' or 'Enforce'"
    operator.cache.policies[KEY] = Unreadable(metadata, said, RollbackPolicyStatus())

    assert await operator.reconcile(KEY) is None
    assert world.condition(ConditionType.READY) == ("False", Reason.INVALID_SPEC)
    known = world.store.policies[NAME]
    metadata = known.metadata.model_copy(update={"generation": 2})
    operator.cache.policies[KEY] = Unreadable(metadata, said, known.status)
    await operator.reconcile(KEY)

    assert world.store.writes == ["write_policy"]


@pytest.mark.parametrize("failure", [CONFLICT, OUTAGE], ids=lambda one: one.kind)
async def test_what_cannot_be_told_of_an_unreadable_policy_is_told_later(failure: Failure) -> None:
    world = World()
    operator = world.operator()
    metadata = world.store.policies[NAME].metadata
    operator.cache.policies[KEY] = Unreadable(metadata, "spec.mode: ...", RollbackPolicyStatus())
    world.store.fail_next("write_policy", failure)

    assert await operator.reconcile(KEY) is not None
    assert await operator.reconcile(KEY) is None

    assert world.condition(ConditionType.READY) == ("False", Reason.INVALID_SPEC)


async def test_who_asks_by_a_policy_that_cannot_be_read_is_told_the_field() -> None:
    world = World()
    world.store.hold(make_request())
    operator = world.operator()
    metadata = world.store.policies[NAME].metadata
    said = "spec.safety.freeze.0.timeZone: Europe is not a known time zone; example: Europe/Berlin"
    operator.cache.policies[KEY] = Unreadable(metadata, said, RollbackPolicyStatus())

    await operator.reconcile(KEY)

    (request,) = world.store.requests.values()
    assert request.status.outcome is Outcome.REFUSED
    found = find(request.status.conditions, ConditionType.COMPLETE)
    assert found is not None
    assert (found.reason, found.message) == (Reason.INVALID_SPEC, said)


async def test_a_missing_target_is_told_with_the_field_at_fault() -> None:
    world = World()
    operator = world.operator()
    operator.cache.deployments.clear()
    world.workloads.fail_next("inspect", GONE, GONE)

    assert await operator.reconcile(KEY) is None
    await operator.reconcile(KEY)

    assert world.condition(ConditionType.READY) == ("False", Reason.TARGET_NOT_FOUND)
    found = find(world.status.conditions, ConditionType.READY)
    assert found is not None
    assert "spec.targetRef.name" in found.message
    assert world.store.writes.count("write_policy") == 1


async def test_credentials_that_are_not_there_are_told_before_a_release_needs_them() -> None:
    ref = {"name": "prometheus", "key": "token"}
    world = World(watched(make_policy(prometheus={"bearerTokenSecretRef": ref})))
    world.credentials.said = "spec.prometheus.bearerTokenSecretRef: there is no Secret prometheus"
    world.seconds = 100_000.0
    operator = world.operator()

    again = await operator.reconcile(KEY)

    assert world.condition(ConditionType.READY) == ("False", Reason.CREDENTIALS_UNAVAILABLE)
    found = find(world.status.conditions, ConditionType.READY)
    assert found is not None
    assert found.message.startswith(world.credentials.said)
    assert again is not None
    assert again <= 60

    world.credentials.said = ""
    world.seconds += again
    await operator.reconcile(KEY)
    assert world.condition(ConditionType.READY) == ("True", Reason.WATCHING_TARGET)


async def test_an_address_that_is_not_allowed_is_never_read() -> None:
    world = World(watched(make_policy(prometheus={"url": "http://elsewhere"})))

    await world.operator().reconcile(KEY)

    assert world.condition(ConditionType.READY) == ("False", Reason.ADDRESS_NOT_ALLOWED)
    assert world.metrics.queries == []
    assert world.metrics.clock_reads == 0


async def test_the_younger_of_two_policies_on_a_target_stands_back() -> None:
    world = World()
    operator = world.operator()
    older = make_policy("older")
    created = older.metadata.model_copy(update={"creation_timestamp": at(-90_000)})
    operator.cache.remember(older.model_copy(update={"metadata": created}))

    await operator.reconcile(KEY)

    assert world.condition(ConditionType.READY) == ("False", Reason.TARGET_ALREADY_WATCHED)
    assert not world.store.rollbacks


async def test_what_the_older_of_two_policies_has_found_bad_stays_so_when_it_is_deleted() -> None:
    world = World(bad=frozenset())
    operator = world.operator()
    found = Condemnation(time=at(0), message="P3: slow", severity=MatrixSeverity.P3)
    bad = make_entry("v2", Health.BAD, reason="P3: slow", condemned=found)
    older = make_policy("older")
    created = older.metadata.model_copy(update={"creation_timestamp": at(-90_000)})
    status = RollbackPolicyStatus(revision=bad, revisions=[bad, make_entry("v1")])
    older = older.model_copy(update={"metadata": created, "status": status})
    operator.cache.remember(older)
    await operator.reconcile(KEY)

    operator.cache.drop_policy(older.key)
    operator = world.operator()  # with what is on record, and nothing else
    for _ in range(3):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 5

    assert world.condition(ConditionType.READY) == ("True", Reason.WATCHING_TARGET)
    healths = {one.number: one.health for one in world.status.revisions}
    assert healths == {2: Health.BAD, 1: Health.GOOD}
    assert not world.store.rollbacks


def complete(rollback: Rollback) -> str:
    found = find(rollback.status.conditions, ConditionType.COMPLETE)
    assert found is not None
    return found.reason


async def test_a_policy_that_was_deleted_unseen_is_forgotten_before_anything_is_done() -> None:
    world = World(seconds=2)
    operator = world.operator()
    world.store.policies.clear()

    for _ in range(20):
        world.tell(operator)
        await operator.reconcile(KEY)
        world.seconds += 2

    assert operator.cache.policies == {}
    assert world.store.rollbacks == {}
    assert "undo" not in world.journal


def decided_by_another_policy(**changes: Any) -> Rollback:
    """Return a Verified undo from v2 to v1 of a policy that is gone."""
    spec = {"policy_ref": PolicyRef(name="before", uid="another-policy"), **changes}
    end = RollbackEnd(Outcome.VERIFIED, Reason.RECOVERED, "it helped")
    acted = make_rollback(status=RollbackStatus(steps=[make_step(StepName.UNDO, 0, 30)]))
    status = rollback_status.ended(acted, end, at(60))
    return make_rollback("before-0123456789", status, **spec)


ELSEWHERE = RollbackTarget(name=NAME, uid="another-deployment")


@pytest.mark.parametrize(
    ("made", "kept", "recovered"),
    [
        (decided_by_another_policy(), ["release-v2"], "True"),
        (decided_by_another_policy(target_ref=ELSEWHERE), [], "Unknown"),
    ],
    ids=["of this Deployment", "of another Deployment"],
)
async def test_a_policy_under_another_name_frees_no_release(
    made: Rollback, kept: list[str], recovered: str
) -> None:
    world = World(bad=frozenset(), seconds=600)
    world.workloads.workload = make_workload("v1", ("v2",))
    operator = world.operator()
    operator.cache.remember(made)

    for _ in range(3):
        await operator.reconcile(KEY)
        world.seconds += 5

    assert [entry.release for entry in world.status.quarantine] == kept
    assert world.condition(ConditionType.RECOVERED)[0] == recovered
    written = world.journal.count("write_policy")
    await operator.reconcile(KEY)
    assert world.journal.count("write_policy") == written


async def test_the_younger_of_two_policies_lists_the_same_quarantine() -> None:
    world = World(bad=frozenset())
    operator = world.operator()
    entry = QuarantineEntry(rollback="gone", release="release-v0", until_time=at(9_000))
    older = make_policy("older")
    created = older.metadata.model_copy(update={"creation_timestamp": at(-90_000)})
    status = RollbackPolicyStatus(revisions=[make_entry("v1")], quarantine=[entry])
    operator.cache.remember(older.model_copy(update={"metadata": created, "status": status}))

    await operator.reconcile(KEY)
    written = world.journal.count("write_policy")
    await operator.reconcile(KEY)

    assert world.status.quarantine == [entry]
    assert world.journal.count("write_policy") == written
