"""What a Rollback does to the bounds of a HorizontalPodAutoscaler, and when it puts them back.

`spec.autoscaler` and `status.autoscaler` of a Rollback whose remedy is Scale.
"""

from typing import Annotated

from pydantic import AwareDatetime, Field

from rollback_operator.api.shape import Identifier, Model, Name

Replicas = Annotated[int, Field(ge=0, le=2147483647)]
"""As an autoscaler's bounds: a 32-bit integer."""


class AutoscalerPlan(Model):
    """Who sets the Deployment's replicas: its bounds are raised, the replicas left to it."""

    name: Name
    uid: Identifier
    restore_after_seconds: Annotated[int, Field(ge=0, le=86400)]
    """How long after a Verified end its bounds are put back: the policy's safety.watchSeconds."""


class AutoscalerRecord(Model):
    """The autoscaler's bounds as they were, and as they are set. Stored before they are set."""

    min_replicas: Replicas
    max_replicas: Replicas
    raised_min_replicas: Replicas
    raised_max_replicas: Replicas
    restored_time: AwareDatetime | None = None
    """When they were put back, or found to be somebody else's; absent while they are raised."""
    restore_message: Annotated[str, Field(max_length=512)] = ""
    """Why they were put back, or left as they are."""

    @property
    def is_open(self) -> bool:
        """Tell whether the bounds are still to be put back, as far as is known."""
        return self.restored_time is None
