"""The ports, kept in memory: they record what was asked, and can be told to fail next.

What they do with the objects is what the API server does: versions rise with each write, a write
to an older version is a conflict, a name is there once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from rollback_operator.api.approval import Approval
from rollback_operator.api.database import DatabaseSpec
from rollback_operator.api.flags import Flag, FlagPlan
from rollback_operator.api.notify import Channel
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    BOUNDS_FINALIZER,
    FINALIZER,
    HOLD_FINALIZER,
    OWNER_FINALIZER,
    Hold,
    ObjectMeta,
    Remedy,
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
    StoredStrategy,
)
from rollback_operator.api.verification import HttpProbe
from rollback_operator.core.autoscaler import Autoscaler, Bounds
from rollback_operator.core.config_map import FlagState
from rollback_operator.core.control import Control
from rollback_operator.core.histogram import Histogram
from rollback_operator.core.message import Message
from rollback_operator.core.notices import Notice
from rollback_operator.core.owner import Claims, OwnerState, Steered
from rollback_operator.core.pod import Endpoint
from rollback_operator.core.probing import Answer, LineCount, Reply, Silence
from rollback_operator.core.progress import EXPRESS_SURGE
from rollback_operator.core.reading import Missing, Reading
from rollback_operator.core.schema import Applied
from rollback_operator.core.surroundings import Amounts, Cluster, Node, Quota, Reference
from rollback_operator.core.workload import Deployment, Workload
from rollback_operator.ports.application import LogQuery, Logs, Probes, Schemas
from rollback_operator.ports.channels import Channels
from rollback_operator.ports.cluster import Autoscalers, Flags, Owners, Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import Metrics, PodMetrics, TrendMetrics
from rollback_operator.ports.queries import CounterQuery, PageQuery, Prometheus, SeriesQuery
from rollback_operator.ports.store import Store
from rollback_operator.ports.surroundings import Surroundings
from tests.builders import make_workload

R = TypeVar("R", bound=Resource)
NOTHING = Missing(Reason.NO_SERIES, "there are no series")
CONFLICT = Failure(FailureKind.CONFLICT, "the object is not as it was read")
OUTAGE = Failure(FailureKind.UNAVAILABLE, "no answer")
REFUSAL = Failure(FailureKind.REJECTED, "forbidden")
_GUARDED = {
    FINALIZER: "rollback",
    BOUNDS_FINALIZER: "bounds",
    OWNER_FINALIZER: "owner",
    HOLD_FINALIZER: "policy",
}
"""What each finalizer is for, as calls are told apart by."""
GONE = Failure(FailureKind.GONE, "not found")


class Crash(Exception):  # noqa: N818 (it is the end of a process, not an error)
    """The operator ends here: nothing of what it had in memory is left."""


class Journal(list[str]):
    """The calls of several fakes in one order; the one at `crash_at` ends the operator unmade."""

    crash_at: int | None = None

    def append(self, call: str) -> None:
        if len(self) == self.crash_at:
            self.crash_at = None
            raise Crash(call)
        super().append(call)


@dataclass
class Failures:
    """What the next calls of a name fail with, each once."""

    _next: dict[str, deque[Failure]] = field(default_factory=dict)

    def fail_next(self, call: str, *failures: Failure) -> None:
        self._next.setdefault(call, deque()).extend(failures)

    def take(self, call: str) -> Failure | None:
        waiting = self._next.get(call)
        return waiting.popleft() if waiting else None


@dataclass
class FakeMetrics:
    """Prometheus: gives what a test puts in, and notes the queries."""

    reading: Reading = NOTHING
    control: Control | Missing = NOTHING
    clock: float | Missing = 0.0
    queries: list[tuple[CounterQuery, float]] = field(default_factory=list)
    clock_reads: int = 0

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        self.queries.append((query, seconds))
        return self.reading

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        self.queries.append((query, until))
        return self.control

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        self.clock_reads += 1
        return self.clock


@dataclass
class FakeCredentialsCheck:
    """What policies bring for Prometheus: as good as a test says."""

    said: str = ""

    async def obstacle(self, prometheus: Prometheus) -> str:
        return self.said


UNREACHABLE = Missing(Reason.PODS_UNREACHABLE, "connection refused")


@dataclass
class FakePods:
    """The pods' own pages: gives what a test puts in, and notes the queries."""

    reading: Reading = UNREACHABLE
    queries: list[PageQuery] = field(default_factory=list)

    async def read(self, query: PageQuery) -> Reading:
        self.queries.append(query)
        return self.reading


