"""Who else takes hold of a Deployment: who steers it, and who puts new images into it.

Values only. What they mean for a rollback is told in gitops.py and claims.py.
"""

from dataclasses import dataclass

from rollback_operator.api.remedy import OwnerKind


@dataclass(frozen=True, slots=True)
class OwnerObject:
    """The object by which a GitOps controller steers a Deployment."""

    kind: OwnerKind
    namespace: str
    """Empty: where the operator's own setting says."""
    name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Who else steers the Deployment: a GitOps controller, Helm, or another rollout tool."""

    kind: str
    """Argo CD, Flux, Helm, Argo Rollouts, Flagger."""
    evidence: str
    """The label or annotation that says so."""
    remedy: str
    """What a person can do about it."""
    is_rollout_tool: bool = False
    object: OwnerObject | None = None
    """By which object it does so; None: not known, or there is none that could be suspended."""
    then: str = "would revert an undo"
    """What it makes of an undo."""
    is_trace: bool = False
    """Known by a field that it has once set: what its own objects say counts more."""
    behind: "Owner | None" = None
    """Of a trace: who steers the Deployment if this one does no longer."""


@dataclass(frozen=True, slots=True)
class Updater:
    """Who puts new images into a Deployment by itself, straight or through Git."""

    tool: str
    """Keel, Argo CD Image Updater, Flux image automation, OpenShift image triggers."""
    evidence: str
    """What says so."""
    remedy: str
    """What a person can do so that it does not push an image again."""


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
    """How an owner's object was found."""

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
    """When it was last seen to begin to apply what it wants by itself."""
    in_sync_at: float | None = None
    """When it was last compared with what runs and wanted just that, of all that it steers."""


@dataclass(frozen=True, slots=True)
class OwnedDeployment:
    """An owner's object, and the Deployment that is said to be steered by it."""

    object: OwnerObject
    namespace: str
    deployment: str
