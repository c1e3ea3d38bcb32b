"""Rolls migrations back for a rollback: a backup first, then by SQL or by a Job of the bad release.

A Job has a fixed name, so that a replay finds it; it counts only if it is as planned, or has the
UID on record. The history is read before and after it: its exit code proves nothing. Nothing is
repeated once the history differs from the plan.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationRecord, ReleaseJob
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import Applied, DirtyReason, DirtySchema, UnknownSchema
from rollback_operator.ports.application import SchemaChanges, Schemas
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.jobs import JobOrder, JobOwner, JobPhase, Jobs, JobState
from rollback_operator.reconcile.act.recording import Write
from rollback_operator.remedies import progress, rollback_status, stopped_traffic
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.database.migrations import (
    HalfWay,
    StatementFault,
    Undone,
    Untouched,
)
from rollback_operator.remedies.database.schema import MIGRATIONS_SECONDS
from rollback_operator.remedies.progress import Done, RollbackEnd, Wait

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 600.0
"""How long a database that is away or locked is tried, from the begin of the step."""
_FIELD = "database.rollbackMigrations"


@dataclass(frozen=True, slots=True)
class Migrated:
    """How far a step of the migrations has come."""

    rollback: Rollback
    """With the changes to store with the step's end."""
    next: Done | Wait | RollbackEnd | Failure


@dataclass(frozen=True, slots=True)
class _Ended:
    """A Job that is over, or gone."""

    rollback: Rollback
    is_done: bool
    message: str


