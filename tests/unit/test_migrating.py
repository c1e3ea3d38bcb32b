"""Migrations rolled back for a rollback: once, in order, proved by the history, whatever dies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import DataLoss, MigrationOrder
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import TrafficPlan
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Rollback,
    RollbackPolicy,
    StepName,
    TrafficStop,
)
from rollback_operator.api.verification import VerificationSpec
from rollback_operator.model.conditions import find
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import (
    Applied,
    DirtyReason,
    DirtySchema,
    Migration,
    UnknownSchema,
)
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.jobs import JobOrder, JobPhase, JobState
from rollback_operator.reconcile.act.checking import LOSS_KNOWN_SECONDS
from rollback_operator.reconcile.act.execution import Again
from rollback_operator.reconcile.act.migrating import PATIENCE_SECONDS
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.database.migrations import HalfWay, LossReport, StatementFault
from tests.builders import (
    at,
    make_pods,
    make_policy,
    make_replica_set,
    make_rollback,
    make_template,
    make_workload,
)
from tests.carrying import Carried
from tests.fakes.database import without
from tests.fakes.failures import Crash
from tests.unit.remedies.test_migrations import JOB, SQL, database

BACKUP = {"backup": {"job": {"command": ["pg_dump"]}}}
RUNS = {"name": "003_seats", "newReleaseRuns": True}
BY_JOB = database({**JOB, **BACKUP}, RUNS)
BY_SQL = database({**SQL, **BACKUP}, {**RUNS, "sql": "ALTER TABLE tickets DROP COLUMN seat"})
OLD, NEW = Migration("002_shows", at(-90_000)), Migration("003_seats", at(5))
DOWN = Missing(Reason.SCHEMA_UNKNOWN, "the connection was refused")


@dataclass
class World(Carried):
    """A rollback across a migration that came with the bad release."""

    database: DatabaseSpec = BY_JOB
    spec: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        terms = VerificationSpec(timeout_seconds=10)
        self.rollback = make_rollback(database=self.database, verification=terms, **self.spec)
        super().__post_init__()
        self.schemas.found = Applied((OLD, NEW))
        self.jobs.run = self.undoes

    def policy_of(self, _: Rollback) -> RollbackPolicy:
        return make_policy(database=self.database)

    def undoes(self, order: JobOrder) -> JobPhase:
        """Do what the Job of the release is for."""
        if "down" in order.command:
            self.schemas.found = without(self.schemas.found, "003_seats")
        return JobPhase.SUCCEEDED

    def said(self) -> tuple[str, str]:
        found = find(self.stored.status.conditions, ConditionType.COMPLETE)
        assert found is not None
        return found.reason, found.message

    def steps(self) -> list[StepName]:
        return [one.name for one in self.stored.status.steps]


EACH_WAY = pytest.mark.parametrize("way", [BY_JOB, BY_SQL], ids=["job", "sql"])


@EACH_WAY
async def test_backup_schema_application_in_this_order_each_once(way: DatabaseSpec) -> None:
    world = World(database=way)

    await world.until_end()

    assert world.steps()[:3] == [StepName.BACKUP, StepName.MIGRATE_DOWN, StepName.UNDO]
    acts = [one for one in world.journal if one in ("create_job", "roll_back", "undo")]
    assert acts == ["create_job", "create_job" if way is BY_JOB else "roll_back", "undo"]
    assert isinstance(world.schemas.found, Applied)
    assert world.schemas.found.migrations == (OLD,)
    record = world.stored.status.migrations
    assert record is not None
    assert (record.names, record.undone) == (["003_seats"], ["003_seats"])
    backup = world.jobs.orders[0]
    assert (backup.replica_set, backup.owner.uid) == (
        world.stored.spec.from_revision.replica_set,
        world.stored.metadata.uid,
    )
    assert backup.environment == {"STEPS": "1"}


@EACH_WAY
async def test_killed_before_any_call_the_next_operator_goes_on(way: DatabaseSpec) -> None:
    rehearsal = World(database=way)
    await rehearsal.until_end()
    quiet = len(rehearsal.journal)

    for crash_at in range(quiet):
        world = World(database=way)
        world.journal.crash_at = crash_at
        try:
            await world.until_end()
        except Crash:
            world.executor = world.operator()
            await world.until_end()
        jobs = 2 if way is BY_JOB else 1
        assert world.journal.count("create_job") == len(world.jobs.orders) == jobs, crash_at
        assert world.changes.done == (way is BY_SQL), crash_at
        assert world.journal.count("undo") == 1, crash_at
        assert isinstance(world.schemas.found, Applied)
        assert world.schemas.found.migrations == (OLD,)
        assert world.stored.status.outcome is rehearsal.stored.status.outcome


async def test_a_job_whose_creation_was_not_answered_is_found_by_its_name() -> None:
    world = World()
    name = migrations.job_name(world.stored, StepName.BACKUP)
    world.jobs.states[name] = JobState(world.stored.metadata.uid, JobPhase.SUCCEEDED)

    await world.until_end()

    assert [one.name for one in world.jobs.orders] == [
        migrations.job_name(world.stored, StepName.MIGRATE_DOWN)
    ]


async def test_without_a_backup_no_migration_is_rolled_back() -> None:
    world = World()
    world.jobs.run = lambda _: JobPhase.FAILED

    await world.until_end()

    reason, message = world.said()
    assert (world.stored.status.outcome, reason) == (Outcome.FAILED, Reason.BACKUP_FAILED)
    assert "BackoffLimitExceeded" in message
    assert "kubectl logs job/" in message
    assert world.schemas.found == Applied((OLD, NEW))
    assert "undo" not in world.journal


async def test_a_backup_that_is_not_required_may_fail() -> None:
    way = database({**JOB, "backup": {"required": False, "job": {"command": ["dump"]}}}, RUNS)
    world = World(database=way)

    def run(order: JobOrder) -> JobPhase:
        return JobPhase.FAILED if order.command == ("dump",) else world.undoes(order)

    world.jobs.run = run
    await world.until_end()

    backup = world.stored.status.steps[0]
    assert "backup.required is false" in backup.message
    assert "undo" in world.journal


def nothing(_: World, __: JobOrder) -> JobPhase:
    return JobPhase.SUCCEEDED


def fails(_: World, __: JobOrder) -> JobPhase:
    return JobPhase.FAILED


def too_much(world: World, _: JobOrder) -> JobPhase:
    world.schemas.found = Applied(())
    return JobPhase.SUCCEEDED


def other(world: World, _: JobOrder) -> JobPhase:
    world.schemas.found = Applied((OLD, NEW, Migration("004_late", at(6))))
    return JobPhase.SUCCEEDED


DIRTY = DirtySchema(DirtyReason.HALF_APPLIED, "Prisma marks 003_seats as begun", ("003_seats",))


def half(world: World, _: JobOrder) -> JobPhase:
    world.schemas.found = DIRTY
    return JobPhase.FAILED


ENDS = {
    "exits 0 without doing anything": (nothing, Reason.MIGRATION_FAILED, "history is as before"),
    "fails, hangs or is evicted": (fails, Reason.MIGRATION_FAILED, "has failed"),
    "undoes too much": (too_much, Reason.MIGRATION_INCOMPLETE, "still applied: none"),
    "somebody migrates meanwhile": (other, Reason.MIGRATION_INCOMPLETE, "3 migrations"),
    "stops half way": (half, Reason.MIGRATION_INCOMPLETE, "Prisma marks 003_seats as begun"),
}


@pytest.mark.parametrize("case", ENDS)
async def test_the_history_decides_and_not_the_exit_code(case: str) -> None:
    run, reason, said = ENDS[case]
    world = World()
    world.jobs.run = lambda order: (
        run(world, order) if "down" in order.command else JobPhase.SUCCEEDED
    )

    await world.until_end()

    assert world.stored.status.outcome is Outcome.FAILED
    found, message = world.said()
    assert found == reason
    assert said in message
    assert "undo" not in world.journal


@pytest.mark.parametrize("is_before", [True, False], ids=["before the Job", "after the Job"])
async def test_a_dirty_schema_ends_it_at_once(is_before: bool) -> None:
    world = World()

    def run(order: JobOrder) -> JobPhase:
        if ("down" in order.command) is not is_before:
            world.schemas.found = DIRTY
        return JobPhase.SUCCEEDED

    world.jobs.run = run
    await world.until_end()

    reason, message = world.said()
    assert (world.stored.status.outcome, reason) == (Outcome.FAILED, Reason.MIGRATION_INCOMPLETE)
    assert DIRTY.message in message
    assert world.seconds < PATIENCE_SECONDS
    assert len(world.jobs.orders) == (1 if is_before else 2)
    assert "undo" not in world.journal


LOCKED = DirtySchema(DirtyReason.LOCKED, "the history is locked: Knex migrates now")


@pytest.mark.parametrize("is_before", [True, False], ids=["before the Job", "after the Job"])
@pytest.mark.parametrize("reads", [3, 5000], ids=["ends", "stays"])
async def test_a_lock_of_the_tool_is_waited_for_and_not_for_ever(
    is_before: bool, reads: int
) -> None:
    world = World()

    def run(order: JobOrder) -> JobPhase:
        if ("down" in order.command) is not is_before:
            world.schemas.passing = [LOCKED] * reads
        return world.undoes(order)

    world.jobs.run = run
    await world.until_end(3000)

    assert len(world.jobs.orders) == (1 if is_before and reads > 3 else 2)
    if reads == 3:
        assert "undo" in world.journal
        return
    reason, message = world.said()
    expected = Reason.MIGRATION_FAILED if is_before else Reason.MIGRATION_INCOMPLETE
    assert (world.stored.status.outcome, reason) == (Outcome.FAILED, expected)
    assert LOCKED.message in message
    assert world.seconds > PATIENCE_SECONDS
    assert "undo" not in world.journal


async def test_by_sql_a_lock_is_waited_for_and_a_mark_ends_it() -> None:
    world = World(database=BY_SQL)
    world.changes.answers = [LOCKED, LOCKED, DIRTY]

    await world.until_end()

    reason, message = world.said()
    assert (world.stored.status.outcome, reason) == (Outcome.FAILED, Reason.MIGRATION_INCOMPLETE)
    assert "nothing was executed, and the schema is dirty" in message
    assert world.journal.count("roll_back") == 3
    assert "undo" not in world.journal


async def test_a_history_that_cannot_be_read_after_the_job_is_read_again() -> None:
    world = World()

    def run(order: JobOrder) -> JobPhase:
        if "down" in order.command:
            world.schemas.found = UnknownSchema("the connection was refused")
        return JobPhase.SUCCEEDED

    world.jobs.run = run
    await world.until_end(2000)

    reason, message = world.said()
    assert reason == Reason.MIGRATION_INCOMPLETE
    assert "the connection was refused" in message
    assert world.seconds > PATIENCE_SECONDS
    assert len(world.jobs.orders) == 2


async def test_a_job_that_fails_after_its_work_has_done_it() -> None:
    world = World()

    def run(order: JobOrder) -> JobPhase:
        world.undoes(order)
        return JobPhase.FAILED if "down" in order.command else JobPhase.SUCCEEDED

    world.jobs.run = run
    await world.until_end()

    assert "undo" in world.journal


async def test_a_job_that_somebody_deletes_is_not_created_again() -> None:
    world = World()
    world.jobs.run = lambda order: (
        JobPhase.RUNNING if "down" in order.command else JobPhase.SUCCEEDED
    )
    for _ in range(8):
        await world.carry_on()
    del world.jobs.states[migrations.job_name(world.stored, StepName.MIGRATE_DOWN)]

    await world.until_end()

    reason, message = world.said()
    assert reason == Reason.MIGRATION_FAILED
    assert "deleted by another client" in message
    assert len(world.jobs.orders) == 2


async def test_a_job_of_that_name_of_another_owner_is_left_alone() -> None:
    world = World()
    name = migrations.job_name(world.stored, StepName.BACKUP)
    world.jobs.states[name] = JobState("another-uid", JobPhase.SUCCEEDED)

    await world.until_end()

    assert "of another owner" in world.said()[1]
    assert world.jobs.orders == []


async def test_a_job_that_another_client_made_in_advance_is_no_backup() -> None:
    world = World()
    name = migrations.job_name(world.stored, StepName.BACKUP)
    world.jobs.states[name] = JobState(world.stored.metadata.uid, JobPhase.SUCCEEDED)
    world.jobs.foreign.add(name)

    await world.until_end()

    assert world.said()[0] == Reason.BACKUP_FAILED
    assert "is not as planned" in world.said()[1]
    assert world.jobs.orders == []


async def test_a_job_that_replaces_the_operators_does_not_count() -> None:
    world = World()
    world.jobs.run = lambda order: JobPhase.RUNNING
    name = migrations.job_name(world.stored, StepName.BACKUP)
    while not migrations.is_started(world.stored, StepName.BACKUP):
        await world.carry_on()
    known = world.jobs.states[name]
    world.jobs.states[name] = replace(known, phase=JobPhase.SUCCEEDED, uid="another")

    await world.until_end()

    assert world.said()[0] == Reason.BACKUP_FAILED
    assert "was deleted by another client, which may have created another" in world.said()[1]
    assert [one.name for one in world.jobs.orders] == [name]


async def test_a_refused_job_names_the_value_of_the_chart() -> None:
    world = World()
    world.jobs.refusal = Failure(FailureKind.REJECTED, "list it in migrations.namespaces")

    await world.until_end()

    assert world.said()[0] == Reason.BACKUP_FAILED
    assert "migrations.namespaces" in world.said()[1]


# -- the database ----------------------------------------------------------------------------------


async def test_a_database_that_comes_back_is_waited_for() -> None:
    world = World(database=BY_SQL)
    world.changes.answers = [DOWN, DOWN]
    shown = set()
    for _ in range(3):
        await world.carry_on()
        world.seconds += 5
        shown |= {one.message for one in world.stored.status.steps}

    await world.until_end()

    assert f"waits: {DOWN.message}" in shown
    assert world.journal.count("roll_back") == 3
    assert world.steps()[2] is StepName.UNDO


async def test_a_database_that_stays_away_is_not_waited_for_for_ever() -> None:
    world = World(database=BY_SQL)
    world.changes.answers = [DOWN] * 2000

    await world.until_end(2000)

    reason, message = world.said()
    assert reason == Reason.MIGRATION_FAILED
    assert "the connection was refused" in message
    assert "had begun to roll back 003_seats" in message
    assert world.seconds > PATIENCE_SECONDS


async def test_faulty_statements_end_it_with_their_words() -> None:
    world = World(database=BY_SQL)
    world.changes.answers = [StatementFault("migrations.sql of 003_seats: syntax error")]

    await world.until_end()

    reason, message = world.said()
    assert reason == Reason.MIGRATION_FAILED
    assert "nothing is changed" in message
    assert "syntax error" in message


async def test_half_way_a_person_gets_the_exact_state() -> None:
    world = World(database=BY_SQL)
    world.changes.answers = [HalfWay((), ("003_seats",), 5)]

    await world.until_end()

    reason, message = world.said()
    assert reason == Reason.MIGRATION_INCOMPLETE
    assert "still applied: 003_seats" in message


# -- the checklist ---------------------------------------------------------------------------------


async def test_a_loss_is_asked_about_and_measured_once() -> None:
    world = World()
    world.changes.report = LossReport((DataLoss(place="public.tickets.seat", values=7),))

    for _ in range(3):
        result = await world.carry_on()
        assert isinstance(result, Again)
        world.seconds += result.seconds

    assert world.steps() == [StepName.AWAITING_APPROVAL]
    approved = find(world.stored.status.conditions, ConditionType.APPROVED)
    assert approved is not None
    assert "public.tickets.seat dropped (7)" in approved.message
    digest = world.stored.status.plan_digest
    world.executor = world.operator()  # it knows no figures but those on record
    await world.carry_on()
    assert world.stored.status.plan_digest == digest
    assert world.changes.measured == 1


async def test_a_loss_is_known_for_a_while_for_the_same_database_and_migrations() -> None:
    """Each measurement takes the locks of the migration: another Rollback does not repeat it."""
    both = database({**JOB, **BACKUP}, RUNS, {**RUNS, "name": "004_prices"})
    world = World(database=both)
    checker, workload = world.executor.checker, world.workloads.workload

    async def measured(**spec: Any) -> int:
        await checker.check(make_rollback("next", **{"database": both, **spec}), workload, None)
        return world.changes.measured

    assert await measured() == 1
    assert await measured() == 1
    elsewhere = world.rollback.spec.target_ref.model_copy(update={"uid": "another"})
    assert await measured(target_ref=elsewhere) == 2
    world.schemas.found = Applied((OLD, NEW, Migration("004_prices", at(6))))
    assert await measured() == 3
    assert await measured() == 3
    world.schemas.found = Applied((OLD, NEW))
    assert await measured() == 4
    assert await measured(database=BY_JOB) == 5
    assert await measured(database=BY_JOB) == 5
    world.seconds += LOSS_KNOWN_SECONDS
    assert await measured(database=BY_JOB) == 6


async def test_a_loss_that_was_not_measured_is_measured_again() -> None:
    world = World()
    world.changes.report = LossReport(unknown="the database did not answer")

    for _ in range(2):
        await world.executor.checker.check(world.rollback, world.workloads.workload, None)

    assert world.changes.measured == 2


async def test_statements_that_cannot_be_executed_block_before_any_act() -> None:
    world = World(database=BY_SQL)
    world.changes.report = LossReport(fault="migrations.sql of 003_seats: no such column")

    await world.until_end()

    assert world.stored.status.outcome is Outcome.BLOCKED
    assert "no such column" in world.said()[1]
    assert not {"create_job", "roll_back", "undo"} & set(world.journal)


async def test_mode_observe_tries_no_statement() -> None:
    world = World(spec={"mode": Mode.OBSERVE})

    await world.until_end()

    assert world.changes.measured == 0
    assert world.stored.status.outcome is Outcome.OBSERVED


async def test_a_schema_that_the_target_runs_on_is_left_alone() -> None:
    world = World(database=database(JOB, {"name": "003_seats", "oldReleaseRuns": True}))

    await world.until_end()

    assert world.steps()[0] is StepName.UNDO
    assert world.changes.measured == 0
    record = world.stored.status.migrations
    assert record is not None
    assert record.order is MigrationOrder.UNDO_ONLY


# -- the Deployment --------------------------------------------------------------------------------


async def test_a_new_rollout_before_the_job_ends_it_untouched() -> None:
    world = World()
    world.jobs.run = lambda _: JobPhase.RUNNING
    await world.carry_on()
    workload = world.workloads.workload
    moved = replace(workload.deployment, template=make_template("v3"))
    world.workloads.workload = replace(workload, deployment=moved)
    world.jobs.run = lambda _: JobPhase.SUCCEEDED

    await world.until_end()

    assert world.said()[0] == Reason.TARGET_MOVED
    assert len(world.jobs.orders) == 1  # the backup; no migration was rolled back
    assert world.schemas.found == Applied((OLD, NEW))


# -- with the traffic stopped ----------------------------------------------------------------------

BACKUP = {"backup": {"job": {"command": ["pg_dump"]}}}
CONTRACTS = {
    "job": database({**JOB, **BACKUP}, {"name": "003_seats"}),
    "sql": database({**SQL, **BACKUP}, {"name": "003_seats", "sql": "DROP TABLE seats"}),
}


@dataclass
class Stopped(World):
    """A migration for which the traffic is stopped: neither release runs on the other's schema."""

    stop: TrafficStop = TrafficStop.REPLICAS

    def __post_init__(self) -> None:
        service = "shop" if self.stop is TrafficStop.SERVICE else ""
        self.spec = {"traffic": TrafficPlan(stop=self.stop, service=service)}
        super().__post_init__()

    def target(self) -> Workload:
        sets = (make_replica_set(name, labels=(("app", "shop"),)) for name in ("v2", "v1"))
        return make_workload(pods=make_pods(), replica_sets=tuple(sets))


