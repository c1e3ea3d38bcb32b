"""A Secret, or a value in one, by name: of the policy's own namespace, always."""

from rollback_operator.api.shape import DataKey, Model, Name


class SecretKeyRef(Model):
    """A value in a Secret of the policy's namespace; the chart's readSecrets must list it."""

    name: Name
    """The Secret's name."""
    key: DataKey
    """The key whose value is used."""


class SecretRef(Model):
    """A Secret in the policy's own namespace."""

    name: Name
    """The Secret's name; the operator must have been given the right to read it."""
