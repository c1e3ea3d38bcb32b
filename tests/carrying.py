"""One stored Rollback that an Executor carries on against swapped ports, and the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from rollback_operator.api.v1alpha1 import FINALIZER, Rollback, RollbackPolicy
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.act.acting import Actor
from rollback_operator.reconcile.act.checking import Checker, OwnResources
from rollback_operator.reconcile.act.diagnosing import Diagnoser
from rollback_operator.reconcile.act.execution import Again, Executor
from rollback_operator.reconcile.act.flagging import FlagSetter
from rollback_operator.reconcile.act.migrating import Migrator
from rollback_operator.reconcile.act.recording import Recorder
from rollback_operator.reconcile.act.restoring import ConfigurationRestorer
from rollback_operator.reconcile.act.reversible import Scaler, Suspender
from rollback_operator.reconcile.act.stopping import DamageReader, TrafficSwitch
from rollback_operator.reconcile.act.verifying import VerificationInputs, Verifier
from tests.builders import at, make_policy, make_rollback, make_workload
from tests.fakes.application import FakeLogs, FakePodTools, FakeProbes, FakeSchemas
from tests.fakes.cluster import (
    FakeAutoscalers,
    FakeFlags,
    FakeOwners,
    FakeSelectors,
    FakeTools,
    FakeWorkloads,
)
from tests.fakes.configurations import FakeConfigurations
from tests.fakes.database import FakeChanges, FakeJobs
from tests.fakes.failures import Journal
from tests.fakes.metrics import FakeTrends
from tests.fakes.store import FakeStore
from tests.fakes.surroundings import FakeSurroundings


@dataclass
class Carried:
    """The API server's objects, whoever else is asked, and an operator on them."""

    rollback: Rollback = field(default_factory=make_rollback)
    seconds: float = 20.0

    SILENT: ClassVar[tuple[str, ...]] = ("post",)
    """Calls that change nothing that these tests look at."""

    def __post_init__(self) -> None:
        self.journal = Journal()
        self.workloads = FakeWorkloads(calls=self.journal, workload=self.target())
        self.autoscalers = FakeAutoscalers(workloads=self.workloads, calls=self.journal)
        self.selectors = FakeSelectors(calls=self.journal)
        self.store = FakeStore(calls=self.journal)
        self.surroundings = FakeSurroundings()
        self.probes, self.logs, self.trends = FakeProbes(), FakeLogs(), FakeTrends()
        self.schemas = FakeSchemas()
        self.changes = FakeChanges(self.schemas, self.journal)
        self.jobs = FakeJobs(self.journal)
        self.owners = FakeOwners(calls=self.journal)
        self.tools = FakeTools()
        self.flags = FakeFlags(calls=self.journal)
        self.configurations = FakeConfigurations(calls=self.journal)
        self.tools_of_pods = FakePodTools()
        kept = self.rollback.metadata.model_copy(update={"finalizers": [FINALIZER]})
        self.store.hold(self.rollback.model_copy(update={"metadata": kept}))
        self.executor = self.operator()

    def target(self) -> Workload:
        return make_workload()

    def policy_of(self, _: Rollback) -> RollbackPolicy:
        return make_policy()

    def operator(self) -> Executor:
        def remember(_: Rollback) -> None:
            """The store is the only memory that these tests look at."""

        records = OwnResources(self.policy_of, lambda _, __: [])
        checker = Checker(
            self.surroundings,
            self.schemas,
            self.changes,
            records,
            self.now,
            self.owners,
            self.tools,
            seconds=0.2,
            database_seconds=0.2,
        )
        recorder = Recorder(self.store, remember)
        verifier = Verifier(self.probes, self.logs, self.trends, self.schemas, self.now)
        actor = Actor(
            self.workloads,
            Suspender(self.store, self.now, recorder.write, remember, self.owners),
            FlagSetter(self.flags, self.now),
            Scaler(self.store, self.now, recorder.write, remember, self.autoscalers),
            Migrator(self.jobs, self.schemas, self.changes, recorder.write, self.now),
            ConfigurationRestorer(self.configurations),
            TrafficSwitch(
                self.store,
                self.now,
                recorder.write,
                remember,
                self.workloads,
                self.selectors,
                lambda namespace, uid: [
                    each
                    for each in self.store.rollbacks.values()
                    if each.spec.target_ref.uid == uid
                ],
            ),
            DamageReader(self.schemas, records, self.now),
            Diagnoser(self.tools_of_pods, self.now),
            self.now,
        )
        return Executor(self.workloads, self.store, recorder, self.now, checker, verifier, actor)

    def now(self) -> datetime:
        return at(self.seconds)

    async def carry_on(self, watch: Watch | None = None) -> Rollback | Again:
        return await self.executor.carry_on(
            self.stored, self.workloads.workload, VerificationInputs(watch)
        )

    async def until_end(self, most: int = 200) -> Rollback:
        """Carry on until the end, each time after the seconds that were asked for."""
        for _ in range(most):
            done = await self.carry_on()
            if isinstance(done, Rollback):
                return done
            self.seconds += done.seconds
        raise AssertionError(f"not over: {self.stored.status}")

    async def last(self, most: int = 200) -> Rollback:
        """Carry it to its end, and remove its finalizer as the end of a pass does."""
        done = await self.until_end(most)
        released = await self.store.release(done, FINALIZER)
        return done if isinstance(released, Failure) else released

    @property
    def stored(self) -> Rollback:
        (one,) = self.store.rollbacks.values()
        return one

    @property
    def writes(self) -> list[str]:
        return [one for one in self.journal if one not in self.SILENT]
