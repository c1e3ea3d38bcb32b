"""An operator with its ports swapped, and what outlives it: objects, traffic, time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rollback_operator.api.reasons import ConditionType
from rollback_operator.api.v1alpha1 import Rollback, RollbackPolicy, RollbackPolicyStatus
from rollback_operator.model.conditions import find
from rollback_operator.model.samples import CounterSeries
from rollback_operator.model.workload import Workload
from rollback_operator.ports.metrics import Metrics
from rollback_operator.reconcile.act.acting import Actor
from rollback_operator.reconcile.act.checking import Checker, OwnResources
from rollback_operator.reconcile.act.diagnosing import Diagnoser
from rollback_operator.reconcile.act.execution import Executor
from rollback_operator.reconcile.act.flagging import FlagSetter
from rollback_operator.reconcile.act.holding import Holder
from rollback_operator.reconcile.act.migrating import Migrator
from rollback_operator.reconcile.act.recording import Recorder
from rollback_operator.reconcile.act.restoring import ConfigurationRestorer
from rollback_operator.reconcile.act.reversible import Scaler, Suspender
from rollback_operator.reconcile.act.stopping import DamageReader, TrafficSwitch
from rollback_operator.reconcile.act.verifying import Verifier
from rollback_operator.reconcile.cache import Cache
from rollback_operator.reconcile.carrying import Carrier
from rollback_operator.reconcile.details import DetailReader, MigrationRecorder
from rollback_operator.reconcile.keeping import RecordKeeper
from rollback_operator.reconcile.notifier import DeliveryPorts, Notifier
from rollback_operator.reconcile.observe.asking import IntegrityReader
from rollback_operator.reconcile.observe.configurations import ConfigurationReader
from rollback_operator.reconcile.observe.inspection import ClaimsCache, Inspector
from rollback_operator.reconcile.observe.observation import Observer
from rollback_operator.reconcile.observe.readings import Readings
from rollback_operator.reconcile.observe.trying import ProbeSender
from rollback_operator.reconcile.preflight import (
    ApprovalProtection,
    ChannelCheck,
    MetricsAccess,
    PolicyRights,
    Preflight,
)
from rollback_operator.reconcile.reconciler import Reconciler
from rollback_operator.reconcile.requests import RequestHandler
from rollback_operator.reconcile.status_writer import Reporter
from tests.builders import (
    NAME,
    NAMESPACE,
    T0,
    at,
    make_control,
    make_counters,
    make_entry,
    make_pod,
    make_policy,
    make_series,
    make_workload,
)
from tests.fakes.application import FakeLogs, FakePodTools, FakeProbes, FakeSchemas
from tests.fakes.channels import FakeChannels
from tests.fakes.cluster import (
    FakeAutoscalers,
    FakeFlags,
    FakeOwners,
    FakeRights,
    FakeSelectors,
    FakeTools,
    FakeWorkloads,
)
from tests.fakes.configurations import FakeConfigurations
from tests.fakes.database import FakeChanges, FakeJobs
from tests.fakes.failures import Journal
from tests.fakes.metrics import FakeCredentialsCheck, FakeMetrics, FakePods, FakeTrends
from tests.fakes.store import FakeStore
from tests.fakes.surroundings import FakeSurroundings

KEY = (NAMESPACE, NAME)
OWN = "http://prometheus.monitoring:9090"


def watched(policy: RollbackPolicy, **changes: Any) -> RollbackPolicy:
    """The policy as it was when v1 had been good for an hour."""
    known = make_entry("v1")
    status = RollbackPolicyStatus(revision=known, revisions=[known])
    return policy.model_copy(update={"status": status} | changes)


AT_ONCE_SECONDS = 60.0
"""Fakes answer at once, however long that takes on the clock of a busy machine: passes of a world
follow each other without a pause in which a read could go on beside them."""


@dataclass
class World:
    """What outlives the operator: the API server's objects, the traffic and the time."""

    policy: RollbackPolicy | None = field(default_factory=lambda: watched(make_policy()))
    bad: frozenset[str] = frozenset({"v2"})
    seconds: float = 20.0
    journal: Journal = field(default_factory=Journal)
    quick: float = AT_ONCE_SECONDS
    stopped: str = ""

    def __post_init__(self) -> None:
        self.workloads = FakeWorkloads(calls=self.journal, workload=make_workload())
        self.store = FakeStore(calls=self.journal)
        self.surroundings = FakeSurroundings()
        self.schemas = FakeSchemas()
        self.changes = FakeChanges(self.schemas, self.journal)
        self.jobs = FakeJobs(self.journal)
        self.owners = FakeOwners(calls=self.journal)
        self.tools = FakeTools()
        self.flags = FakeFlags(calls=self.journal)
        self.configurations = FakeConfigurations(calls=self.journal)
        self.rights = FakeRights()
        self.autoscalers = FakeAutoscalers(workloads=self.workloads, calls=self.journal)
        self.selectors = FakeSelectors(calls=self.journal)
        self.metrics = FakeMetrics(control=make_control())
        self.credentials = FakeCredentialsCheck()
        self.pods = FakePods()
        self.probes, self.logs, self.trends = FakeProbes(), FakeLogs(), FakeTrends()
        self.channels = FakeChannels()
        self.woken: list[tuple[str, str]] = []
        if self.policy is not None:
            self.store.hold(self.policy)

    def now(self) -> datetime:
        return at(self.seconds)

    def verifier(self) -> Verifier:
        return Verifier(self.probes, self.logs, self.trends, self.schemas, self.now)

    def operator(self) -> Reconciler:
        """Start an operator that knows what the watches tell at its start."""
        cache = Cache()
        store = self.store
        for one in (
            *store.policies.values(),
            *store.rollbacks.values(),
            *store.requests.values(),
        ):
            cache.remember(one)
        metrics: Metrics = self.metrics
        refresh = store.refresher(cache)
        runtime = DeliveryPorts(self.now, lambda: True, self.woken.append, refresh)
        teller = Notifier(self.channels, self.store, cache, runtime)
        observer = Observer(
            metrics,
            lambda: self.now().timestamp(),
            pods=self.pods,
            trier=ProbeSender(self.probes, lambda: self.now().timestamp()),
            asker=IntegrityReader(self.schemas, lambda: self.now().timestamp()),
            credentials=self.credentials,
        )
        recorder = Recorder(store, cache.take_in, teller.announced)
        suspender = Suspender(store, self.now, recorder.write, cache.take_in, self.owners)
        switch = FlagSetter(self.flags, self.now)
        scaler = Scaler(store, self.now, recorder.write, cache.take_in, self.autoscalers)
        migrator = Migrator(self.jobs, self.schemas, self.changes, recorder.write, self.now)
        configurations = ConfigurationReader(self.configurations, self.now)
        traffic = TrafficSwitch(
            store,
            self.now,
            recorder.write,
            cache.take_in,
            self.workloads,
            self.selectors,
            cache.rollbacks_of,
        )
        records = OwnResources(cache.policy_of, cache.rollbacks_of)
        actor = Actor(
            self.workloads,
            suspender,
            switch,
            scaler,
            migrator,
            ConfigurationRestorer(self.configurations),
            traffic,
            DamageReader(self.schemas, records, self.now),
            Diagnoser(FakePodTools(), self.now),
            self.now,
        )
        executor = Executor(
            self.workloads, store, recorder, self.now, self.checker(cache), self.verifier(), actor,
            lambda: self.stopped,
        )  # fmt: skip
        lookout = ClaimsCache(self.tools, self.now)
        made = Reconciler(
            cache=cache,
            inspector=Inspector(self.workloads, lookout, self.now),
            configurations=configurations,
            readings=Readings(observer, self.woken.append, quick=self.quick),
            foresight=Preflight(
                suspender,
                switch,
                observer,
                OWN,
                PolicyRights(self.rights, self.now),
                ApprovalProtection(self.surroundings, self.now),
                ChannelCheck(self.channels, self.now),
            ),
            switch=switch,
            carrier=Carrier(cache, store, executor, OWN),
            keeper=RecordKeeper(
                cache,
                self.workloads,
                store,
                recorder,
                executor,
                suspender,
                scaler,
                traffic,
                self.now,
                refresh,
            ),
            holder=Holder(self.workloads, self.store, cache.take_in, self.now),
            desk=RequestHandler(self.store, cache, self.now, teller.refused),
            details=DetailReader(
                MigrationRecorder(self.schemas, self.now), configurations, observer, OWN, self.now
            ),
            teller=teller,
            reporter=Reporter(cache, self.store, self.now),
            address=MetricsAccess(
                OWN,
                lambda url, namespace: url == OWN,
                lambda host, namespace: host.endswith(f".{namespace}.svc"),
                lambda policy: True,
                lambda: self.stopped,
            ),
            clock=self.now,
        )
        self.tell(made)
        return made

    def checker(self, cache: Cache) -> Checker:
        records = OwnResources(cache.policy_of, cache.rollbacks_of)
        return Checker(
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

    def tell(self, operator: Reconciler) -> None:
        """Let the watch of Deployments deliver, the rollout end, and the pods be scraped."""
        workload = self.workloads.workload
        version = workload.deployment.template.digest.removeprefix("digest-")
        if not any(pod.pod_hash == f"hash{version}" for pod in workload.pods):
            begin = T0 + self.seconds
            pods = tuple(
                make_pod(one, version, created=begin, started=begin, ready_since=begin + 1)
                for one in range(workload.deployment.replicas)
            )
            workload = self.workloads.workload = replace(workload, pods=pods)
        operator.cache.deployments[KEY] = workload.deployment
        self.metrics.clock = T0 + self.seconds
        self.metrics.reading = make_counters(
            self._counted(workload, frozenset({"v1", "v2", "v2-restarted", "v2-set"})),
            self._counted(workload, self.bad),
        )

    def _counted(self, workload: Workload, versions: frozenset[str]) -> list[CounterSeries]:
        hashes = {f"hash{one}" for one in versions}
        series = []
        for pod in workload.pods:
            begin = int((pod.started or T0) - T0)
            moments = range(begin + 4, int(self.seconds), 5)
            rate = 10 if pod.pod_hash in hashes else 0
            samples = [(float(one), float(rate * (one - begin))) for one in moments]
            series.append(make_series(samples, pod=pod.name))
        return series

    async def run(self, operator: Reconciler, until: Callable[[], bool], most: int = 60) -> None:
        """Make passes, two seconds apart, until something has happened."""
        for _ in range(most):
            if until():
                return
            self.tell(operator)
            await operator.reconcile(KEY)
            self.seconds += 2
        raise AssertionError(f"not within {most} passes: {self.journal[-20:]}")

    def is_over(self) -> bool:
        made = self.store.rollbacks.values()
        return bool(made) and all(one.status.outcome is not None for one in made)

    def is_all_done(self) -> bool:
        return self.is_over() and self.rollback.metadata.finalizers == []

    @property
    def rollback(self) -> Rollback:
        (one,) = self.store.rollbacks.values()
        return one

    @property
    def status(self) -> RollbackPolicyStatus:
        return self.store.policies[NAME].status

    def condition(self, kind: ConditionType) -> tuple[str, str]:
        found = find(self.status.conditions, kind)
        assert found is not None
        return found.status, found.reason
