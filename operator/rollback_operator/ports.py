"""What a pass needs of the outside world. A failure is a value, an exception a bug.

The adapters fulfil them against real servers; unit tests swap them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self, TypeVar

from rollback_operator.api.database import DatabaseSpec
from rollback_operator.api.flags import Flag, FlagPlan
from rollback_operator.api.notify import Channel
from rollback_operator.api.secrets import SecretKeyRef
from rollback_operator.api.v1alpha1 import (
    CounterSignal,
    Hold,
    Remedy,
    Resource,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
    SignalLabels,
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
from rollback_operator.core.pod import Endpoint, Page
from rollback_operator.core.probing import LineCount, Reply, Silence
from rollback_operator.core.reading import Missing, Reading
from rollback_operator.core.schema import Applied
from rollback_operator.core.services import Service
from rollback_operator.core.surroundings import Cluster, Quota, Reference
from rollback_operator.core.workload import Deployment, Workload

R = TypeVar("R", bound=Resource)
RETRY_SECONDS = 2.0
CONFLICT_SECONDS = 0.2


class FailureKind(StrEnum):
    """What a server's refusal means for the caller."""

    CONFLICT = "Conflict"
    """The object is not as it was read: read again, decide again."""
    EXISTS = "Exists"
    GONE = "Gone"
    UNKNOWN_KIND = "UnknownKind"
    """The cluster has no such kind: its CRD is not installed."""
    REJECTED = "Rejected"
    """It will be refused again: no right, invalid, an admission policy."""
    UNAVAILABLE = "Unavailable"
    """It may work later: time-out, 429, 5xx, no connection."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that did not do what was asked."""

    kind: FailureKind
    message: str
    retry_after: float | None = None

    @property
    def wait(self) -> float:
        """Seconds until another try is of use: what the server asks, or little for a conflict."""
        soon = CONFLICT_SECONDS if self.kind is FailureKind.CONFLICT else RETRY_SECONDS
        return self.retry_after or soon


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus, and with what it is read."""

    url: str
    """Base address of its HTTP API."""
    namespace: str = ""
    """Whose Secrets the references name."""
    token: SecretKeyRef | None = None
    """None: the operator's own token, where the address is the operator's own."""
    authorities: SecretKeyRef | None = None
    """None: whom the operator trusts."""

    @property
    def has_own_credentials(self) -> bool:
        """Tell whether the policy brings something of its own to read it with."""
        return self.token is not None or self.authorities is not None

    @classmethod
    def of(cls, policy: RollbackPolicy, default: str) -> Self:
        """Say where a policy's metrics are read; `default`: where it names no address."""
        spec = policy.spec.prometheus
        return cls(
            spec.url or default,
            policy.metadata.namespace,
            spec.bearer_token_secret_ref,
            spec.ca_secret_ref,
        )


@dataclass(frozen=True, slots=True)
class CounterQuery:
    """Which counters of which pods."""

    prometheus: Prometheus
    namespace: str
    pods: tuple[str, ...]
    """Regular expressions for pod names, any of them."""
    requests: CounterSignal
    errors: CounterSignal
    labels: SignalLabels
    left_out: frozenset[str] = frozenset()
    """Routes that count nothing in a control. Of raw counters they tell that a pod is read."""


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Which series of one signal of which pods."""

    prometheus: Prometheus
    namespace: str
    pods: tuple[str, ...]
    """Regular expressions for pod names, any of them; none: series of no pod."""
    signal: CounterSignal
    labels: SignalLabels


class TrendMetrics(Protocol):
    """What changes slowly, as the provider of metrics tells it."""

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read each pod's durations, all routes together, counted since its container started."""

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Read the durations of an hour up to `until`, all pods together."""

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read the durations of an hour up to `until` by route, all pods together."""

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Read a gauge of each pod, the highest where a pod has several."""

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Evaluate PromQL that gives one number."""


class Metrics(Protocol):
    """The provider of metrics."""

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters of the last `seconds`; Missing tells which kind of nothing."""

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read an hour's error rates by the minute up to `until`, by the provider's clock."""

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the provider's time, seconds since the epoch."""


