"""A feature flag that is set in place of taking the release back, and how it was found.

`spec.remedies[].flag` of a RollbackPolicy; `spec.flag` of a Rollback.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rollback_operator.api.shape import DataKey, Identifier, Model, Name

LONGEST_VALUE = 1024


class ConfigMapRef(Model):
    """A ConfigMap of the policy's own namespace."""

    name: Name
    """Its name; the operator must be allowed to patch it: the chart's `patchConfigMaps`."""


class Flag(Model):
    """A key of a ConfigMap, and the value that switches a feature off."""

    name: DataKey
    """The ConfigMap's key."""
    value: Annotated[str, Field(max_length=LONGEST_VALUE)]
    """What it is set to."""
    config_map_ref: ConfigMapRef
    """The ConfigMap, in the policy's own namespace; who writes the policy may patch it."""

    @property
    def key(self) -> tuple[str, str]:
        """Which key of which ConfigMap it is."""
        return self.config_map_ref.name, self.name


class FlagTaking(StrEnum):
    """How pods come by another value."""

    RESTART = "Restart"
    MOUNT = "Mount"


class FlagPlan(Model):
    """The ConfigMap as it was found when the flag was decided on."""

    config_map_uid: Identifier
    old_value: Annotated[str, Field(max_length=LONGEST_VALUE)]
    """What the flag was: by this value it can be set back, and the change is guarded."""
    taken_by: FlagTaking
    """Restart: a container reads it into its environment, so the pods are replaced. Mount: it is
    read as a file only, which the kubelet renews while the pods run."""
