"""Keeps what rollout tools and image updaters claim of Deployments; looks again after a while.

A look costs several reads. A rollback's checklist makes a fresh one before anything is touched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollback_operator.model.controllers import Claims
from rollback_operator.model.workload import Deployment
from rollback_operator.ports.cluster import Tools
from rollback_operator.remedies.gitops import claimed

PREFLIGHT_SECONDS = 300.0
"""How long it is known who claims a Deployment."""
UNSEEN_SECONDS = 30.0
"""... where something could not be looked at."""


@dataclass
class Lookout:
    """Knows who else takes hold of the Deployments that are watched."""

    tools: Tools
    clock: Callable[[], datetime]
    known: dict[tuple[str, str], tuple[datetime, Claims]] = field(default_factory=dict)
    """Until when it is known who claims a Deployment, by namespace and name."""

    async def claimed(self, deployment: Deployment) -> Deployment:
        """Put what is claimed of a Deployment to how it was seen."""
        return claimed(deployment, await self._claims(deployment))

    async def _claims(self, deployment: Deployment) -> Claims:
        key, now = (deployment.namespace, deployment.name), self.clock()
        until, found = self.known.get(key, (now, Claims()))
        if now >= until:
            found = await self.tools.look(deployment)
            seconds = UNSEEN_SECONDS if found.unseen else PREFLIGHT_SECONDS
            self._forget(now)
            self.known.pop(key, None)  # the newest stand last
            self.known[key] = now + timedelta(seconds=seconds), found
        return found

    def _forget(self, now: datetime) -> None:
        """Drop what is not known any more: it may be of Deployments that are gone."""
        while self.known:
            key, (until, _) = next(iter(self.known.items()))
            if now < until:
                return
            del self.known[key]
