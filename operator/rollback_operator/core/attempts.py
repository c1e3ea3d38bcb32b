"""Which try a rollback is: what was blocked is tried again once its cause is mended.

Pure. Each try is a Rollback of its own under a name that follows from its number: how the one
before ended stays on record, and a replay or a second leader finds the try that is there.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rollback_operator.api.rollback import MOST_ATTEMPTS
from rollback_operator.api.v1alpha1 import Outcome, Rollback, RollbackSpec
from rollback_operator.core.case import Case
from rollback_operator.core.names import name_of, rollback_name

FIRST_WAIT = timedelta(seconds=30)
"""Between a blocked try and the next one; twice as long each time."""
LOOK_SECONDS = 10.0
"""How often it is looked whether the cause is mended."""
_NUMBERS = range(MOST_ATTEMPTS, 0, -1)


def of_revision(case: Case) -> Rollback | None:
    """Find the newest try to take the running revision back; None: there was none."""
    return _newest(case.rollbacks, [rollback_name(case, one) for one in _NUMBERS])


def of_plan(rollbacks: Sequence[Rollback], spec: RollbackSpec) -> Rollback | None:
    """Find the newest try of a plan, whichever it is itself; None: there was none."""
    return _newest(rollbacks, [name_of(numbered(spec, one)) for one in _NUMBERS])


def _newest(rollbacks: Sequence[Rollback], names: Sequence[str]) -> Rollback | None:
    known = {one.metadata.name: one for one in rollbacks}
    return next((known[one] for one in names if one in known), None)


def numbered(spec: RollbackSpec, attempt: int) -> RollbackSpec:
    """Make another try of a plan."""
    return spec.model_copy(update={"attempt": attempt})


def following(last: Rollback | None, now: datetime) -> int | None:
    """Give the number of the try that may be made now; None: none may."""
    if last is None:
        return 1
    end, attempt = last.status.finished_time, last.spec.attempt
    if last.status.outcome is not Outcome.BLOCKED or end is None or attempt >= MOST_ATTEMPTS:
        return None
    return attempt + 1 if now - end >= FIRST_WAIT * 2 ** (attempt - 1) else None


def told(last: Rollback) -> str:
    """Say why no other try is made now."""
    name = last.metadata.name
    if last.status.outcome is not Outcome.BLOCKED:
        return f"{name} deals with this revision"
    if last.spec.attempt >= MOST_ATTEMPTS:
        return f"{name} was blocked, the last of {MOST_ATTEMPTS} tries: kubectl rollback undo"
    return f"{name} was blocked: it is tried again once that is mended"
