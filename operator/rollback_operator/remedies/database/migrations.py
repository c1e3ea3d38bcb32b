"""Rolling migrations back: the plan, the question about lost data, and the state of the history.

Pure. The history of the database proves what was done; the exit code of a Job does not.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from rollback_operator.api.checklist import (
    CheckItem,
    CheckName,
    CheckResult,
    Consequence,
    DatabaseSpec,
)
from rollback_operator.api.database.rolling_back import (
    MOST_DOWN,
    DataLoss,
    MigrationOrder,
    MigrationRecord,
    RollbackMigrations,
)
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Outcome, Rollback, RollbackStatus, StepName
from rollback_operator.model.schema import Applied, NewerSchema
from rollback_operator.remedies.database.migration_order import MIGRATION_STEPS, fit_of, order_of

MOST_LOSSES_SHOWN = 5
_FIELD = "database.rollbackMigrations"
_THEN = {
    MigrationOrder.UNDO_FIRST: "after the application",
    MigrationOrder.MIGRATE_FIRST: "before the application",
    MigrationOrder.TRAFFIC_STOPPED: "before the application, while traffic is stopped",
}


@dataclass(frozen=True, slots=True)
class LossReport:
    """Data that would be lost, measured before."""

    losses: tuple[DataLoss, ...] = ()
    unknown: str = ""
    """Why the loss is not known, or not whole; empty: it is known."""
    fault: str = ""
    """Why the migrations cannot be rolled back so, with the field to correct; empty: they
    can."""


@dataclass(frozen=True, slots=True)
class StatementFault:
    """The statements of the policy cannot be executed; nothing is changed."""

    message: str


@dataclass(frozen=True, slots=True)
class Untouched:
    """All migrations of the plan are applied, and no other since."""


@dataclass(frozen=True, slots=True)
class Undone:
    """All migrations of the plan are rolled back, and no other."""


@dataclass(frozen=True, slots=True)
class HalfWay:
    """Neither: a person has to look."""

    undone: tuple[str, ...]
    left: tuple[str, ...]
    count: int
    """Migrations that are applied."""


def plan(
    database: DatabaseSpec, answer: NewerSchema, history: Applied, *, can_stop: bool
) -> MigrationRecord | str:
    """Plan which migrations are rolled back, and in which order; or state the obstacle.

    Args:
        database: of the policy, with rollbackMigrations.
        answer: the migrations since the target.
        history: all applied migrations.
        can_stop: whether the rollback can stop traffic.
    """
    newer = answer.names
    if answer.count is None or answer.gone:
        return "the history does not list which migrations the target has run with"
    allowed = _allowed(database)
    entries = [allowed.entry(name) for name in newer[-MOST_DOWN:]]
    order = order_of(fit_of(entries), is_kept=allowed.keep_compatible)
    names = [each.name for each in reversed(entries)]
    record = MigrationRecord(names=names, applied=len(history.migrations), order=order)
    if len(newer) > MOST_DOWN:
        return f"{len(newer)} migrations are newer, and at most {MOST_DOWN} are rolled back"
    if order is MigrationOrder.UNDO_ONLY:
        return record
    obstacle = _obstacle(database, newer, history)
    if order is MigrationOrder.TRAFFIC_STOPPED and not can_stop and not obstacle:
        obstacle = (
            "neither release runs on the schema of the other, so traffic has to be stopped, and "
            "the policy does not say how: set spec.database.onCorruption, or state in "
            f"{_FIELD}.migrations that oldReleaseRuns or newReleaseRuns"
        )
    return obstacle or record


def _obstacle(database: DatabaseSpec, newer: Sequence[str], history: Applied) -> str:
    allowed = _allowed(database)
    newest = [migration.name for migration in history.migrations[-len(newer) :]]
    if newest != list(newer):
        return "they are not the last migrations of the history: revert them yourself"
    lacking = [name for name in newer if not allowed.entry(name).sql]
    if allowed.sql is not None and lacking:
        return f"{_FIELD}.migrations has no sql for {_listed(lacking)}: add it"
    return ""


def with_report(record: MigrationRecord, report: LossReport) -> MigrationRecord:
    """Put the measured loss on record."""
    return record.model_copy(
        update={"losses": list(report.losses), "unknown_loss": clipped(report.unknown, 1024)}
    )


def undeclared(database: DatabaseSpec, record: MigrationRecord) -> list[str]:
    """List the migrations whose rollback drops nothing that is declared."""
    allowed = _allowed(database)
    return [name for name in record.names if allowed.entry(name).drops is None]


def declared(database: DatabaseSpec, record: MigrationRecord) -> list[str]:
    """List the tables and columns that the rollback drops, as declared."""
    allowed = _allowed(database)
    drops = [place for name in record.names for place in allowed.entry(name).drops or ()]
    return list(dict.fromkeys(drops))


def item(database: DatabaseSpec, record: MigrationRecord) -> CheckItem:
    """Report the plan, and whether a person is asked about the data that would be lost."""
    names, allowed = _listed(record.names), _allowed(database)
    if record.order is MigrationOrder.UNDO_ONLY:
        text = f"applied after the target revision, which runs on them: {names}; the schema stays"
        return _item(CheckResult.PASSED, text, Consequence.PROCEED)
    means = "SQL" if allowed.sql is not None else "a Job"
    text = f"{names} will be rolled back by {means} {_THEN[record.order]}; {_lost(record)}"
    lost = sum(loss.values for loss in record.losses)
    is_estimated = any(loss.is_estimated for loss in record.losses)
    if record.unknown_loss or is_estimated or lost > allowed.max_rows_lost:
        text += f"; without a person at most {allowed.max_rows_lost} may be lost (maxRowsLost)"
        return _item(CheckResult.FAILED, text, Consequence.REQUIRE_APPROVAL)
    return _item(CheckResult.WARNED, text, Consequence.PROCEED)


def blocked(names: Sequence[str], obstacle: str) -> CheckItem:
    """Report that the newer migrations cannot be rolled back."""
    text = f"applied after the target revision: {_listed(names)}; they cannot be rolled back: "
    return _item(CheckResult.FAILED, text + obstacle, Consequence.BLOCK)


def state_of(record: MigrationRecord, history: Applied) -> Untouched | Undone | HalfWay:
    """Compare the history with the plan."""
    names = {migration.name for migration in history.migrations}
    left = tuple(name for name in record.names if name in names)
    undone = tuple(name for name in record.names if name not in names)
    count = len(history.migrations)
    if not undone and count == record.applied:
        return Untouched()
    if not left and count == record.applied - len(record.names):
        return Undone()
    return HalfWay(undone, left, count)


def half_way(record: MigrationRecord, state: HalfWay) -> str:
    """Describe the exact state to a person."""
    expected = record.applied - len(state.undone)
    message = f"rolled back: {_listed(state.undone)}; still applied: {_listed(state.left)}"
    if state.count != expected:
        message += f"; {state.count} migrations are applied, and {expected} were expected"
    return f"{message}. Nothing is forced: look at the history, and complete it by hand"


def done(record: MigrationRecord) -> str:
    """Describe the result."""
    return f"rolled back: {_listed(record.names)}"


def steps_variable(record: MigrationRecord) -> dict[str, str]:
    """Return the variable that Kubernetes puts into the command of a Job."""
    return {"STEPS": str(len(record.names))}


def job_name(rollback: Rollback, step: StepName) -> str:
    """Return the fixed name of a step's Job, by which a replay finds it."""
    match step:
        case StepName.BACKUP | StepName.MIGRATE_DOWN:
            digest = hashlib.sha256(f"{rollback.metadata.uid} {step}".encode()).hexdigest()
            return f"rollback-{step.lower()}-{digest[:16]}"
        case _:
            raise ValueError(step)


