"""Rollbacks that still limit the next rollback, kept after their objects are deleted."""

from pydantic import AwareDatetime

from rollback_operator.api.flags import Flag
from rollback_operator.api.shape import Digest, Model, Name
from rollback_operator.api.terms import MatrixSeverity, Mode, Outcome

MOST_RECENT = 100
"""Equal to the maximum of `safety.maxRollbacksPerDay`."""


class RecentRollback(Model):
    """Rollback that limits further rollbacks, kept after its object is deleted."""

    name: Name
    """Name of the Rollback."""
    deployment: Name
    """Name of the target Deployment."""
    mode: Mode
    """Mode at the time of the decision."""
    severity: MatrixSeverity
    """Severity at the time of the decision."""
    from_release: Digest
    """Release that was rolled back. It is not rolled back again automatically for
    `safety.cooldownSeconds`."""
    to_release: Digest | None = None
    """Release that was restored. It is not rolled back automatically for `safety.watchSeconds`."""
    flag: Flag | None = None
    """Flag that was set instead of rolling back the release."""
    by_hand: bool = False
    """Indicates that a person requested the rollback. It does not count toward
    `safety.maxRollbacksPerDay`."""
    outcome: Outcome | None = None
    """Final result. Absent while the rollback is in progress."""
    done: bool = False
    """Indicates that the remedy was applied, regardless of the outcome."""
    retryable: bool = False
    """Indicates that the rollback ended for a temporary reason before changing anything and may be
    retried."""
    decided_time: AwareDatetime
    """Time of the decision."""
    finished_time: AwareDatetime | None = None
    """Time when the rollback ended."""
