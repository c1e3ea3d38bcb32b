"""A Kubernetes Event as a value: what is told, of what, once."""

from dataclasses import dataclass

from rollback_operator.api.reasons import EventReason
from rollback_operator.api.v1alpha1 import (
    Severity,
)


@dataclass(frozen=True, slots=True)
class RelatedDeployment:
    """A Deployment that an Event of a policy tells of."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to post."""

    reason: EventReason
    message: str
    is_warning: bool = False
    is_told_elsewhere: bool = False
    """By the end of a Rollback."""
    severity: Severity | None = None
    """None: that of the policy's status."""
    cause: str = ""
    """Of what is told while it lasts: it is told again for another cause, or much later."""
    deployment: RelatedDeployment | None = None
    """Whoever looks at this Deployment has to know too: the Event is posted on it as well."""

    @property
    def is_for_people(self) -> bool:
        """Tell whether somebody has to look, and no Rollback tells of it."""
        is_asked = self.reason in FOR_PEOPLE or self.severity is not None
        return is_asked and not self.is_told_elsewhere


FOR_PEOPLE = frozenset(
    {
        EventReason.ROLLBACK_REFUSED,
        EventReason.INVESTIGATION_NEEDED,
        EventReason.FIX_FORWARD_ADVISED,
        EventReason.RELEASE_CAME_BACK,
    }
)
