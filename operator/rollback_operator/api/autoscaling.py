"""Change of the bounds of a HorizontalPodAutoscaler by a Rollback, and their restoration.

`spec.autoscaler` and `status.autoscaler` of a Rollback whose remedy is Scale.
"""

from typing import Annotated

from pydantic import AwareDatetime, Field

from rollback_operator.api.shape import Identifier, Model, Name

Replicas = Annotated[int, Field(ge=0, le=2147483647)]
"""Bound of an autoscaler: a 32-bit integer."""


class AutoscalerPlan(Model):
    """HorizontalPodAutoscaler whose bounds a Scale remedy raises instead of spec.replicas."""

    name: Name
    """Name of the HorizontalPodAutoscaler."""
    uid: Identifier
    """UID of the HorizontalPodAutoscaler at the time of the decision."""
    restore_after_seconds: Annotated[int, Field(ge=0, le=86400)]
    """Seconds after a Verified outcome until the original bounds are restored. Set from the
    policy's `safety.watchSeconds`."""


class AutoscalerRecord(Model):
    """Original and raised bounds of the autoscaler, stored before the change."""

    min_replicas: Replicas
    """Original minReplicas."""
    max_replicas: Replicas
    """Original maxReplicas."""
    raised_min_replicas: Replicas
    """minReplicas during the rollback."""
    raised_max_replicas: Replicas
    """maxReplicas during the rollback."""
    restored_time: AwareDatetime | None = None
    """Time when the original bounds were restored, or when another client was detected to have
    changed them. Absent while the bounds are raised."""
    restore_message: Annotated[str, Field(max_length=512)] = ""
    """Reason why the bounds were restored or left unchanged."""

    @property
    def is_open(self) -> bool:
        """Return whether the original bounds still have to be restored."""
        return self.restored_time is None
