"""Reads a policy's target and the claims of rollout tools on it, and caches both for a moment.

Claims cost several reads. The checklist of a rollback reads them again before an act.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.adapters.kube.apiserver import TooLarge
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.controllers import Claims
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.cluster import Tools, Workloads
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Key
from rollback_operator.remedies.gitops import claimed

PREFLIGHT_SECONDS = 300.0
"""Lifetime of the claims on a Deployment."""
UNSEEN_SECONDS = 30.0
"""... where a tool could not be read."""


@dataclass
class ClaimsCache:
    """Caches the claims on the Deployments that are watched."""

    tools: Tools
    clock: Callable[[], datetime]
    known: dict[tuple[str, str], tuple[datetime, Claims]] = field(default_factory=dict)
    """By namespace and name of a Deployment: the end of the lifetime, and the claims."""

    async def claimed(self, deployment: Deployment) -> Deployment:
        """Add the claims to a Deployment."""
        return claimed(deployment, await self._claims(deployment))

    async def _claims(self, deployment: Deployment) -> Claims:
        key, now = (deployment.namespace, deployment.name), self.clock()
        until, claims = self.known.get(key, (now, Claims()))
        if now >= until:
            claims = await self.tools.read_claims(deployment)
            seconds = UNSEEN_SECONDS if claims.unseen else PREFLIGHT_SECONDS
            self._forget(now)
            self.known.pop(key, None)  # the newest stand last
            self.known[key] = now + timedelta(seconds=seconds), claims
        return claims

    def _forget(self, now: datetime) -> None:
        """Drop stale claims: their Deployments may be gone."""
        while self.known:
            key, (until, _) = next(iter(self.known.items()))
            if now < until:
                return
            del self.known[key]


INSPECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Inspected:
    """A target as it was read last."""

    workload: Workload
    time: datetime

    def is_fresh(self, deployment: Deployment, now: datetime) -> bool:
        """Tell whether it need not be read again: it is young, and no watch shows a change."""
        age = (now - self.time).total_seconds()
        return self.workload.deployment == deployment and age < INSPECT_SECONDS


_FINAL = (FailureKind.GONE, FailureKind.REJECTED)


@dataclass
class Inspector:
    """Reads targets, and caches them while pods are read often."""

    workloads: Workloads
    lookout: ClaimsCache
    clock: Callable[[], datetime]
    known: dict[Key, _Inspected] = field(default_factory=dict)

    async def inspect(
        self, key: Key, deployment: Deployment, watch: Watch | None
    ) -> Workload | Failure:
        """Read the target of a policy; between two reads of its pods the last one will do.

        Args:
            key: the policy's.
            deployment: the target as the watches show it.
            watch: of the release that is judged; None: none is.
        """
        now, known = self.clock(), self.known.get(key)
        is_reading = watch is not None and watch.is_reading_pods(now.timestamp())
        if known is not None and is_reading and known.is_fresh(deployment, now):
            return known.workload
        workload = await self.read_target(key[0], deployment.name)
        if isinstance(workload, Workload):
            self.known[key] = _Inspected(workload, now)
        return workload

    async def read_target(self, namespace: str, name: str) -> Workload | Failure:
        """Read a target, uncached, with the claims on it."""
        workload = await self.workloads.inspect(namespace, name)
        if isinstance(workload, Failure):
            return workload
        return replace(workload, deployment=await self.lookout.claimed(workload.deployment))

    async def absence(self, namespace: str, name: str) -> Failure | None:
        """Give the reason why a Deployment is gone or unreadable; None: it may be there."""
        workload = await self.workloads.inspect(namespace, name)
        if not isinstance(workload, Failure):
            return None
        is_final = isinstance(workload, TooLarge) or workload.kind in _FINAL
        return workload if is_final else None

    def forget(self, key: Key) -> None:
        """Drop the target of a policy: it has been changed, or is no longer judged."""
        self.known.pop(key, None)
