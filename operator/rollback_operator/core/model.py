"""What is seen: the target, its ReplicaSets and pods, and the counters of its requests.

Values only. Who judges them is judge.py; who makes them from the API server's dictionaries and from
Prometheus' answers is projections.py and the adapters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rollback_operator.api.gitops import OwnerKind
from rollback_operator.api.reasons import Reason
from rollback_operator.core.surroundings import Amounts, Reference


@dataclass(frozen=True, slots=True)
class Template:
    """A pod template, known by its digests."""

    digest: str
    """Of the whole template: changes whenever the template does."""
    release: str
    """Of the template without annotations: a restart is the same release."""
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    init_images: tuple[str, ...] = ()
    init_containers: tuple[str, ...] = ()
    """Those that end before the others start, and sidecars that start before them."""
    memory_limit: float | None = None
    """Bytes that a pod may use; None where a container has no limit."""
    commit: str = ""
    """What `org.opencontainers.image.revision` says, if the template carries it."""

    def image_of(self, container: str | None) -> str | None:
        """Give the image that a container is to run; None: there is no such container."""
        return dict(zip(self.containers, self.images, strict=True)).get(container or "")

    @property
    def image_by_name(self) -> Mapping[str, str]:
        """Give the image of each container, init containers among them: no two share a name."""
        names = (*self.containers, *self.init_containers)
        return dict(zip(names, self.all_images, strict=True))

    @property
    def all_images(self) -> tuple[str, ...]:
        """Those of the containers, then those of the init containers."""
        return (*self.images, *self.init_images)


@dataclass(frozen=True, slots=True)
class OwnerObject:
    """The object by which a GitOps controller steers a Deployment."""

    kind: OwnerKind
    namespace: str
    """Empty: where the operator's own setting says."""
    name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Who else steers the Deployment: a GitOps controller, Helm, or another rollout tool."""

    kind: str
    """Argo CD, Flux, Helm, Argo Rollouts, Flagger."""
    evidence: str
    """The label or annotation that says so."""
    remedy: str
    """What a person can do about it."""
    is_rollout_tool: bool = False
    object: OwnerObject | None = None
    """By which object it does so; None: not known, or there is none that could be suspended."""
    then: str = "would revert an undo"
    """What it makes of an undo."""
    is_trace: bool = False
    """Known by a field that it has once set: what its own objects say counts more."""
    behind: "Owner | None" = None
    """Of a trace: who steers the Deployment if this one does no longer."""


@dataclass(frozen=True, slots=True)
class Updater:
    """Who puts new images into a Deployment by itself, straight or through Git."""

    tool: str
    """Keel, Argo CD Image Updater, Flux image automation, OpenShift image triggers."""
    evidence: str
    """What says so."""
    remedy: str
    """What a person can do so that it does not push an image again."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the objects of rollout tools and image updaters say of a Deployment."""

    driver: Owner | None = None
    """The rollout tool that takes its releases out."""
    updaters: tuple[Updater, ...] = ()
    denied: frozenset[str] = frozenset()
    """Rollout tools that do not drive it: nothing of theirs names it."""
    unseen: tuple[str, ...] = ()
    """What could not be looked at, and why."""


@dataclass(frozen=True, slots=True)
class OwnerState:
    """How an owner's object was found."""

    namespace: str
    version: str = ""
    """Its resourceVersion: what a write to it is guarded by."""
    obstacle: str = ""
    """Why it must not be suspended, or would not stay so; empty: nothing stands against it."""
    is_suspended: bool = False
    suspended_for: str = ""
    """The Rollback that this operator has suspended it for, namespace/name; empty: none."""
    is_ours: bool = False
    """It is suspended by this operator, and nobody else has had a hand in that since."""
    automated: str = ""
    """Of an Application: spec.syncPolicy.automated, in JSON; empty: it is not there."""
    auto_synced: float | None = None
    """When it was last seen to begin to apply what it wants by itself."""
    in_sync_at: float | None = None
    """When it was last compared with what runs and wanted just that, of all that it steers."""


