"""What every kind of this group has, and a condition."""

from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BeforeValidator, Field

from rollback_operator.api.group import GROUP
from rollback_operator.api.shape import Model

LONGEST_REASON = 1024
"""What a person may say of an act, characters."""


class Condition(Model):
    """One aspect of the state, in the shape of KEP-1623."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    observed_generation: Annotated[int, Field(ge=0)] = 0
    last_transition_time: AwareDatetime
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    message: Annotated[str, Field(max_length=32768)] = ""


def _own(annotations: Any) -> Any:
    if not isinstance(annotations, dict):
        return annotations
    return {key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")}


class ObjectMeta(Model):
    """The part of an object's metadata that decisions need."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    finalizers: list[str] = []
    annotations: Annotated[dict[str, str], BeforeValidator(_own)] = {}
    """Those of this group: the others are nobody's business here, and may be long."""


class Resource(Model):
    """What every kind of this group has."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT: ClassVar[str]
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]]

    metadata: ObjectMeta

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
