"""Checks whether a release's Services select its pods, once all of them are ready.

Until they do: Services that lose their pods later are hardly the release's doing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from rollback_operator.api.v1alpha1 import RollbackPolicy, SignalName
from rollback_operator.evidence.watch import Watch
from rollback_operator.judge.traffic import ready_since
from rollback_operator.model import services
from rollback_operator.model.services import LEAST_ROUTING_SECONDS, Routing
from rollback_operator.model.workload import ReplicaSet, Workload
from rollback_operator.ports.cluster import Services
from rollback_operator.ports.failure import Failure, FailureKind

_log = logging.getLogger(__name__)


@dataclass
class Router:
    """Reads through the port when there is something to be seen."""

    services: Services
    clock: Callable[[], float]

    async def observe(self, watch: Watch, workload: Workload, policy: RollbackPolicy) -> Watch:
        """Take in whether the Services lead to the release."""
        now, new, old = self.clock(), workload.current, _replaced_revision(watch, workload)
        if watch.routing.is_settled or new is None or old is None or not _is_asked(policy):
            return watch
        if not workload.deployment.is_rolled_out or not ready_since(workload):
            # Pods that are not ready are no endpoints: that may explain the last read.
            return replace(watch, routing=Routing())
        read = watch.routing.read
        if read is not None and now - read < LEAST_ROUTING_SECONDS:
            return watch
        listed = await self.services.list_all(workload.deployment.namespace)
        if isinstance(listed, Failure):
            _log.log(
                logging.WARNING if listed.kind is FailureKind.REJECTED else logging.INFO,
                "The Services of %s cannot be read: %s",
                workload.deployment.namespace,
                listed.message,
            )
            is_over = listed.kind is FailureKind.REJECTED
            return replace(watch, routing=Routing(is_settled=is_over, read=now))
        return replace(watch, routing=services.after(watch.routing, listed, old, new, now))


def _is_asked(policy: RollbackPolicy) -> bool:
    return any(
        condition.signal is SignalName.TRAFFIC_LOST
        for rule in policy.spec.matrix
        for condition in rule.when
    )


def _replaced_revision(watch: Watch, workload: Workload) -> ReplicaSet | None:
    """Find the revision that the release has replaced."""
    known = (each for each in workload.replica_sets if each.pod_hash in watch.control_hashes)
    return max(known, key=lambda each: each.revision, default=None)
