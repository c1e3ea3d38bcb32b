"""Reads what a policy would have to judge by: the same reads that the operator makes, once.

Where they find nothing it is asked what there is instead.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from rollback_operator.adapters.prometheus import PrometheusMetrics
from rollback_operator.advise.survey import READ_SECONDS, FlagFacts, SignalFacts, SlowFacts, Survey
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import Flag
from rollback_operator.api.v1alpha1 import (
    CounterSignal,
    MatrixCondition,
    RollbackPolicy,
    SignalName,
)
from rollback_operator.cli.check.search import Search
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.excluded_routes import left_out
from rollback_operator.model import pod_names
from rollback_operator.model.controllers import Claims
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.model.workload import Workload
from rollback_operator.ports.cluster import Flags, Tools, Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import TrendMetrics
from rollback_operator.ports.queries import CounterQuery, Prometheus, SeriesQuery
from rollback_operator.remedies.gitops import claimed


@dataclass(frozen=True)
class Surveyor:
    """What is needed to look."""

    metrics: PrometheusMetrics
    clock: Callable[[], float]
    trends: TrendMetrics
    workloads: Workloads | None
    """None: no cluster can be seen."""
    blind: str = ""
    """Why not."""
    flags: Flags | None = None
    """None: no cluster can be seen."""
    tools: Tools | None = None
    """None: no cluster can be seen."""
    without_credentials: str = ""
    """Why policies' own credentials are not used."""

    async def survey(self, policy: RollbackPolicy, prometheus: Prometheus) -> Survey:
        """Look at everything that a policy names."""
        seen, skew = await asyncio.gather(self._workload(policy), self._skew(prometheus))
        workload = seen if isinstance(seen, Workload) else None
        claims = Claims()
        if workload is not None and self.tools is not None:
            claims = await self.tools.look(workload.deployment)
            workload = replace(workload, deployment=claimed(workload.deployment, claims))
        query = _query(policy, prometheus)
        now = self.clock() + (0.0 if isinstance(skew, Missing) else skew)
        reading, control, slow = await asyncio.gather(
            self.metrics.read(query, READ_SECONDS),
            self._control(_judged(query, policy, workload), workload, now),
            self._slow(policy, query, now),
        )
        requests, errors = await self._facts(query, reading, workload, now)
        search = Search(self.metrics, query)
        marks = {
            label: await search.values(query.requests, label)
            for label in query.errors.matchers.keys() - query.requests.matchers.keys()
            if query.errors.metric == query.requests.metric
        }
        return Survey(
            policy=policy,
            url=prometheus.url,
            requests=requests,
            errors=errors,
            control=control,
            now=now,
            skew=skew,
            workload=workload,
            unclaimed=claims.unseen,
            unseen="" if isinstance(seen, Workload) else seen.message,
            is_gone=isinstance(seen, Failure) and seen.kind is FailureKind.GONE,
            marks={label: values for label, values in marks.items() if values},
            slow=slow,
            without_credentials=self.without_credentials
            if policy.spec.prometheus.names_secrets
            else "",
            flags=await self._flags(policy),
        )

    async def _flags(self, policy: RollbackPolicy) -> tuple[FlagFacts, ...]:
        """Read the flags that remedies set, and ask for the right to set them."""
        if self.flags is None:
            return ()
        named = [(number, one.flag) for number, one in enumerate(policy.spec.remedies)]
        return tuple(
            [
                await self._flag(self.flags, policy, f"spec.remedies[{number}].flag", flag)
                for number, flag in named
                if flag is not None
            ]
        )

    async def _flag(self, flags: Flags, policy: RollbackPolicy, path: str, flag: Flag) -> FlagFacts:
        namespace = policy.metadata.namespace
        found = await flags.read(namespace, flag)
        if isinstance(found, Failure):
            missing = Missing(Reason.READ_FAILED, found.message)
            return FlagFacts(path, flag, missing, found.kind is FailureKind.GONE)
        asked = await flags.may_set(namespace, flag)
        may_set = None if isinstance(asked, Failure) else asked
        return FlagFacts(path, flag, found, may_set=may_set)

    async def _workload(self, policy: RollbackPolicy) -> Workload | Failure:
        if self.workloads is None:
            return Failure(FailureKind.UNAVAILABLE, self.blind)
        return await self.workloads.inspect(policy.metadata.namespace, policy.spec.target_ref.name)

    async def _skew(self, prometheus: Prometheus) -> float | Missing:
        before = self.clock()
        found = await self.metrics.read_clock(prometheus)
        after = self.clock()
        # A slow answer is no difference: only what cannot lie between question and answer is one.
        return found if isinstance(found, Missing) else found - min(max(found, before), after)

    async def _control(
        self, query: CounterQuery, workload: Workload | None, now: float
    ) -> Control | Missing:
        """Read the past of the revision that the next release would be compared with."""
        current = workload.current if workload else None
        if current is not None and query.pods and pod_names.survives(current.name):
            query = replace(query, pods=(pod_names.of_replica_set(current.name),))
        return await self.metrics.read_control(query, now)

    async def _slow(
        self, policy: RollbackPolicy, query: CounterQuery, now: float
    ) -> tuple[SlowFacts, ...]:
        """Read what the matrix asks for beside error rates, as a watch does."""
        asked = {one.signal for _, one in _conditions(policy)}
        signals, found = policy.spec.signals, []
        if asked & {SignalName.LATENCY_RATIO, SignalName.LATENCY}:
            read = await self.trends.read_latency(_series(query, signals.latency), now)
            instead = ""
            if isinstance(read, Missing):
                instead = await Search(self.metrics, query).summary(signals.latency)
            metric = signals.latency.metric
            found.append(SlowFacts("spec.signals.latency", metric, _pods_of(read), instead))
        if SignalName.MEMORY_GROWTH in asked:
            gauge = await self.trends.read_gauge(_series(query, signals.memory), now)
            found.append(SlowFacts("spec.signals.memory", signals.memory.metric, _pods_of(gauge)))
        for path, one in _conditions(policy):
            if one.query is not None:
                value = await self.trends.read_query(query.prometheus, one.query, now)
                told = value if isinstance(value, Missing) else f"{value:g}"
                found.append(SlowFacts(f"{path}.query", one.query, told))
        return tuple(found)

    async def _facts(
        self, query: CounterQuery, reading: Reading, workload: Workload | None, now: float
    ) -> tuple[SignalFacts, SignalFacts]:
        raw = reading
        if isinstance(reading, Missing) and reading.reason is Reason.ERROR_SERIES_MISSING:
            raw = await self.metrics.read_past(query, now - READ_SECONDS, now)
        if isinstance(raw, Counters) and query.labels.pod:
            raw = _of_target(raw, workload)
            if not raw.requests:
                reading = Missing(
                    Reason.NO_SERIES, "the series with such pods are those of other Deployments"
                )
        found = raw if isinstance(raw, Counters) else Counters((), ())
        requests = _facts("requests", query.requests, found.requests)
        errors = _facts("errors", query.errors, found.errors)
        if not isinstance(reading, Missing):
            return requests, errors
        search = Search(self.metrics, query)
        if reading.reason is Reason.ERROR_SERIES_MISSING:
            trace = await search.trace(query.errors)
            return requests, replace(errors, missing=reading, trace=trace)
        is_lost = reading.reason is Reason.NO_SERIES
        nearest = await search.trace(query.requests) if is_lost else None
        return replace(requests, missing=reading, trace=nearest), errors


