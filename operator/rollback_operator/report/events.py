"""Which Kubernetes Events tell of a change: transitions between two statuses, each told once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Condition,
    Health,
    Hold,
    Outcome,
    Response,
    Rollback,
    RollbackPolicy,
    RollbackPolicyStatus,
    Severity,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.model import commands
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Refusal
from rollback_operator.model.message import FOR_PEOPLE, Notice, RelatedDeployment
from rollback_operator.model.workload import Workload
from rollback_operator.releases.ledger import entry_of, health_of
from rollback_operator.remedies import flags
from rollback_operator.report.status import QUIET, held_message

_ON_DEPLOYMENT = FOR_PEOPLE | {EventReason.ROLLBACK_NOT_RECOVERED}


def on_deployment(events: Sequence[Notice], workload: Workload | None) -> list[Notice]:
    """Have what asks for people told on the Deployment too; without a workload none is known."""
    if workload is None:
        return list(events)
    affected = RelatedDeployment(workload.deployment.name, workload.deployment.uid)
    return [
        replace(one, deployment=affected) if one.reason in _ON_DEPLOYMENT else one for one in events
    ]


def policy_notices(
    old: RollbackPolicyStatus, new: RollbackPolicyStatus, decision: Decision | None
) -> list[Notice]:
    """List what a policy's new status has to tell."""
    notices: list[Notice] = []
    before, after = old.revision, new.revision
    if after is not None and before is not None and before.digest != after.digest:
        images = ", ".join(after.images)
        notices.append(Notice(EventReason.RELEASE_WATCHED, f"revision {after.number}: {images}"))
    back, was_back = (find(one.conditions, ConditionType.QUARANTINED) for one in (new, old))
    if back is not None and _is_true(back) and not _is_true(was_back):
        # Of an undo that was reverted while it went on its own end tells.
        last = new.last_rollback
        is_told = last is not None and last.outcome is Outcome.FAILED
        notices.append(Notice(EventReason.RELEASE_CAME_BACK, back.message, True, is_told))
    notices += [
        Notice(EventReason.RELEASE_TRUSTED, f"revision {one.number} is {one.reason}")
        for one in new.revisions
        if one.trusted_time is not None and one.trusted_time != _trusted(old, one.release)
    ]
    is_earned = after is not None and _trusted(new, after.release) is None
    is_same = before is None or (after is not None and before.release == after.release)
    is_new = is_same and _health(old) is not Health.GOOD and _health(new) is Health.GOOD
    if after is not None and is_new and is_earned:
        notices.append(Notice(EventReason.RELEASE_GOOD, f"revision {after.number} is good"))
    recovered = find(new.conditions, ConditionType.RECOVERED)
    if recovered is not None and _is_needed(new) and not _is_needed(old):
        notices.append(Notice(EventReason.ROLLBACK_NOT_RECOVERED, recovered.message, True))
    notices += _lost(old, new)
    healthy, was = (find(one.conditions, ConditionType.HEALTHY) for one in (new, old))
    told_before = was is not None and (was.status, was.reason) == (
        healthy.status if healthy else "",
        healthy.reason if healthy else "",
    )
    is_known = healthy is not None and healthy.reason == Reason.FOUND_BAD
    if decision is None or healthy is None or told_before or is_known:
        return notices
    found = _verdict_notices(healthy.message, new, decision)
    return notices + [replace(one, cause=healthy.reason) for one in found]


_LONGEST = 1024
_SIGHT = (
    (ConditionType.READY, EventReason.POLICY_NOT_READY),
    (ConditionType.METRICS_AVAILABLE, EventReason.METRICS_UNAVAILABLE),
)


def _lost(old: RollbackPolicyStatus, new: RollbackPolicyStatus) -> list[Notice]:
    """List what keeps a policy from its work from now on: its target, or the metrics."""
    notices = []
    for kind, reason in _SIGHT:
        found, was = (find(one.conditions, kind) for one in (new, old))
        if found is None or found.status != "False" or (was is not None and was.status == "False"):
            continue
        said = f"{found.reason}: {found.message}"
        notices.append(Notice(reason, said, True, cause=found.reason))
    return notices


def _verdict_notices(message: str, new: RollbackPolicyStatus, decision: Decision) -> list[Notice]:
    refusal = decision.refusal
    if refusal is not None and refusal.reason not in QUIET:
        return [Notice(EventReason.ROLLBACK_REFUSED, message, True)]
    if decision.response is Response.INVESTIGATE:
        return [Notice(EventReason.INVESTIGATION_NEEDED, f"{decision.severity}: {message}", True)]
    if decision.response is Response.REPORT:
        return [Notice(EventReason.FIX_FORWARD_ADVISED, f"{decision.severity}: {message}", True)]
    if new.verdict is VerdictValue.BAD:
        how = f"{new.severity}: " if new.severity is not Severity.NONE else ""
        return [Notice(EventReason.RELEASE_BAD, f"{how}{message}", True)]
    if new.verdict is VerdictValue.SUSPECT:
        return [Notice(EventReason.RELEASE_SUSPECT, message, True)]
    return []


