"""The target as it was read: its Deployment, ReplicaSets and pods, who scales it, what it reads.

Values only: projections/ makes them from the API server's dictionaries, and availability.py says
what keeps pods from serving.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rollback_operator.model.controllers import Owner, Updater
from rollback_operator.model.pod import Pod
from rollback_operator.model.surroundings import Amounts, Reference


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
        """Return whether a key of a ConfigMap is read by it."""
        is_read = key in self.keys if self.keys is not None else key not in self.hidden
        return name == self.name and is_read


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
        """Return the image that a container is to run; None: there is no such container."""
        return dict(zip(self.containers, self.images, strict=True)).get(container or "")

    def images_from(self, container: str | None) -> list[str]:
        """List the images of the containers, that of one of them first."""
        named = zip(self.containers, self.images, strict=True)
        return [
            image for _, image in sorted(named, key=lambda one: one[0] != (container or one[0]))
        ]

    @property
    def image_by_name(self) -> Mapping[str, str]:
        """Return the image of each container, init containers among them: no two share a name."""
        names = (*self.containers, *self.init_containers)
        return dict(zip(names, self.all_images, strict=True))

    @property
    def all_images(self) -> tuple[str, ...]:
        """Those of the containers, then those of the init containers."""
        return (*self.images, *self.init_images)


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
    change_cause: str = ""
    """What it says of its revision, if this operator has written that."""
    completed: float | None = None
    """When the newest rollout had become fully available; it stands while pods come and go."""
    unavailable_since: float | None = None
    """Since when fewer pods are available than the rollout strategy is to keep; None: they are."""
    failed_create: str = ""
    """Message of the ReplicaFailure condition: quota, admission; empty when there is none."""

    @property
    def has_new_pods(self) -> bool:
        """Return whether pods of the template are there already: a pause sooner leaves none."""
        return self.observed_generation >= self.generation and self.updated > 0

    @property
    def is_rolled_out(self) -> bool:
        """Return whether the rollout is complete, by the rules of `kubectl rollout status`."""
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
