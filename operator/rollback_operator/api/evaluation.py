"""What a release was judged by when it was looked at last: on record while a person watches."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from rollback_operator.api.group import GROUP
from rollback_operator.api.shape import Decimal, Identifier, Model, Route

WATCHED_UNTIL = f"{GROUP}/watched-until"
"""Annotation of a policy: until this time, RFC 3339, its evaluations are put on record."""


class ObservedCounts(Model):
    """What has been counted of a revision since the release began."""

    pods: Annotated[int, Field(ge=0)]
    """Pods that have been counted, also those that are gone; 0 where series carry no pod label."""
    requests: Annotated[int, Field(ge=0)]
    errors: Annotated[int, Field(ge=0)]


class PastCounts(Model):
    """What the old revision served before the release began."""

    seconds: Annotated[int, Field(ge=0)]
    """How long a past it is."""
    requests: Annotated[int, Field(ge=0)]
    errors: Annotated[int, Field(ge=0)]


class Evaluation(Model):
    """What one evaluation of the release under watch has found; its verdict is beside it."""

    time: AwareDatetime
    revision: Annotated[int, Field(ge=0)]
    """Number of the revision that is judged."""
    since_time: AwareDatetime
    """When its release began."""
    new: ObservedCounts
    """The revision that is judged."""
    old: ObservedCounts
    """The revision that it is compared with."""
    past: PastCounts | None = None
    """What it is compared with where no old pod is left; absent: it has not been read."""
    odds: Decimal
    """That the new revision is worse, on the route that speaks most against it; to 1; at most
    1000000000."""
    route: Route | None = None
    """That route; absent: all routes together."""
    blame_odds: Decimal | None = None
    """That the release is to blame for it, and not its environment; absent: not asked."""
    suspect_odds: Annotated[int, Field(ge=0)]
    """From these odds the release is Suspect."""
    bad_odds: Annotated[int, Field(ge=0)]
    """From these odds it is Bad."""
    reason: Identifier
    """Why the verdict is what it is, in a word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """The same in a sentence."""
