"""What is read and written of a policy's target, and of who else takes hold of it."""

from datetime import datetime
from typing import Protocol

from rollback_operator.api.remedy import Flag, FlagPlan
from rollback_operator.api.v1alpha1 import Hold, Remedy, Rollback, StoredStrategy
from rollback_operator.model.controllers import Claims, OwnedDeployment, OwnerState
from rollback_operator.model.rights import Right
from rollback_operator.model.workload import Autoscaler, Bounds, Deployment, FlagState, Workload
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.change_cause import Overdue


class Workloads(Protocol):
    """Deployments and what belongs to them."""

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read the Deployment with its ReplicaSets, pods and autoscaler, fresh."""

    async def undo(self, rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
        """Put the recorded ReplicaSet's template into the Deployment.

        Guarded: only while uid and template are as judged; otherwise Conflict. `surge` is the
        strategy to set in the same patch; if that is refused the plain undo is sent at once. The
        Deployment's change-cause names the Rollback, unless that is refused.
        """

    async def apply_in_place(self, rollback: Rollback, remedy: Remedy) -> Deployment | Failure:
        """Pin an image, or set the replicas; guarded like an undo. A pin has its change-cause."""

    async def restart(self, rollback: Rollback, time: datetime) -> Deployment | Failure:
        """Have all pods replaced by the same release, as `kubectl rollout restart` does.

        Guarded like an undo. `time` is what the pod template is marked with.
        """

    async def set_strategy(
        self, rollback: Rollback, strategy: StoredStrategy
    ) -> Deployment | Failure:
        """Set the rolling-update bounds back, only while they are the express undo's."""

    async def drop_cause(self, deployment: Deployment, overdue: Overdue) -> Deployment | Failure:
        """Take our change-cause off a Deployment, or leave an empty one where it is inherited.

        Conflict: the cause or the revision is another one by now.
        """

    async def pause(self, namespace: str, hold: Hold) -> Deployment | Failure:
        """Pause a rollout; Conflict unless uid and template are as judged and nobody else has."""

    async def resume(self, namespace: str, name: str) -> Deployment | Failure:
        """Lift our own pause, and nobody else's; gives the Deployment as it is then."""


class Flags(Protocol):
    """Feature flags in ConfigMaps of a policy's namespace."""

    async def read(self, namespace: str, flag: Flag) -> FlagState | Failure:
        """Read the flag, fresh; Gone: there is no such ConfigMap."""

    async def may_set(self, namespace: str, flag: Flag) -> bool | Failure:
        """Ask whether whoever runs this has the right to set it; nothing is changed."""

    async def set(self, namespace: str, flag: Flag, plan: FlagPlan) -> FlagState | Failure:
        """Set the flag, and nothing else of its ConfigMap.

        Guarded: only while the ConfigMap and the flag are as they were found for the plan;
        otherwise Conflict. Rejected: no right, or refused by admission.
        """


class Owners(Protocol):
    """The objects by which GitOps controllers steer Deployments.

    Each call may fail as UnknownKind (no CRD), Gone (no such object), Rejected (no right, or
    refused by admission), Unavailable, and a write as Conflict: it is not as it was looked at.
    """

    async def look(self, steered: OwnedDeployment) -> OwnerState | Failure:
        """Read the object, fresh, and whether it says itself that it steers the Deployment."""

    async def suspend(
        self, steered: OwnedDeployment, state: OwnerState, by: str
    ) -> OwnerState | Failure:
        """Suspend it as it was looked at, for a Rollback, namespace/name; only that changes."""

    async def resume(
        self, steered: OwnedDeployment, state: OwnerState, automated: str
    ) -> OwnerState | Failure:
        """Let it go on as before it was suspended.

        `automated` is what an Application's spec.syncPolicy.automated was then, in JSON.
        """


class Tools(Protocol):
    """The objects by which rollout tools and image updaters take hold of Deployments; only read."""

    async def look(self, deployment: Deployment) -> Claims:
        """Read what there is, fresh; what cannot be read is named as unseen, and why."""


class Rights(Protocol):
    """What whoever runs this may do."""

    async def may(self, namespace: str, right: Right) -> bool | Failure:
        """Ask whether it has the right in a namespace; nothing is changed."""


class Autoscalers(Protocol):
    """HorizontalPodAutoscalers, of which only the bounds are ever changed."""

    async def look(self, namespace: str, name: str) -> Autoscaler | Failure:
        """Read one, fresh."""

    async def set_bounds(
        self, namespace: str, found: Autoscaler, bounds: Bounds
    ) -> Autoscaler | Failure:
        """Set the bounds; Conflict if it is gone, another one, or its bounds are not as found."""
