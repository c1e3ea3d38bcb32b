"""The target as read: its Deployment, ReplicaSets and pods, its autoscaler, its ConfigMaps.

Values only: projections/ makes them from the API server's dictionaries, and availability.py names
the causes that keep pods from serving.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import MOST_REPLICAS
from rollback_operator.api.user_text.json_text import whole
from rollback_operator.model.controllers import Owner, Updater
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import Amounts, Reference


@dataclass(frozen=True, slots=True)
class FlagState:
    """A flag in its ConfigMap, or in the pod template, as read."""

    uid: str
    """The uid of the ConfigMap or Deployment."""
    value: str | None = None
    """None: there is no such key or variable."""
    obstacle: str = ""
    """Why the variable cannot be set: it has no value of its own; empty: it can."""
    bare: str = ""
    """Of a variable: the digest of the template with the new value, without annotations."""
    is_immutable: bool = False
    owner: Owner | None = None
    """The other owner of the ConfigMap, which would revert it."""
    changed_by: str = ""
    """The last client that changed its data, by its field owners; empty: unknown."""


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """A reference from pods to a ConfigMap."""

    name: str
    """The ConfigMap's name."""
    keys: tuple[str, ...] | None = None
    """The keys that pods read; None: all."""
    hidden: tuple[str, ...] = ()
    """Hidden keys if all are read: a variable of the same name has another source."""
    is_mounted: bool = False
    """Read as a file, which the kubelet renews while the pod runs."""

    def takes(self, name: str, key: str) -> bool:
        """Return whether it reads a key of a ConfigMap."""
        is_read = key in self.keys if self.keys is not None else key not in self.hidden
        return name == self.name and is_read


@dataclass(frozen=True, slots=True)
class ConfigState:
    """A ConfigMap or Secret that pods read, as read."""

    digest: str
    """Of its content; of a Secret keyed, so that it proves no guess. Empty: it does not exist."""
    uid: str = ""
    version: str = ""
    """Its resourceVersion."""
    text: str = ""
    """The content of a ConfigMap, as canonical JSON; empty for a Secret."""
    obstacle: str = ""
    """Why it is never restored: immutable, being deleted, managed by another owner; empty: none."""
    changed_by: str = ""
    """The last client that changed its data, by its field owners; empty: unknown."""
    changed: float | None = None
    """When it did; None: unknown."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The ConfigMaps and Secrets that a pod template references, read together."""

    states: Mapping[Reference, ConfigState | Missing]

    @property
    def digest(self) -> str | None:
        """The digest of all that could be read; None: nothing could, or one did not answer."""
        read = {
            str(reference): state.digest
            for reference, state in self.states.items()
            if isinstance(state, ConfigState)
        }
        return None if self.is_late or not read else digest_of(read)

    @property
    def is_late(self) -> bool:
        """Whether an object did not answer: a later read may succeed."""
        states = self.states.values()
        missing = (state for state in states if isinstance(state, Missing))
        return any(state.reason is Reason.READ_FAILED for state in missing)

    @property
    def unread(self) -> tuple[str, ...]:
        """The objects that could not be read, each with the reason."""
        missing = ((ref, state) for ref, state in self.states.items() if isinstance(state, Missing))
        return tuple(f"{reference}: {state.message}" for reference, state in sorted(missing))


def digest_of(value: object) -> str:
    """Make the digest of a JSON value: 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lower and upper bound of an autoscaler's replicas."""

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
    """Its own owner, which would restore its bounds; empty: none is observed."""
    set_by: str = ""
    """The client that set its lower bound, by the field owners."""
    is_ours: bool = False
    """This operator set its lower bound, and no other client owns the same value."""
    rivals: tuple[str, ...] = ()
    """Other autoscalers of the same target: Kubernetes then lets none of them scale it."""

    def __str__(self) -> str:
        return f"HorizontalPodAutoscaler {self.name}"


