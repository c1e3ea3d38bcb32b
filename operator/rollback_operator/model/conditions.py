"""Conditions of KEP-1623: one per aspect, changed only with the state."""

from collections.abc import Sequence
from datetime import datetime

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Condition


def condition(
    kind: ConditionType, status: bool | None, reason: Reason, message: str = ""
) -> Condition:
    """Make a condition without a time; None means Unknown. `upsert` sets the time."""
    word = {True: "True", False: "False", None: "Unknown"}[status]
    return Condition(
        type=kind,
        status=word,
        reason=reason,
        message=clipped(message, 4096),
        last_transition_time=datetime.fromisoformat("1970-01-01T00:00:00+00:00"),
    )


def upsert(
    old: Sequence[Condition], new: Sequence[Condition], generation: int, now: datetime
) -> list[Condition]:
    """Merge new conditions into existing conditions.

    A condition with unchanged status, reason and generation keeps its message: its figures change
    constantly, and each change would cost a status write.
    """
    known = {one.type: one for one in old}
    for one in new:
        before = known.get(one.type)
        dated = one.model_copy(
            update={"last_transition_time": now, "observed_generation": generation}
        )
        if before is not None and before.status == one.status:
            dated = dated.model_copy(update={"last_transition_time": before.last_transition_time})
            if before.reason == one.reason and before.observed_generation == generation:
                dated = before
        known[one.type] = dated
    return sorted(known.values(), key=lambda one: (one.type != ConditionType.READY, one.type))


def outdated(one: Condition) -> Condition:
    """Return a condition whose message `upsert` replaces, and whose time it keeps."""
    return one.model_copy(update={"observed_generation": 0})


def find(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """Find a condition by its type."""
    return next((one for one in conditions if one.type == kind), None)