def suspicion(status: RollbackPolicyStatus, decision: Decision | None) -> list[Notice]:
    """List what people are told of a suspicion: an Event has told it when it came up."""
    healthy = find(status.conditions, ConditionType.HEALTHY)
    if decision is None or healthy is None or decision.doubted is Severity.NONE:
        return []
    said = f"{decision.doubted} if the release is to blame: {healthy.message}"
    return [Notice(EventReason.RELEASE_SUSPECT, said, True, severity=decision.doubted)]


def _is_needed(status: RollbackPolicyStatus) -> bool:
    """Tell whether a rollback has not helped and somebody has to."""
    found = find(status.conditions, ConditionType.RECOVERED)
    return found is not None and found.status == "False"


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _health(status: RollbackPolicyStatus) -> Health | None:
    return health_of(status.revisions, status.revision.release) if status.revision else None


def _trusted(status: RollbackPolicyStatus, release: str) -> datetime | None:
    entry = entry_of(status.revisions, release)
    return entry.trusted_time if entry is not None else None


def held(policy: RollbackPolicy, hold: Hold) -> Notice:
    """Tell that a rollout is held, why, and until when, and how people go back meanwhile."""
    undo = commands.undo(policy.metadata.name, policy.metadata.namespace)
    back = f"To go back now: {undo} (kubectl's own undo is refused while a rollout is paused)"
    said = clipped(f"{hold.reason}: {held_message(hold)}. {back}", _LONGEST)
    return Notice(EventReason.ROLLOUT_HELD, said, True, deployment=_of(hold))


def let_go(hold: Hold) -> Notice:
    """Tell that a rollout is held no longer, and why."""
    said = f"{hold.release_reason}: {hold.release_message}"
    return Notice(EventReason.ROLLOUT_LET_GO, said, deployment=_of(hold))


def _of(hold: Hold) -> RelatedDeployment:
    return RelatedDeployment(hold.deployment, hold.deployment_uid)


def owner_suspended(said: str) -> Notice:
    """Tell that who would revert an act is suspended for it, and how they are released."""
    return Notice(EventReason.OWNER_SUSPENDED, said, True)


def owner_released(said: str) -> Notice:
    """Tell that who was suspended for a rollback goes on."""
    return Notice(EventReason.OWNER_RELEASED, said)


def owner_left(said: str) -> Notice:
    """Tell that who was suspended stays so, and that nobody looks after them any more."""
    return Notice(EventReason.OWNER_LEFT_SUSPENDED, said, True)


def bounds_raised(said: str) -> Notice:
    """Tell whose bounds are raised for an act, and how they are put back."""
    return Notice(EventReason.BOUNDS_RAISED, said, True)


def bounds_settled(reason: Reason, said: str) -> Notice:
    """Tell that bounds were put back, or why they are left as they are."""
    if reason is Reason.BOUNDS_RESTORED:
        return Notice(EventReason.BOUNDS_RESTORED, said)
    return Notice(EventReason.BOUNDS_LEFT, said, True)


def request_refused(refusal: Refusal) -> Notice:
    """Tell why a rollback that a person asks for is not carried out."""
    said = f"{refusal.reason}: {refusal.message}"
    return Notice(EventReason.ROLLBACK_REFUSED, said, True)


def started(rollback: Rollback) -> Notice:
    """Tell that a rollback has been decided, and why."""
    spec = rollback.spec
    target = f" to revision {spec.to_revision.number}" if spec.to_revision else ""
    if spec.remedy.flag is not None:
        target = f" {flags.named(spec.remedy.flag)}"
    how = "" if rollback.is_by_hand else f"{spec.severity} "  # a person gives none
    said = f"{how}{spec.remedy.type}{target}: {spec.trigger.message}"
    return Notice(EventReason.ROLLBACK_STARTED, said, True)


def finished(rollback: Rollback) -> Notice:
    """Tell how a rollback has ended."""
    done = find(rollback.status.conditions, ConditionType.COMPLETE)
    outcome = rollback.status.outcome
    said = f"{outcome}: {done.message if done else ''}"
    if outcome is Outcome.BLOCKED:
        return Notice(EventReason.ROLLBACK_BLOCKED, said, True)
    if outcome is Outcome.OBSERVED:
        return Notice(EventReason.ROLLBACK_OBSERVED, said, True)
    return Notice(EventReason.ROLLBACK_FINISHED, said, outcome is not Outcome.VERIFIED)