def _facts(name: str, signal: CounterSignal, series: tuple[CounterSeries, ...]) -> SignalFacts:
    return SignalFacts(f"spec.signals.{name}", signal.metric, series)


def _conditions(policy: RollbackPolicy) -> Iterator[tuple[str, MatrixCondition]]:
    for row, rule in enumerate(policy.spec.matrix):
        for place, one in enumerate(rule.when):
            yield f"spec.matrix[{row}].when[{place}]", one


def _series(query: CounterQuery, signal: CounterSignal) -> SeriesQuery:
    return SeriesQuery(query.prometheus, query.namespace, query.pods, signal, query.labels)


def _pods_of(read: Mapping[str, object] | Missing) -> Missing | str:
    if isinstance(read, Missing):
        return read
    return f"of {len(read)} pod{'' if len(read) == 1 else 's'}"


def _judged(query: CounterQuery, policy: RollbackPolicy, workload: Workload | None) -> CounterQuery:
    deployment = workload.deployment if workload is not None else None
    return replace(query, left_out=left_out(policy.spec.signals, deployment))


def _query(policy: RollbackPolicy, prometheus: Prometheus) -> CounterQuery:
    signals, name = policy.spec.signals, policy.spec.target_ref.name
    pods = (pod_names.of_deployment(name),) if signals.labels.pod else ()
    return CounterQuery(
        prometheus=prometheus,
        namespace=policy.metadata.namespace,
        pods=pods,
        requests=signals.requests,
        errors=signals.errors,
        labels=signals.labels,
    )


def _of_target(counters: Counters, workload: Workload | None) -> Counters:
    """Leave out other Deployments' pods, whose names may begin alike, as far as that is known."""
    if workload is None:
        return counters
    names = {pod.name for pod in workload.pods}
    return Counters(
        tuple(one for one in counters.requests if one.pod in names),
        tuple(one for one in counters.errors if one.pod in names),
    )
