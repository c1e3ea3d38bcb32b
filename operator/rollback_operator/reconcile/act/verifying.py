"""Runs the checks of a verification: probes, health endpoints, durations, logs.

Nothing here is waited for long: an address that hangs must not keep a worker from another policy's
release. A question without an answer goes on in the background until the next look. Nothing is
stored: the next leader asks again.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Rollback, RollbackPolicy, StepName
from rollback_operator.api.verification import (
    HttpProbe,
    IntegrityCheck,
    LogCheck,
    VerificationResult,
)
from rollback_operator.evidence import limits
from rollback_operator.evidence.arms import excluded_routes
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.rated import rated
from rollback_operator.evidence.watch import Watch
from rollback_operator.model import pod_names
from rollback_operator.model.check import Check, unknown, unseeable
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.application import LogQuery, Logs, Probes, Schemas
from rollback_operator.ports.metrics import Prometheus, SeriesQuery, TrendMetrics
from rollback_operator.remedies import progress
from rollback_operator.rollback import integrity, probing, recovery
from rollback_operator.rollback.recovery import Counted
from rollback_operator.rollback.verification import HEALTH, LATENCY, LOGS
from rollback_operator.stats.histogram import Histogram

CHECK_WAIT_SECONDS = 0.2
"""So long a look waits for answers that come at once."""
CHECK_INTERVAL_SECONDS = {HEALTH: 2.0, LATENCY: 5.0, LOGS: 5.0}
CHECK_RETRY_SECONDS = (1.0, 2.0, 3.0, 5.0, 8.0)
"""Before each further try of a functional probe: it may leave something behind."""
MOST_VERIFIED_PODS = 20
FORGOTTEN_AFTER = timedelta(hours=1)
"""A verification looks every few seconds: after this time its Rollback was deleted by force."""
SPANS_SECONDS = (20.0, 60.0)
"""Recent spans: with little traffic only the longer span counts enough."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Where a policy has durations read, and which quantile of them counts."""

    query: SeriesQuery
    """Of no pods yet."""
    quantile: float
    left_out: frozenset[str] = frozenset()
    """Routes whose requests prove nothing."""


@dataclass(frozen=True, slots=True)
class VerificationInputs:
    """What a rollback is verified by."""

    watch: Watch | None = None
    """Counts on the revision that runs now; None: it is not under watch."""
    meter: Meter | None = None
    """Where durations are read; None: no policy says."""
    blind: str = ""
    """Why nothing is counted; empty: it is, or soon will be."""
    database: DatabaseSpec | None = None
    """Whose integrity is checked; None: no policy says."""


@dataclass(frozen=True, slots=True)
class VerificationSubject:
    """The rollback under verification, as read in this pass."""

    rollback: Rollback
    workload: Workload
    inputs: VerificationInputs
    skew: float = 0.0
    """The metrics' clock minus the operator's, seconds."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods that serve now."""
        return tuple(
            pod for pod in self.workload.current_of(self.workload.pods) if not pod.terminating
        )

    @property
    def acted(self) -> datetime | None:
        """When the Deployment was changed; of a flag, when the pods have it."""
        if self.rollback.spec.flag is not None:
            return _flag_effective_time(self.rollback)
        acts = (StepName.UNDO, StepName.PIN_IMAGE, StepName.SCALE)
        steps = (progress.step_status(self.rollback, act) for act in acts)
        return next((step.started_time for step in steps if step is not None), None)


@dataclass
class _Course:
    """How far the verification of one rollback is."""

    looked: datetime
    """The last look."""
    checks: dict[str, Check] = field(default_factory=dict)
    running: dict[str, asyncio.Task[Check]] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    past: Histogram | None = None
    bases: dict[str, Histogram] = field(default_factory=dict)
    looks: list[tuple[float, Counted]] = field(default_factory=list)
    warm: Counted | None = None
    """The counts at the first look at which all pods were warm."""


Ask = Callable[[], Coroutine[None, None, Check]]