@dataclass(frozen=True, slots=True)
class FlagState:
    """A flag in its ConfigMap, as it was found."""

    uid: str
    """The ConfigMap's."""
    value: str | None = None
    """None: the ConfigMap has no such key."""
    is_immutable: bool = False
    owner: Owner | None = None
    """Who else steers the ConfigMap, and would set it back."""
    changed_by: str = ""
    """Who has last changed what is in it, by its field owners; empty: not known."""


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """One way by which pods read a ConfigMap."""

    name: str
    """The ConfigMap's."""
    keys: tuple[str, ...] | None = None
    """Which keys are read; None: all."""
    hidden: tuple[str, ...] = ()
    """Of all keys those that do not come through: a variable of their name is set otherwise."""
    is_mounted: bool = False
    """Read as a file that is renewed while the pod runs."""

    def takes(self, name: str, key: str) -> bool:
        """Tell whether a key of a ConfigMap is read by it."""
        is_read = key in self.keys if self.keys is not None else key not in self.hidden
        return name == self.name and is_read


@dataclass(frozen=True, slots=True)
class Steered:
    """An owner's object, and the Deployment that is said to be steered by it."""

    object: OwnerObject
    namespace: str
    deployment: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """The target as the API server shows it."""

    namespace: str
    name: str
    uid: str
    template: Template
    generation: int = 1
    observed_generation: int = 1
    revision: int = 0
    replicas: int = 1
    updated: int = 0
    total: int = 0
    available: int = 0
    paused: bool = False
    is_held: bool = False
    """It is paused, and by this operator alone: nobody else owns the field."""
    strategy: str = "RollingUpdate"
    max_surge: str = "25%"
    max_unavailable: str = "25%"
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    history_limit: int = 10
    probe_paths: frozenset[str] = frozenset()
    probe_rate: float = 0.0
    """Requests a second that HTTP probes make to each pod."""
    owner: Owner | None = None
    updaters: tuple[Updater, ...] = ()
    changed_by: str = ""
    """Who has put the template there, by the field owners; empty: not known."""
    completed: float | None = None
    """When the newest rollout had become fully available; it stands while pods come and go."""
    unavailable_since: float | None = None
    """Since when fewer pods are available than the rollout strategy is to keep; None: they are."""
    failed_create: str = ""
    """Message of the ReplicaFailure condition: quota, admission; empty when there is none."""

    @property
    def has_new_pods(self) -> bool:
        """Tell whether pods of the template are there already: a pause sooner leaves none."""
        return self.observed_generation >= self.generation and self.updated > 0

    @property
    def is_rolled_out(self) -> bool:
        """Tell whether the rollout is complete, by the rules of `kubectl rollout status`."""
        return (
            self.observed_generation >= self.generation
            and self.updated >= self.replicas
            and self.total <= self.updated
            and self.available >= self.updated
        )


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """A revision of the target that can still be gone back to."""

    name: str
    uid: str
    pod_hash: str
    revision: int
    template: Template
    created: float
    replicas: int = 0
    ready: int = 0
    """Pods of it that are ready."""
    facts: tuple[tuple[str, str], ...] = ()
    """What its template says, path by path; `#` and a digest where the value may be a secret."""
    references: tuple[Reference, ...] = ()
    """What its pods need to be there."""
    reads: tuple[ConfigRead, ...] = ()
    """How its pods read ConfigMaps."""
    requests: Amounts = field(default_factory=Amounts)
    """What a node has to have free for one of its pods."""
    labels: tuple[tuple[str, str], ...] = ()
    """Those of its pods by which a Service may find them."""
    port_names: frozenset[str] = frozenset()
    """Names that a Service may find ports of its pods by."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where a pod says that it exposes its metrics; port 0: it does not say."""

    port: int = 0
    path: str = "/metrics"
    scheme: str = "http"
    serving_port: int = 0
    """Where the pod says that requests come in; 0: it does not say."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a pod has itself asked whether it is healthy: an httpGet probe of its template."""

    path: str
    port: int
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the target, told to a revision by its pod-template-hash label."""

    name: str
    pod_hash: str
    node: str = ""
    created: float = 0.0
    started: float | None = None
    """When its newest container started; None before that."""
    ready: bool = False
    ready_since: float | None = None
    unready_since: float | None = None
    """When it ceased to be ready, or came to be there; None: it is ready, or that is not known."""
    restarts: int = 0
    terminating: bool = False
    own_failure: str = ""
    """What its own containers do wrong (crash, exit, failing probe); empty if nothing."""
    is_out_of_memory: bool = False
    """A container of it was killed for its memory."""
    environment: str = ""
    """What keeps it from running that is not the release's doing: scheduling, registry, node."""
    address: str = ""
    """Its own IP address; empty: it has none, has ended, uses its node's, or wants no scrapes."""
    page: Page = field(default_factory=Page)
    image_digests: tuple[tuple[str, str], ...] = ()
    """By container, what its image is: sha256:..."""
    endpoints: tuple[Endpoint, ...] = ()
    """Its httpGet probes, on its own address only."""


