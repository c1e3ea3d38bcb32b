"""The annotation `kubernetes.io/change-cause` of what an undo or an image pin leads to.

`kubectl rollout history` shows that of each ReplicaSet. The Deployment controller copies it from
the Deployment onto the ReplicaSet of the running template whenever it looks, and takes none away.
So it is written in the patch that changes the template, and taken off the Deployment once the
Rollback is over: the revision keeps it, and the next release, whose author may say nothing, does
not inherit it. A release that followed sooner has inherited it: there an empty value takes its
place, which the controller copies too and `kubectl` shows as none.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Rollback
from rollback_operator.model.context import is_active
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies.progress import has_moved

CHANGE_CAUSE = "kubernetes.io/change-cause"
_OWN = "rollback-operator: "
_WAS = " was: "
_LONGEST, _LONGEST_NAME = 1024, 100


def written(rollback: Rollback, known: str) -> str:
    """Say what an act does, for whom, and which object to read about it.

    Args:
        rollback: the Rollback that is carried out.
        known: what the ReplicaSet that is gone back to says of itself: the controller writes the
            new cause over it, so that this holds what a person has written there.
    """
    spec = rollback.spec
    source, target = spec.from_revision.number, spec.to_revision
    what = f"undo of revision {source}"
    if target is not None:
        what += f" to revision {target.number}"
    elif spec.remedy.image is not None:
        what = f"image of container {spec.remedy.container} pinned in place of revision {source}"
    message = f"{_OWN}{what} ({_why(rollback)}), Rollback {rollback.metadata.name}"
    earlier = known.partition(";")[2].partition(_WAS)[2] if own(known) else known
    if target is not None and earlier:
        message += f"; revision {target.number}{_WAS}{earlier}"
    return clipped(message, _LONGEST)


def _why(rollback: Rollback) -> str:
    if not rollback.is_by_hand:
        return str(rollback.status.severity or rollback.spec.severity)
    by = (rollback.spec.requested_by or "").replace(";", ",")[:_LONGEST_NAME]
    return f"requested by {by}" if by else "manual"


def own(value: str) -> str:
    """Give a change-cause that this operator has written; empty: it is somebody else's."""
    return value if value.startswith(_OWN) and len(value) <= _LONGEST else ""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A cause of ours is still on the Deployment, and its Rollback is over."""

    is_inherited: bool
    """A release that has followed bears it as well."""


def overdue(deployment: Deployment, rollbacks: Iterable[Rollback]) -> Overdue | None:
    """Find a change-cause of the operator that has to be removed from a Deployment; None: none.

    Also one whose Rollback ended long ago: `kubectl rollout undo` puts the annotations of the
    ReplicaSet that it goes back to on the Deployment.
    """
    if not deployment.change_cause:
        return None
    head = deployment.change_cause.partition(";")[0]
    named = next((one for one in rollbacks if head.endswith(_named(one))), None)
    if named is None:
        return Overdue(is_inherited=False)
    return None if is_active(named) else Overdue(has_moved(named, deployment))


def _named(rollback: Rollback) -> str:
    return f", Rollback {rollback.metadata.name}"
