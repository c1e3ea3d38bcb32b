"""The group, its version, and the names that the operator writes under."""

GROUP = "rollback.tickettoken.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/open-step"
HOLD_FINALIZER = f"{GROUP}/held-rollout"
"""On a policy only while it holds a rollout: deleted, it lets the rollout go first."""
FIELD_MANAGER = "rollback-operator"
