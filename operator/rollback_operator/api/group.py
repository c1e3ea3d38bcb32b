"""API group, version, and the finalizers and field manager of the operator."""

GROUP = "rollback.tickettoken.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/open-step"
HOLD_FINALIZER = f"{GROUP}/held-rollout"
"""Set on a policy only while it holds a rollout, which is resumed before the deletion."""
BOUNDS_FINALIZER = f"{GROUP}/raised-bounds"
"""Set on a Rollback while it raises an autoscaler's bounds: only its status has the original
bounds."""
OWNER_FINALIZER = f"{GROUP}/suspended-owner"
"""Set on a Rollback while it suspends the GitOps owner: only its status has the original state."""
FIELD_MANAGER = "rollback-operator"
