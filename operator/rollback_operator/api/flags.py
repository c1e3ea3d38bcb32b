"""Feature flags that are set instead of rolling back, and their state before the change.

`spec.remedies[].flag` of a RollbackPolicy; `spec.flag` of a Rollback.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rollback_operator.api.shape import DataKey, Identifier, Model, Name

LONGEST_VALUE = 1024


class ConfigMapRef(Model):
    """Reference to a ConfigMap in the policy's namespace."""

    name: Name
    """Name of the ConfigMap. The operator needs permission to patch it: list the ConfigMap in the
    chart value `patchConfigMaps`."""


class Flag(Model):
    """Feature flag: a ConfigMap key and the value that disables the feature."""

    name: DataKey
    """Key in the ConfigMap."""
    value: Annotated[str, Field(max_length=LONGEST_VALUE)]
    """Value to set."""
    config_map_ref: ConfigMapRef
    """ConfigMap that holds the flag, in the policy's namespace. With the chart's admission
    policies, the author of the policy must have permission to patch it."""

    @property
    def key(self) -> tuple[str, str]:
        """Name of the ConfigMap, and its key."""
        return self.config_map_ref.name, self.name


class FlagTaking(StrEnum):
    """Mechanism by which pods receive a changed value: Restart or Mount."""

    RESTART = "Restart"
    MOUNT = "Mount"


class FlagPlan(Model):
    """State of the ConfigMap at the time of the decision."""

    config_map_uid: Identifier
    """UID of the ConfigMap."""
    old_value: Annotated[str, Field(max_length=LONGEST_VALUE)]
    """Value before the change. The change is applied only while the flag still has this value."""
    taken_by: FlagTaking
    """Restart: a container reads the flag as an environment variable, so the pods are restarted.
    Mount: the flag is read only from a mounted file, which the kubelet updates in running pods."""
