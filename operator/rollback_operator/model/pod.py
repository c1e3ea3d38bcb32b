"""A pod of the target: its health and its addresses."""

from dataclasses import dataclass, field, replace

LONGEST_PAGE_PATH = 1024
"""Bytes of a declared path; a character outside ASCII counts four."""
DEFAULT_PAGE_PATH = "/metrics"


def page_path(declared: object) -> str:
    """Return the path of a metrics page that an annotation or label declares.

    Without the slash it would be the end of an address: `@host/`, or `1/`.
    """
    path = str(declared or "")
    is_short = len(path) * (1 if path.isascii() else 4) <= LONGEST_PAGE_PATH
    return path if path.startswith("/") and is_short else DEFAULT_PAGE_PATH


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """Declared address of a pod's metrics; port 0: not declared."""

    port: int = 0
    path: str = DEFAULT_PAGE_PATH
    scheme: str = "http"
    serving_port: int = 0
    """Declared port of a pod's requests; 0: not declared."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Health endpoint of a pod: an httpGet probe of its template."""

    path: str
    port: int
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()


NOT_READY = "running but not ready"
"""End of a pod's own failure that any pod has while it starts."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the target; its pod-template-hash label identifies its revision."""

    name: str
    pod_hash: str
    node: str = ""
    created: float = 0.0
    started: float | None = None
    """Start of its newest container; None before that."""
    ready: bool = False
    ready_since: float | None = None
    unready_since: float | None = None
    """Time at which it became unready or was created; None: it is ready, or the time is unknown."""
    restarts: int = 0
    terminating: bool = False
    own_failure: str = ""
    """Failure of its own containers (crash, exit, failing probe); empty: none."""
    is_out_of_memory: bool = False
    """A container was killed for its memory usage."""
    environment: str = ""
    """External cause that keeps it from running: scheduling, registry, node; empty: none."""
    image_fault: str = ""
    """The image that cannot be pulled, its container and the reason; empty: none."""
    address: str = ""
    """Its own IP address; empty: none yet, ended, host network, or scrapes are disabled."""
    page: MetricsPage = field(default_factory=MetricsPage)
    image_digests: tuple[tuple[str, str], ...] = ()
    """Image digest of each container: sha256:..."""
    endpoints: tuple[Endpoint, ...] = ()
    """Its httpGet probes, on its own address only."""

    @property
    def as_gone(self) -> "Pod":
        """Reduce a deleted pod to its record: no request goes to it any more."""
        return replace(
            self,
            ready=False,
            terminating=True,
            address="",
            page=MetricsPage(),
            image_digests=(),
            endpoints=(),
        )