@dataclass
class Migrator:
    """Executes the steps Backup and MigrateDown."""

    jobs: Jobs
    schemas: Schemas
    changes: SchemaChanges
    write: Write
    clock: Callable[[], datetime]

    async def take(self, rollback: Rollback, step: StepName) -> Migrated:
        """Take a step that has begun."""
        record, database = rollback.status.migrations, rollback.spec.database
        assert record is not None  # or there would be no such step
        assert database is not None
        assert database.rollback_migrations is not None
        allowed = database.rollback_migrations
        if step is StepName.BACKUP:
            return await self._back_up(rollback, allowed.backup.job, allowed.backup.required)
        if allowed.job is not None:
            return await self._by_job(rollback, record, allowed.job)
        return await self._by_sql(rollback, record, database)

    async def _back_up(
        self, rollback: Rollback, job: ReleaseJob | None, required: bool
    ) -> Migrated:
        if job is None:
            return Migrated(rollback, Done("no backup: backup.required is false"))
        ended = await self._run(rollback, StepName.BACKUP, job)
        if isinstance(ended, Migrated):
            return ended
        if ended.is_done:
            return Migrated(ended.rollback, Done(ended.message))
        if not required:
            message = f"no backup: {ended.message}; backup.required is false"
            return Migrated(ended.rollback, Done(message))
        message = f"without a backup no migration is rolled back: {ended.message} ({_FIELD}.backup)"
        return Migrated(ended.rollback, _failed(Reason.BACKUP_FAILED, message))

    async def _by_sql(
        self, rollback: Rollback, record: MigrationRecord, database: DatabaseSpec
    ) -> Migrated:
        if stopped_traffic.is_too_late(rollback, self.clock()):
            return await self._late(rollback, record)
        _log.info("%s: rolls back %s", rollback.metadata.name, ", ".join(record.names))
        namespace = rollback.metadata.namespace
        answer = await self.changes.roll_back(namespace, database, record)
        match answer:
            case Missing(message=message):
                return await self._later(rollback, message)
            case StatementFault(message):
                message = f"nothing is changed, since all is one transaction: {message}"
                return Migrated(rollback, _failed(Reason.MIGRATION_FAILED, message))
            case DirtySchema(DirtyReason.LOCKED, message):
                return await self._later(rollback, message)
            case _:
                return _concluded(rollback, record, answer, "nothing was executed")

    async def _late(self, rollback: Rollback, record: MigrationRecord) -> Migrated:
        """Execute nothing so late; what was committed before the interruption is concluded from."""
        state = await self._state(rollback, record)
        if isinstance(state, str):
            return await self._later(rollback, state)
        if isinstance(state, Untouched):
            return Migrated(rollback, progress.stale(rollback, self.clock()))
        return _concluded(rollback, record, state, "nothing was executed now")

    async def _by_job(
        self, rollback: Rollback, record: MigrationRecord, job: ReleaseJob
    ) -> Migrated:
        step = StepName.MIGRATE_DOWN
        if not migrations.is_started(rollback, step):
            name = migrations.job_name(rollback, step)
            known = await self.jobs.look(rollback.metadata.namespace, name)
            if isinstance(known, Failure) and known.kind is FailureKind.GONE:
                state = await self._state(rollback, record)
                if isinstance(state, str):
                    return await self._later(rollback, state)
                if not isinstance(state, Untouched):
                    return _concluded(rollback, record, state, "no Job has run")
        ended = await self._run(rollback, step, job)
        if isinstance(ended, Migrated):
            return ended
        state = await self._state(rollback, record)
        if isinstance(state, str):
            message = f"{ended.message}, and the history cannot be read: {state}"
            return await self._later(ended.rollback, message, Reason.MIGRATION_INCOMPLETE)
        if isinstance(state, Untouched):
            message = f"{ended.message}, and the history is as before: no migration is rolled back"
            return Migrated(ended.rollback, _failed(Reason.MIGRATION_FAILED, message))
        return _concluded(ended.rollback, record, state, ended.message)

    async def _state(
        self, rollback: Rollback, record: MigrationRecord
    ) -> Untouched | Undone | HalfWay | DirtySchema | str:
        database, namespace = rollback.spec.database, rollback.metadata.namespace
        assert database is not None
        try:
            async with asyncio.timeout(MIGRATIONS_SECONDS):
                history = await self.schemas.read(namespace, database)
        except TimeoutError:
            return f"the database did not answer within {MIGRATIONS_SECONDS:g} s"
        match history:
            case Applied():
                return migrations.state_of(record, history)
            case DirtySchema(DirtyReason.LOCKED, message):
                return message  # a tool that migrates now will end
            case DirtySchema():
                return history
            case UnknownSchema(reason):
                return reason

    async def _run(self, rollback: Rollback, step: StepName, job: ReleaseJob) -> _Ended | Migrated:
        """Create the Job of a step unless it exists, and look at it until it is over."""
        namespace, name = rollback.metadata.namespace, migrations.job_name(rollback, step)
        is_started = migrations.is_started(rollback, step)
        order = _order(rollback, name, job)
        # Everybody can compute the name: before the UID is on record the Job itself is compared.
        known = await (self.jobs.look(namespace, name) if is_started else self.jobs.adopt(order))
        is_gone = isinstance(known, Failure) and known.kind is FailureKind.GONE
        if is_started and (is_gone or _is_foreign(rollback, name, known)):
            lost = f"Job {name} was deleted by another client, which may have created another"
            return _Ended(rollback, False, lost)
        if is_gone:
            if stopped_traffic.is_too_late(rollback, self.clock()):
                return Migrated(rollback, progress.stale(rollback, self.clock()))
            _log.info("%s: creates Job %s", rollback.metadata.name, name)
            known = await self.jobs.create(order)
        if isinstance(known, Failure):
            return self._refused(rollback, step, known)
        if known.owner_uid != rollback.metadata.uid:
            message = f"Job {name} is of another owner: delete it, and request the rollback again"
            return Migrated(rollback, _failed(_REASONS[step], message))
        if not is_started:
            status = migrations.with_job(rollback.status, name, known.uid)
            noted = await self.write(rollback, status)
            if isinstance(noted, Failure):
                return Migrated(rollback, noted)
            rollback = noted
        return _followed(rollback, name, known)

    def _refused(self, rollback: Rollback, step: StepName, failure: Failure) -> Migrated:
        if failure.kind is FailureKind.EXISTS:
            return Migrated(rollback, Wait())  # created by a write whose answer was lost
        if failure.kind in (FailureKind.REJECTED, FailureKind.GONE):
            message = f"no migration is rolled back: {failure.message}"
            return Migrated(rollback, _failed(_REASONS[step], message))
        return Migrated(rollback, failure)

    async def _later(
        self, rollback: Rollback, message: str, reason: Reason = Reason.MIGRATION_FAILED
    ) -> Migrated:
        """Try again for a while; a person then gets the last known state."""
        seconds = progress.seconds_in(rollback, StepName.MIGRATE_DOWN, self.clock())
        if seconds > PATIENCE_SECONDS:
            tried = f"the database was tried for {PATIENCE_SECONDS:.0f} s: {message}"
            return Migrated(rollback, _failed(reason, tried))
        status = rollback_status.waiting(rollback.status, StepName.MIGRATE_DOWN, message)
        if status != rollback.status:  # people see what it waits for
            noted = await self.write(rollback, status)
            if isinstance(noted, Failure):
                return Migrated(rollback, noted)
            rollback = noted
        return Migrated(rollback, Failure(FailureKind.UNAVAILABLE, message))


