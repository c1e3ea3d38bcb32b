"""Traffic that is stopped for a rollback: recorded first, restored as it was, whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationOrder, MigrationRecord
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import TrafficPlan
from rollback_operator.api.v1alpha1 import (
    TRAFFIC_FINALIZER,
    Outcome,
    PrometheusSpec,
    Remedy,
    RemedyType,
    Rollback,
    RollbackPolicy,
    SignalName,
    StepName,
    TrafficStop,
)
from rollback_operator.api.verification import DamageQuery, VerificationSpec
from rollback_operator.model.conditions import find
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import Applied, Migration
from rollback_operator.model.services import STOP_LABEL
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.act.execution import Again
from rollback_operator.remedies import progress, stopped_traffic
from rollback_operator.remedies.attempts import is_unbegun
from rollback_operator.remedies.steps import steps_of
from rollback_operator.rollback.integrity import QueryFailure, QueryRows
from tests.builders import (
    UNDO,
    at,
    make_ended,
    make_pods,
    make_policy,
    make_replica_set,
    make_rollback,
    make_trigger_record,
    make_workload,
)
from tests.carrying import Carried
from tests.fakes.failures import CONFLICT, GONE, OUTAGE, REFUSAL, Crash
from tests.world import KEY, watched
from tests.world import World as Whole

DAMAGE = DamageQuery(name="invalid-tickets", query="SELECT id FROM tickets")
REPLICAS = TrafficPlan(stop=TrafficStop.REPLICAS, assess=[DAMAGE])
SERVICE = TrafficPlan(stop=TrafficStop.SERVICE, service="shop")
TO_ZERO = Remedy(type=RemedyType.SCALE, replicas=0)
DATABASE = DatabaseSpec.model_validate({"connectionSecretRef": {"name": "ticket-db"}})


def stopping(plan: TrafficPlan = REPLICAS, **changes: Any) -> Rollback:
    fields = {
        "verification": VerificationSpec(timeout_seconds=10),
        "trigger": make_trigger_record(signal=SignalName.INTEGRITY),
    }
    return make_rollback(traffic=plan, **(fields | changes))


@dataclass
class World(Carried):
    rollback: Rollback = field(default_factory=stopping)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schemas.found = Applied((Migration("001_begin", at(-100_000)),))

    def target(self) -> Workload:
        sets = (
            make_replica_set("v2", labels=(("app", "shop"),)),
            make_replica_set("v1", labels=(("app", "shop"),)),
        )
        return make_workload(pods=make_pods(), replica_sets=sets)

    def policy_of(self, _: Rollback) -> RollbackPolicy:
        return make_policy(database=DATABASE)

    async def settle(self) -> float | None:
        traffic = self.executor.actor.traffic
        traffic.due.clear()
        return await traffic.settle([self.stored])

    def with_metadata(self, **changes: Any) -> None:
        metadata = self.stored.metadata.model_copy(update=changes)
        self.store.hold(self.stored.model_copy(update={"metadata": metadata}))

    def is_asked(self) -> None:
        """A person runs `kubectl rollback resume`."""
        self.with_metadata(annotations={stopped_traffic.RESTORE_TRAFFIC: "requested"})

    @property
    def replicas(self) -> int:
        return self.workloads.workload.deployment.replicas

    @property
    def runs(self) -> str:
        return self.workloads.workload.deployment.template.digest

    def done(self) -> list[str]:
        return [step.name for step in self.stored.status.steps if step.finished_time]


def why(rollback: Rollback, kind: ConditionType = ConditionType.COMPLETE) -> str:
    found = find(rollback.status.conditions, kind)
    return "" if found is None else found.reason


# -- the order -------------------------------------------------------------------------------------


async def test_traffic_stops_before_anything_else_and_comes_back_before_the_rollout() -> None:
    world = World()
    before = world.replicas

    await world.last()

    assert world.done()[:5] == [
        StepName.STOP_TRAFFIC,
        StepName.ASSESS_DAMAGE,
        StepName.UNDO,
        StepName.RESTORE_TRAFFIC,
        StepName.ROLLOUT_COMPLETE,
    ]
    acts = [one for one in world.journal if one in ("set_replicas", "undo")]
    assert acts == ["set_replicas", "undo", "set_replicas"]
    assert (world.replicas, world.runs) == (before, "digest-v1")
    assert TRAFFIC_FINALIZER in world.stored.metadata.finalizers
    assert await world.settle() is None
    assert TRAFFIC_FINALIZER not in world.stored.metadata.finalizers
    assert why(world.stored, ConditionType.TRAFFIC_STOPPED) == Reason.TRAFFIC_RESTORED
    assert world.store.told()[1:3] == ["TrafficStopped", "TrafficRestored"]


async def test_a_service_gets_its_pods_back_after_the_rollout() -> None:
    world = World(stopping(SERVICE))
    before = world.selectors.selected

    await world.last()

    assert world.done()[:4] == [
        StepName.STOP_TRAFFIC,
        StepName.UNDO,
        StepName.ROLLOUT_COMPLETE,
        StepName.RESTORE_TRAFFIC,
    ]
    acts = [one for one in world.journal if one in ("set_mark", "undo", "drop_mark")]
    assert acts == ["set_mark", "undo", "drop_mark"]
    assert world.selectors.selected == before
    assert "set_replicas" not in world.journal


async def test_what_was_before_is_stored_before_it_is_changed() -> None:
    world = World()

    await world.carry_on()

    calls = list(world.journal)
    act = calls.index("set_replicas")
    assert calls[act - 2 : act] == ["guard_traffic", "write_rollback"]
    record = world.stored.status.traffic
    assert record is not None
    assert record.replicas == 4


async def test_a_crash_at_any_call_neither_loses_nor_repeats_anything() -> None:
    for plan in (REPLICAS, SERVICE):
        rehearsal = World(stopping(plan))
        await rehearsal.last()
        for crash_at in range(len(rehearsal.journal)):
            world = World(stopping(plan))
            world.journal.crash_at = crash_at
            try:
                await world.last()
            except Crash:
                world.executor = world.operator()
                await world.last()
            assert (world.replicas, world.runs) == (4, "digest-v1"), crash_at
            assert world.selectors.selected.mark == "", crash_at
            assert world.journal.count("undo") == 1, crash_at
            assert world.store.told().count("RollbackStarted") >= 1


def migrating(onNewerSchema: str = "RollbackMigrations", **more: Any) -> RollbackPolicy:  # noqa: N803
    database = DatabaseSpec.model_validate(
        {
            "connectionSecretRef": {"name": "ticket-db"},
            "onNewerSchema": onNewerSchema,
            "rollbackMigrations": {"job": {"command": ["down"]}, "backup": {"required": False}},
            "onCorruption": {"assess": [{"name": "invalid", "query": "SELECT 1"}]},
        }
        | more
    )
    return make_policy(database=database)


@pytest.mark.parametrize(
    ("policy", "signal", "expected"),
    [
        pytest.param(migrating(), None, [], id="migrations may need it"),
        pytest.param(migrating(), SignalName.INTEGRITY, ["invalid"], id="damage"),
        pytest.param(migrating("Block", rollbackMigrations=None), None, None, id="neither"),
        pytest.param(migrating(onCorruption=None), None, None, id="not declared"),
    ],
)
def test_the_stop_that_the_policy_declares_is_planned(
    policy: RollbackPolicy, signal: SignalName | None, expected: list[str] | None
) -> None:
    plan = stopped_traffic.planned(policy, UNDO, signal)
    assert (None if plan is None else [each.name for each in plan.assess]) == expected
    scale = Remedy(type=RemedyType.SCALE, replicas=6)
    assert stopped_traffic.planned(policy, scale, signal) is None


@pytest.mark.parametrize("order", [None, *MigrationOrder])
def test_traffic_of_a_healthy_database_stops_only_where_no_release_fits_the_schema(
    order: MigrationOrder | None,
) -> None:
    plan = TrafficPlan(stop=TrafficStop.REPLICAS)
    spec = stopping(plan, trigger=make_trigger_record()).spec
    migrations = (
        MigrationRecord(names=["002"], applied=2, order=order) if order is not None else None
    )
    steps = steps_of(spec, migrations)
    is_needed = order is MigrationOrder.TRAFFIC_STOPPED
    assert (StepName.STOP_TRAFFIC in steps, StepName.RESTORE_TRAFFIC in steps) == (is_needed,) * 2
    if is_needed:
        begin = [StepName.STOP_TRAFFIC, StepName.BACKUP, StepName.MIGRATE_DOWN, StepName.UNDO]
        assert list(steps)[:4] == begin


# -- obstacles -------------------------------------------------------------------------------------


async def test_pods_that_do_not_stop_are_waited_for_and_then_given_up() -> None:
    world = World()
    world.workloads.lingering = make_pods(1)

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.FAILED, Reason.TRAFFIC_NOT_STOPPED)
    assert (world.runs, world.replicas) == ("digest-v2", 0)
    assert "undo" not in world.journal
    # The bad release would go on with what it did: a person decides.
    assert await world.settle() == stopped_traffic.TRAFFIC_POLL_SECONDS
    world.is_asked()
    assert await world.settle() is None
    assert world.replicas == 4


async def test_a_service_that_is_gone_at_the_stop_is_named() -> None:
    world = World(stopping(SERVICE))
    world.selectors.fail_next("set_mark", GONE)
    take = world.selectors.take

    def gone(call: str) -> Failure | None:
        failure = take(call)
        if failure is not None:
            world.selectors.fail_next("read_selector", *[GONE] * 9)
        return failure

    world.selectors.take = gone

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.FAILED, Reason.TRAFFIC_NOT_STOPPED)
    complete = find(done.status.conditions, ConditionType.COMPLETE)
    assert complete is not None
    assert "Service shop does not exist" in complete.message


async def test_a_service_that_another_rollback_has_stopped_is_waited_for() -> None:
    world = World(stopping(SERVICE))
    own = world.selectors.selected
    labels = {**own.original, STOP_LABEL: "another"}
    world.selectors.selected = replace(own, selector=tuple(sorted(labels.items())))
    assert isinstance(await world.carry_on(), Again)
    assert world.stored.status.traffic is None
    world.selectors.selected = own

    done = await world.last()

    assert world.runs == "digest-v1"
    assert done.status.traffic is not None
    assert done.status.traffic.selector == "app=shop"


async def test_a_pause_keeps_stopped_traffic_from_nothing_but_the_undo() -> None:
    world = World()
    world.workloads.lingering = make_pods(1)
    await world.carry_on()
    await world.carry_on()
    assert stopped_traffic.is_reported(world.stored)
    workload = world.workloads.workload
    paused = replace(workload.deployment, paused=True)
    world.workloads.workload = replace(workload, deployment=paused)
    world.seconds += 5
    await world.carry_on()
    assert world.done() == []
    world.workloads.workload = replace(workload, deployment=paused, pods=())
    await world.carry_on()
    assert world.done() == [StepName.STOP_TRAFFIC, StepName.ASSESS_DAMAGE]

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.ABANDONED, Reason.TARGET_PAUSED)
    assert not is_unbegun(done), "another attempt would take 0 replicas for those before"
    assert stopped_traffic.is_open(done)


async def test_a_failed_pod_that_stays_on_record_is_not_waited_for() -> None:
    world = World()
    world.workloads.lingering = make_pods(1, terminating=True, started=None)

    await world.last()

    assert (world.replicas, world.runs) == (4, "digest-v1")


async def test_a_refused_stop_ends_it_and_nothing_is_left_to_be_restored() -> None:
    world = World()
    world.workloads.fail_next("set_replicas", *[REFUSAL] * 20)

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.FAILED, Reason.STEP_REFUSED)
    message = find(done.status.conditions, ConditionType.COMPLETE)
    assert message is not None
    assert "traffic.namespaces" in message.message
    assert await world.settle() is None
    assert (world.replicas, world.runs) == (4, "digest-v2")


async def test_an_outage_at_either_change_is_waited_out() -> None:
    world = World()
    world.workloads.fail_next("set_replicas", OUTAGE, CONFLICT)

    await world.last()

    assert (world.replicas, world.runs) == (4, "digest-v1")


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"selector": (("app", "another"),)}, {"selector": ()}],
    ids=["gone", "of other pods", "of no pods"],
)
async def test_a_service_of_others_is_left_alone(changes: dict[str, Any]) -> None:
    name = str(changes.pop("name", "shop"))
    world = World(stopping(SERVICE.model_copy(update={"service": name})))
    world.selectors.selected = replace(world.selectors.selected, **changes)

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.FAILED, Reason.TRAFFIC_NOT_STOPPED)
    assert "set_mark" not in world.journal


async def test_a_release_that_somebody_rolls_out_meanwhile_gets_the_traffic() -> None:
    world = World()
    world.workloads.lingering = make_pods(1)
    await world.carry_on()
    assert world.replicas == 0
    deployment = world.workloads.workload.deployment
    fixed = replace(deployment.template, digest="digest-v3", release="release-v3")
    world.workloads.workload = replace(
        world.workloads.workload, deployment=replace(deployment, template=fixed)
    )

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.ABANDONED, Reason.TARGET_MOVED)
    assert await world.settle() is None
    assert (world.replicas, world.runs) == (4, "digest-v3")


@pytest.mark.parametrize("count", [0, 2], ids=["zero", "two"])
async def test_replicas_that_somebody_sets_meanwhile_stay(count: int) -> None:
    world = World()
    world.workloads.lingering = make_pods(1)
    await world.carry_on()
    deployment = replace(world.workloads.workload.deployment, replicas=count, is_stopped=False)
    world.workloads.workload = replace(
        world.workloads.workload, deployment=deployment, pods=make_pods(1)
    )
    done = await world.last()
    world.is_asked()

    assert (done.status.outcome, why(done)) == (Outcome.FAILED, Reason.TRAFFIC_CHANGED)
    assert await world.settle() is None
    assert (world.replicas, world.runs) == (count, "digest-v2")
    assert why(world.stored, ConditionType.TRAFFIC_STOPPED) == Reason.TRAFFIC_CHANGED
    assert world.store.told()[-1] == "TrafficLeft"


async def test_a_deleted_rollback_restores_the_traffic_first() -> None:
    world = World()
    world.workloads.lingering = make_pods(1)
    await world.last()
    world.with_metadata(deletion_timestamp=world.now())

    assert await world.settle() is None

    assert world.replicas == 4
    assert world.store.rollbacks == {}


@pytest.mark.parametrize("is_suspended", [True, False], ids=["suspended", "unusable"])
async def test_a_deleted_rollback_is_settled_once_in_a_pass(is_suspended: bool) -> None:
    elsewhere = PrometheusSpec(url="http://elsewhere.example.com:9090")
    idle = {"suspend": True} if is_suspended else {"prometheus": elsewhere}
    whole = Whole(policy=watched(make_policy(**idle)))
    stored = stopping(status=make_ended(Outcome.FAILED))
    changes = {"deletion_timestamp": whole.now(), "finalizers": [TRAFFIC_FINALIZER]}
    metadata = stored.metadata.model_copy(update=changes)
    whole.store.hold(stored.model_copy(update={"metadata": metadata}))
    whole.store.fail_next("release_traffic", *[OUTAGE] * 9)

    await whole.operator().reconcile(KEY)

    assert whole.journal.count("release_traffic") == 1


async def test_an_older_stop_does_not_end_a_newer_one() -> None:
    """Somebody has set replicas again since, and the release was stopped anew."""
    world = World()
    world.workloads.lingering = make_pods(1)
    older = await world.last()
    meta = older.metadata
    changes = {"name": "newer", "uid": "uid-newer", "creation_timestamp": at(600)}
    newer = older.model_copy(update={"metadata": meta.model_copy(update=changes)})
    world.store.hold(newer)
    # What the older Rollback stopped no longer runs.
    deployment = world.workloads.workload.deployment
    third = replace(deployment.template, digest="digest-v3", release="release-v3")
    world.workloads.workload = replace(
        world.workloads.workload, deployment=replace(deployment, template=third)
    )

    traffic = world.executor.actor.traffic
    assert await traffic.settle([older]) is None

    assert world.replicas == 0
    kind = ConditionType.TRAFFIC_STOPPED
    assert why(world.store.rollbacks[meta.name], kind) == Reason.TRAFFIC_CHANGED
    assert stopped_traffic.superseded(newer, [older, newer]) is None


async def test_a_deployment_that_is_gone_leaves_nothing_to_restore_but_the_service() -> None:
    for plan in (REPLICAS, SERVICE):
        world = World(stopping(plan))
        world.workloads.fail_next("undo", *[REFUSAL] * 20)
        await world.last()
        world.workloads.fail_next("inspect", GONE)

        assert await world.settle() is None

        assert world.selectors.selected.mark == ""
        assert not stopped_traffic.is_open(world.stored)


async def test_stopped_traffic_is_never_too_old_to_go_on() -> None:
    world = World()
    await world.carry_on()
    assert world.replicas == 0
    world.seconds += 10 * progress.LEAST_BOUND_SECONDS

    await world.last()

    assert (world.replicas, world.runs) == (4, "digest-v1")


# -- the damage ------------------------------------------------------------------------------------


async def test_the_damage_is_stored_while_the_traffic_is_stopped() -> None:
    world = World()
    rows = tuple(f'{{"id":{number}}}' for number in range(11))
    world.schemas.answers = {DAMAGE.name: QueryRows(rows, is_whole=False)}

    done = await world.last()

    (found,) = done.status.assessment
    assert (found.rows, found.message) == (list(rows[:10]), "there are more rows")
    assert world.schemas.asked == [(DAMAGE.name,)]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (Missing(Reason.SCHEMA_UNKNOWN, "the connection was refused"), "connection was refused"),
        ({DAMAGE.name: QueryFailure("column does not exist")}, "column does not exist"),
    ],
    ids=["no database", "a wrong query"],
)
async def test_a_database_without_an_answer_does_not_keep_the_service_down(
    answers: Any, said: str
) -> None:
    world = World()
    world.schemas.answers = answers

    done = await world.last()

    (found,) = done.status.assessment
    assert said in found.message
    assert (world.replicas, world.runs) == (4, "digest-v1")
    assert world.seconds < 20 + 2 * stopped_traffic.ASSESSMENT_SECONDS + 200


# -- zero and back ---------------------------------------------------------------------------------


async def test_a_scale_to_zero_stays_until_a_person_asks() -> None:
    plan = TrafficPlan(stop=TrafficStop.REPLICAS)
    world = World(stopping(plan, remedy=TO_ZERO, to_revision=None))

    done = await world.last()

    assert (done.status.outcome, why(done)) == (Outcome.UNKNOWN, Reason.TRAFFIC_STOPPED)
    assert world.done() == [StepName.STOP_TRAFFIC]
    assert world.replicas == 0
    assert await world.settle() == stopped_traffic.TRAFFIC_POLL_SECONDS
    world.is_asked()
    assert await world.settle() is None
    assert world.replicas == 4


@pytest.mark.parametrize("away", [0, 3600])
@pytest.mark.parametrize(
    ("plan", "write"),
    [(REPLICAS, "set_replicas"), (SERVICE, "drop_mark")],
    ids=["replicas", "mark"],
)
async def test_the_traffic_is_not_given_back_to_a_release_that_was_put_back(
    plan: TrafficPlan, write: str, away: int
) -> None:
    rehearsal = World(stopping(plan))
    await rehearsal.last()
    calls = list(rehearsal.journal)
    world = World(stopping(plan))
    world.journal.crash_at = len(calls) - 1 - calls[::-1].index(write)
    with pytest.raises(Crash):
        await world.last()
    workload = world.workloads.workload
    (bad,) = (each for each in workload.replica_sets if each.template.digest == "digest-v2")
    deployment = replace(
        workload.deployment,
        template=bad.template,
        revision=workload.deployment.revision + 1,
        changed_by="argocd",
    )
    world.workloads.workload = replace(workload, deployment=deployment)

    world.seconds += away
    world.executor = world.operator()
    await world.last()

    assert world.stored.status.outcome is Outcome.FAILED
    assert stopped_traffic.is_open(world.stored)
    stopped = world.replicas == 0 if plan is REPLICAS else world.selectors.selected.mark != ""
    assert stopped


async def test_the_record_follows_the_replicas_until_the_stop() -> None:
    world = World()
    world.workloads.fail_next("set_replicas", CONFLICT)
    await world.carry_on()
    workload = world.workloads.workload
    ten = dict.fromkeys(("replicas", "updated", "total", "available"), 10)
    world.workloads.workload = replace(workload, deployment=replace(workload.deployment, **ten))

    await world.last()

    assert world.replicas == 10
