"""References to a Secret or a key of it, always in the policy's namespace."""

from rollback_operator.api.shape import DataKey, Model, Name


class SecretKeyRef(Model):
    """Reference to a key of a Secret in the policy's namespace.

    The Secret must be listed in the chart value readSecrets.
    """

    name: Name
    """Name of the Secret."""
    key: DataKey
    """Key in the Secret."""


class SecretRef(Model):
    """Reference to a Secret in the policy's namespace.

    The Secret must be listed in the chart value readSecrets.
    """

    name: Name
    """Name of the Secret. The operator needs read access to it."""
