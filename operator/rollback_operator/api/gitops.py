"""GitOps owners of a Deployment: their handling by a policy, and the record of it.

`spec.safety.gitOps` of a RollbackPolicy; `spec.owner` and `status.owner` of a Rollback.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from rollback_operator.api.shape import Model, NameOrNone

LONGEST_SYNC_POLICY = 1024
MOST_UPDATERS = 8


class GitOps(StrEnum):
    """Handling of a Deployment whose GitOps controller would revert a rollback."""

    REFUSE = "Refuse"
    SUSPEND = "Suspend"
    PROCEED = "Proceed"


class OwnerKind(StrEnum):
    """Kind of GitOps object that the operator can suspend."""

    APPLICATION = "Application"
    KUSTOMIZATION = "Kustomization"
    HELM_RELEASE = "HelmRelease"


class OwnerPlan(Model):
    """GitOps owner of the Deployment and its handling during the rollback."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the tool: Argo CD, Flux or Helm."""
    kind: OwnerKind | None = None
    """Kind of the owning object. Absent if the object is not known."""
    namespace: NameOrNone = ""
    """Namespace of the owning object. Empty: the namespace from the operator's settings."""
    name: NameOrNone = ""
    """Name of the owning object. Empty if the object is not known."""
    response: GitOps
    """Suspend: the owner is suspended before the rollback. Proceed: the owner stays active and may
    revert the rollback."""


class OwnerRecord(Model):
    """Suspension of the GitOps owner, stored before the change."""

    namespace: NameOrNone = ""
    """Namespace of the owning object."""
    was_suspended: bool = False
    """Indicates that another client had already suspended the owner. The operator then leaves it
    suspended."""
    automated: Annotated[str, Field(max_length=LONGEST_SYNC_POLICY)] = ""
    """Original `spec.syncPolicy.automated` of an Argo CD Application, as JSON."""
    suspended_time: AwareDatetime | None = None
    """Time when the owner was suspended."""
    released_time: AwareDatetime | None = None
    """Time when the owner was resumed, or was detected as resumed. Absent while it is suspended for
    this rollback."""
    release_message: Annotated[str, Field(max_length=512)] = ""
    """Reason why the owner was resumed, or the client that resumed it."""

    @property
    def is_open(self) -> bool:
        """Return whether the owner is suspended for this rollback, according to the record."""
        return self.suspended_time is not None and self.released_time is None


class UpdaterPlan(Model):
    """Image updater that may deploy the bad image again."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the tool, such as Keel or Argo CD Image Updater."""
    advice: Annotated[str, Field(max_length=512)]
    """Action that prevents the tool from deploying the bad image again."""


Updaters = Annotated[
    list[UpdaterPlan],
    Field(max_length=MOST_UPDATERS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
]
