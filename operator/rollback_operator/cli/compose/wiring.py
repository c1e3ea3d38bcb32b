"""The composition root of the agent: the operator's pass on the ports of a Compose project."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rollback_operator.adapters.channels.senders import Senders
from rollback_operator.adapters.compose.absent import (
    AllRights,
    FileSecrets,
    Machine,
    NoAutoscalers,
    NoConfigurations,
    NoFlags,
    NoJobs,
    NoOwners,
    NoPodTools,
    NoSelectors,
    NoServices,
)
from rollback_operator.adapters.compose.engine import Engine
from rollback_operator.adapters.compose.ledger import Ledger
from rollback_operator.adapters.compose.metrics import (
    ComposeMetrics,
    ComposeTrends,
    Incarnations,
    ServiceContainers,
)
from rollback_operator.adapters.compose.project import Compose
from rollback_operator.adapters.compose.revisions import ServicePlace
from rollback_operator.adapters.compose.store import DiskStore
from rollback_operator.adapters.compose.workloads import ComposeWorkloads
from rollback_operator.adapters.http.addresses import Addresses, Rules
from rollback_operator.adapters.http.pod_pages import PodPages
from rollback_operator.adapters.http.probes import HttpProbes
from rollback_operator.adapters.postgres.database import PostgresSchemas
from rollback_operator.adapters.postgres.down import PostgresChanges
from rollback_operator.adapters.prometheus import Access, PrometheusMetrics, PrometheusTrends
from rollback_operator.api.notify import Channel
from rollback_operator.cli.compose.words import ComposeWords
from rollback_operator.model.message import Message
from rollback_operator.model.pod_names import escaped
from rollback_operator.ports.failure import Failure
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
from rollback_operator.runtime.workqueue import PASS_SECONDS, WorkQueue


@dataclass(frozen=True, slots=True)
class Setup:
    """What the agent is started with."""

    compose: Compose
    places: Sequence[ServicePlace]
    prometheus_url: str
    secrets: Path | None
    words: ComposeWords


@dataclass
class AgentParts:
    """The running agent's parts."""

    engine: Engine
    ledger: Ledger
    workloads: ComposeWorkloads
    store: DiskStore
    cache: Cache
    queue: WorkQueue[Key]
    reconciler: Reconciler
    connections: AsyncExitStack = field(default_factory=AsyncExitStack)


class _WordedChannels:
    """The Channels port: another's, with messages in the words of Compose."""

    def __init__(self, channels: Senders, words: ComposeWords) -> None:
        self._channels = channels
        self._words = words

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Send a message."""
        return await self._channels.send(channel, namespace, self._words.message(message))

    async def obstacle(self, channel: Channel, namespace: str) -> str:
        """State why a channel's Secret is unusable."""
        return await self._channels.obstacle(channel, namespace)


@dataclass
class _Sightings:
    """The containers that have run, by service."""

    workloads: ComposeWorkloads
    seen: dict[str, Incarnations] = field(default_factory=dict)

    def find(self, pods: Sequence[str]) -> ServiceContainers:
        """Find the service that a query's patterns name; the longest name that fits is meant."""
        fitting = [
            place
            for place in self.workloads.places.values()
            if any(pod.startswith(f"{escaped(place.name[:40])}-") for pod in pods)
        ]
        if not fitting:
            return ServiceContainers(Incarnations(), is_single=False)
        service = max(fitting, key=lambda place: len(place.name)).service
        seen = self.seen.setdefault(service, Incarnations())
        observed = self.workloads.known.get(service)
        if observed is None:
            return ServiceContainers(seen, is_single=False)
        seen.see(observed.containers)
        return ServiceContainers(seen, len({each.number for each in observed.containers}) == 1)


