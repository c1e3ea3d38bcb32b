"""The composition root: settings -> real adapters -> a Reconciler. It only wires."""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rollback_operator.adapters.channels.senders import Senders
from rollback_operator.adapters.http.addresses import Addresses, Rules
from rollback_operator.adapters.http.lookups import Lookups
from rollback_operator.adapters.http.pod_pages import PodPages
from rollback_operator.adapters.http.probes import HttpProbes
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.clock import ServerClock
from rollback_operator.adapters.kube.lease import Elector, LeaseName
from rollback_operator.adapters.kube.secrets import ApiSecrets
from rollback_operator.adapters.kube.store import ApiStore
from rollback_operator.adapters.kube.target.autoscalers import ApiAutoscalers
from rollback_operator.adapters.kube.target.configurations import ApiConfigurations
from rollback_operator.adapters.kube.target.flags import ApiFlags
from rollback_operator.adapters.kube.target.jobs import ApiJobs
from rollback_operator.adapters.kube.target.logs import ApiLogs
from rollback_operator.adapters.kube.target.owners import ApiOwners
from rollback_operator.adapters.kube.target.pod_tools import ApiPodTools
from rollback_operator.adapters.kube.target.services import (
    ApiSelectors,
    ApiServices,
    ServiceBackends,
)
from rollback_operator.adapters.kube.target.surroundings import ApiSurroundings, NarrowSurroundings
from rollback_operator.adapters.kube.target.tools import ApiTools
from rollback_operator.adapters.kube.target.workloads import ApiWorkloads
from rollback_operator.adapters.postgres.database import PostgresSchemas
from rollback_operator.adapters.postgres.down import PostgresChanges
from rollback_operator.adapters.prometheus import Access, PrometheusMetrics, PrometheusTrends
from rollback_operator.model.context import RollbackBudget
from rollback_operator.ports.application import Channels, Probes, SchemaChanges, Schemas
from rollback_operator.ports.metrics import CredentialsCheck, Metrics, PodMetrics, TrendMetrics
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
from rollback_operator.reconcile.cache import Cache, Key
from rollback_operator.reconcile.carrying import Carrier
from rollback_operator.reconcile.details import DetailReader, MigrationRecorder
from rollback_operator.reconcile.keeping import RecordKeeper
from rollback_operator.reconcile.notifier import DeliveryPorts, Notifier
from rollback_operator.reconcile.observe.asking import IntegrityReader
from rollback_operator.reconcile.observe.configurations import ConfigurationReader
from rollback_operator.reconcile.observe.inspection import ClaimsCache, Inspector
from rollback_operator.reconcile.observe.observation import Observer
from rollback_operator.reconcile.observe.readings import Readings
from rollback_operator.reconcile.observe.routing import Router
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
from rollback_operator.runtime.intake import Intake, Resync
from rollback_operator.runtime.settings import Settings
from rollback_operator.runtime.telemetry import Census, Telemetry
from rollback_operator.runtime.workqueue import WorkQueue


def utc_now() -> datetime:
    """Read this machine's wall clock; no other place does."""
    return datetime.now(UTC)  # noqa: TID251 (everything else takes `now` as an argument)


@dataclass(frozen=True, slots=True)
class Outside:
    """The outside of the operator: servers and clocks, or a simulation of them."""

    api: ApiServer
    metrics: Metrics
    trends: TrendMetrics
    pods: PodMetrics
    schemas: Schemas
    changes: SchemaChanges
    probes: Probes
    channels: Channels
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    wall: Callable[[], datetime]
    """This machine's own clock."""
    credentials: CredentialsCheck | None = None
    """Checks credentials of policies; None: policies have none."""


@dataclass
class Parts:
    """The running operator's parts."""

    api: ApiServer
    intake: Intake
    resync: Resync
    queue: WorkQueue[Key]
    elector: Elector
    reconciler: Reconciler
    telemetry: Telemetry
    verifier: Verifier
    trier: ProbeSender
    asker: IntegrityReader
    connections: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def close(self) -> None:
        """Close connections and threads."""
        await self.verifier.close()
        await self.trier.close()
        await self.asker.close()
        await self.reconciler.readings.close()
        await self.connections.aclose()


async def build(settings: Settings) -> Parts:
    """Build the parts from settings, on real servers."""
    telemetry = Telemetry()
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
    clock = ServerClock(utc_now, time.monotonic)
    api = await ApiServer.connect(kubeconfig, telemetry.measure_call, clock)
    is_loopback_allowed = settings.loopback == "allowed"
    find, lookups = ServiceBackends(api).find, Lookups()
    read = Rules(settings.may_read, is_loopback_allowed, settings.service_read)
    called = Rules(settings.may_call, is_loopback_allowed, settings.service_called)
    access = Access(
        settings.prometheus_token_file,
        settings.prometheus_ca_file,
        settings.prometheus_url,
        pin_url=Addresses(read, lookups.resolve, find).pin_url,
        login_folder=settings.prometheus_basic_auth_folder,
        tenant=settings.prometheus_tenant or "",
        may_read_as=settings.may_read_as,
    )
    pods = PodPages(lambda: clock.now().timestamp())
    secrets = ApiSecrets(api)
    metrics = PrometheusMetrics(access, secrets=secrets)
    addresses = Addresses(called, lookups.resolve, find)
    outside = Outside(
        api=api,
        metrics=metrics,
        trends=PrometheusTrends(metrics, metrics.proof(settings.needs_login_proof)),
        pods=pods,
        schemas=PostgresSchemas(secrets, addresses.pin),
        changes=PostgresChanges(secrets, addresses.pin),
        probes=HttpProbes(addresses, secrets),
        channels=Senders(secrets, addresses),
        clock=clock.now,
        monotonic=time.monotonic,
        wall=utc_now,
        credentials=metrics,
    )
    parts = wire(outside, settings, telemetry)
    parts.connections.push_async_callback(api.close)
    parts.connections.push_async_callback(pods.close)
    parts.connections.callback(metrics.close)
    parts.connections.callback(lookups.close)
    return parts


