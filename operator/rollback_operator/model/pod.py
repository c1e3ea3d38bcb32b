"""A pod of the target: how it does, and where it answers."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class MetricsPage:
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
    page: MetricsPage = field(default_factory=MetricsPage)
    image_digests: tuple[tuple[str, str], ...] = ()
    """By container, what its image is: sha256:..."""
    endpoints: tuple[Endpoint, ...] = ()
    """Its httpGet probes, on its own address only."""

    @property
    def as_gone(self) -> "Pod":
        """What is kept of a pod that is no longer there: nothing is asked of it any more."""
        return replace(
            self,
            ready=False,
            terminating=True,
            address="",
            page=MetricsPage(),
            image_digests=(),
            endpoints=(),
        )