@dataclass(frozen=True, slots=True)
class Template:
    """A pod template; its digests identify it."""

    digest: str
    """Of the entire template: changes whenever the template does."""
    release: str
    """Of the template without annotations, and of the ConfigMaps and Secrets that it references as
    far as they were read (`releases/identity`): a restart is the same release."""
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    init_images: tuple[str, ...] = ()
    init_containers: tuple[str, ...] = ()
    """Init containers that end before the others start, and sidecars that start before them."""
    memory_limit: float | None = None
    """Bytes that a pod may use; None where a container has no limit."""
    commit: str = ""
    """Value of `org.opencontainers.image.revision` if the template carries it."""
    schema_head: str = ""
    """Annotation schema-head: the newest migration that the release knows."""
    schema_range: str = ""
    """Annotation schema-range: the schemas that the release can run with."""
    unannotated: str = ""
    """Of the template without annotations, where `release` includes a configuration."""
    configuration: str | None = None
    """Of the ConfigMaps and Secrets when the revision began; None: not read."""

    @property
    def bare(self) -> str:
        """The digest of the template without annotations, whatever its configuration."""
        return self.unannotated or self.release

    def image_of(self, container: str | None) -> str | None:
        """Return the image of a container in the template; None: there is no such container."""
        return dict(zip(self.containers, self.images, strict=True)).get(container or "")

    def images_from(self, container: str | None) -> list[str]:
        """List the images of the containers, that of the named container first."""
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
        """The images of the containers, then of the init containers."""
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
    """It is paused, and only by this operator: no other client owns the field."""
    is_stopped: bool = False
    """It has no replicas, and this operator, no other client, has set that."""
    strategy: str = "RollingUpdate"
    max_surge: str = "25%"
    max_unavailable: str = "25%"
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    history_limit: int = 10
    probe_paths: frozenset[str] = frozenset()
    probe_rate: float = 0.0
    """HTTP probe requests per second to each pod."""
    owner: Owner | None = None
    updaters: tuple[Updater, ...] = ()
    changed_by: str = ""
    """The client that set the template, by the field owners; empty: unknown."""
    change_cause: str = ""
    """Its change-cause, if this operator wrote it."""
    completed: float | None = None
    """Time at which the newest rollout became fully available; constant while pods come and go."""
    unavailable_since: float | None = None
    """Time since which fewer pods than the strategy keeps are available; None: enough are."""
    failed_create: str = ""
    """Message of the ReplicaFailure condition: quota, admission; empty: none."""

    @property
    def has_new_pods(self) -> bool:
        """Return whether pods of the template exist: an earlier pause leaves no pods."""
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


def floor_of(deployment: Deployment) -> int:
    """Return the number of pods that a rolling update keeps available."""
    surge = math.ceil(share_of(deployment.max_surge, deployment.replicas))
    unavailable = math.floor(share_of(deployment.max_unavailable, deployment.replicas))
    if not surge and not unavailable:
        unavailable = 1  # as the Deployment controller does, to avoid a deadlock
    return max(0, deployment.replicas - unavailable)


def share_of(bound: str, replicas: int) -> Fraction:
    """Return the replicas of a rolling-update bound: a number, or a share of all."""
    percent = bound.removesuffix("%")
    share = whole(percent, MOST_REPLICAS)
    if share is None:
        return Fraction(0)
    return Fraction(share * replicas, 100 if bound.endswith("%") else replicas or 1)


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """A revision of the target that can still be a rollback target."""

    name: str
    uid: str
    pod_hash: str
    revision: int
    template: Template
    created: float
    replicas: int = 0
    ready: int = 0
    """Its ready pods."""
    facts: tuple[tuple[str, str], ...] = ()
    """Fields of its template, path by path; `#` and a digest where the value may be a secret."""
    references: tuple[Reference, ...] = ()
    """Objects that its pods need."""
    reads: tuple[ConfigRead, ...] = ()
    """References from its pods to ConfigMaps."""
    requests: Amounts = field(default_factory=Amounts)
    """Free resources that a node needs for one of its pods."""
    labels: tuple[tuple[str, str], ...] = ()
    """Labels of its pods by which a Service may select them."""
    port_names: frozenset[str] = frozenset()
    """Port names of its pods by which a Service may select a port."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The target with its ReplicaSets and pods, read together."""

    deployment: Deployment
    replica_sets: tuple[ReplicaSet, ...] = ()
    pods: tuple[Pod, ...] = ()
    autoscaler: Autoscaler | None = None
    """The autoscaler of the target; None: it has none."""

    @property
    def current(self) -> ReplicaSet | None:
        """The ReplicaSet of the Deployment's template, once the controller has made it."""
        digest = self.deployment.template.digest
        return next((one for one in self.replica_sets if one.template.digest == digest), None)

    def current_of(self, pods: Iterable[Pod]) -> tuple[Pod, ...]:
        """Select the pods of the Deployment's template; none before it has a ReplicaSet."""
        current = self.current
        if current is None:
            return ()
        return tuple(pod for pod in pods if pod.pod_hash == current.pod_hash)
