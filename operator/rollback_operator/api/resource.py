"""Base of the kinds, their metadata, and conditions."""

from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BeforeValidator, Field

from rollback_operator.api.group import GROUP
from rollback_operator.api.shape import Model

LONGEST_REASON = 1024
"""Maximum length of a person's reason, in characters."""


class Condition(Model):
    """Condition of the object, in the standard Kubernetes form."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Type of the condition, in CamelCase."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """metadata.generation for which the condition was set."""
    last_transition_time: AwareDatetime
    """Time of the last change of `status`."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Reason for the last transition, in CamelCase."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Human-readable explanation."""


def _own(annotations: Any) -> Any:
    if not isinstance(annotations, dict):
        return annotations
    return {key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")}


class ObjectMeta(Model):
    """Object metadata that the operator uses."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    finalizers: list[str] = []
    annotations: Annotated[dict[str, str], BeforeValidator(_own)] = {}
    """Annotations of this API group. Other annotations are discarded on read."""


class Resource(Model):
    """Base of the kinds of this API group."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT: ClassVar[str]
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]]

    metadata: ObjectMeta

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