@dataclass(frozen=True, slots=True)
class CounterSeries:
    """One counter of one pod, as somebody read it: samples in time order."""

    pod: str
    route: str
    identity: tuple[tuple[str, str], ...]
    """The counter's own labels, without those that only tell who scraped it."""
    instance: str
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Counters:
    """An answer: request and error counters, read together."""

    requests: tuple[CounterSeries, ...]
    errors: tuple[CounterSeries, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """No usable answer, and which of the four kinds: none of them is good, none is bad."""

    reason: Reason
    message: str


Reading = Counters | Missing


@dataclass(frozen=True, slots=True)
class RouteControl:
    """How the control revision did on one route in the time before the release."""

    requests: float
    errors: float
    worst_minute: float
    """Highest error rate of the shortest span that is told of in `worst`; 0 if none is."""
    worst: tuple[tuple[float, float], ...] = ()
    """(seconds, highest error rate over a span of that length), spans with enough requests only."""
    worst_earlier: float = 0.0
    """As `worst_minute`, without the minute before the release: what that came upon is in it."""


LEAST_SECONDS, LEAST_REQUESTS = 60, 100
"""What a past must have to stand for the old revision."""


@dataclass(frozen=True, slots=True)
class Control:
    """The last hour of the revision that would be gone back to, route by route."""

    seconds: float
    routes: Mapping[str, RouteControl]
    busiest_minute: float = 0.0
    """Requests a second, all routes, in its busiest minute."""
    quietest_minute: float = 0.0
    """... in its quietest one, those without any counted, the first left out."""
    pooled: RouteControl = field(default_factory=lambda: RouteControl(0, 0, 0))

    @property
    def is_sufficient(self) -> bool:
        """Tell whether it can stand for the old revision: 60 s and 100 requests."""
        return self.seconds >= LEAST_SECONDS and self.pooled.requests >= LEAST_REQUESTS

    @property
    def is_brief(self) -> bool:
        """Tell whether it has the requests and not the time: how its rate varies is not known."""
        return self.seconds < LEAST_SECONDS and self.pooled.requests >= LEAST_REQUESTS


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which numbers of replicas an autoscaler chooses."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least} to {self.most} replicas"


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler that scales the target."""

    name: str
    uid: str
    bounds: Bounds
    owner: str = ""
    """Who steers it in turn, and would put its bounds back; empty: nobody is seen to."""
    set_by: str = ""
    """Who has set its lower bound, by the field owners."""
    is_ours: bool = False
    """Its lower bound was set by this operator, and nobody else says the same."""
    rivals: tuple[str, ...] = ()
    """Others that scale the same target: Kubernetes lets none of them do it then."""

    def __str__(self) -> str:
        return f"HorizontalPodAutoscaler {self.name}"


@dataclass(frozen=True, slots=True)
class Workload:
    """The target with its ReplicaSets and pods, read together."""

    deployment: Deployment
    replica_sets: tuple[ReplicaSet, ...] = ()
    pods: tuple[Pod, ...] = ()
    autoscaler: Autoscaler | None = None
    """Who scales the target; None: nobody does."""

    @property
    def current(self) -> ReplicaSet | None:
        """The ReplicaSet of the Deployment's template, once the controller has made it."""
        digest = self.deployment.template.digest
        return next((one for one in self.replica_sets if one.template.digest == digest), None)

    def current_of(self, pods: Iterable[Pod]) -> tuple[Pod, ...]:
        """Choose the pods of the Deployment's template; none before it has a ReplicaSet."""
        current = self.current
        if current is None:
            return ()
        return tuple(pod for pod in pods if pod.pod_hash == current.pod_hash)
