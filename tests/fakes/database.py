"""A database whose migrations can be rolled back, and Jobs that do so, without servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import DirtySchema
from rollback_operator.ports.application import SchemaChanges
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.jobs import JobOrder, JobPhase, Jobs, JobState
from rollback_operator.remedies.database import migrations
from rollback_operator.remedies.database.migrations import (
    HalfWay,
    LossReport,
    StatementFault,
    Undone,
)
from rollback_operator.remedies.database.schema import Applied
from tests.fakes.application import FakeSchemas
from tests.fakes.failures import Journal


def without(history: Applied | Missing, *names: str) -> Applied:
    assert isinstance(history, Applied)
    return Applied(tuple(one for one in history.migrations if one.name not in names))


@dataclass
class FakeChanges:
    """Rolls back what FakeSchemas has, unless a test gives an answer; each call is in a journal."""

    schemas: FakeSchemas
    calls: Journal
    report: LossReport = field(default_factory=LossReport)
    answers: list[HalfWay | DirtySchema | StatementFault | Missing] = field(default_factory=list)
    measured: int = 0
    done: int = 0

    async def measure(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> LossReport:
        self.measured += 1
        return self.report

    async def roll_back(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> Undone | HalfWay | DirtySchema | StatementFault | Missing:
        self.calls.append("roll_back")
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(self.schemas.found, Applied)
        state = migrations.state_of(record, self.schemas.found)
        if isinstance(state, HalfWay):
            return state
        if not isinstance(state, Undone):
            self.done += 1
            self.schemas.found = without(self.schemas.found, *record.names)
        return Undone()


@dataclass
class FakeJobs:
    """Jobs by name; a test says what running them does, and how they end."""

    calls: Journal
    states: dict[str, JobState] = field(default_factory=dict)
    orders: list[JobOrder] = field(default_factory=list)
    run: Callable[[JobOrder], JobPhase] = lambda _: JobPhase.SUCCEEDED
    refusal: Failure | None = None
    foreign: set[str] = field(default_factory=set)

    async def create(self, order: JobOrder) -> JobState | Failure:
        self.calls.append("create_job")
        if self.refusal is not None:
            return self.refusal
        if order.name in self.states:
            return Failure(FailureKind.EXISTS, order.name)
        self.orders.append(order)
        uid = f"uid-{len(self.orders)}"
        self.states[order.name] = JobState(order.owner.uid, JobPhase.RUNNING, uid=uid)
        return self.states[order.name]

    async def adopt(self, order: JobOrder) -> JobState | Failure:
        if order.name in self.foreign:
            return Failure(FailureKind.REJECTED, f"Job {order.name} is not as planned")
        return await self.look(order.namespace, order.name)

    async def look(self, namespace: str, name: str) -> JobState | Failure:
        known = self.states.get(name)
        if known is None:
            return Failure(FailureKind.GONE, f"no Job {name}")
        if known.phase is JobPhase.RUNNING and (order := self._order(name)) is not None:
            ended = replace(known, phase=self.run(order), message="BackoffLimitExceeded: it failed")
            self.states[name] = ended
        return known

    def _order(self, name: str) -> JobOrder | None:
        return next((one for one in self.orders if one.name == name), None)


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _changes: SchemaChanges = FakeChanges(FakeSchemas(), Journal())
    _jobs: Jobs = FakeJobs(Journal())
