"""The condition Recovered: the result of the rollback that led to the running release.

False requires a person: the rollback did not help, and a rollback is never rolled back.
"""

from collections.abc import Sequence

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.rollback_plan import MOST_ATTEMPTS
from rollback_operator.api.shape import is_among, is_whole
from rollback_operator.api.v1alpha1 import (
    Condition,
    Mode,
    Outcome,
    Revision,
    Rollback,
    VerdictValue,
)
from rollback_operator.model import commands, conditions
from rollback_operator.model.verdict import Verdict
from rollback_operator.remedies import attempts, progress

NEEDED = "a person is needed: a rollback is never rolled back"
AGAIN = "nothing was changed; the operator retries when the obstacle is removed"
_UNDONE = frozenset({Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED})
"""Outcomes before any act: nothing was rolled back."""
STAYS = "a person is needed: nothing was changed, and the bad release still runs"
REMOVE = "a person is needed: remove it at its source"
FOLLOWS = "if the release is still bad, the next remedy of spec.remedies follows, or else a person"
_STATUS = {Outcome.VERIFIED: True, Outcome.NOT_RECOVERED: False, Outcome.FAILED: False}


def recovered(rollbacks: Sequence[Rollback], running: Revision | None) -> Condition:
    """Report whether a rollback led to the running revision, and whether it helped.

    Args:
        rollbacks: those of the policy.
        running: the running revision; None: unknown.
    """
    newest = max(rollbacks, key=lambda item: item.spec.trigger.decided_time, default=None)
    kind = ConditionType.RECOVERED
    if newest is None or newest.spec.mode is Mode.OBSERVE or not _led_to(newest, running):
        message = "no rollback led to the running revision"
        return conditions.condition(kind, None, Reason.NOT_ROLLED_BACK, message)
    name = newest.metadata.name
    done = conditions.find(newest.status.conditions, ConditionType.COMPLETE)
    outcome = newest.status.outcome
    if outcome is Outcome.VERIFIED and _is_back(newest, running):
        by = f", applied by {running.changed_by}" if running and running.changed_by else ""
        message = f"{name} was {outcome}, and the bad release runs again{by}; {REMOVE}"
        return conditions.condition(kind, False, Reason.UNDO_REVERTED, message)
    if outcome is None or done is None:
        return conditions.condition(kind, None, Reason.IN_PROGRESS, f"{name} is still running")
    status = _STATUS.get(outcome)
    # A record of another version may have a reason that is unknown here.
    reason = next((item for item in Reason if item == done.reason), Reason.STILL_FAILING)
    message = f"{name}: {done.message}"
    return conditions.condition(
        kind, status, reason, message if status else f"{message}; {_then(newest)}"
    )


def restored(
    rollbacks: Sequence[Rollback], running: Revision | None, judged: Verdict | None
) -> Condition | None:
    """Report the rollback that led to a revision without a control; None: none did.

    After a rollback only the bad release could be compared with: its verification is the evidence.
    """
    if judged is None or judged.reason is not Reason.NO_CONTROL:
        return None
    if judged.value not in (VerdictValue.WATCHING, VerdictValue.NO_VERDICT):
        return None
    newest = max(rollbacks, key=lambda item: item.spec.trigger.decided_time, default=None)
    target = newest.spec.to_revision if newest is not None else None
    if running is None or target is None or target.release != running.release:
        return None
    known = recovered(rollbacks, running)
    return None if known.reason == Reason.NOT_ROLLED_BACK else known


def _then(rollback: Rollback) -> str:
    """Return what follows after a rollback that did not help or was not executed."""
    if rollback.spec.remedy.flag is not None:
        return FOLLOWS
    if _is_unchanged(rollback):
        return _still_runs(rollback)
    if not attempts.is_unbegun(rollback):
        return NEEDED
    return AGAIN if rollback.spec.attempt < MOST_ATTEMPTS else STAYS


def _is_unchanged(rollback: Rollback) -> bool:
    """Report whether a rollback ended before it changed anything, and is not repeated."""
    done = conditions.find(rollback.status.conditions, ConditionType.COMPLETE)
    is_refused = done is not None and done.reason == Reason.STEP_REFUSED
    is_undone = rollback.status.outcome in _UNDONE and not progress.has_acted(rollback)
    is_refused = is_refused and not progress.was_done(rollback)
    return (is_refused or is_undone) and not attempts.is_unbegun(rollback)


def _still_runs(rollback: Rollback) -> str:
    """State which release still runs, and how a person rolls back."""
    done = conditions.find(rollback.status.conditions, ConditionType.COMPLETE)
    spec, namespace = rollback.spec, rollback.metadata.namespace
    if done is not None and done.reason == Reason.STEP_REFUSED:
        return "a person is needed: nothing was rolled back"  # the message names the command
    undo = commands.undo(spec.policy_ref.name, namespace)
    number = spec.from_revision.number
    return f"nothing was rolled back: revision {number} still runs. To roll back: {undo}"


def _is_back(rollback: Rollback, running: Revision | None) -> bool:
    """Report whether the rolled-back release runs again."""
    remedy = rollback.spec.remedy
    is_changed = remedy.replicas is None and remedy.flag is None
    bad = rollback.spec.from_revision.release
    return is_changed and running is not None and running.release == bad


def _led_to(rollback: Rollback, running: Revision | None) -> bool:
    """Report whether the rollback concerns the running release: its target or its subject.

    Compares releases, because a restart does not change the health.
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
    # A truncated list may lack the image; the pin itself was observed.
    is_pinned = is_among(spec.remedy.image or "", running.images)
    return is_unchanged or is_pinned or not is_whole(running.images)
