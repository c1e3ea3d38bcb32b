"""Services that led to the old pods and lead to none of a release, though all its pods are ready.

A label that the new template has lost, or a port that it names otherwise: Kubernetes finds nothing
wrong with the pods, and nobody reaches them. What the old template's pods would be found by is read
from the template, so that a Service that never led anywhere is not held against the release.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rollback_operator.model.workload import ReplicaSet

LEAST_ROUTING_SECONDS = 5.0
"""Endpoints follow the pods a moment later."""


@dataclass(frozen=True, slots=True)
class Service:
    """A Service, and whether it leads anywhere now."""

    name: str
    selector: tuple[tuple[str, str], ...]
    """Labels that a pod must have; empty: it chooses none by itself."""
    target_ports: tuple[str, ...]
    """Numbers, or names of container ports; empty: it has no ports, and leads to addresses."""
    has_ready_endpoint: bool


@dataclass(frozen=True, slots=True)
class Routing:
    """What the Services of a release have been seen to do."""

    is_settled: bool = False
    """One leads to the release, or none led to the old pods: nothing more is looked at."""
    cut: str = ""
    """Services that lead to none, and why."""
    since: float | None = None
    """When that was first seen."""
    read: float | None = None
    """When they were last read."""

    @property
    def is_lost(self) -> bool:
        """Return whether Services have led to nobody for long enough."""
        if self.since is None or self.read is None:
            return False
        return self.read - self.since >= LEAST_ROUTING_SECONDS


def after(
    routing: Routing, services: Sequence[Service], old: ReplicaSet, new: ReplicaSet, now: float
) -> Routing:
    """Take in how the Services of the namespace are, all pods being new and ready.

    One that still leads to the release is enough: a Service of each version's own goes with it.

    Args:
        routing: what was seen before.
        services: of the namespace, as read `now`.
        old: the revision that would be gone back to.
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
    """Return whether a Service finds a revision's pods, and one of its ports on them."""
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
