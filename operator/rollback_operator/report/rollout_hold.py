"""The condition RolloutHeld: True only while a rollout is paused, not while a pause is wanted."""

from datetime import datetime

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Condition, Hold, Revision, RollbackPolicyStatus
from rollback_operator.decide import hold_end
from rollback_operator.model import commands, conditions
from rollback_operator.report.summary import HELD

_KIND = ConditionType.ROLLOUT_HELD


def with_hold(
    old: RollbackPolicyStatus, hold: Hold, generation: int, now: datetime
) -> RollbackPolicyStatus:
    """Store a hold or its end, and nothing else, so that it does not wait for an evaluation."""
    stored = old.model_copy(update={"hold": hold})
    # Without what is known: a record that is written anew also ends an earlier refusal.
    fresh = condition_of(stored.model_copy(update={"conditions": []}), None)
    held = conditions.upsert(old.conditions, [fresh], generation, now)
    word = HELD if hold.is_in_effect else old.summary
    return stored.model_copy(update={"conditions": held, "summary": word})


def with_refusal(
    old: RollbackPolicyStatus, refused: Condition, generation: int, now: datetime
) -> RollbackPolicyStatus:
    """Store that a pause, or its end, was refused."""
    held = conditions.upsert(old.conditions, [refused], generation, now)
    return old.model_copy(update={"conditions": held})


def pause_refused(deployment: str, why: str) -> Condition:
    """Report that a rollout is not held, because the pause of its Deployment was refused."""
    message = f"Deployment {deployment} is not paused, so its rollout continues: {why}"
    return conditions.condition(_KIND, False, Reason.PAUSE_REFUSED, message)


def resume_refused(deployment: str, namespace: str, why: str) -> Condition:
    """Report that a rollout stays paused, because the end of the pause was refused."""
    message = (
        f"Deployment {deployment} stays paused, although its hold has ended. To resume it: "
        f"{commands.rollout_resume(deployment, namespace)} ({why})"
    )
    return conditions.condition(_KIND, True, Reason.RESUME_REFUSED, message)


def is_refused(status: RollbackPolicyStatus) -> bool:
    """Return whether the status says that a rollout stays paused against the operator's will."""
    known = conditions.find(status.conditions, _KIND)
    return known is not None and known.reason == Reason.RESUME_REFUSED


def condition_of(old: RollbackPolicyStatus, running: Revision | None) -> Condition:
    """Report whether the rollout of the running revision is held.

    Args:
        old: the stored status with its hold.
        running: the running revision; None: not known here.
    """
    hold, known = old.hold, conditions.find(old.conditions, _KIND)
    if hold is None or hold_end.is_of_earlier_release(hold, running):
        return conditions.condition(_KIND, False, Reason.NOT_HELD)
    if hold.is_in_effect:
        return conditions.condition(_KIND, True, Reason(hold.reason.value), held_message(hold))
    if known is not None and known.reason == Reason.RESUME_REFUSED and not hold.is_open:
        return known  # until the record is written anew
    if hold.paused_time is None:
        # The record comes before the pause: until the pause is made, nothing is held.
        if hold.is_open and known is not None and known.reason == Reason.PAUSE_REFUSED:
            return known
        return conditions.condition(_KIND, False, Reason.NOT_HELD)
    # A record of another version may have a reason that is unknown here.
    reason = next((item for item in Reason if item == hold.release_reason), Reason.NOT_HELD)
    return conditions.condition(_KIND, False, reason, hold.release_message)


def held_message(hold: Hold) -> str:
    """Describe a hold, with its deadline and reason."""
    return f"held until {hold.until_time:%H:%M:%S} UTC at the latest: {hold.message}"