@dataclass
class FakeTrends:
    """Durations, memory and own queries: gives what a test puts in, and notes what was asked."""

    latency: Mapping[str, Histogram] | Missing = NOTHING
    past: Histogram | Missing = NOTHING
    gauge: Mapping[str, float] | Missing = NOTHING
    value: float | Missing = NOTHING
    asked: list[str] = field(default_factory=list)
    delay: float = 0.0

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        self.asked.append(f"latency {query.signal.metric} {at:.0f}")
        await asyncio.sleep(self.delay)
        return self.latency

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        self.asked.append(f"past {','.join(query.pods)} {until:.0f}")
        return self.past

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        self.asked.append(f"routes {','.join(query.pods)} {until:.0f}")
        return {} if isinstance(self.past, Missing) else {"/buy": self.past}

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        self.asked.append(f"gauge {query.signal.metric} {at:.0f}")
        return self.gauge

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        self.asked.append(f"query {query} {at:.0f}")
        return self.value


@dataclass
class FakeProbes:
    """The restored service and its pods: gives what a test puts in, and notes what was asked."""

    replies: dict[str, deque[Reply]] = field(default_factory=dict)
    """By a probe's name, or by a path of a pod's; the last one stands."""
    sent: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    delay: float = 0.0

    def answer(self, name: str, *replies: Reply) -> None:
        self.replies[name] = deque(replies)

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        self.sent.append(probe.name)
        await asyncio.sleep(self.delay)
        return self._next(probe.name)

    async def ask(self, address: str, endpoint: Endpoint) -> Reply:
        self.asked.append(f"{address}{endpoint.path}")
        return self._next(endpoint.path)

    def _next(self, name: str) -> Reply:
        waiting = self.replies.get(name)
        if not waiting:
            return Answer(200)
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


@dataclass
class FakeLogs:
    """Logs: lines by pod, none where a test puts in none."""

    counts: dict[str, LineCount | Silence] = field(default_factory=dict)
    queries: list[LogQuery] = field(default_factory=list)

    async def count(self, query: LogQuery) -> LineCount | Silence:
        self.queries.append(query)
        return self.counts.get(query.pod, LineCount(0))