def wire(setup: Setup, ledger: Ledger, now: Callable[[], datetime]) -> AgentParts:
    """Wire the parts around the daemon, Compose and the record."""

    def clock() -> float:
        return now().timestamp()

    def is_leading() -> bool:
        return True  # the lock on the record is the lease

    engine = Engine(setup.compose.files.socket)
    places = {(place.namespace, place.name): place for place in setup.places}
    workloads = ComposeWorkloads(engine, setup.compose, ledger, places, clock)
    store, machine = DiskStore(ledger, now), Machine(engine, workloads)
    sightings = _Sightings(workloads)
    # The file's author owns the machine: its own addresses are allowed, too.
    addresses = Addresses(Rules(lambda host, namespace: True, is_loopback_allowed=True))
    secrets = FileSecrets(setup.secrets)
    access = Access(url=setup.prometheus_url, pin_url=addresses.pin_url)
    prometheus = PrometheusMetrics(access, secrets=secrets)
    metrics = ComposeMetrics(prometheus, sightings.find)
    trends = ComposeTrends(PrometheusTrends(prometheus), sightings.find)
    pages, probes = PodPages(clock), HttpProbes(addresses, secrets)
    schemas = PostgresSchemas(secrets, addresses.pin)
    changes = PostgresChanges(secrets, addresses.pin)
    channels = _WordedChannels(Senders(secrets, addresses), setup.words)
    cache = Cache()
    # An `up` has its own limit: it is not cut off by that of the pass.
    longest = PASS_SECONDS + setup.compose.up_seconds
    queue: WorkQueue[Key] = WorkQueue(
        time.monotonic, lambda key: key[0], cache.is_waited_for, longest
    )
    teller = Notifier(channels, store, cache, DeliveryPorts(now, is_leading, queue.add))
    trier, verifier = ProbeSender(probes, clock), Verifier(probes, machine, trends, schemas, now)
    observer = Observer(
        metrics,
        clock,
        trends,
        pods=pages,
        trier=trier,
        router=Router(NoServices(), clock),
        credentials=prometheus,
    )
    readings = Readings(observer, queue.add)
    recorder = Recorder(store, cache.take_in, teller.announced)
    owners, flags, url = NoOwners(), NoFlags(), setup.prometheus_url
    suspender = Suspender(store, now, recorder.write, cache.take_in, owners)
    scaler = Scaler(store, now, recorder.write, cache.take_in, NoAutoscalers())
    switch, lookout = FlagSetter(flags, now), ClaimsCache(owners, now)
    records = OwnResources(cache.policy_of, cache.rollbacks_of)
    checker = Checker(machine, schemas, changes, records, now, owners, owners)
    migrator = Migrator(NoJobs(), schemas, changes, recorder.write, now)
    contents = NoConfigurations()
    configurations = ConfigurationReader(contents, now)
    selectors, of_target = NoSelectors(), cache.rollbacks_of
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
        DamageReader(schemas, records, now),
        Diagnoser(NoPodTools(), now),
        now,
    )
    executor = Executor(workloads, store, recorder, now, checker, verifier, actor)

    async def unchanged(_: str, __: Key) -> Failure | None:
        return None  # nobody else writes the record

    keeper = RecordKeeper(
        cache, workloads, store, recorder, executor, suspender, scaler, traffic, now, unchanged
    )
    reconciler = Reconciler(
        cache=cache,
        inspector=Inspector(workloads, lookout, now),
        configurations=configurations,
        readings=readings,
        foresight=Preflight(
            suspender,
            switch,
            observer,
            url,
            PolicyRights(AllRights(), now),
            ApprovalProtection(machine, now),
            ChannelCheck(channels, now),
        ),
        switch=switch,
        carrier=Carrier(cache, store, executor, url),
        keeper=keeper,
        holder=Holder(workloads, store, cache.take_in, now),
        desk=RequestHandler(store, cache, now, teller.refused),
        details=DetailReader(MigrationRecorder(schemas, now), configurations, observer, url, now),
        teller=teller,
        reporter=Reporter(cache, store, now),
        address=MetricsAccess(
            url,
            allows=lambda url, namespace: True,
            may_call=lambda host, namespace: True,
            may_query=lambda policy: True,
        ),
        clock=now,
    )
    parts = AgentParts(engine, ledger, workloads, store, cache, queue, reconciler)
    for close in (engine.close, pages.close, verifier.close, trier.close, readings.close):
        parts.connections.push_async_callback(close)
    parts.connections.callback(prometheus.close)
    return parts
