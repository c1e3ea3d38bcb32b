"""Reads a policy's target, and who else takes hold of it; not anew what was read a moment ago."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from rollback_operator.adapters.kube.apiserver import TooLarge
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.cluster import Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Key
from rollback_operator.reconcile.observe.lookout import Lookout

INSPECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Inspected:
    """A target as it was read last."""

    workload: Workload
    time: datetime

    def is_fresh(self, deployment: Deployment, now: datetime) -> bool:
        """Tell whether it is not worth another read: young, and nobody tells of a change."""
        age = (now - self.time).total_seconds()
        return self.workload.deployment == deployment and age < INSPECT_SECONDS


_FINAL = (FailureKind.GONE, FailureKind.REJECTED)


@dataclass
class Inspector:
    """Knows how targets were when they were read last."""

    workloads: Workloads
    lookout: Lookout
    clock: Callable[[], datetime]
    known: dict[Key, _Inspected] = field(default_factory=dict)

    async def inspect(
        self, key: Key, deployment: Deployment, watch: Watch | None
    ) -> Workload | Failure:
        """Read the target of a policy; between two reads of its pods the last one will do.

        Args:
            key: the policy's.
            deployment: the target as the watches have told it.
            watch: of the release that is judged; None: none is.
        """
        now, known = self.clock(), self.known.get(key)
        is_reading = watch is not None and watch.is_reading_pods(now.timestamp())
        if known is not None and is_reading and known.is_fresh(deployment, now):
            return known.workload
        found = await self.read(key[0], deployment.name)
        if isinstance(found, Workload):
            self.known[key] = _Inspected(found, now)
        return found

    async def read(self, namespace: str, name: str) -> Workload | Failure:
        """Read a target, fresh, and who else takes hold of it."""
        found = await self.workloads.inspect(namespace, name)
        if isinstance(found, Failure):
            return found
        return replace(found, deployment=await self.lookout.claimed(found.deployment))

    async def absence(self, namespace: str, name: str) -> Failure | None:
        """Say why a Deployment cannot be had: gone, or unreadable; None: it may be there."""
        found = await self.workloads.inspect(namespace, name)
        if not isinstance(found, Failure):
            return None
        is_final = isinstance(found, TooLarge) or found.kind in _FINAL
        return found if is_final else None

    def forget(self, key: Key) -> None:
        """Have the target of a policy read anew: it has been changed, or is no longer judged."""
        self.known.pop(key, None)
