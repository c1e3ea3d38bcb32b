"""A policy's target in the cluster, its owners, and what surrounds it: all reads and writes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from rollback_operator.api.remedy import Flag, FlagPlan
from rollback_operator.api.v1alpha1 import Hold, ObjectMeta, Remedy, Rollback, StoredStrategy
from rollback_operator.model.controllers import Claims, OwnedDeployment, OwnerState
from rollback_operator.model.rights import Right
from rollback_operator.model.services import Service, ServiceSelector
from rollback_operator.model.surroundings import ClusterCapacity, Quota, Reference
from rollback_operator.model.workload import (
    Autoscaler,
    Bounds,
    ConfigState,
    Deployment,
    FlagState,
    Workload,
)
from rollback_operator.ports.failure import Failure
from rollback_operator.remedies.change_cause import Overdue


class Workloads(Protocol):
    """Deployments with their ReplicaSets, pods and autoscalers."""

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        """Read the Deployment with its ReplicaSets, pods and autoscaler, without a cache."""

    async def undo(self, rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
        """Restore the template of the recorded ReplicaSet.

        Conflict unless uid and template are as judged. `surge` is the strategy to set in the same
        patch; if the API server refuses it, the plain undo follows at once. The Deployment's
        change-cause names the Rollback, unless the API server refuses that.
        """

    async def apply_in_place(self, rollback: Rollback, remedy: Remedy) -> Deployment | Failure:
        """Pin an image, set a variable or the replicas, guarded like an undo.

        A change of the template sets the change-cause.
        """

    async def restart(self, rollback: Rollback, time: datetime) -> Deployment | Failure:
        """Replace all pods by the same release, as `kubectl rollout restart` does.

        Guarded like an undo. `time` is written to the annotation of the pod template.
        """

    async def set_strategy(
        self, rollback: Rollback, strategy: StoredStrategy
    ) -> Deployment | Failure:
        """Restore the rolling-update bounds, only while the express undo's are in place."""

    async def set_replicas(
        self, rollback: Rollback, known: int, wanted: int
    ) -> Deployment | Failure:
        """Set the replicas, from `known` to `wanted`, to stop or restore the traffic.

        Conflict unless uid and replicas are as known. To zero also unless the template is as
        judged, and only while nobody has paused the Deployment.
        """

    async def drop_cause(self, deployment: Deployment, overdue: Overdue) -> Deployment | Failure:
        """Remove the operator's change-cause, or empty it if a revision would inherit it.

        Conflict: the cause or the revision has changed.
        """

    async def pause(self, namespace: str, hold: Hold) -> Deployment | Failure:
        """Pause a rollout; Conflict unless uid and template are as judged and it is not paused."""

    async def resume(self, namespace: str, name: str) -> Deployment | Failure:
        """Lift the operator's own pause and no other; returns the Deployment after that."""


class Flags(Protocol):
    """Feature flags in a policy's namespace."""

    async def read(self, namespace: str, flag: Flag, target: str) -> FlagState | Failure:
        """Read the flag without a cache; Gone: there is no such ConfigMap, or no Deployment.

        `target` is the Deployment whose containers hold a flag that is no key of a ConfigMap.
        """

    async def may_set(self, namespace: str, flag: Flag) -> bool | Failure:
        """Check the right to set the flag in a ConfigMap; changes nothing."""

    async def set(self, namespace: str, flag: Flag, plan: FlagPlan) -> FlagState | Failure:
        """Set the flag in its ConfigMap, and nothing else of it.

        Conflict unless the ConfigMap and the flag are as the plan recorded them. Rejected: no
        right, or refused by admission.
        """


