"""Observe: bring the watch of a release up to date from Kubernetes, Prometheus and the pods."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.arms import excluded_routes
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.counters import Evidence, scrape_interval
from rollback_operator.evidence.stand_in import failure_at_end
from rollback_operator.evidence.trends import Trends
from rollback_operator.evidence.watch import (
    Watch,
    naming,
    with_gone,
    with_pages,
    with_reading,
    with_workload,
    without_pages,
)
from rollback_operator.model import pod_names
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, Missing, Reading
from rollback_operator.model.workload import Workload
from rollback_operator.ports.metrics import (
    CounterQuery,
    CredentialsCheck,
    Metrics,
    PageQuery,
    PodMetrics,
    Prometheus,
    TrendMetrics,
)
from rollback_operator.reconcile.observe.asking import IntegrityReader
from rollback_operator.reconcile.observe.pages import page_query, usable_pages, with_use
from rollback_operator.reconcile.observe.routing import Router
from rollback_operator.reconcile.observe.trends import Place, read_route_latency, read_trends
from rollback_operator.reconcile.observe.trying import ProbeSender
from rollback_operator.report.diagnosis import RouteLatency
from rollback_operator.report.readiness import Around

MARGIN_SECONDS = 30.0
FIRST_SECONDS = 180.0
"""How far back the first answer reaches: three samples at a scrape each minute. An old pod whose
error series appears with its first error is only known to have been read before by these."""
LONGEST_SECONDS = 6 * 3600.0
CLOCK_EVERY_SECONDS = 60.0
CREDENTIALS_EVERY_SECONDS = 300.0
"""Lifetime of a preflight result for a policy's own credentials."""
CREDENTIALS_AGAIN_SECONDS = 60.0
"""... with an obstacle, which somebody may be fixing."""
READ_PATIENCE_SECONDS = 2.0
DUE_TOLERANCE_SECONDS = 0.05
"""A look that was due a moment later is not put off for that."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a policy's metrics are read."""

    policy: RollbackPolicy
    prometheus: Prometheus