class Credentials(Protocol):
    """What policies read their Prometheus with, if they bring something of their own."""

    async def obstacle(self, prometheus: Prometheus) -> str:
        """Name the field that leads to no usable value, and say why; empty: all do."""


@dataclass(frozen=True, slots=True)
class PodPage:
    """A pod's own metrics page."""

    pod: str
    address: str
    page: Page
    is_judged: bool = False
    """Of the revision that is judged: timed when it has answered, the others when asked."""
    is_leaving: bool = False
    """It is being ended: its page may be gone, and is not waited for."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which counters to read from which pods' own pages."""

    pages: tuple[PodPage, ...]
    requests: CounterSignal
    errors: CounterSignal
    labels: SignalLabels


class PodMetrics(Protocol):
    """The watched pods themselves."""

    async def read(self, query: PageQuery) -> Reading:
        """Read the counters of all pages at once: one sample a series, by the operator's clock.

        Pods that do not answer are left out; Missing tells why none of them was of use.
        """


class Workloads(Protocol):
    """Deployments and what belongs to them."""

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read the Deployment with its ReplicaSets, pods and autoscaler, fresh."""

    async def undo(self, rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
        """Put the recorded ReplicaSet's template into the Deployment.

        Guarded: only while uid and template are as judged; otherwise Conflict. `surge` is the
        strategy to set in the same patch; if that is refused the plain undo is sent at once.
        """

    async def apply_in_place(self, rollback: Rollback, remedy: Remedy) -> Deployment | Failure:
        """Pin an image, or set the replicas; guarded like an undo."""

    async def restart(self, rollback: Rollback, time: datetime) -> Deployment | Failure:
        """Have all pods replaced by the same release, as `kubectl rollout restart` does.

        Guarded like an undo. `time` is what the pod template is marked with.
        """

    async def set_strategy(
        self, rollback: Rollback, strategy: StoredStrategy
    ) -> Deployment | Failure:
        """Set the rolling-update bounds back, only while they are the express undo's."""

    async def pause(self, namespace: str, hold: Hold) -> Deployment | Failure:
        """Pause a rollout; Conflict unless uid and template are as judged and nobody else has."""

    async def resume(self, namespace: str, name: str) -> Deployment | Failure:
        """Lift our own pause, and nobody else's; gives the Deployment as it is then."""


class Flags(Protocol):
    """Feature flags in ConfigMaps of a policy's namespace."""

    async def read(self, namespace: str, flag: Flag) -> FlagState | Failure:
        """Read the flag, fresh; Gone: there is no such ConfigMap."""

    async def may_set(self, namespace: str, flag: Flag) -> bool | Failure:
        """Ask whether whoever runs this has the right to set it; nothing is changed."""

    async def set(self, namespace: str, flag: Flag, plan: FlagPlan) -> FlagState | Failure:
        """Set the flag, and nothing else of its ConfigMap.

        Guarded: only while the ConfigMap and the flag are as they were found for the plan;
        otherwise Conflict. Rejected: no right, or refused by admission.
        """


class Schemas(Protocol):
    """The databases that policies name."""

    async def read(self, namespace: str, database: DatabaseSpec) -> Applied | Missing:
        """Read which migrations are applied; Missing tells why that is not known."""


class Surroundings(Protocol):
    """What a target needs around it; looked at before an act, and never changed."""

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        """Look whether an object exists, and at nothing that is in it."""

    async def cluster(self) -> Cluster | Failure:
        """Read the nodes, and what runs on them as far as that is quickly read."""

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        """Read what the quotas of a namespace leave."""

    async def approvals_unprotected(self) -> str | Failure:
        """Say why anybody could approve in another's name; empty: admission forbids it."""


class Services(Protocol):
    """The Services by which pods are reached; only read."""

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        """Read those of a namespace that choose pods, and whether they lead to any now."""


