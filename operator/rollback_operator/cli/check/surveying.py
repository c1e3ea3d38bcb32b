"""Reads what a policy would judge by: the same reads that the operator makes, once.

Where they find nothing, `search` looks for what exists instead.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from rollback_operator.adapters.prometheus import PrometheusMetrics
from rollback_operator.advise.survey import (
    READ_SECONDS,
    FlagFacts,
    SecretFacts,
    SignalFacts,
    SlowFacts,
    Survey,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import Flag
from rollback_operator.api.v1alpha1 import (
    CounterSignal,
    MatrixCondition,
    RollbackPolicy,
    RollbackPolicySpec,
    SignalName,
)
from rollback_operator.cli.check.search import Search
from rollback_operator.evidence.arms import excluded_routes
from rollback_operator.evidence.baseline import Control
from rollback_operator.model import pod_names
from rollback_operator.model.controllers import Claims
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.model.workload import Workload
from rollback_operator.ports.cluster import Flags, Secrets, Tools, Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import CounterQuery, Prometheus, SeriesQuery, TrendMetrics
from rollback_operator.reconcile.observe.observation import Source, all_pods, of_target
from rollback_operator.remedies.gitops import claimed


@dataclass(frozen=True)
class ClusterPorts:
    """The ports to the cluster of the target."""

    workloads: Workloads
    flags: Flags
    tools: Tools
    secrets: Secrets


@dataclass(frozen=True)
class Surveyor:
    """Reads everything that a policy names."""

    metrics: PrometheusMetrics
    clock: Callable[[], float]
    trends: TrendMetrics
    cluster: ClusterPorts | None
    """None: no cluster is available."""
    no_cluster: str = ""
    """Why no cluster is available."""
    without_credentials: str = ""
    """Why the policies' own credentials are not used."""

    async def survey(self, policy: RollbackPolicy, prometheus: Prometheus) -> Survey:
        """Read everything that a policy names."""
        inspected, skew = await asyncio.gather(self._inspect(policy), self._skew(prometheus))
        workload = inspected if isinstance(inspected, Workload) else None
        claims = Claims()
        if workload is not None and self.cluster is not None:
            claims = await self.cluster.tools.read_claims(workload.deployment)
            workload = replace(workload, deployment=claimed(workload.deployment, claims))
        target = policy.metadata.namespace, policy.spec.target_ref.name
        query = all_pods(Source(policy, prometheus), *target)
        now = self.clock() + (0.0 if isinstance(skew, Missing) else skew)
        reading, control, slow = await asyncio.gather(
            self.metrics.read(query, READ_SECONDS),
            self._control(policy, query, workload, now),
            self._slow(policy, query, now),
        )
        requests, errors = await self._counters(query, reading, workload, now)
        search = Search(self.metrics, query)
        marks = {
            label: await search.values(query.requests, label)
            for label in query.errors.matchers.keys() - query.requests.matchers.keys()
            if query.errors.metric == query.requests.metric
        }
        names_secrets = policy.spec.prometheus.names_secrets
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
            unseen=inspected.message if isinstance(inspected, Failure) else "",
            is_gone=isinstance(inspected, Failure) and inspected.kind is FailureKind.GONE,
            marks={label: values for label, values in marks.items() if values},
            slow=slow,
            without_credentials=self.without_credentials if names_secrets else "",
            flags=await self._flags(policy),
            secrets=await self._secrets(policy),
        )

    async def _flags(self, policy: RollbackPolicy) -> tuple[FlagFacts, ...]:
        """Read the flags that remedies set, and whether the caller may set them."""
        if self.cluster is None:
            return ()
        flags = self.cluster.flags
        return tuple(
            [
                await _flag(flags, policy, f"spec.remedies[{number}].flag", remedy.flag)
                for number, remedy in enumerate(policy.spec.remedies)
                if remedy.flag is not None
            ]
        )

    async def _secrets(self, policy: RollbackPolicy) -> tuple[SecretFacts, ...]:
        """Read the Secrets that a rollback needs, and keep those that are not usable."""
        if self.cluster is None:
            return ()
        namespace, secrets = policy.metadata.namespace, self.cluster.secrets
        failures = []
        for path, name, key in _secret_refs(policy.spec):
            read = await (
                secrets.read(namespace, name, key) if key else secrets.read_all(namespace, name)
            )
            if isinstance(read, Failure):
                is_known = read.kind is not FailureKind.UNAVAILABLE
                failures.append(SecretFacts(path, read.message, is_known))
        return tuple(failures)

    async def _inspect(self, policy: RollbackPolicy) -> Workload | Failure:
        if self.cluster is None:
            return Failure(FailureKind.UNAVAILABLE, self.no_cluster)
        target = policy.metadata.namespace, policy.spec.target_ref.name
        return await self.cluster.workloads.inspect(*target)

    async def _skew(self, prometheus: Prometheus) -> float | Missing:
        before = self.clock()
        answer = await self.metrics.read_clock(prometheus)
        after = self.clock()
        # A slow answer is no skew: only a time outside question and answer is.
        return answer if isinstance(answer, Missing) else answer - min(max(answer, before), after)

    async def _control(
        self, policy: RollbackPolicy, query: CounterQuery, workload: Workload | None, now: float
    ) -> Control | Missing:
        """Read the past of the revision that the next release would be compared with."""
        deployment = workload.deployment if workload else None
        query = replace(query, left_out=excluded_routes(policy.spec.signals, deployment))
        current = workload.current if workload else None
        if current is not None and query.labels.pod and pod_names.survives(current.name):
            query = replace(query, pods=(pod_names.of_replica_set(current.name),))
        return await self.metrics.read_control(query, now)

    async def _slow(
        self, policy: RollbackPolicy, query: CounterQuery, now: float
    ) -> tuple[SlowFacts, ...]:
        """Read the slow signals that the matrix refers to, as a watch does."""
        asked = {condition.signal for _, condition in _conditions(policy)}
        signals, facts = policy.spec.signals, []
        if asked & {SignalName.LATENCY_RATIO, SignalName.LATENCY}:
            latency = await self.trends.read_latency(_series(query, signals.latency), now)
            instead = ""
            if isinstance(latency, Missing):
                instead = await Search(self.metrics, query).summary(signals.latency)
            metric = signals.latency.metric
            facts.append(SlowFacts("spec.signals.latency", metric, _pod_count(latency), instead))
        if SignalName.MEMORY_GROWTH in asked:
            memory = await self.trends.read_gauge(_series(query, signals.memory), now)
            facts.append(
                SlowFacts("spec.signals.memory", signals.memory.metric, _pod_count(memory))
            )
        for path, condition in _conditions(policy):
            if condition.query is not None:
                value = await self.trends.read_query(query.prometheus, condition.query, now)
                shown = value if isinstance(value, Missing) else f"{value:g}"
                facts.append(SlowFacts(f"{path}.query", condition.query, shown))
        return tuple(facts)

    async def _counters(
        self, query: CounterQuery, reading: Reading, workload: Workload | None, now: float
    ) -> tuple[SignalFacts, SignalFacts]:
        raw = reading
        if isinstance(reading, Missing) and reading.reason is Reason.ERROR_SERIES_MISSING:
            raw = await self.metrics.read_past(query, now - READ_SECONDS, now)
        if isinstance(raw, Counters) and query.labels.pod:
            raw = raw if workload is None else of_target(raw, workload.pods)
            if not raw.requests:
                reading = Missing(
                    Reason.NO_SERIES, "the series with such pods are those of other Deployments"
                )
        counters = raw if isinstance(raw, Counters) else Counters((), ())
        requests = _facts("requests", query.requests, counters.requests)
        errors = _facts("errors", query.errors, counters.errors)
        if not isinstance(reading, Missing):
            return requests, errors
        search = Search(self.metrics, query)
        if reading.reason is Reason.ERROR_SERIES_MISSING:
            trace = await search.trace(query.errors)
            return requests, replace(errors, missing=reading, trace=trace)
        is_absent = reading.reason is Reason.NO_SERIES
        nearest = await search.trace(query.requests) if is_absent else None
        return replace(requests, missing=reading, trace=nearest), errors


