"""What there is around a policy's target: looked at before an act, and never changed."""

from typing import Protocol

from rollback_operator.model.services import Service
from rollback_operator.model.surroundings import ClusterCapacity, Quota, Reference
from rollback_operator.ports.failure import Failure


class Surroundings(Protocol):
    """What a target needs around it; looked at before an act, and never changed."""

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        """Look whether an object exists, and at nothing that is in it."""

    async def cluster(self) -> ClusterCapacity | Failure:
        """Read the nodes, and what runs on them as far as that is quickly read."""

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        """Read what the quotas of a namespace leave."""

    async def approvals_unprotected(self) -> str | Failure:
        """Say why anybody could approve in another's name; empty: admission forbids it."""


class Services(Protocol):
    """The Services by which pods are reached; only read."""

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        """Read those of a namespace that choose pods, and whether they lead to any now."""
