"""The group, its version, and the names that the operator writes under."""

GROUP = "rollback.tickettoken.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/open-step"
HOLD_FINALIZER = f"{GROUP}/held-rollout"
"""On a policy only while it holds a rollout: deleted, it lets the rollout go first."""
BOUNDS_FINALIZER = f"{GROUP}/raised-bounds"
"""On a Rollback while an autoscaler's bounds are raised by it: its record is the only one of what
they were."""
OWNER_FINALIZER = f"{GROUP}/suspended-owner"
"""On a Rollback while who steers the Deployment is suspended by it: its record is the only one of
how they were."""
FIELD_MANAGER = "rollback-operator"
