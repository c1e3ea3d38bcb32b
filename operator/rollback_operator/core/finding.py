"""One thing that somebody who writes a policy should know."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What a finding means for the policy."""

    PROBLEM = "Problem"
    """It prevents judging, or what the policy asks for can never be done."""
    WARNING = "Warning"
    """It makes judging slower, blinder, or impossible on a part."""
    NOTE = "Note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that somebody who writes a policy should know."""

    level: Level
    path: str
    """The field of the policy."""
    message: str
    remedy: str = ""
