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
    """Empty: the namespace of the operator's setting."""
    name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Owner of the Deployment: a GitOps controller, Helm, or a rollout tool."""

    kind: str
    """Argo CD, Flux, Helm, Argo Rollouts, Flagger."""
    evidence: str
    """The label or annotation that proves it."""
    remedy: str
    """The action that a person can take."""
    is_rollout_tool: bool = False
    object: OwnerObject | None = None
    """The object that manages the Deployment; None: unknown, or it cannot be suspended."""
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
    """The evidence for it."""
    remedy: str
    """The action that prevents it from deploying an image again."""


@dataclass(frozen=True, slots=True)
class Claims:
    """References to a Deployment in objects of rollout tools and image updaters."""

    driver: Owner | None = None
    """The rollout tool that drives its releases."""
    updaters: tuple[Updater, ...] = ()
    denied: frozenset[str] = frozenset()
    """Rollout tools that do not drive it: none of their objects names it."""
    unseen: tuple[str, ...] = ()
    """Objects that could not be read, and why."""


@dataclass(frozen=True, slots=True)
class OwnerState:
    """Observed state of an owner's object."""

    namespace: str
    version: str = ""
    """Its resourceVersion: guards each write to it."""
    obstacle: str = ""
    """The reason why a suspension is forbidden or would not last; empty: none."""
    is_proved: bool = True
    """It names the Deployment itself; otherwise only the Deployment's labels name it."""
    is_suspended: bool = False
    suspended_for: str = ""
    """The Rollback for which this operator has suspended it, namespace/name; empty: none."""
    is_ours: bool = False
    """This operator has suspended it, and no other client has changed that since."""
    automated: str = ""
    """Of an Application: spec.syncPolicy.automated, as JSON; empty: the field is absent."""
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