class Configurations(Protocol):
    """ConfigMaps and Secrets that pods read, and contents of ConfigMaps stored for a restore."""

    async def read(self, namespace: str, reference: Reference) -> ConfigState | Failure:
        """Read an object without a cache; of a Secret only the keyed digest.

        An object that does not exist has an empty digest. Rejected: no permission to read it.
        """

    async def read_stored(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read the stored contents of a ConfigMap, by digest; none are stored: empty."""

    async def store(
        self, policy: ObjectMeta, name: str, contents: Mapping[str, str]
    ) -> Failure | None:
        """Replace the stored contents of a ConfigMap by these; a policy owns them.

        Rejected: no permission, or they belong to another policy or to somebody else.
        """

    async def users(self, namespace: str, name: str, target: str) -> tuple[str, ...] | Failure:
        """List the workloads beside Deployment `target` whose pods use a ConfigMap."""

    async def restore(
        self, namespace: str, name: str, known: ConfigState, text: str
    ) -> ConfigState | Failure:
        """Replace the content of a ConfigMap; Conflict unless it is exactly as it was read."""


class Owners(Protocol):
    """Objects by which GitOps controllers manage Deployments.

    Each call may fail as UnknownKind (no CRD), Gone (no such object), Rejected (no right, or
    refused by admission), Unavailable, and a write as Conflict: the object has changed.
    """

    async def read_owner(self, steered: OwnedDeployment) -> OwnerState | Failure:
        """Read the object without a cache, and whether it names the Deployment as managed."""

    async def suspend(
        self, steered: OwnedDeployment, state: OwnerState, by: str
    ) -> OwnerState | Failure:
        """Suspend it as it was read, `by` a Rollback (namespace/name); nothing else changes."""

    async def resume(
        self, steered: OwnedDeployment, state: OwnerState, automated: str
    ) -> OwnerState | Failure:
        """Resume it as before it was suspended.

        `automated` is the Application's spec.syncPolicy.automated of that time, in JSON.
        """


class Tools(Protocol):
    """Objects by which rollout tools and image updaters manage Deployments; read only."""

    async def read_claims(self, deployment: Deployment) -> Claims:
        """Read them without a cache; the claims name each unreadable kind and the reason."""


class Rights(Protocol):
    """Rights of the operator or of the command's user."""

    async def may(self, namespace: str, right: Right) -> bool | Failure:
        """Check a right in a namespace; changes nothing."""


class Autoscalers(Protocol):
    """HorizontalPodAutoscalers; only their bounds are ever changed."""

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler | Failure:
        """Read an autoscaler without a cache."""

    async def set_bounds(
        self, namespace: str, autoscaler: Autoscaler, bounds: Bounds
    ) -> Autoscaler | Failure:
        """Set the bounds; Conflict if the object is gone, recreated, or has other bounds."""


class Surroundings(Protocol):
    """Objects that a target depends on: read before an act, never changed."""

    async def is_there(self, namespace: str, reference: Reference) -> bool | Failure:
        """Check that an object exists, without reading its content."""

    async def cluster(self) -> ClusterCapacity | Failure:
        """Read the nodes, and the load on them as far as that is quick."""

    async def quotas(self, namespace: str) -> tuple[Quota, ...] | Failure:
        """Read the remainder of each quota of a namespace."""

    async def approvals_unprotected(self) -> str | Failure:
        """State why anybody could approve in another's name; empty: admission forbids it."""


class Services(Protocol):
    """Services in front of the pods; read only."""

    async def list_all(self, namespace: str) -> tuple[Service, ...] | Failure:
        """Read the Services of a namespace that select pods, and whether each has endpoints now."""


class Selectors(Protocol):
    """Selectors of Services; only the operator's own label in them is ever changed."""

    async def read_selector(self, namespace: str, name: str) -> ServiceSelector | Failure:
        """Read the selector of a Service without a cache."""

    async def set_mark(
        self, namespace: str, known: ServiceSelector, mark: str
    ) -> ServiceSelector | Failure:
        """Add the label of a stop with this value, or remove it if the value is empty.

        Conflict unless uid and selector are as known.
        """


class Secrets(Protocol):
    """Secrets of a policy's own namespace."""

    async def read(self, namespace: str, name: str, key: str) -> str | Failure:
        """Read a value of a Secret without a cache: it may have been renewed.

        Gone: there is no such Secret or key. Rejected: no right to read it, or not text. The
        message names Secret and key and never holds a value. The caller keeps the value out of
        every log, Event, status and message.
        """

    async def read_all(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        """Read all values of a Secret, by key, as `read` does."""