class Owners(Protocol):
    """The objects by which GitOps controllers steer Deployments.

    Each call may fail as UnknownKind (no CRD), Gone (no such object), Rejected (no right, or
    refused by admission), Unavailable, and a write as Conflict: it is not as it was looked at.
    """

    async def look(self, steered: Steered) -> OwnerState | Failure:
        """Read the object, fresh, and whether it says itself that it steers the Deployment."""

    async def suspend(self, steered: Steered, state: OwnerState, by: str) -> OwnerState | Failure:
        """Suspend it as it was looked at, for a Rollback, namespace/name; only that changes."""

    async def resume(
        self, steered: Steered, state: OwnerState, automated: str
    ) -> OwnerState | Failure:
        """Let it go on as before it was suspended.

        `automated` is what an Application's spec.syncPolicy.automated was then, in JSON.
        """


class Tools(Protocol):
    """The objects by which rollout tools and image updaters take hold of Deployments; only read."""

    async def look(self, deployment: Deployment) -> Claims:
        """Read what there is, fresh; what cannot be read is named as unseen, and why."""


class Autoscalers(Protocol):
    """HorizontalPodAutoscalers, of which only the bounds are ever changed."""

    async def look(self, namespace: str, name: str) -> Autoscaler | Failure:
        """Read one, fresh."""

    async def set_bounds(
        self, namespace: str, found: Autoscaler, bounds: Bounds
    ) -> Autoscaler | Failure:
        """Set the bounds; Conflict if it is gone, another one, or its bounds are not as found."""


class Store(Protocol):
    """Our own resources."""

    async def list_rollbacks(self, namespace: str) -> list[Rollback] | Failure:
        """Read all Rollbacks of a namespace, fresh."""

    async def create_rollback(
        self, namespace: str, name: str, spec: RollbackSpec
    ) -> Rollback | Failure:
        """Store an intent; Exists if somebody has."""

    async def write_rollback(
        self, rollback: Rollback, status: RollbackStatus
    ) -> Rollback | Failure:
        """Replace a Rollback's status; Conflict if it is not the one that was read."""

    async def answer_request(
        self, request: RollbackRequest, status: RollbackStatus
    ) -> Rollback | RollbackRequest | Failure:
        """Store a plan, behind our finalizer, or why there is none; Conflict if it has changed."""

    async def guard(self, resource: R, finalizer: str) -> R | Failure:
        """Put one of our finalizers on: deleted, the resource stays until it is taken off.

        Conflict if it is not the one that was read; Rejected if it is being deleted already.
        """

    async def release(self, resource: R, finalizer: str) -> R | Failure:
        """Take one of our finalizers off; Conflict if it is not the one that was read."""

    async def delete_rollback(self, record: Rollback | RollbackRequest) -> Failure | None:
        """Delete an old record; Conflict if it is not the one that was read."""

    async def write_policy(
        self, policy: RollbackPolicy, status: RollbackPolicyStatus
    ) -> RollbackPolicy | Failure:
        """Replace a policy's status; Conflict if it is not the one that was read."""

    async def post(self, regarding: Resource, notice: Notice) -> None:
        """Post an Event; one that cannot be posted is logged and dropped."""


class Secrets(Protocol):
    """Secrets of a policy's own namespace."""

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read one value of a Secret, fresh: it may have been renewed.

        Gone: there is no such Secret or key. Rejected: no right to read it, or no text. The
        message names Secret and key and never holds a value. Who reads must see to it that the
        value reaches no log, event, status or message.
        """

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read all values of a Secret, by key, as `read` does."""


class Probes(Protocol):
    """Who answers for the restored release: the service under its address, and its pods."""

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        """Send a functional probe once, as a policy of this namespace may have it sent.

        Silence is final where the address is refused or the headers' Secret cannot be had.
        """

    async def ask(self, address: str, endpoint: Endpoint) -> Reply:
        """Ask a pod at its own address whether it is healthy."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines of which pod's log."""

    namespace: str
    pod: str
    container: str
    since: datetime
    texts: tuple[str, ...]
    """A line counts if it holds one of them."""


class Logs(Protocol):
    """The containers' logs."""

    async def count(self, query: LogQuery) -> LineCount | Silence:
        """Count lines; nothing else of a log is kept."""


class Channels(Protocol):
    """How people are told."""

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Send one message by one channel of a policy of that namespace; None: it was taken.

        Rejected: it will be refused again until somebody changes something. Unavailable: it may
        work later. The message holds no credential, nor an address whose path may be one.
        """
