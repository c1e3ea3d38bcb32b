"""Dependencies of a target: objects that its pods name, nodes with their images, quotas."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An object in the namespace that a pod template names."""

    kind: str
    """ConfigMap, Secret, ServiceAccount or PersistentVolumeClaim."""
    name: str
    is_optional: bool = False
    """Pods start without it."""
    is_configuration: bool = field(default=False, compare=False)
    """Its content reaches the containers, as variables or files."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """A place in a pod template that names an object of the namespace."""

    kind: str
    """As in a Reference."""
    name: str
    path: str
    """The field of the Deployment."""
    key: str = ""
    """The key of a ConfigMap or Secret that pods need; empty: none in particular."""
    is_optional: bool = False
    """Pods start without it."""
    is_configuration: bool = False
    """As in a Reference."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Requests of a pod, or resources of a node or a quota."""

    cpu: float = 0.0
    """Cores."""
    memory: float = 0.0
    """Bytes."""
    pods: float = 1.0

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.cpu - other.cpu, self.memory - other.memory, self.pods - other.pods)

    def fits(self, one: "Amounts") -> int:
        """Count how often `one` fits in."""
        shares = [self.pods / max(one.pods, 1.0)]
        shares += [self.cpu / one.cpu] if one.cpu > 0 else []
        shares += [self.memory / one.memory] if one.memory > 0 else []
        return max(0, int(min(shares) + 1e-9))


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its free resources and its images."""

    name: str
    is_usable: bool = True
    """Ready, and pods may be scheduled on it."""
    allocatable: Amounts = field(default_factory=lambda: Amounts(pods=110))
    images: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage of a node by one pod."""

    node: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota of the namespace: the rest of each resource that it limits."""

    name: str
    left: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ClusterCapacity:
    """The nodes and their pods, as far as they were read."""

    nodes: tuple[Node, ...]
    usage: tuple[Usage, ...] | None
    """None: too many pods to add up within the time of a check, or they could not be read."""
    is_whole: bool = True
    """False: not all nodes were read."""
    unread: str = ""
    """Why the pods, or some of them, are not in `usage`; empty: all are, or they are too many."""

    def pods_that_fit(self, one: Amounts) -> int | None:
        """Count the further pods that nodes take, taints and affinities aside; None: unknown."""
        if self.usage is None or not self.is_whole:
            return None
        taken: dict[str, Amounts] = {}
        for used in self.usage:
            known = taken.get(used.node, Amounts(pods=0))
            taken[used.node] = Amounts(
                known.cpu + used.amounts.cpu,
                known.memory + used.amounts.memory,
                known.pods + used.amounts.pods,
            )
        free = (node.allocatable - taken.get(node.name, Amounts(pods=0)) for node in self.usable)
        return sum(node.fits(one) for node in free)

    @property
    def usable(self) -> tuple[Node, ...]:
        """The nodes that take pods."""
        return tuple(node for node in self.nodes if node.is_usable)

    def nodes_with(self, image: str) -> int:
        """Count the nodes that have an image."""
        wanted = full_name(image)
        return sum(wanted in node.images for node in self.nodes)


def full_name(image: str) -> str:
    """Give an image's reference as nodes list it: with registry, and with a tag or digest."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not ({".", ":"} & set(first) or first == "localhost"):
        image = f"docker.io/{image}"
    has_tag = ":" in image.rpartition("/")[2] or "@" in image
    return image if has_tag else f"{image}:latest"


def quota_left(quotas: Iterable[Quota], one: Amounts) -> tuple[int | None, str]:
    """Count the additional pods that the quotas allow, and name the quota; None: no limit."""
    least: int | None = None
    name = ""
    for quota in quotas:
        for resource, amount in (
            ("pods", one.pods),
            ("requests.cpu", one.cpu),
            ("cpu", one.cpu),
            ("requests.memory", one.memory),
            ("memory", one.memory),
        ):
            if resource not in quota.left or amount <= 0:
                continue
            count = max(0, int(quota.left[resource] / amount + 1e-9))
            if least is None or count < least:
                least, name = count, f"{quota.name} ({resource})"
    return least, name