def wire(outside: Outside, settings: Settings, telemetry: Telemetry) -> Parts:
    """Wire the parts around their outside."""
    now = outside.clock

    def clock() -> float:
        return now().timestamp()

    lease = LeaseName(
        settings.lease_namespace, settings.lease_name, settings.identity, settings.lease_seconds
    )
    elector = Elector(outside.api, lease, now, outside.monotonic, outside.wall)
    # Nothing below writes without the lease; only the elector's own writes are exempt.
    api = outside.api.fenced(elector.is_leading)
    cache = Cache()
    queue: WorkQueue[Key] = WorkQueue(outside.monotonic, lambda key: key[0], cache.is_waited_for)
    intake = Intake(cache, queue.add)
    resync = Resync(api, intake, settings.namespaces)
    refresh = resync.refresh
    workloads, store = ApiWorkloads(api), ApiStore(api, settings.identity, now, refresh)
    records = OwnResources(cache.policy_of, cache.rollbacks_of)
    nearby = NarrowSurroundings(api) if settings.namespaces else ApiSurroundings(api)
    owners = ApiOwners(api, settings.argo_cd_namespace)
    tools = ApiTools(api, settings.argo_cd_namespace, outside.monotonic)
    checker = Checker(nearby, outside.schemas, outside.changes, records, now, owners, tools)
    verifier = Verifier(outside.probes, ApiLogs(api), outside.trends, outside.schemas, now)
    trier = ProbeSender(outside.probes, clock)
    asker = IntegrityReader(outside.schemas, clock)
    runtime = DeliveryPorts(now, elector.is_leading, queue.add, refresh)
    teller = Notifier(outside.channels, store, cache, runtime)
    observer = Observer(
        outside.metrics,
        clock,
        outside.trends,
        pods=outside.pods,
        trier=trier,
        asker=asker,
        router=Router(ApiServices(api), clock),
        credentials=outside.credentials,
    )
    readings = Readings(observer, queue.add)
    recorder = Recorder(store, cache.take_in, teller.announced, telemetry.measure_end)
    telemetry.registry.register(Census(cache, elector.is_leading))
    suspender = Suspender(store, now, recorder.write, cache.take_in, owners)
    switch = FlagSetter(ApiFlags(api), now)
    scaler = Scaler(store, now, recorder.write, cache.take_in, ApiAutoscalers(api))
    contents = ApiConfigurations(api, settings.secret_digest_key_file)
    migrator = Migrator(ApiJobs(api), outside.schemas, outside.changes, recorder.write, now)
    configurations = ConfigurationReader(contents, now)
    selectors, of_target = ApiSelectors(api), cache.rollbacks_of
    traffic = TrafficSwitch(
        store, now, recorder.write, cache.take_in, workloads, selectors, of_target
    )
    actor = Actor(
        workloads,
        suspender,
        switch,
        scaler,
        migrator,
        ConfigurationRestorer(contents),
        traffic,
        DamageReader(outside.schemas, records, now),
        Diagnoser(ApiPodTools(api), now),
        now,
    )
    executor = Executor(
        workloads, store, recorder, now, checker, verifier, actor, lambda: elector.stopped
    )
    lookout = ClaimsCache(tools, now)
    reconciler = Reconciler(
        cache=cache,
        inspector=Inspector(workloads, lookout, now),
        configurations=configurations,
        readings=readings,
        foresight=Preflight(
            suspender,
            switch,
            observer,
            settings.prometheus_url,
            PolicyRights(api, now),
            ApprovalProtection(nearby, now),
            ChannelCheck(outside.channels, now),
        ),
        switch=switch,
        carrier=Carrier(cache, store, executor, settings.prometheus_url),
        keeper=RecordKeeper(
            cache, workloads, store, recorder, executor, suspender, scaler, traffic, now, refresh
        ),
        holder=Holder(workloads, store, cache.take_in, now),
        desk=RequestHandler(store, cache, now, teller.refused),
        details=DetailReader(
            MigrationRecorder(outside.schemas, now),
            configurations,
            observer,
            settings.prometheus_url,
            now,
        ),
        teller=teller,
        reporter=Reporter(cache, store, now),
        address=MetricsAccess(
            settings.prometheus_url,
            settings.allows,
            settings.may_call,
            settings.may_query,
            lambda: elector.stopped,
            settings.may_read_as,
        ),
        clock=now,
        budget=RollbackBudget(settings.max_concurrent, settings.max_rollbacks_per_day),
    )
    elector.on_stop = intake.look_at_all
    return Parts(
        api=api,
        intake=intake,
        resync=resync,
        queue=queue,
        elector=elector,
        reconciler=reconciler,
        telemetry=telemetry,
        verifier=verifier,
        trier=trier,
        asker=asker,
    )
