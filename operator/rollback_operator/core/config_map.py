"""A flag in its ConfigMap, and how pods read ConfigMaps."""

from dataclasses import dataclass

from rollback_operator.core.owner import Owner


@dataclass(frozen=True, slots=True)
class FlagState:
    """A flag in its ConfigMap, as it was found."""

    uid: str
    """The ConfigMap's."""
    value: str | None = None
    """None: the ConfigMap has no such key."""
    is_immutable: bool = False
    owner: Owner | None = None
    """Who else steers the ConfigMap, and would set it back."""
    changed_by: str = ""
    """Who has last changed what is in it, by its field owners; empty: not known."""


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """One way by which pods read a ConfigMap."""

    name: str
    """The ConfigMap's."""
    keys: tuple[str, ...] | None = None
    """Which keys are read; None: all."""
    hidden: tuple[str, ...] = ()
    """Of all keys those that do not come through: a variable of their name is set otherwise."""
    is_mounted: bool = False
    """Read as a file that is renewed while the pod runs."""

    def takes(self, name: str, key: str) -> bool:
        """Tell whether a key of a ConfigMap is read by it."""
        is_read = key in self.keys if self.keys is not None else key not in self.hidden
        return name == self.name and is_read
