"""The annotation `kubernetes.io/change-cause` of an undo or an image pin.

`kubectl rollout history` shows that of each ReplicaSet. The Deployment controller copies it from
the Deployment to the ReplicaSet of the running template at each sync, and removes none. So the
patch that changes the template sets it, and it is removed from the Deployment once the Rollback is
over: the revision keeps it, and the next release, which may set none, does not inherit it. A
release before the removal has inherited it: there an empty value replaces it, which the controller
copies too and `kubectl` shows as none.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Rollback
from rollback_operator.model.context import is_active
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies.progress import has_moved

CHANGE_CAUSE = "kubernetes.io/change-cause"
_PREFIX = "rollback-operator: "
_EARLIER = " was: "
_LONGEST, _LONGEST_NAME = 1024, 100


def written(rollback: Rollback, current: str) -> str:
    """Describe an act, its policy, and the object with the details.

    Args:
        rollback: the current Rollback.
        current: the change-cause of the target's ReplicaSet: the controller overwrites it, so that
            the new cause repeats a person's text.
    """
    spec = rollback.spec
    source, target = spec.from_revision.number, spec.to_revision
    action = f"undo of revision {source}"
    if target is not None:
        action += f" to revision {target.number}"
    elif spec.remedy.image is not None:
        action = f"image of container {spec.remedy.container} pinned in place of revision {source}"
    message = f"{_PREFIX}{action} ({_cause_of(rollback)}), Rollback {rollback.metadata.name}"
    earlier = current.partition(";")[2].partition(_EARLIER)[2] if own(current) else current
    if target is not None and earlier:
        message += f"; revision {target.number}{_EARLIER}{earlier}"
    return clipped(message, _LONGEST)


def _cause_of(rollback: Rollback) -> str:
    if not rollback.is_by_hand:
        return str(rollback.status.severity or rollback.spec.severity)
    by = (rollback.spec.requested_by or "").replace(";", ",")[:_LONGEST_NAME]
    return f"requested by {by}" if by else "manual"


def own(value: str) -> str:
    """Return a change-cause that this operator has written; empty: another client wrote it."""
    return value if value.startswith(_PREFIX) and len(value) <= _LONGEST else ""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The operator's cause is still on the Deployment, and its Rollback is over."""

    is_inherited: bool
    """A later release bears it as well."""


def overdue(deployment: Deployment, rollbacks: Iterable[Rollback]) -> Overdue | None:
    """Find a change-cause of the operator that has to be removed from a Deployment; None: none.

    The Rollback may have ended long ago: `kubectl rollout undo` copies the annotations of its
    target's ReplicaSet to the Deployment.
    """
    if not deployment.change_cause:
        return None
    head = deployment.change_cause.partition(";")[0]
    named = next((rollback for rollback in rollbacks if head.endswith(_named(rollback))), None)
    if named is None:
        return Overdue(is_inherited=False)
    return None if is_active(named) else Overdue(has_moved(named, deployment))


def _named(rollback: Rollback) -> str:
    return f", Rollback {rollback.metadata.name}"
