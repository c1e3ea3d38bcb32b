"""Rolling migrations back: the order, the plan, the question about data, the state afterwards."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from rollback_operator.api.checklist import CheckResult, Consequence, DatabaseSpec
from rollback_operator.api.database.rolling_back import (
    MOST_DOWN,
    DataLoss,
    DownMigration,
    MigrationOrder,
    MigrationRecord,
)
from rollback_operator.api.v1alpha1 import Outcome, Pace, RollbackStatus, StepName
from rollback_operator.model.schema import Applied, Migration, NewerSchema
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.database.migration_order import Fit, fit_of, order_of
from rollback_operator.remedies.database.migrations import HalfWay, LossReport, Undone, Untouched
from rollback_operator.remedies.steps import steps_of
from tests.builders import make_rollback, make_step

JOB: dict[str, Any] = {
    "job": {"command": ["npm", "run", "down", "--", "--step=$(STEPS)"]},
    "backup": {"required": False},
}
SQL: dict[str, Any] = {
    "sql": {"migrationsSecretRef": {"name": "owner", "key": "dsn"}},
    "backup": {"required": False},
}


def database(way: dict[str, Any], *known: dict[str, Any], **more: Any) -> DatabaseSpec:
    return DatabaseSpec.model_validate(
        {
            "connectionSecretRef": {"name": "reader"},
            "onNewerSchema": "RollbackMigrations",
            "rollbackMigrations": {**way, "migrations": list(known), **more},
        }
    )


def history(*names: str) -> Applied:
    return Applied(tuple(Migration(name) for name in names))


def newer(*names: str) -> NewerSchema:
    return NewerSchema(len(names), names)


def record(*names: str, applied: int = 3, **more: Any) -> MigrationRecord:
    return MigrationRecord(
        names=list(names), applied=applied, order=more.pop("order", "MigrateFirst"), **more
    )


# -- the order -------------------------------------------------------------------------------------

ORDERS = {
    # old on new, new on old, is it kept
    (True, True, True): MigrationOrder.UNDO_ONLY,
    (True, False, True): MigrationOrder.UNDO_ONLY,
    (True, True, False): MigrationOrder.UNDO_FIRST,
    (True, False, False): MigrationOrder.UNDO_FIRST,
    (False, True, True): MigrationOrder.MIGRATE_FIRST,
    (False, True, False): MigrationOrder.MIGRATE_FIRST,
    (False, False, True): MigrationOrder.TRAFFIC_STOPPED,
    (False, False, False): MigrationOrder.TRAFFIC_STOPPED,
}


@pytest.mark.parametrize("case", ORDERS)
def test_the_order_follows_from_which_release_runs_on_which_schema(
    case: tuple[bool, bool, bool],
) -> None:
    old_on_new, new_on_old, is_kept = case

    assert order_of(Fit(old_on_new, new_on_old), is_kept=is_kept) is ORDERS[case]


@pytest.mark.parametrize("case", ORDERS)
def test_no_release_serves_on_a_schema_that_it_does_not_run_on(
    case: tuple[bool, bool, bool],
) -> None:
    old_on_new, new_on_old, _ = case
    made = record("003", order=ORDERS[case])
    steps = steps_of(make_rollback().spec, made)

    # Both releases serve from the undo on until the rollout is complete.
    is_new_schema, served, is_stopped = True, {"new"}, ORDERS[case] == "TrafficStopped"
    for step in steps:
        served = {"old", "new"} if step is StepName.UNDO else served
        served = {"old"} if step is StepName.ROLLOUT_COMPLETE else served
        is_new_schema = is_new_schema and step is not StepName.MIGRATE_DOWN
        if not is_stopped:
            assert not ("old" in served and is_new_schema and not old_on_new), (case, step)
            assert not ("new" in served and not is_new_schema and not new_on_old), (case, step)


def test_one_migration_that_does_not_fit_decides_for_all() -> None:
    fits = DownMigration(name="a", old_release_runs=True, new_release_runs=True)
    contracts = DownMigration(name="b", new_release_runs=True)

    assert fit_of([fits]) == Fit(old_on_new=True, new_on_old=True)
    assert fit_of([fits, contracts]) == Fit(old_on_new=False, new_on_old=True)


@pytest.mark.parametrize(("order", "pace"), list(itertools.product(MigrationOrder, Pace)))
def test_a_backup_is_made_just_before_each_migration(order: MigrationOrder, pace: Pace) -> None:
    steps = steps_of(make_rollback(pace=pace).spec, record("003", order=order))

    assert steps[-1] is StepName.VERIFY
    if order is MigrationOrder.UNDO_ONLY:
        assert StepName.MIGRATE_DOWN not in steps
        return
    at_down = steps.index(StepName.MIGRATE_DOWN)
    assert steps[at_down - 1] is StepName.BACKUP
    is_after = order is MigrationOrder.UNDO_FIRST
    assert (steps.index(StepName.ROLLOUT_COMPLETE) < at_down) == is_after


def test_without_newer_migrations_the_steps_are_as_before() -> None:
    assert steps_of(make_rollback().spec) == steps_of(make_rollback().spec, None)
    assert StepName.BACKUP not in steps_of(make_rollback().spec)


# -- the plan --------------------------------------------------------------------------------------

RUNS = {"name": "003", "newReleaseRuns": True}
APPLIED = history("001", "002", "003")


def test_the_newest_is_rolled_back_first() -> None:
    two = ({"name": "002", "newReleaseRuns": True}, RUNS)
    found = migrations.plan(database(JOB, *two), newer("002", "003"), APPLIED, can_stop=False)

    assert found == record("003", "002")
    assert migrations.steps_variable(found) == {"STEPS": "2"}


UNLISTED = "does not list which migrations"
OBSTACLES: dict[str, tuple[DatabaseSpec, NewerSchema, Applied, str]] = {
    "no sql for one": (database(SQL, RUNS), newer("003"), APPLIED, "migrations has no sql for 003"),
    "not the last": (database(JOB, RUNS), newer("002"), APPLIED, "not the last migrations"),
    "neither release runs": (database(JOB), newer("003"), APPLIED, "traffic has to be stopped"),
    "too many": (
        database(JOB),
        newer(*(str(one) for one in range(MOST_DOWN + 1))),
        history(*(str(one) for one in range(MOST_DOWN + 1))),
        f"at most {MOST_DOWN}",
    ),
    "a head alone": (database(JOB, RUNS), NewerSchema(None, ("003",), ("002",)), APPLIED, UNLISTED),
    "a branch": (database(JOB, RUNS), NewerSchema(1, ("003",), ("002b",)), APPLIED, UNLISTED),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_an_obstacle_is_named_with_its_field_and_blocks(case: str) -> None:
    spec, answer, applied, said = OBSTACLES[case]

    found = migrations.plan(spec, answer, applied, can_stop=False)

    assert isinstance(found, str)
    assert said in found
    item = migrations.blocked(answer.names, found)
    assert (item.result, item.consequence) == (CheckResult.FAILED, Consequence.BLOCK)
    assert said in item.message


def test_with_stopped_traffic_neither_release_has_to_run_on_the_others_schema() -> None:
    found = migrations.plan(database(JOB), newer("003"), APPLIED, can_stop=True)

    assert isinstance(found, MigrationRecord)
    assert found.order is MigrationOrder.TRAFFIC_STOPPED


def test_a_schema_that_the_target_runs_on_stays() -> None:
    expands = {"name": "003", "oldReleaseRuns": True}
    kept = migrations.plan(database(JOB, expands), newer("003"), APPLIED, can_stop=False)
    asked = database(JOB, expands, keepCompatible=False)
    taken = migrations.plan(asked, newer("003"), APPLIED, can_stop=False)

    assert isinstance(kept, MigrationRecord)
    assert isinstance(taken, MigrationRecord)
    assert (kept.order, taken.order) == (MigrationOrder.UNDO_ONLY, MigrationOrder.UNDO_FIRST)
    item = migrations.item(database(JOB, expands), kept)
    assert (item.result, item.consequence) == (CheckResult.PASSED, Consequence.PROCEED)


# -- the question ----------------------------------------------------------------------------------


def lost(values: int, *, estimated: bool = False) -> DataLoss:
    return DataLoss(place="public.tickets.seat", values=values, is_estimated=estimated)


REPORTS: dict[str, tuple[LossReport, int, Consequence]] = {
    "nothing": (LossReport(), 0, Consequence.PROCEED),
    "an empty column": (LossReport((lost(0),)), 0, Consequence.PROCEED),
    "one value": (LossReport((lost(1),)), 0, Consequence.REQUIRE_APPROVAL),
    "as many as allowed": (LossReport((lost(3), lost(4))), 7, Consequence.PROCEED),
    "one more": (LossReport((lost(4), lost(4))), 7, Consequence.REQUIRE_APPROVAL),
    "an estimate": (LossReport((lost(0, estimated=True),)), 7, Consequence.REQUIRE_APPROVAL),
    "not known": (LossReport(unknown="it is down"), 7, Consequence.REQUIRE_APPROVAL),
}


@pytest.mark.parametrize("case", REPORTS)
def test_a_person_is_asked_about_data_that_may_be_lost(case: str) -> None:
    report, most, consequence = REPORTS[case]
    made = migrations.with_report(record("003"), report)

    item = migrations.item(database(JOB, RUNS, maxRowsLost=most), made)

    assert item.consequence is consequence
    assert "003" in item.message
    assert report.unknown in item.message


# -- the state -------------------------------------------------------------------------------------

STATES = {
    ("001", "002", "003"): Untouched(),
    ("001",): Undone(),
    ("001", "002"): HalfWay(("003",), ("002",), 2),
    ("001", "003"): HalfWay(("002",), ("003",), 2),
    (): HalfWay(("003", "002"), (), 0),
    ("001", "002", "003", "004"): HalfWay((), ("003", "002"), 4),
    ("001", "004"): HalfWay(("003", "002"), (), 2),
}


@pytest.mark.parametrize("names", STATES)
def test_the_history_proves_the_state(names: tuple[str, ...]) -> None:
    assert migrations.state_of(record("003", "002"), history(*names)) == STATES[names]


def test_a_person_gets_the_exact_state() -> None:
    said = migrations.half_way(record("003", "002"), HalfWay(("003",), ("002",), 2))

    assert "rolled back: 003; still applied: 002" in said
    more = migrations.half_way(record("003", "002"), HalfWay((), ("003", "002"), 4))
    assert "4 migrations are applied, and 3 were expected" in more


def test_what_is_left_behind_is_said_with_any_end_but_success() -> None:
    begun = RollbackStatus(migrations=record("003"), steps=[make_step(StepName.MIGRATE_DOWN, 10)])
    undone = migrations.with_undone(make_rollback(status=begun), ["003"]).status

    assert "had begun to roll back 003" in migrations.left_behind(begun, Outcome.ABANDONED)
    assert "rolled back: 003" in migrations.left_behind(undone, Outcome.FAILED)
    assert migrations.left_behind(undone, Outcome.VERIFIED) == ""
    assert migrations.left_behind(RollbackStatus(), Outcome.FAILED) == ""


def test_the_name_of_a_job_is_that_of_the_rollback_and_the_step() -> None:
    one, other = make_rollback("a"), make_rollback("b")
    names = {
        migrations.job_name(rollback, step)
        for rollback in (one, other)
        for step in (StepName.BACKUP, StepName.MIGRATE_DOWN)
    }

    assert len(names) == 4
    assert all(len(name) <= 63 for name in names)
    with pytest.raises(ValueError, match="Undo"):
        migrations.job_name(one, StepName.UNDO)


# -- the policy ------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "both ways": ({**JOB, **SQL}, "exactly one of job and sql"),
    "no way": ({"backup": {"required": False}}, "exactly one of job and sql"),
    "no backup": ({**JOB, "backup": {}}, "job is required"),
    "sql beside a job": ({**JOB, "migrations": [{"name": "a", "sql": "SELECT 1"}]}, "must not be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_contradiction_is_refused(case: str) -> None:
    way, said = REFUSED[case]

    with pytest.raises(ValueError, match=said):
        database(way, *way.get("migrations", ()))


def test_the_response_and_its_terms_go_together() -> None:
    plain = {"connectionSecretRef": {"name": "reader"}}

    for spec in (
        {**plain, "onNewerSchema": "RollbackMigrations"},
        {**plain, "rollbackMigrations": JOB},
    ):
        with pytest.raises(ValueError, match="rollbackMigrations is required"):
            DatabaseSpec.model_validate(spec)