_REASONS = {
    StepName.BACKUP: Reason.BACKUP_FAILED,
    StepName.MIGRATE_DOWN: Reason.MIGRATION_FAILED,
}


def _is_foreign(rollback: Rollback, name: str, known: JobState | Failure) -> bool:
    return isinstance(known, JobState) and not migrations.is_own_job(rollback, name, known.uid)


def _order(rollback: Rollback, name: str, job: ReleaseJob) -> JobOrder:
    record = rollback.status.migrations
    return JobOrder(
        namespace=rollback.metadata.namespace,
        name=name,
        owner=JobOwner(Rollback.KIND, rollback.metadata.name, rollback.metadata.uid),
        replica_set=rollback.spec.from_revision.replica_set,
        template=rollback.spec.from_revision.digest,
        container=job.container,
        image=job.image,
        command=tuple(job.command),
        environment=migrations.steps_variable(record) if record is not None else {},
        seconds=job.timeout_seconds,
    )


def _followed(rollback: Rollback, name: str, job: JobState) -> _Ended | Migrated:
    match job.phase:
        case JobPhase.RUNNING:
            return Migrated(rollback, Wait())
        case JobPhase.SUCCEEDED:
            return _Ended(rollback, True, f"Job {name} has succeeded")
        case JobPhase.FAILED:
            log = f"kubectl logs job/{name} -n {rollback.metadata.namespace}"
            return _Ended(rollback, False, f"Job {name} has failed: {job.message}. Its log: {log}")


def _concluded(
    rollback: Rollback,
    record: MigrationRecord,
    state: Undone | HalfWay | Untouched | DirtySchema,
    how: str,
) -> Migrated:
    """Draw the conclusion from the history."""
    if isinstance(state, DirtySchema):  # a person removes the tool's mark, and no wait
        message = f"{how}, and the schema is dirty: {state.message}"
        return Migrated(rollback, _failed(Reason.MIGRATION_INCOMPLETE, message))
    if isinstance(state, Undone):
        return Migrated(
            migrations.with_undone(rollback, record.names), Done(migrations.done(record))
        )
    assert isinstance(state, HalfWay)
    message = f"{how}, and the history is not as planned; {migrations.half_way(record, state)}"
    noted = migrations.with_undone(rollback, state.undone)
    return Migrated(noted, _failed(Reason.MIGRATION_INCOMPLETE, message))


def _failed(reason: Reason, message: str) -> RollbackEnd:
    return RollbackEnd(Outcome.FAILED, reason, message)
