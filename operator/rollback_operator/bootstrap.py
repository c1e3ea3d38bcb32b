"""The composition root: settings -> real adapters -> a Reconciler. Wires, and does nothing else."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from rollback_operator.adapters.channels.senders import Senders
from rollback_operator.adapters.database import PostgresSchemas
from rollback_operator.adapters.lease import Elector, LeaseName
from rollback_operator.adapters.logs import ApiLogs
from rollback_operator.adapters.pod_metrics import PodPages
from rollback_operator.adapters.probes import HttpProbes
from rollback_operator.adapters.prometheus import Access, PrometheusMetrics, PrometheusTrends
from rollback_operator.adapters.secrets import ApiSecrets
from rollback_operator.adapters.store import ApiStore
from rollback_operator.adapters.surroundings import ApiSurroundings, NarrowSurroundings
from rollback_operator.adapters.telemetry import Telemetry
from rollback_operator.adapters.workloads import ApiWorkloads
from rollback_operator.addresses import Addresses, Rules
from rollback_operator.apiserver import ApiServer
from rollback_operator.cache import Cache, Key
from rollback_operator.checking import Checker, Records
from rollback_operator.core.budget import Budget
from rollback_operator.execution import Executor
from rollback_operator.holding import Holder
from rollback_operator.manual import Desk
from rollback_operator.observation import Observer
from rollback_operator.reconcile import Address, Reconciler
from rollback_operator.remembering import Rememberer
from rollback_operator.settings import Settings
from rollback_operator.telling import Surroundings, Teller
from rollback_operator.trying import Trier
from rollback_operator.verifying import Verifier
from rollback_operator.workqueue import WorkQueue


def utc_now() -> datetime:
    """Read the clock: the only place that does, beside the sample times of Prometheus."""
    return datetime.now(UTC)  # noqa: TID251 (everything else takes `now` as an argument)


@dataclass
class Parts:
    """The running operator's parts."""

    api: ApiServer
    cache: Cache
    queue: WorkQueue[Key]
    elector: Elector
    reconciler: Reconciler
    metrics: PrometheusMetrics
    pods: PodPages
    telemetry: Telemetry
    secrets: ApiSecrets
    addresses: Addresses
    verifier: Verifier
    trier: Trier

    async def close(self) -> None:
        """Close connections and threads."""
        await self.verifier.close()
        await self.trier.close()
        self.metrics.close()
        await self.pods.close()
        await self.api.close()


async def build(settings: Settings) -> Parts:
    """Make the parts from settings."""
    telemetry = Telemetry()
    kubeconfig = str(settings.kubeconfig) if settings.kubeconfig else None
    api = await ApiServer.connect(kubeconfig, telemetry.measure_call)
    cache = Cache()
    access = Access(
        settings.prometheus_token_file, settings.prometheus_ca_file, settings.prometheus_url
    )
    metrics = PrometheusMetrics(access)

    def clock() -> float:
        return utc_now().timestamp()

    pods = PodPages(clock)
    workloads, store = ApiWorkloads(api), ApiStore(api, settings.identity, utc_now)
    lease = LeaseName(
        settings.lease_namespace, settings.lease_name, settings.identity, settings.lease_seconds
    )
    secrets = ApiSecrets(api)
    addresses = Addresses(Rules(settings.may_call, settings.loopback == "allowed"))
    schemas = PostgresSchemas(secrets, addresses.pin)
    records = Records(cache.policy_of, cache.rollbacks_of)
    nearby = NarrowSurroundings(api) if settings.namespaces else ApiSurroundings(api)
    checker = Checker(nearby, schemas, records, utc_now)
    trends = PrometheusTrends(metrics)
    probes = HttpProbes(addresses, secrets)
    verifier, trier = Verifier(probes, ApiLogs(api), trends, utc_now), Trier(probes, clock)
    elector = Elector(api, lease, utc_now, time.monotonic)
    queue: WorkQueue[Key] = WorkQueue(time.monotonic)
    around = Surroundings(utc_now, elector.is_leading, queue.add)
    teller = Teller(Senders(secrets, addresses), store, cache, around)
    reconciler = Reconciler(
        cache=cache,
        workloads=workloads,
        store=store,
        observer=Observer(metrics, clock, trends, pods=pods, trier=trier),
        executor=Executor(
            workloads, store, cache.remember, utc_now, checker, verifier, teller.announced
        ),
        holder=Holder(workloads, store, cache.renew, utc_now),
        desk=Desk(store, cache.remember, utc_now),
        rememberer=Rememberer(schemas, utc_now),
        teller=teller,
        address=Address(settings.prometheus_url, settings.allows, settings.may_call),
        clock=utc_now,
        budget=Budget(settings.max_concurrent, settings.max_rollbacks_per_day),
    )
    return Parts(
        api=api,
        cache=cache,
        queue=queue,
        elector=elector,
        reconciler=reconciler,
        metrics=metrics,
        pods=pods,
        telemetry=telemetry,
        secrets=secrets,
        addresses=addresses,
        verifier=verifier,
        trier=trier,
    )