@dataclass
class FakeWorkloads(Failures):
    """One Deployment; an act changes it at once, and its rollout is complete at once."""

    workload: Workload = field(default_factory=make_workload)
    calls: list[str] = field(default_factory=list)
    surges: list[StoredStrategy | None] = field(default_factory=list)

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        self.calls.append("inspect")
        return self.take("inspect") or self.workload

    async def undo(self, rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
        self.calls.append("undo")
        failure = self.take("undo")
        target = rollback.spec.to_revision
        if failure is not None or target is None:
            return failure or REFUSAL
        if self.workload.deployment.template.digest != rollback.spec.from_revision.digest:
            return CONFLICT
        sets = self.workload.replica_sets
        found = next((one for one in sets if one.template.digest == target.digest), None)
        if found is None:
            return GONE
        self.surges.append(surge)
        changed = replace(lifted(self.workload.deployment), template=found.template)
        if surge is not None:
            bounds = surge.max_surge, surge.max_unavailable
            changed = replace(changed, max_surge=bounds[0], max_unavailable=bounds[1])
        return self._changed(changed)

    async def apply_in_place(self, rollback: Rollback, remedy: Remedy) -> Deployment | Failure:
        self.calls.append("apply_in_place")
        failure = self.take("apply_in_place")
        if failure is not None:
            return failure
        old = lifted(self.workload.deployment)
        if remedy.replicas is not None:
            count = remedy.replicas
            scaled = replace(old, replicas=count, updated=count, total=count, available=count)
            return self._changed(scaled)
        images = (str(remedy.image), *old.template.images[1:])
        template = replace(old.template, digest="pinned", release="pinned", images=images)
        return self._changed(replace(old, template=template))

    async def restart(self, rollback: Rollback, time: datetime) -> Deployment | Failure:
        self.calls.append("restart")
        failure, old = self.take("restart"), lifted(self.workload.deployment)
        if failure is None and old.template.digest != rollback.spec.from_revision.digest:
            failure = CONFLICT
        if failure is not None:
            return failure
        # As the controller does: another ReplicaSet of the same release.
        template = replace(old.template, digest=f"{old.template.digest}-restarted")
        bad = next(one for one in self.workload.replica_sets if one.template == old.template)
        made = replace(
            bad,
            name=f"{bad.name}-restarted",
            uid=f"{bad.uid}-restarted",
            pod_hash=f"{bad.pod_hash}-restarted",
            revision=bad.revision + 1,
            template=template,
            created=time.timestamp(),
        )
        sets = (made, *(replace(one, replicas=0) for one in self.workload.replica_sets))
        self.workload = replace(self.workload, replica_sets=sets)
        return self._changed(replace(old, template=template, revision=made.revision))

    async def set_strategy(
        self, rollback: Rollback, strategy: StoredStrategy
    ) -> Deployment | Failure:
        self.calls.append("set_strategy")
        failure = self.take("set_strategy")
        if failure is None and self.workload.deployment.max_surge != EXPRESS_SURGE:
            failure = CONFLICT
        if failure is not None:
            return failure
        surge, unavailable = strategy.max_surge, strategy.max_unavailable
        old = self.workload.deployment
        return self._changed(replace(old, max_surge=surge, max_unavailable=unavailable))

    async def pause(self, namespace: str, hold: Hold) -> Deployment | Failure:
        self.calls.append("pause")
        old = self.workload.deployment
        is_judged = (old.uid, old.template.digest) == (hold.deployment_uid, hold.digest)
        failure = self.take("pause")
        if failure is None and (not is_judged or (old.paused and not old.is_held)):
            failure = CONFLICT
        if failure is not None:
            return failure
        return self._changed(replace(old, paused=True, is_held=True))

    async def resume(self, namespace: str, name: str) -> Deployment | Failure:
        self.calls.append("resume")
        failure = self.take("resume")
        if failure is not None:
            return failure
        old = self.workload.deployment
        if name != old.name:
            return GONE
        return self._changed(replace(old, paused=False, is_held=False)) if old.is_held else old

    @property
    def writes(self) -> list[str]:
        return [one for one in self.calls if one != "inspect"]

    def _changed(self, deployment: Deployment) -> Deployment:
        self.workload = replace(self.workload, deployment=deployment)
        return deployment


def lifted(deployment: Deployment) -> Deployment:
    """Lift a pause of ours, as each act on a Deployment does."""
    return replace(deployment, paused=deployment.paused and not deployment.is_held, is_held=False)


ROOMY = Cluster(
    nodes=(
        Node(
            "node-1",
            allocatable=Amounts(64, 2.0**40, 110),
            images=frozenset({f"registry.example.com/ticket-service:v{one}" for one in (1, 2, 3)}),
        ),
    ),
    usage=(),
)


@dataclass
class FakeSchemas:
    """A policy's database: gives what a test puts in, and counts the reads."""

    found: Applied | Missing = field(default_factory=lambda: Applied(()))
    delay: float = 0.0
    reads: int = 0

    async def read(self, namespace: str, database: DatabaseSpec) -> Applied | Missing:
        self.reads += 1
        await asyncio.sleep(self.delay)
        return self.found


UNTOUCHED = OwnerState("argocd", version="7", automated='{"selfHeal": true}')
"""An Application that applies by itself what is in Git."""


@dataclass
class FakeOwners(Failures):
    """One Application: suspended and released as it is told, guarded by its version."""

    state: OwnerState = UNTOUCHED
    calls: list[str] = field(default_factory=list)

    async def look(self, steered: Steered) -> OwnerState | Failure:
        return self._called("look_at_owner") or self.state

    async def suspend(self, steered: Steered, state: OwnerState, by: str) -> OwnerState | Failure:
        changes = {"is_suspended": True, "is_ours": True, "suspended_for": by, "automated": ""}
        return self._changed("suspend_owner", state, changes)

    async def resume(
        self, steered: Steered, state: OwnerState, automated: str
    ) -> OwnerState | Failure:
        changes = {"is_suspended": False, "is_ours": False, "suspended_for": ""}
        return self._changed("resume_owner", state, {**changes, "automated": automated})

    def _changed(
        self, call: str, state: OwnerState, changes: Mapping[str, bool | str]
    ) -> OwnerState | Failure:
        failure = self._called(call)
        if failure is None and state.version != self.state.version:
            failure = CONFLICT
        if failure is not None:
            return failure
        version = str(int(self.state.version) + 1)
        self.state = replace(self.state, version=version, **changes)
        return self.state

    def _called(self, name: str) -> Failure | None:
        self.calls.append(name)
        return self.take(name)


def flag_state(value: str | None = "true", **changes: Any) -> FlagState:
    """A ConfigMap as people have made it, with the flag on."""
    return replace(FlagState("config-map-uid", value, changed_by="kubectl"), **changes)


@dataclass
class FakeTools:
    """Rollout tools and image updaters: claims what a test puts in."""

    claims: Claims = field(default_factory=Claims)
    looks: int = 0

    async def look(self, deployment: Deployment) -> Claims:
        self.looks += 1
        return self.claims


@dataclass
class FakeFlags(Failures):
    """One flag in a ConfigMap; None: there is no such ConfigMap."""

    state: FlagState | None = field(default_factory=flag_state)
    calls: list[str] = field(default_factory=list)
    overtaken: FlagState | None = None
    """What somebody makes of it just before the next write."""
    is_granted: bool = True
    """The operator has the right to set it."""
    asked: list[str] = field(default_factory=list)
    """For which flags it was asked for."""

    async def read(self, namespace: str, flag: Flag) -> FlagState | Failure:
        return self.take("read_flag") or self.state or GONE

    async def may_set(self, namespace: str, flag: Flag) -> bool | Failure:
        self.asked.append(flag.name)
        return self.take("may_set") or self.is_granted

    async def set(self, namespace: str, flag: Flag, plan: FlagPlan) -> FlagState | Failure:
        self.calls.append("set_flag")
        self.state, self.overtaken = self.overtaken or self.state, None
        failure = self.take("set_flag")
        if failure is not None or self.state is None:
            return failure or GONE
        if (self.state.uid, self.state.value) != (plan.config_map_uid, plan.old_value):
            return CONFLICT
        self.state = replace(self.state, value=flag.value, changed_by="rollback-operator")
        return self.state


@dataclass
class FakeAutoscalers(Failures):
    """One autoscaler: its bounds are set as it is told to, guarded by what was found."""

    workloads: FakeWorkloads = field(default_factory=FakeWorkloads)
    """Whose autoscaler it is."""
    calls: list[str] = field(default_factory=list)

    async def look(self, namespace: str, name: str) -> Autoscaler | Failure:
        self.calls.append("look_at_autoscaler")
        known = self.workloads.workload.autoscaler
        failure = self.take("look_at_autoscaler")
        return failure or (GONE if known is None or known.name != name else known)

    async def set_bounds(
        self, namespace: str, found: Autoscaler, bounds: Bounds
    ) -> Autoscaler | Failure:
        self.calls.append("set_bounds")
        failure, known = self.take("set_bounds"), self.workloads.workload.autoscaler
        if failure is not None:
            return failure
        if known is None or (known.uid, known.bounds) != (found.uid, found.bounds):
            return CONFLICT
        changed = replace(known, bounds=bounds, set_by="rollback-operator", is_ours=True)
        self.workloads.workload = replace(self.workloads.workload, autoscaler=changed)
        return changed


@dataclass
class FakeSurroundings(Failures):
    """A cluster with room, in which everything is there; approvals are protected."""

    gone: frozenset[str] = frozenset()
    """Names of objects that are not there."""
    room: Cluster = ROOMY
    limits: tuple[Quota, ...] = ()
    unprotected: str = ""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds by which the answer of a call is late."""
    calls: list[str] = field(default_factory=list)

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        return await self._called("is_there") or reference.name not in self.gone

    async def cluster(self) -> Cluster | Failure:
        return await self._called("cluster") or self.room

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        return await self._called("quotas") or self.limits

    async def approvals_unprotected(self) -> str | Failure:
        return await self._called("approvals_unprotected") or self.unprotected

    async def _called(self, name: str) -> Failure | None:
        self.calls.append(name)
        await asyncio.sleep(self.delays.get(name, 0))
        return self.take(name)


@dataclass
class FakeStore(Failures):
    """Policies, Rollbacks and Events in memory."""

    policies: dict[str, RollbackPolicy] = field(default_factory=dict)
    rollbacks: dict[str, Rollback] = field(default_factory=dict)
    requests: dict[str, RollbackRequest] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _version: int = 100

    def decide(self, rollback: Rollback, approval: Approval) -> None:
        """Let a person put a decision into a Rollback's spec."""
        known = self.rollbacks[rollback.metadata.name]
        spec = known.spec.model_copy(update={"approval": approval})
        self.rollbacks[known.metadata.name] = self._stored(known.model_copy(update={"spec": spec}))

    def hold(self, *resources: RollbackPolicy | Rollback | RollbackRequest) -> None:
        """Put objects in as if they had been there before."""
        for one in resources:
            if isinstance(one, RollbackRequest):
                self.requests[one.metadata.name] = one
            elif isinstance(one, Rollback):
                self.rollbacks[one.metadata.name] = one
            else:
                self.policies[one.metadata.name] = one

    async def list_rollbacks(self, namespace: str) -> list[Rollback] | Failure:
        failure = self._called("list_rollbacks")
        found = (one for one in self.rollbacks.values() if one.metadata.namespace == namespace)
        return failure or list(found)

    async def create_rollback(
        self, namespace: str, name: str, spec: RollbackSpec
    ) -> Rollback | Failure:
        failure = self._called("create_rollback")
        if failure is None and name in self.rollbacks:
            failure = Failure(FailureKind.EXISTS, f"{name} already exists")
        if failure is not None:
            return failure
        metadata = ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            resource_version=self._next_version(),
            finalizers=[FINALIZER],
        )
        made = self.rollbacks[name] = Rollback(metadata=metadata, spec=spec)
        return made

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        failure = self._called("write_rollback")
        known = self.rollbacks.get(rollback.metadata.name)
        failure = failure or _staleness(known, rollback)
        if failure is not None or known is None:
            return failure or GONE
        written = self._stored(known.model_copy(update={"status": status}))
        self.rollbacks[rollback.metadata.name] = written
        return written

    async def answer_request(
        self, request: RollbackRequest, status: RollbackStatus
    ) -> Rollback | RollbackRequest | Failure:
        failure = self._called("answer_request")
        known = self.requests.get(request.metadata.name)
        failure = failure or _staleness(known, request)
        if failure is not None or known is None:
            return failure or GONE
        if status.plan is None:
            written = self._stored(known.model_copy(update={"status": status}))
            self.requests[request.metadata.name] = written
            return written
        del self.requests[request.metadata.name]
        asked = {"reason": known.spec.reason, "requested_by": known.spec.requested_by}
        planned = Rollback(
            metadata=known.metadata.model_copy(update={"finalizers": [FINALIZER]}),
            spec=RollbackSpec(**{**dict(status.plan), **asked}),
            status=status,
        )
        self.rollbacks[request.metadata.name] = self._stored(planned)
        return self.rollbacks[request.metadata.name]

    async def guard(self, resource: R, finalizer: str) -> R | Failure:
        failure = self._called(f"guard_{_GUARDED[finalizer]}")
        if failure is None and resource.metadata.deletion_timestamp is not None:
            failure = REFUSAL  # as the API server: no new finalizer on what is being deleted
        return failure or self._finalized(resource, [*resource.metadata.finalizers, finalizer])

    async def release(self, resource: R, finalizer: str) -> R | Failure:
        failure = self._called(f"release_{_GUARDED[finalizer]}")
        kept = [one for one in resource.metadata.finalizers if one != finalizer]
        return failure or self._finalized(resource, kept)

    def _finalized(self, resource: R, finalizers: list[str]) -> R | Failure:
        """Store other finalizers; without any, what is being deleted is gone."""
        stored: dict[str, Any] = (
            self.policies if isinstance(resource, RollbackPolicy) else self.rollbacks
        )
        known = stored.get(resource.metadata.name)
        failure = _staleness(known, resource)
        if failure is not None or known is None:
            return failure or GONE
        metadata = known.metadata.model_copy(update={"finalizers": finalizers})
        written: R = self._stored(known.model_copy(update={"metadata": metadata}))
        stored[resource.metadata.name] = written
        if metadata.deletion_timestamp is not None and not finalizers:
            del stored[resource.metadata.name]
        return written

    async def delete_rollback(self, record: Rollback | RollbackRequest) -> Failure | None:
        failure = self._called("delete_rollback")
        kept = self.rollbacks if isinstance(record, Rollback) else self.requests
        failure = failure or _staleness(kept.get(record.metadata.name), record)
        if failure is None:
            del kept[record.metadata.name]
        return failure

    async def write_policy(
        self, policy: RollbackPolicy, status: RollbackPolicyStatus
    ) -> RollbackPolicy | Failure:
        failure = self._called("write_policy")
        known = self.policies.get(policy.metadata.name)
        failure = failure or _staleness(known, policy)
        if failure is not None or known is None:
            return failure or GONE
        written = self._stored(known.model_copy(update={"status": status}))
        self.policies[policy.metadata.name] = written
        return written

    async def post(self, regarding: Resource, notice: Notice) -> None:
        self.calls.append("post")
        self.notices.append(notice)

    @property
    def writes(self) -> list[str]:
        """List the calls that an API server would have had to store."""
        return [one for one in self.calls if one not in ("list_rollbacks", "post")]

    def told(self) -> list[str]:
        return [str(one.reason) for one in self.notices]

    def _called(self, name: str) -> Failure | None:
        self.calls.append(name)
        return self.take(name)

    def _stored(self, changed: R) -> R:
        metadata = changed.metadata.model_copy(update={"resource_version": self._next_version()})
        return changed.model_copy(update={"metadata": metadata})

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)