@dataclass
class Verifier:
    """Asks through the ports, and keeps the answers until the rollback has ended."""

    probes: Probes
    logs: Logs
    trends: TrendMetrics
    schemas: Schemas
    clock: Callable[[], datetime]
    courses: dict[str, _Course] = field(default_factory=dict)
    """By the Rollback's uid."""

    async def check(self, subject: VerificationSubject) -> tuple[Check, ...]:
        """Start the checks that are due, and give the newest result of each that applies."""
        now = self.clock()
        for uid in [uid for uid, of in self.courses.items() if now - of.looked > FORGOTTEN_AFTER]:
            await self.forget(uid)
        course = self.courses.setdefault(subject.rollback.metadata.uid, _Course(now))
        course.looked = now
        asks = dict(self._applicable_checks(subject, course))
        for name, ask in asks.items():
            if name not in course.running and now >= course.due.get(name, now):
                course.running[name] = asyncio.create_task(ask())
        if course.running:
            await asyncio.wait(course.running.values(), timeout=CHECK_WAIT_SECONDS)
        for name, task in list(course.running.items()):
            if task.done():
                del course.running[name]
                course.checks[name] = task.result()
                course.due[name] = self.clock() + timedelta(seconds=_check_interval(course, name))
        return tuple(
            course.checks.get(name) or unknown(name, "no answer has come yet") for name in asks
        )

    async def forget(self, uid: str) -> None:
        """Drop the results of a rollback that has ended, and cancel its open checks."""
        course = self.courses.pop(uid, None)
        running = course.running.values() if course is not None else ()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def close(self) -> None:
        """Stop asking."""
        for uid in list(self.courses):
            await self.forget(uid)

    def _applicable_checks(
        self, subject: VerificationSubject, course: _Course
    ) -> Iterator[tuple[str, Ask]]:
        """List the checks that apply, in the order in which they are reported."""
        spec = subject.rollback.spec.verification
        if any(pod.endpoints for pod in subject.pods):
            yield HEALTH, partial(self._health, subject)
        for probe in spec.http:
            yield probe.name, partial(self._functional, subject, course, probe)
        database = subject.inputs.database
        for query in database.integrity_checks if database is not None else ():
            yield query.title, partial(self._integrity, subject, course, query)
        yield LATENCY, partial(self._latency, subject, course)
        if spec.logs is not None:
            yield LOGS, partial(self._logs, subject, spec.logs)

    async def _functional(
        self, subject: VerificationSubject, course: _Course, probe: HttpProbe
    ) -> Check:
        known = course.checks.get(probe.name)
        if known is not None and known.result is VerificationResult.PASSED:
            return known  # not asked again: a reservation is not free
        tries = course.tries[probe.name] = course.tries.get(probe.name, 0) + 1
        reply = await self.probes.send(subject.rollback.metadata.namespace, probe)
        return probing.functional(probe, reply, tries)

    async def _integrity(
        self, subject: VerificationSubject, course: _Course, query: IntegrityCheck
    ) -> Check:
        known, database = course.checks.get(query.title), subject.inputs.database
        if database is None or (known is not None and known.result is VerificationResult.PASSED):
            return known or unseeable(query.title, "no policy names a database")
        course.tries[query.title] = course.tries.get(query.title, 0) + 1
        namespace = subject.rollback.metadata.namespace
        answers = await self.schemas.ask(namespace, database, {query.name: query.query})
        return integrity.checked(query, answers)

    async def _health(self, subject: VerificationSubject) -> Check:
        declared = [pod for pod in subject.pods if pod.endpoints]
        asked = [
            (pod, endpoint) for pod in declared[:MOST_VERIFIED_PODS] for endpoint in pod.endpoints
        ]
        namespace = subject.rollback.metadata.namespace
        replies = await asyncio.gather(
            *(self.probes.ask(namespace, pod.address, endpoint) for pod, endpoint in asked)
        )
        answered = zip(asked, replies, strict=True)
        named = [(pod.name, endpoint, reply) for (pod, endpoint), reply in answered]
        return probing.health(named, len(declared))

    async def _logs(self, subject: VerificationSubject, asked: LogCheck) -> Check:
        deployment, pods = subject.workload.deployment, subject.pods
        now = self.clock()
        oldest = now - timedelta(seconds=asked.since_seconds)
        query = LogQuery(
            namespace=deployment.namespace,
            pod="",
            container=asked.container or next(iter(deployment.template.containers), ""),
            since=max(oldest, subject.acted or oldest),
            texts=asked.texts,
        )
        read = pods[:MOST_VERIFIED_PODS]
        counts = await asyncio.gather(
            *(self.logs.count(replace(query, pod=pod.name)) for pod in read)
        )
        named = {pod.name: count for pod, count in zip(read, counts, strict=True)}
        return probing.logs(asked, named, len(pods))

    # -- durations ---------------------------------------------------------------------------------

    async def _latency(self, subject: VerificationSubject, course: _Course) -> Check:
        target, meter = subject.rollback.spec.to_revision, subject.inputs.meter
        if meter is None or target is None:
            message = "there is no past of this template to compare with"
            return unseeable(LATENCY, message)
        if not pod_names.survives(target.replica_set):
            message = f"pods of {target.replica_set} do not carry its whole name in their metrics"
            return unseeable(LATENCY, message)
        query = replace(meter.query, pods=(pod_names.of_replica_set(target.replica_set),))
        if course.past is None:
            past = await self._read_past_latency(subject, query)
            if isinstance(past, Missing):
                return unknown(LATENCY, past.message)
            course.past = past
        if not course.past.total:
            message = f"no histogram {query.signal.metric} of its past is there to compare with"
            return unseeable(LATENCY, message)
        at = self.clock().timestamp() + subject.skew
        read = await self.trends.read_latency(query, at)
        if isinstance(read, Missing):
            return unknown(LATENCY, read.message)
        names = {pod.name for pod in subject.pods}
        living = {name: counted for name, counted in read.items() if name in names}
        youngest = max((pod.ready_since or pod.created for pod in subject.pods), default=0.0)
        if (
            course.warm is None
            and self.clock().timestamp() - youngest >= limits.LATENCY_WARM_UP_SECONDS
        ):
            course.warm = living
        spans, warm = _counts_of_spans(subject, course, living, at)
        return recovery.latency(spans, course.past, meter.quantile, warm)

    async def _read_past_latency(
        self, subject: VerificationSubject, query: SeriesQuery
    ) -> Histogram | Missing:
        """Read the restored revision's hour before the bad release came.

        Where that ReplicaSet is old and came back, its creation time says nothing: then the hour
        before the decision is taken. Missing: no hour has enough requests, and some could not be
        read.
        """
        spec = subject.rollback.spec
        made = (
            replica_set.created
            for replica_set in subject.workload.replica_sets
            if replica_set.uid == spec.from_revision.replica_set_uid
        )
        bad = spec.trigger.first_bad_time or spec.trigger.decided_time
        past = Histogram()
        unread: Missing | None = None
        for until in (*made, bad.timestamp()):
            read = await self.trends.read_past_latency(query, until + subject.skew)
            if isinstance(read, Missing):
                unread = unread if read.reason is Reason.NO_SERIES else read
                continue
            if read.total >= limits.LEAST_TIMED_REQUESTS:
                return read
            past = max(past, read, key=lambda each: each.total)
        return past if unread is None else unread


