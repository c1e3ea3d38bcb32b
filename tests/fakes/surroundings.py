"""What there is around a target."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollback_operator.model.surroundings import Amounts, ClusterCapacity, Node, Quota, Reference
from rollback_operator.ports.cluster import Surroundings
from rollback_operator.ports.failure import Failure
from tests.fakes.failures import Failures

WITH_CAPACITY = ClusterCapacity(
    nodes=(
        Node(
            "node-1",
            allocatable=Amounts(64, 2.0**40, 110),
            images=frozenset({f"registry.example.com/ticket-service:v{one}" for one in (1, 2, 3)}),
        ),
    ),
    usage=(),
)


@dataclass
class FakeSurroundings(Failures):
    """A cluster with free capacity, in which everything is there; approvals are protected."""

    gone: frozenset[str] = frozenset()
    """Names of objects that are not there."""
    capacity: ClusterCapacity = WITH_CAPACITY
    limits: tuple[Quota, ...] = ()
    unprotected: str = ""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds by which the answer of a call is late."""
    calls: list[str] = field(default_factory=list)

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        return await self._called("is_there") or reference.name not in self.gone

    async def cluster(self) -> ClusterCapacity | Failure:
        return await self._called("cluster") or self.capacity

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        return await self._called("quotas") or self.limits

    async def approvals_unprotected(self) -> str | Failure:
        return await self._called("approvals_unprotected") or self.unprotected

    async def _called(self, name: str) -> Failure | None:
        self.calls.append(name)
        await asyncio.sleep(self.delays.get(name, 0))
        return self.take(name)


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _surroundings: Surroundings = FakeSurroundings()
