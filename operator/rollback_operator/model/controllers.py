"""Other tools that manage a Deployment: owners, rollout tools and image updaters.

Values only. Their effect on a rollback is in remedies/gitops.py.
"""

from dataclasses import dataclass

from rollback_operator.api.remedy import OwnerKind


@dataclass(frozen=True, slots=True)
class OwnerObject:
    """Object by which a GitOps controller manages a Deployment."""

    kind: OwnerKind
    namespace: str
    """Empty: where the operator's own setting says."""
    name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Owner of the Deployment: a GitOps controller, Helm, or a rollout tool."""

    kind: str
    """Argo CD, Flux, Helm, Argo Rollouts, Flagger."""
    evidence: str
    """The label or annotation that says so."""
    remedy: str
    """What a person can do."""
    is_rollout_tool: bool = False
    object: OwnerObject | None = None
    """By which object it does so; None: not known, or there is none that could be suspended."""
    then: str = "would revert a rollback"
    """Its reaction to a rollback."""
    is_trace: bool = False
    """Inferred from managedFields: the objects of the tool take precedence."""
    behind: "Owner | None" = None
    """For a trace: the owner if the tool no longer manages the Deployment."""


@dataclass(frozen=True, slots=True)
class Updater:
    """Tool that updates the images of a Deployment automatically, directly or through Git."""

    tool: str
    """Keel, Argo CD Image Updater, Flux image automation, OpenShift image triggers."""
    evidence: str
    """What says so."""
    remedy: str
    """How a person prevents it from deploying an image again."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the objects of rollout tools and image updaters say of a Deployment."""

    driver: Owner | None = None
    """The rollout tool that takes its releases out."""
    updaters: tuple[Updater, ...] = ()
    denied: frozenset[str] = frozenset()
    """Rollout tools that do not drive it: nothing of theirs names it."""
    unseen: tuple[str, ...] = ()
    """What could not be looked at, and why."""


@dataclass(frozen=True, slots=True)
class OwnerState:
    """Observed state of an owner's object."""

    namespace: str
    version: str = ""
    """Its resourceVersion: what a write to it is guarded by."""
    obstacle: str = ""
    """Why it must not be suspended, or would not stay so; empty: nothing stands against it."""
    is_suspended: bool = False
    suspended_for: str = ""
    """The Rollback that this operator has suspended it for, namespace/name; empty: none."""
    is_ours: bool = False
    """It is suspended by this operator, and nobody else has had a hand in that since."""
    automated: str = ""
    """Of an Application: spec.syncPolicy.automated, in JSON; empty: it is not there."""
    auto_synced: float | None = None
    """Time of the last automatic sync that was observed."""
    in_sync_at: float | None = None
    """Time of the last comparison in which all resources were in sync."""


@dataclass(frozen=True, slots=True)
class OwnedDeployment:
    """Owner's object, and the Deployment that refers to it."""

    object: OwnerObject
    namespace: str
    deployment: str