@dataclass
class Observer:
    """Reads what a watch needs, and remembers when it last compared clocks."""

    metrics: Metrics
    clock: Callable[[], float]
    trends: TrendMetrics | None = None
    """None: slow signals are not read."""
    patience: float = READ_PATIENCE_SECONDS
    """Time limit for slow signals, seconds."""
    pods: PodMetrics | None = None
    """None: their own pages are not read."""
    trier: ProbeSender | None = None
    """None: no probes are sent while a release is watched."""
    asker: IntegrityReader | None = None
    """None: no database is asked while a release is watched."""
    router: Router | None = None
    """None: Services are not looked at."""
    credentials: CredentialsCheck | None = None
    """None: policies have no credentials of their own."""

    async def foresee(self, prometheus: Prometheus, around: Around) -> tuple[Around, float | None]:
        """Add obstacles to reading metrics; gives the seconds until the next check."""
        if self.credentials is None or not prometheus.has_own_credentials:
            return around, None
        why = await self.credentials.obstacle(prometheus)
        anew = CREDENTIALS_AGAIN_SECONDS if why else CREDENTIALS_EVERY_SECONDS
        return replace(around, credentials_obstacle=why), anew

    async def observe(self, watch: Watch, workload: Workload, source: Source) -> Watch:
        """Update the watch from Kubernetes and from metrics."""
        return await self.read_metrics(await self.beside(watch, workload, source), workload, source)

    async def beside(self, watch: Watch, workload: Workload, source: Source) -> Watch:
        """Update the watch from all that needs no server of a policy's choice."""
        watch = with_workload(watch, workload, self.clock())
        if self.pods is not None:
            watch = with_use(watch, source.policy)
        if self.trier is not None:
            watch = await self.trier.send_due(watch, workload, source.policy)
        if self.asker is not None:
            watch = await self.asker.ask_due(watch, workload, source.policy)
        if self.router is not None:
            watch = await self.router.observe(watch, workload, source.policy)
        return watch

    async def read_metrics(self, watch: Watch, workload: Workload, source: Source) -> Watch:
        """Update the watch from metrics: Prometheus and the pods' own pages."""
        now = self.clock()
        is_reading = self.pods is not None and watch.is_reading_pods(now)
        # Pods are read more often than Prometheus has anything new of them.
        is_scraping = not is_reading or now >= watch.scrape_due - DUE_TOLERANCE_SECONDS
        if is_scraping and watch.skew_read is None:
            # Not before it is known by which clock scrapes are timed are pods read.
            watch, is_scraping = await self._with_prometheus(watch, workload, source, now), False
        query = None
        if is_reading and now >= watch.read_due - DUE_TOLERANCE_SECONDS:
            watch = replace(watch, read_at=now)
            query = page_query(watch, workload, source.policy.spec)
        # Both at once: after a slow Prometheus the pods' answers would come late.
        watch, pages = await asyncio.gather(
            self._with_prometheus(watch, workload, source, now)
            if is_scraping
            else _unchanged_watch(watch),
            self._read(query),
        )
        if pages is not None:
            watch = _with_pod_names(watch, workload, source)
            namespace = source.policy.metadata.namespace
            size = _sample_count(pages) + _kept_series_count(watch)
            watch = await apart(namespace, size, partial(with_pages, watch, pages, now))
        if watch.evidence.book.conflict:
            watch = await self._with_scrapes(without_pages(watch), workload, source, now)
        return watch

    async def _read(self, query: PageQuery | Missing | None) -> Reading | None:
        if self.pods is None or not isinstance(query, PageQuery):
            return query if isinstance(query, Missing) else None
        return usable_pages(query, await self.pods.read(query))

    async def _with_prometheus(
        self, watch: Watch, workload: Workload, source: Source, now: float
    ) -> Watch:
        compared = await self._with_skew(watch, source.prometheus, now)
        if isinstance(compared, Missing):
            # With an unknown skew, samples cannot be put in order with events of the pods.
            seen = await self._with_scrapes(watch, workload, source, now)
            return replace(watch, missing=seen.missing or compared)
        watch = compared
        if watch.control_hashes and (watch.control is None or not watch.control.seconds):
            watch = await self._with_control(watch, workload, source)
        routes = source.policy.spec.signals.purchase_routes
        if watch.control_before is None and failure_at_end(watch, routes):
            before = await self._read_past_control(watch, workload, source, watch.replaced_hashes)
            watch = replace(watch, control_before=before)
        return await self._with_scrapes(watch, workload, source, now)

    async def _with_scrapes(
        self, watch: Watch, workload: Workload, source: Source, now: float
    ) -> Watch:
        newest = watch.evidence.newest_scrape
        since = now - watch.opened if newest is None else now + watch.skew - newest
        margin = FIRST_SECONDS if newest is None else MARGIN_SECONDS + 2 * watch.evidence.interval
        seconds = min(LONGEST_SECONDS, since + margin)
        query = all_pods(source, workload.deployment.namespace, workload.deployment.name)
        reading, trends = await asyncio.gather(
            self.metrics.read(query, seconds), self._trends(watch, workload, source, now)
        )
        watch = _with_pod_names(replace(watch, trends=trends), workload, source)
        size = _sample_count(reading) + _kept_series_count(watch)
        namespace = source.policy.metadata.namespace
        return await apart(namespace, size, partial(_with_counters, watch, workload, reading))

    async def _trends(self, watch: Watch, workload: Workload, source: Source, now: float) -> Trends:
        """Read the slow signals, with a time limit so that a P1 is not late."""
        at = now + watch.skew
        if self.trends is None:
            return replace(watch.trends, read=at)  # nothing slow is looked at here, nor waited for
        if watch.missing is not None or not watch.trends.is_due(at):
            return watch.trends
        place = _place(watch, workload, source)
        try:
            async with asyncio.timeout(self.patience):
                return await read_trends(watch, source.policy.spec, place, self.trends, at)
        except TimeoutError:
            late = Missing(Reason.PROVIDER_UNREACHABLE, f"no answer in {self.patience:.0f} s")
            return replace(watch.trends, read=at, missing={"trends": late})

    async def latency_by_route(
        self, watch: Watch, workload: Workload, source: Source
    ) -> RouteLatency:
        """Read both revisions' durations for a diagnosis; missing data is left out."""
        if self.trends is None:
            return RouteLatency()
        place, now = _place(watch, workload, source), self.clock() + watch.skew
        current = workload.current
        new = _pod_patterns(
            watch, workload, frozenset({current.pod_hash}) if current else frozenset()
        )
        spec, times = source.policy.spec, (now, watch.opened + watch.skew)
        try:
            async with asyncio.timeout(self.patience):
                return await read_route_latency(spec, replace(place, pods=new), self.trends, times)
        except TimeoutError:
            return RouteLatency()

    async def _with_control(self, watch: Watch, workload: Workload, source: Source) -> Watch:
        control = await self._read_past_control(watch, workload, source, watch.control_hashes)
        wider = watch.control_hashes | watch.good_hashes
        if wider > watch.control_hashes and (control is None or not control.is_sufficient):
            # It came a moment before this release: a good revision before it is as good a witness.
            control = await self._read_past_control(watch, workload, source, wider) or control
        # No past is asked for again: a Prometheus that has lost it may find it.
        return watch if control is None else replace(watch, control=control)

    async def _read_past_control(
        self, watch: Watch, workload: Workload, source: Source, hashes: frozenset[str]
    ) -> Control | None:
        """Read the hour up to the release of these revisions' pods; None: no data.

        Counters that counted nothing are data: a service without traffic.
        """
        pods = _pod_patterns(watch, workload, hashes)
        if not pods:
            return None
        query = replace(
            _query(source, workload.deployment.namespace, pods),
            left_out=excluded_routes(source.policy.spec.signals, workload.deployment),
        )
        control = await self.metrics.read_control(query, watch.opened + watch.skew)
        return None if isinstance(control, Missing) or not control.routes else control

    async def _with_skew(self, watch: Watch, prometheus: Prometheus, now: float) -> Watch | Missing:
        """Compare clocks now and then; at each look while their difference prevents a verdict.

        Missing: they have never been compared.
        """
        # The operator's clock may be set back: its next minute would last for hours.
        age = math.inf if watch.skew_read is None else abs(now - watch.skew_read)
        is_fresh = age < CLOCK_EVERY_SECONDS
        if is_fresh and abs(watch.skew) <= watch.evidence.interval:
            return watch
        before = self.clock()
        answer = await self.metrics.read_clock(prometheus)
        after = self.clock()
        if isinstance(answer, Missing):
            return answer if watch.skew_read is None else watch
        # A slow answer is no skew: only a time outside question and answer is.
        skew = answer - min(max(answer, before), after)
        if watch.skew_read is not None and abs(skew - watch.skew) > watch.evidence.interval:
            # Samples timed by the old clock cannot be put in order with new samples.
            watch = replace(
                watch, evidence=Evidence(watch.opened), control=None, control_before=None
            )
        return replace(watch, skew=skew, skew_read=after)


