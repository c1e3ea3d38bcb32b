"""The condition Recovered: what became of the rollback that stands behind what runs now.

False is for people: the rollback did not help, and nothing rolls a rollback back.
"""

from collections.abc import Sequence

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.api.shape import is_among, is_whole
from rollback_operator.api.v1alpha1 import Condition, Mode, Outcome, Revision, Rollback
from rollback_operator.model import conditions
from rollback_operator.remedies import attempts

NEEDED = "people are needed: a rollback is not rolled back"
AGAIN = "nothing was changed, and it is tried again once that is mended"
STAYS = "people are needed: nothing was changed, and the release that was found bad runs on"
REMOVE = "people are needed: remove it at its source"
FOLLOWS = "what spec.remedies names next follows if the release is still bad; if nothing, people"
_STATUS = {Outcome.VERIFIED: True, Outcome.NOT_RECOVERED: False, Outcome.FAILED: False}


def recovered(rollbacks: Sequence[Rollback], running: Revision | None) -> Condition:
    """Tell whether the running revision is one that a rollback has led to, and whether it helped.

    Args:
        rollbacks: those of the policy.
        running: the revision that runs; None: not known.
    """
    newest = max(rollbacks, key=lambda one: one.spec.trigger.decided_time, default=None)
    kind = ConditionType.RECOVERED
    if newest is None or newest.spec.mode is Mode.OBSERVE or not _led_to(newest, running):
        said = "no rollback has led to the running revision"
        return conditions.condition(kind, None, Reason.NOT_ROLLED_BACK, said)
    name = newest.metadata.name
    done = conditions.find(newest.status.conditions, ConditionType.COMPLETE)
    outcome = newest.status.outcome
    if outcome is Outcome.VERIFIED and _is_back(newest, running):
        by = f", brought by {running.changed_by}" if running and running.changed_by else ""
        said = f"{name} was {outcome}, and the bad release runs again{by}; {REMOVE}"
        return conditions.condition(kind, False, Reason.UNDO_REVERTED, said)
    if outcome is None or done is None:
        return conditions.condition(kind, None, Reason.IN_PROGRESS, f"{name} is still running")
    status = _STATUS.get(outcome)
    # A record of another version may tell a reason that is not known here.
    reason = next((one for one in Reason if one == done.reason), Reason.STILL_FAILING)
    said = f"{name}: {done.message}"
    return conditions.condition(
        kind, status, reason, said if status else f"{said}; {_then(newest)}"
    )


def _then(rollback: Rollback) -> str:
    """Say what follows on a rollback that did not help, or was not done."""
    if rollback.spec.remedy.flag is not None:
        return FOLLOWS
    if not attempts.is_unbegun(rollback):
        return NEEDED
    return AGAIN if rollback.spec.attempt < MOST_ATTEMPTS else STAYS


def _is_back(rollback: Rollback, running: Revision | None) -> bool:
    """Tell whether what was taken away runs again."""
    remedy = rollback.spec.remedy
    is_changed = remedy.replicas is None and remedy.flag is None
    bad = rollback.spec.from_revision.release
    return is_changed and running is not None and running.release == bad


def _led_to(rollback: Rollback, running: Revision | None) -> bool:
    """Tell whether what runs is what the rollback has made, or what it was to change.

    By the release: restarted, it is as well or as ill as it was.
    """
    spec = rollback.spec
    if running is None:
        return False
    if spec.remedy.flag is not None:
        return running.release == spec.from_revision.release
    is_unchanged = running.release == spec.from_revision.release
    if spec.to_revision is not None:
        # A refused undo leaves the bad release running: that is not recovered either.
        return running.release == spec.to_revision.release or is_unchanged
    # Of more images than are listed it is not known; the act itself was seen to be done.
    is_pinned = is_among(spec.remedy.image or "", running.images)
    return is_unchanged or is_pinned or not is_whole(running.images)