def _flag_effective_time(rollback: Rollback) -> datetime | None:
    begins = recovery.proof_begins(rollback)
    return datetime.fromtimestamp(begins, UTC) if 0 < begins < math.inf else None


def _counts_of_spans(
    subject: VerificationSubject, course: _Course, read: Counted, at: float
) -> tuple[list[Counted], list[Counted]]:
    """Give the counts of the recent spans and since the act, and the same without the warm-up.

    What an old pod had counted before the act is taken off; a new pod has counted nothing before.
    """
    acted = subject.acted.timestamp() if subject.acted is not None else 0.0
    old = {pod.name for pod in subject.pods if (pod.started or pod.created) < acted}
    for name, counted in read.items():
        if name in old:
            course.bases.setdefault(name, counted)
    course.looks = [seen_at for seen_at in course.looks if at - seen_at[0] <= max(SPANS_SECONDS)]
    begins = [
        next(look for time, look in course.looks if at - time <= span)
        for span in SPANS_SECONDS
        if any(at - time <= span for time, _ in course.looks)
    ]
    course.looks.append((at, read))
    spans: list[Counted] = [
        recovery.since_base(read, {**course.bases, **begin}) for begin in (*begins, {})
    ]
    if course.warm is None:
        return spans, []
    later = ({**course.warm, **_after_warm_up(begin, course.warm)} for begin in (*begins, {}))
    return spans, [recovery.since_base(read, begin) for begin in later]


def _after_warm_up(begin: Counted, warm: Counted) -> Counted:
    """Keep of a span's begin what lies after the warm-up: counts only grow."""
    return {
        name: counted
        for name, counted in begin.items()
        if name not in warm or counted.total > warm[name].total
    }


def _check_interval(course: _Course, name: str) -> float:
    if name in CHECK_INTERVAL_SECONDS:
        return CHECK_INTERVAL_SECONDS[name]
    return CHECK_RETRY_SECONDS[min(course.tries.get(name, 1), len(CHECK_RETRY_SECONDS)) - 1]


def relevant_evidence(watch: Watch, deployment: Deployment, meter: Meter | None) -> Evidence:
    """Leave out the routes that prove nothing, such as those of kubelet probes."""
    known = deployment.probe_paths if meter is None else meter.left_out
    kept = [each for each in watch.evidence.increments if each.route not in known]
    return replace(watch.evidence, increments=tuple(rated(kept)))


def meter_of(policy: RollbackPolicy, deployment: Deployment, default: str) -> Meter:
    """Give the source of a target's durations; `default`: the address if the policy names none."""
    signals, namespace = policy.spec.signals, policy.metadata.namespace
    prometheus = Prometheus.of(policy, default)
    query = SeriesQuery(prometheus, namespace, (), signals.latency, signals.labels)
    return Meter(query, float(signals.latency.quantile), excluded_routes(signals, deployment))