async def _flag(flags: Flags, policy: RollbackPolicy, path: str, flag: Flag) -> FlagFacts:
    namespace, target = policy.metadata.namespace, policy.spec.target_ref.name
    state = await flags.read(namespace, flag, target)
    if isinstance(state, Failure):
        missing = Missing(Reason.READ_FAILED, state.message)
        return FlagFacts(path, flag, missing, state.kind is FailureKind.GONE)
    allowed = await flags.may_set(namespace, flag)
    return FlagFacts(path, flag, state, may_set=None if isinstance(allowed, Failure) else allowed)


def _facts(name: str, signal: CounterSignal, series: tuple[CounterSeries, ...]) -> SignalFacts:
    return SignalFacts(f"spec.signals.{name}", signal.metric, series)


def _secret_refs(spec: RollbackPolicySpec) -> Iterator[tuple[str, str, str]]:
    """List the field, Secret and key of channels, database and probes; no key: the whole Secret."""
    for number, channel in enumerate(spec.notify):
        for field, ref in (
            ("secretRef", channel.secret_ref),
            ("urlSecretRef", channel.url_secret_ref),
        ):
            if ref is not None:
                yield f"spec.notify[{number}].{field}", ref.name, ref.key
    if spec.database is not None:
        connection = spec.database.connection_secret_ref
        yield "spec.database.connectionSecretRef", connection.name, connection.key
    for number, probe in enumerate(spec.verification.http):
        if probe.headers_secret_ref is not None:
            path = f"spec.verification.http[{number}].headersSecretRef"
            yield path, probe.headers_secret_ref.name, ""


def _conditions(policy: RollbackPolicy) -> Iterator[tuple[str, MatrixCondition]]:
    for row, rule in enumerate(policy.spec.matrix):
        for place, condition in enumerate(rule.when):
            yield f"spec.matrix[{row}].when[{place}]", condition


def _series(query: CounterQuery, signal: CounterSignal) -> SeriesQuery:
    return SeriesQuery(query.prometheus, query.namespace, query.pods, signal, query.labels)


def _pod_count(values: Mapping[str, object] | Missing) -> Missing | str:
    if isinstance(values, Missing):
        return values
    return f"of {len(values)} pod{'' if len(values) == 1 else 's'}"
