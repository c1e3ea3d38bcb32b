"""A value in a Secret, by name: of the policy's own namespace, always."""

from typing import Annotated

from pydantic import Field

from rollback_operator.api.shape import Model, Name


class SecretKeyRef(Model):
    """A value in a Secret of the policy's namespace; the chart's readSecrets must list it."""

    name: Name
    """The Secret's name."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
    """The key whose value is used."""