@pytest.mark.parametrize("stop", [TrafficStop.REPLICAS, TrafficStop.SERVICE])
@pytest.mark.parametrize("way", CONTRACTS)
async def test_nothing_migrates_once_somebody_has_ended_the_stop(
    way: str, stop: TrafficStop
) -> None:
    world = Stopped(database=CONTRACTS[way], stop=stop)
    world.jobs.run = lambda order: JobPhase.RUNNING
    while world.steps()[-1:] != [StepName.BACKUP]:
        await world.carry_on()
        world.seconds += 1
    workload = world.workloads.workload
    live = replace(workload.deployment, replicas=4, available=4, is_stopped=False)
    world.workloads.workload = replace(workload, deployment=live, pods=make_pods())
    world.selectors.selected = replace(world.selectors.selected, selector=(("app", "shop"),))
    name = migrations.job_name(world.stored, StepName.BACKUP)
    known = world.jobs.states[name]
    world.jobs.states[name] = replace(known, phase=JobPhase.SUCCEEDED)

    await world.until_end()

    assert world.said()[0] == Reason.TRAFFIC_CHANGED
    assert world.schemas.found == Applied((OLD, NEW))
    assert world.workloads.workload.deployment.template.digest == "digest-v2"


@pytest.mark.parametrize("after", [0, 1])
async def test_stopped_traffic_is_carried_on_with_however_late(after: int) -> None:
    rehearsal = Stopped(database=CONTRACTS["sql"])
    await rehearsal.until_end()
    world = Stopped(database=CONTRACTS["sql"])
    world.journal.crash_at = list(rehearsal.journal).index("roll_back") + after
    with pytest.raises(Crash):
        await world.until_end()

    world.seconds += 5000
    world.executor = world.operator()
    await world.until_end()

    assert StepName.UNDO in world.steps()
    assert world.schemas.found == Applied((OLD,))
    assert world.workloads.workload.deployment.replicas == 4


@pytest.mark.parametrize("after", [0, 1])
async def test_what_was_committed_is_on_record_however_late(after: int) -> None:
    rehearsal = World(database=BY_SQL)
    await rehearsal.until_end()
    world = World(database=BY_SQL)
    world.journal.crash_at = list(rehearsal.journal).index("roll_back") + after
    with pytest.raises(Crash):
        await world.until_end()

    world.seconds += 5000
    world.executor = world.operator()
    done = await world.until_end()

    record = done.status.migrations
    assert record is not None
    assert list(record.undone) == (["003_seats"] if after else [])
    assert (done.status.outcome is Outcome.ABANDONED) is not bool(after)