def is_started(rollback: Rollback, step: StepName) -> bool:
    """Return whether the Job of a step is on record as created."""
    record = rollback.status.migrations
    if record is None or step not in MIGRATION_STEPS:
        return False
    return job_name(rollback, step) in record.jobs


def is_own_job(rollback: Rollback, name: str, uid: str) -> bool:
    """Return whether a Job is on record; a record of an earlier version has no UID."""
    record = rollback.status.migrations
    known = dict(zip(record.jobs, record.job_uids, strict=False)) if record is not None else {}
    return known.get(name, uid) == uid


def with_job(status: RollbackStatus, name: str, uid: str) -> RollbackStatus:
    """Put a Job on record, so that it is missed if somebody deletes or replaces it."""
    assert status.migrations is not None  # or there would be no step
    known = status.migrations
    # Of an earlier version the names lack UIDs: a later name would pair with the wrong UID.
    uids = [*known.job_uids, uid] if len(known.job_uids) == len(known.jobs) else known.job_uids
    record = known.model_copy(update={"jobs": [*known.jobs, name], "job_uids": uids})
    return status.model_copy(update={"migrations": record})


def with_undone(rollback: Rollback, names: Sequence[str]) -> Rollback:
    """Put on record which migrations the history shows as rolled back."""
    status = rollback.status
    assert status.migrations is not None
    record = status.migrations.model_copy(update={"undone": list(names)})
    return rollback.model_copy(update={"status": status.model_copy(update={"migrations": record})})


def left_behind(status: RollbackStatus, outcome: Outcome) -> str:
    """State what a rollback that did not help has done to the database; empty: nothing."""
    record = status.migrations
    down = next((step for step in status.steps if step.name is StepName.MIGRATE_DOWN), None)
    if record is None or down is None or outcome is Outcome.VERIFIED:
        return ""
    if record.undone:
        return f"; migrations that are rolled back: {_listed(record.undone)}"
    if down.finished_time is None:
        return f"; it had begun to roll back {_listed(record.names)}: look at the history"
    return ""


def _allowed(database: DatabaseSpec) -> RollbackMigrations:
    assert database.rollback_migrations is not None  # by the rules of the model
    return database.rollback_migrations


def _lost(record: MigrationRecord) -> str:
    shown = [
        f"{loss.place} {loss.how} ({'about ' if loss.is_estimated else ''}{loss.values})"
        for loss in record.losses[:MOST_LOSSES_SHOWN]
    ]
    more = len(record.losses) - MOST_LOSSES_SHOWN
    text = f"lost: {', '.join(shown)}" if shown else "nothing is known to be lost"
    text += f" and {more} more" if more > 0 else ""
    return text + (f"; the loss is not known: {record.unknown_loss}" if record.unknown_loss else "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _item(result: CheckResult, message: str, consequence: Consequence) -> CheckItem:
    return CheckItem(
        name=CheckName.DATABASE_SCHEMA,
        result=result,
        consequence=consequence,
        message=clipped(message, 1024),
    )
