"""The most recent evaluation of a release, stored while a client requests it."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from rollback_operator.api.group import GROUP
from rollback_operator.api.shape import Decimal, Identifier, Model, Route

WATCHED_UNTIL = f"{GROUP}/watched-until"
"""Annotation of a policy: its evaluations are stored until this time (RFC 3339)."""


class ObservedCounts(Model):
    """Counts for a revision since the release began."""

    pods: Annotated[int, Field(ge=0)]
    """Number of pods counted, including deleted pods. 0 if the series have no pod label."""
    requests: Annotated[int, Field(ge=0)]
    """Number of requests."""
    errors: Annotated[int, Field(ge=0)]
    """Number of failed requests."""


class PastCounts(Model):
    """Counts for the old revision before the release began."""

    seconds: Annotated[int, Field(ge=0)]
    """Length of the period in seconds."""
    requests: Annotated[int, Field(ge=0)]
    """Number of requests."""
    errors: Annotated[int, Field(ge=0)]
    """Number of failed requests."""


class Evaluation(Model):
    """Most recent evaluation of the watched release. The verdict is in status.verdict."""

    time: AwareDatetime
    """Time of the evaluation."""
    revision: Annotated[int, Field(ge=0)]
    """Number of the evaluated revision."""
    since_time: AwareDatetime
    """Time when the release began."""
    new: ObservedCounts
    """Counts for the evaluated revision."""
    old: ObservedCounts
    """Counts for the revision used as the baseline."""
    past: PastCounts | None = None
    """Baseline before the release, used when no old pod is left. Absent if it has not been read."""
    odds: Decimal
    """Odds to 1 that the new revision is worse, on the route with the strongest evidence. Capped at
    1000000000."""
    route: Route | None = None
    """Route with the strongest evidence. Absent: all routes combined."""
    blame_odds: Decimal | None = None
    """Odds to 1 that the release, not its environment, is the cause. Absent if not evaluated."""
    suspect_odds: Annotated[int, Field(ge=0)]
    """Odds at which the release becomes Suspect."""
    bad_odds: Annotated[int, Field(ge=0)]
    """Odds at which the release becomes Bad."""
    reason: Identifier
    """Reason for the verdict, in CamelCase."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Explanation of the verdict."""
