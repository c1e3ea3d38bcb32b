"""Who else steers a Deployment, what a policy wants done about it, and what was done.

`spec.safety.gitOps` of a RollbackPolicy; `spec.owner` and `status.owner` of a Rollback.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from rollback_operator.api.shape import Model, NameOrNone

LONGEST_SYNC_POLICY = 1024
MOST_UPDATERS = 8


class GitOps(StrEnum):
    """What is done where a GitOps controller would revert an undo."""

    REFUSE = "Refuse"
    SUSPEND = "Suspend"
    PROCEED = "Proceed"


class OwnerKind(StrEnum):
    """The objects by which GitOps controllers can be suspended."""

    APPLICATION = "Application"
    KUSTOMIZATION = "Kustomization"
    HELM_RELEASE = "HelmRelease"


class OwnerPlan(Model):
    """Who else steers the Deployment, and what is done about it."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    """Argo CD, Flux or Helm."""
    kind: OwnerKind | None = None
    """Absent where it is not known by which object the tool steers the Deployment."""
    namespace: NameOrNone = ""
    """Where that object is; empty: where the operator's own setting says."""
    name: NameOrNone = ""
    response: GitOps
    """Suspend: it is suspended before the act. Proceed: it may revert the act."""


class OwnerRecord(Model):
    """What was done about who else steers the Deployment. Stored before it is done."""

    namespace: NameOrNone = ""
    """Where the object is."""
    was_suspended: bool = False
    """True: somebody else had suspended it; it was left as it was, and stays so."""
    automated: Annotated[str, Field(max_length=LONGEST_SYNC_POLICY)] = ""
    """Of an Application: spec.syncPolicy.automated as it was, in JSON."""
    suspended_time: AwareDatetime | None = None
    released_time: AwareDatetime | None = None
    """When it was released, or was found to be; absent while it is suspended for this rollback."""
    release_message: Annotated[str, Field(max_length=512)] = ""
    """Why it is released, or by whom it was."""

    @property
    def is_open(self) -> bool:
        """Tell whether it is suspended for this rollback, as far as is known."""
        return self.suspended_time is not None and self.released_time is None


class UpdaterPlan(Model):
    """Who may push the bad image again by itself."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    """Keel, Argo CD Image Updater and others."""
    advice: Annotated[str, Field(max_length=512)]
    """What keeps it from doing so."""


Updaters = Annotated[
    list[UpdaterPlan],
    Field(max_length=MOST_UPDATERS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
]