@dataclass
class FakeChannels:
    """Whoever is told: notes what arrives, fails as it is told to, and can take for ever."""

    told: list[tuple[str, Message]] = field(default_factory=list)
    failures: dict[str, deque[Failure | Exception]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    hung: set[str] = field(default_factory=set)
    tried: list[str] = field(default_factory=list)

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        self.tried.append(message.id)
        if channel.name in self.hung:
            await asyncio.Event().wait()
        waiting = self.failures.get(channel.name)
        failure = OUTAGE if channel.name in self.dead else waiting.popleft() if waiting else None
        if isinstance(failure, Exception):
            raise failure
        if failure is None:
            self.told.append((channel.name, message))
        return failure

    def of(self, channel: str) -> list[str]:
        """List the transitions that a channel was told of."""
        return [message.transition for name, message in self.told if name == channel]


def _staleness(known: Resource | None, written: Resource) -> Failure | None:
    if known is None:
        return GONE
    is_same = known.metadata.resource_version == written.metadata.resource_version
    return None if is_same else CONFLICT


def names(rollbacks: Iterable[Rollback]) -> list[str]:
    return [one.metadata.name for one in rollbacks]


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _schemas: Schemas = FakeSchemas()
    _owners: Owners = FakeOwners()
    _flags: Flags = FakeFlags()
    _autoscalers: Autoscalers = FakeAutoscalers()
    _ports: tuple[
        Metrics, PodMetrics, Probes, Logs, TrendMetrics, Workloads, Store, Surroundings, Channels
    ] = (
        FakeMetrics(),
        FakePods(),
        FakeProbes(),
        FakeLogs(),
        FakeTrends(),
        FakeWorkloads(),
        FakeStore(),
        FakeSurroundings(),
        FakeChannels(),
    )