def _with_pod_names(watch: Watch, workload: Workload, source: Source) -> Watch:
    signals = source.policy.spec.signals
    return naming(
        watch, excluded_routes(signals, workload.deployment).union(signals.purchase_routes)
    )


def _with_counters(watch: Watch, workload: Workload, reading: Reading) -> Watch:
    if isinstance(reading, Counters):
        if watch.evidence.newest_scrape is None:
            # Before the new pods have two samples, the replaced pods show the interval.
            interval = scrape_interval(reading, watch.evidence.interval)
            watch = replace(watch, evidence=replace(watch.evidence, interval=interval))
        watch = with_gone(watch, workload, reading)
        reading = of_target(reading, watch.pods)
    return with_reading(watch, reading)


def _sample_count(reading: Reading) -> int:
    """Count the samples."""
    if isinstance(reading, Missing):
        return 0
    return sum(len(each.samples) for side in (reading.requests, reading.errors) for each in side)


def _kept_series_count(watch: Watch) -> int:
    return len(watch.evidence.book.heads)


async def _unchanged_watch(watch: Watch) -> Watch:
    return watch


def all_pods(source: Source, namespace: str, deployment: str) -> CounterQuery:
    """Ask for the counters of all pods that a Deployment has or had."""
    return _query(source, namespace, (pod_names.of_deployment(deployment),))


def _query(source: Source, namespace: str, pods: tuple[str, ...]) -> CounterQuery:
    signals = source.policy.spec.signals
    return CounterQuery(
        prometheus=source.prometheus,
        namespace=namespace,
        pods=pods,
        requests=signals.requests,
        errors=signals.errors,
        labels=signals.labels,
    )


def _place(watch: Watch, workload: Workload, source: Source) -> Place:
    control = watch.control_hashes
    return Place(
        prometheus=source.prometheus,
        namespace=workload.deployment.namespace,
        pods=(pod_names.of_deployment(workload.deployment.name),),
        control=_pod_patterns(watch, workload, control) if control else (),
    )


def _pod_patterns(watch: Watch, workload: Workload, hashes: frozenset[str]) -> tuple[str, ...]:
    """Name revisions' pods: by ReplicaSet where its name survives in theirs, else pod by pod."""
    names = [each.name for each in workload.replica_sets if each.pod_hash in hashes]
    if all(map(pod_names.survives, names)):
        return tuple(map(pod_names.of_replica_set, names))
    return tuple(pod_names.escaped(pod.name) for pod in watch.pods if pod.pod_hash in hashes)


def of_target(counters: Counters, pods: Iterable[Pod]) -> Counters:
    """Leave out other Deployments' pods, whose names may begin alike."""
    names = {aggregate.POD, *(pod.name for pod in pods)}
    return Counters(
        tuple(series for series in counters.requests if series.pod in names),
        tuple(series for series in counters.errors if series.pod in names),
    )
