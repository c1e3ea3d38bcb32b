"""Observe: bring the watch of a release up to date from Kubernetes and from Prometheus."""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.core.model import Counters, Missing, Pod, Workload
from rollback_operator.core.watch import Watch, with_reading, with_workload
from rollback_operator.ports import CounterQuery, Metrics

GENERATED_NAME_BASE = 58
"""Pod names are cut to 63 characters: a longer ReplicaSet name loses its end, its hash."""
MARGIN_SECONDS = 30.0
LONGEST_SECONDS = 6 * 3600.0
CLOCK_EVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a policy's metrics are read."""

    policy: RollbackPolicy
    url: str


@dataclass
class Observer:
    """Reads what a watch needs, and remembers when it last compared clocks."""

    metrics: Metrics
    clock: Callable[[], float]

    async def observe(self, watch: Watch, workload: Workload, source: Source) -> Watch:
        """Take in what Kubernetes shows and what has been counted since the last look."""
        now = self.clock()
        watch = with_workload(watch, workload, now)
        if watch.control is None and watch.control_hashes:
            watch = await self._with_control(watch, workload, source)
        newest = watch.evidence.newest
        since = now - watch.opened if newest is None else now + watch.skew - newest
        seconds = min(LONGEST_SECONDS, since + MARGIN_SECONDS + 2 * watch.evidence.interval)
        query = _query(source, workload, (_prefix(workload.deployment.name),))
        reading, skew = await asyncio.gather(
            self.metrics.read(query, seconds), self._skew(watch, source.url, now)
        )
        watch = replace(watch, skew=skew.value, skew_read=skew.read)
        if isinstance(reading, Counters):
            reading = _of_target(reading, watch.pods)
        return with_reading(watch, reading)

    async def _with_control(self, watch: Watch, workload: Workload, source: Source) -> Watch:
        pods = _patterns(watch, workload)
        if not pods:
            return watch
        until = watch.opened + watch.skew
        found = await self.metrics.read_control(_query(source, workload, pods), until)
        return watch if isinstance(found, Missing) else replace(watch, control=found)

    async def _skew(self, watch: Watch, url: str, now: float) -> "_Skew":
        if watch.skew_read is not None and now - watch.skew_read < CLOCK_EVERY_SECONDS:
            return _Skew(watch.skew, watch.skew_read)
        before = self.clock()
        found = await self.metrics.read_clock(url)
        after = self.clock()
        if isinstance(found, Missing):
            return _Skew(watch.skew, watch.skew_read)
        return _Skew(found - (before + after) / 2, after)


@dataclass(frozen=True, slots=True)
class _Skew:
    value: float
    read: float | None


def _query(source: Source, workload: Workload, pods: tuple[str, ...]) -> CounterQuery:
    signals = source.policy.spec.signals
    return CounterQuery(
        url=source.url,
        namespace=workload.deployment.namespace,
        pods=pods,
        requests=signals.requests,
        errors=signals.errors,
        labels=signals.labels,
    )


def _prefix(deployment: str) -> str:
    return re.escape(f"{deployment}-"[:GENERATED_NAME_BASE]) + ".*"


def _patterns(watch: Watch, workload: Workload) -> tuple[str, ...]:
    """Name the control's pods: by ReplicaSet where its name survives in theirs, else one by one."""
    names = [one.name for one in workload.replica_sets if one.pod_hash in watch.control_hashes]
    if all(len(name) + 1 <= GENERATED_NAME_BASE for name in names):
        return tuple(f"{re.escape(name)}-[a-z0-9]+" for name in names)
    return tuple(re.escape(pod.name) for pod in watch.pods if pod.pod_hash in watch.control_hashes)


def _of_target(counters: Counters, pods: Iterable[Pod]) -> Counters:
    """Leave out other Deployments' pods, whose names may begin alike."""
    names = {pod.name for pod in pods}
    return Counters(
        tuple(one for one in counters.requests if one.pod in names),
        tuple(one for one in counters.errors if one.pod in names),
    )
