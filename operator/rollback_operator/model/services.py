"""Services with endpoints among old pods and none in the release, though all its pods are ready.

The new template has lost a label, or names a port otherwise: Kubernetes considers the pods healthy,
and no client reaches them. The old template shows which Services selected its pods, so that a
Service that never had endpoints does not count against the release.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rollback_operator.api.crd import GROUP
from rollback_operator.model.workload import ReplicaSet

LEAST_ROUTING_SECONDS = 5.0
"""Endpoints follow the pods a moment later."""


@dataclass(frozen=True, slots=True)
class Service:
    """A Service, and whether it has ready endpoints now."""

    name: str
    selector: tuple[tuple[str, str], ...]
    """Labels that a pod must have; empty: the Service selects no pods."""
    target_ports: tuple[str, ...]
    """Numbers, or names of container ports; empty: no ports, it leads to addresses."""
    has_ready_endpoint: bool


STOP_LABEL = f"{GROUP}/stopped-by"
"""Label that a stopped Service requires of its pods, and that no pod has."""


@dataclass(frozen=True, slots=True)
class ServiceSelector:
    """The selector of a Service, as read just now."""

    name: str
    uid: str
    selector: tuple[tuple[str, str], ...]

    @property
    def original(self) -> dict[str, str]:
        """The selector without the label of a stop."""
        return {name: value for name, value in self.selector if name != STOP_LABEL}

    @property
    def mark(self) -> str:
        """The value of the label of a stop; empty: the Service is not stopped."""
        return dict(self.selector).get(STOP_LABEL, "")


@dataclass(frozen=True, slots=True)
class Routing:
    """Observed state of a release's Services."""

    is_settled: bool = False
    """A Service leads to the release, or none led to the old pods: no further reads."""
    cut: str = ""
    """Services without endpoints, and why."""
    since: float | None = None
    """Time of the first observation of that."""
    read: float | None = None
    """Time of the last read."""

    @property
    def is_lost(self) -> bool:
        """Return whether Services have had no endpoints for long enough."""
        if self.since is None or self.read is None:
            return False
        return self.read - self.since >= LEAST_ROUTING_SECONDS


def after(
    routing: Routing, services: Sequence[Service], old: ReplicaSet, new: ReplicaSet, now: float
) -> Routing:
    """Include the current Services of the namespace; all pods are new and ready.

    One Service that still leads to the release is enough: the Service of a single version changes
    with its version.

    Args:
        routing: the earlier state.
        services: of the namespace, as read `now`.
        old: the rollback target.
        new: the release.
        now: seconds since the epoch.
    """
    left = [one for one in services if leads_to(one, old)]
    ways = [one for one in services if one in left or leads_to(one, new)]
    if not left or any(one.has_ready_endpoint for one in ways):
        return Routing(is_settled=True)
    cut = [f"Service {one.name} selects no ready pod: {_why(one, new)}" for one in left]
    since = now if routing.since is None else routing.since
    return Routing(cut="; ".join(cut), since=since, read=now)


def leads_to(service: Service, revision: ReplicaSet) -> bool:
    """Return whether a Service selects a revision's pods, and has one of their ports."""
    return _selects(service, revision) and _has_port(service, revision)


def _selects(service: Service, revision: ReplicaSet) -> bool:
    return bool(service.selector) and set(service.selector) <= set(revision.labels)


def _has_port(service: Service, revision: ReplicaSet) -> bool:
    ports = service.target_ports
    return not ports or any(one.isdecimal() or one in revision.port_names for one in ports)


def _why(service: Service, new: ReplicaSet) -> str:
    missing = sorted(set(service.selector) - set(new.labels))
    if missing:
        labels = ", ".join(f"{name}={value}" for name, value in missing)
        return f"its selector requires {labels}, which the release's pods do not have"
    if not _has_port(service, new):
        ports = ", ".join(service.target_ports)
        return f"the release's pods have no port named {ports}"
    return "none of its endpoints is ready, although all pods are"
