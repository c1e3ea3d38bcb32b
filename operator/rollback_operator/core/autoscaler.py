"""Who sets the target's replicas, and between which bounds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which numbers of replicas an autoscaler chooses."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least} to {self.most} replicas"


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler that scales the target."""

    name: str
    uid: str
    bounds: Bounds
    owner: str = ""
    """Who steers it in turn, and would put its bounds back; empty: nobody is seen to."""
    set_by: str = ""
    """Who has set its lower bound, by the field owners."""
    is_ours: bool = False
    """Its lower bound was set by this operator, and nobody else says the same."""
    rivals: tuple[str, ...] = ()
    """Others that scale the same target: Kubernetes lets none of them do it then."""

    def __str__(self) -> str:
        return f"HorizontalPodAutoscaler {self.name}"
