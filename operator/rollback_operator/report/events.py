"""The Kubernetes Events of a change: transitions between two statuses, each reported once."""

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
    RollbackPolicyStatus,
    Severity,
    VerdictValue,
)
from rollback_operator.decide.decide import Decision
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Refusal
from rollback_operator.model.message import FOR_PEOPLE, Notice, RelatedDeployment
from rollback_operator.model.workload import Workload
from rollback_operator.releases.ledger import entry_of, health_of
from rollback_operator.remedies import flags
from rollback_operator.report.rollout_hold import held_message
from rollback_operator.report.status import is_quiet

_ON_DEPLOYMENT = FOR_PEOPLE | {EventReason.ROLLBACK_NOT_RECOVERED, EventReason.IMAGE_NOT_PULLED}


def on_deployment(events: Sequence[Notice], workload: Workload | None) -> list[Notice]:
    """Add the Deployment to each Event that needs a person; without a workload it is unknown."""
    if workload is None:
        return list(events)
    affected = RelatedDeployment(workload.deployment.name, workload.deployment.uid)
    return [
        replace(notice, deployment=affected) if notice.reason in _ON_DEPLOYMENT else notice
        for notice in events
    ]


def policy_notices(
    old: RollbackPolicyStatus, new: RollbackPolicyStatus, decision: Decision | None
) -> list[Notice]:
    """List the Events of a policy's new status."""
    notices: list[Notice] = []
    before, after = old.revision, new.revision
    if after is not None and before is not None and before.digest != after.digest:
        images = ", ".join(after.images)
        notices.append(Notice(EventReason.RELEASE_WATCHED, f"revision {after.number}: {images}"))
    back, was_back = (find(item.conditions, ConditionType.QUARANTINED) for item in (new, old))
    if back is not None and _is_true(back) and not _is_true(was_back):
        # An undo that was reverted while in progress has its own notification.
        last = new.last_rollback
        is_reported = last is not None and last.outcome is Outcome.FAILED
        notices.append(Notice(EventReason.RELEASE_CAME_BACK, back.message, True, is_reported))
    notices += [
        Notice(EventReason.RELEASE_TRUSTED, f"revision {item.number} is {item.reason}")
        for item in new.revisions
        if item.trusted_time is not None and item.trusted_time != _trusted(old, item.release)
    ]
    is_earned = after is not None and _trusted(new, after.release) is None
    is_same = before is None or (after is not None and before.release == after.release)
    is_new = is_same and _health(old) is not Health.GOOD and _health(new) is Health.GOOD
    if after is not None and is_new and is_earned:
        notices.append(Notice(EventReason.RELEASE_GOOD, f"revision {after.number} is good"))
    notices += [*_not_recovered(old, new), *_obstacles(old, new)]
    healthy, was = (find(item.conditions, ConditionType.HEALTHY) for item in (new, old))
    is_unchanged = was is not None and (was.status, was.reason) == (
        healthy.status if healthy else "",
        healthy.reason if healthy else "",
    )
    is_known = healthy is not None and healthy.reason == Reason.FOUND_BAD
    if decision is None or healthy is None or is_unchanged or is_known:
        return notices
    verdict_notices = _verdict_notices(healthy.message, new, decision)
    return notices + [replace(item, cause=healthy.reason) for item in verdict_notices]


_LONGEST = 1024
_UNDECIDED = (Reason.APPROVAL_TIMED_OUT, Reason.REJECTED_BY_PERSON)
_OBSTACLES = (
    (ConditionType.READY, EventReason.POLICY_NOT_READY, EventReason.POLICY_READY),
    (
        ConditionType.METRICS_AVAILABLE,
        EventReason.METRICS_UNAVAILABLE,
        EventReason.METRICS_AVAILABLE,
    ),
)
"""Conditions, with the Events of an obstacle and of its end."""


def _not_recovered(old: RollbackPolicyStatus, new: RollbackPolicyStatus) -> list[Notice]:
    """Report a rollback that did not help, once for each cause: the condition may alternate."""
    recovered, was = (find(item.conditions, ConditionType.RECOVERED) for item in (new, old))
    before, after = old.not_recovered, new.not_recovered
    if recovered is None or recovered.status != "False" or after is None or after == before:
        return []
    # A status of an earlier version lists no reported causes.
    is_reported = was is not None and (was.status, was.reason) == ("False", recovered.reason)
    if before is None and is_reported:
        return []
    return [Notice(EventReason.ROLLBACK_NOT_RECOVERED, recovered.message, True)]


def _obstacles(old: RollbackPolicyStatus, new: RollbackPolicyStatus) -> list[Notice]:
    """List new obstacles, and those that have ended: a target not ready, or missing metrics."""
    notices = []
    for kind, begun, ended in _OBSTACLES:
        condition, was = find(new.conditions, kind), find(old.conditions, kind)
        if condition is None or _word(condition) == _word(was):
            continue
        if condition.status == "False":
            message = f"{condition.reason}: {condition.message}"
            notices.append(Notice(begun, message, True, cause=condition.reason))
        elif condition.status == "True" and (cause := _obstacle(old, kind)):
            notices.append(Notice(ended, f"{cause} has ended", cause=cause))
    return notices


def _obstacle(old: RollbackPolicyStatus, kind: ConditionType) -> str:
    """Return the reason of an obstacle that was reported, and has not ended since; empty: none."""
    was = find(old.conditions, kind)
    if was is not None and was.status == "False":
        return was.reason
    return old.missing_metrics if kind is ConditionType.METRICS_AVAILABLE else ""


def _word(condition: Condition | None) -> str:
    return condition.status if condition is not None else ""


def image_not_pulled(workload: Workload | None) -> list[Notice]:
    """Report an image of the running release that cannot be pulled, once per release."""
    if workload is None:
        return []
    pods = [pod for pod in workload.current_of(workload.pods) if not pod.terminating]
    fault, current = (
        next((pod.image_fault for pod in pods if pod.image_fault), ""),
        workload.current,
    )
    if not fault or current is None:
        return []
    reason = EventReason.IMAGE_NOT_PULLED
    key = f"{workload.deployment.uid} {current.template.release} {reason}"
    message = f"revision {current.revision}: {fault}"
    return [Notice(reason, message, True, cause=reason, occurrence=key)]


def _verdict_notices(message: str, new: RollbackPolicyStatus, decision: Decision) -> list[Notice]:
    refusal = decision.refusal
    if refusal is not None and not is_quiet(refusal):
        return [Notice(EventReason.ROLLBACK_REFUSED, _refused(refusal, decision.evidence), True)]
    if decision.basis:
        message = decision.basis
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
    """List the notifications of a suspicion; its Event was sent when the suspicion arose."""
    healthy = find(status.conditions, ConditionType.HEALTHY)
    if decision is None or healthy is None or decision.doubted is Severity.NONE:
        return []
    message = f"{decision.doubted} if the release is to blame: {healthy.message}"
    return [Notice(EventReason.RELEASE_SUSPECT, message, True, severity=decision.doubted)]


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _health(status: RollbackPolicyStatus) -> Health | None:
    return health_of(status.revisions, status.revision.release) if status.revision else None


def _trusted(status: RollbackPolicyStatus, release: str) -> datetime | None:
    entry = entry_of(status.revisions, release)
    return entry.trusted_time if entry is not None else None


def held(hold: Hold, way_back: str) -> Notice:
    """Report that a rollout is held, with reason, deadline and what a person can do."""
    back = f"{way_back} (kubectl's own undo fails while a rollout is paused)"
    message = clipped(f"{hold.reason}: {held_message(hold)}. {back}", _LONGEST)
    return Notice(EventReason.ROLLOUT_HELD, message, True, deployment=_of(hold))


def let_go(hold: Hold) -> Notice:
    """Report that a rollout is resumed, and why."""
    message = f"{hold.release_reason}: {hold.release_message}"
    return Notice(EventReason.ROLLOUT_LET_GO, message, deployment=_of(hold))


def _of(hold: Hold) -> RelatedDeployment:
    return RelatedDeployment(hold.deployment, hold.deployment_uid)


def owner_suspended(message: str) -> Notice:
    """Report that the GitOps owner is suspended for a rollback, and how to resume it."""
    return Notice(EventReason.OWNER_SUSPENDED, message, True)


def owner_released(message: str) -> Notice:
    """Report that the suspended owner is resumed."""
    return Notice(EventReason.OWNER_RELEASED, message)


def owner_left(message: str) -> Notice:
    """Report that the owner stays suspended, and that the operator does not resume it any more."""
    return Notice(EventReason.OWNER_LEFT_SUSPENDED, message, True)


def bounds_raised(message: str) -> Notice:
    """Report that an autoscaler's bounds are raised for a rollback, and how to restore them."""
    return Notice(EventReason.BOUNDS_RAISED, message, True)


def bounds_settled(reason: Reason, message: str) -> Notice:
    """Report that bounds are restored, or why they stay raised."""
    if reason is Reason.BOUNDS_RESTORED:
        return Notice(EventReason.BOUNDS_RESTORED, message)
    return Notice(EventReason.BOUNDS_LEFT, message, True)


def traffic_stopped(message: str) -> Notice:
    """Report that the traffic is stopped for a rollback, and how to restore it."""
    return Notice(EventReason.TRAFFIC_STOPPED, message, True)


def traffic_settled(reason: Reason, message: str) -> Notice:
    """Report that the traffic is restored, or why it stays as it is."""
    if reason is Reason.TRAFFIC_RESTORED:
        return Notice(EventReason.TRAFFIC_RESTORED, message)
    return Notice(EventReason.TRAFFIC_LEFT, message, True)


def request_refused(refusal: Refusal) -> Notice:
    """Report why a manual request is refused."""
    return Notice(EventReason.ROLLBACK_REFUSED, _refused(refusal), True)


def _refused(refusal: Refusal, evidence: str = "") -> str:
    """State a refusal so that its reason stays when the message is cut: the evidence comes last."""
    message = f"Not rolled back: {refusal.reason}: {refusal.message}"
    return f"{message}. Evidence: {evidence}" if evidence else message


def unreadable(message: str) -> Notice:
    """Report a Rollback that cannot be read: the fields at fault, the effect and the remedies."""
    remedy = (
        "The operator neither continues nor counts this Rollback. Correct these fields, or install "
        "the CRDs of this version of the operator; to delete it, first remove its finalizers"
    )
    text = f"{clipped(message, _LONGEST - len(remedy) - 2)}. {remedy}"
    return Notice(EventReason.ROLLBACK_UNREADABLE, text, True)


def started(rollback: Rollback) -> Notice:
    """Report that a rollback is decided, and why."""
    spec = rollback.spec
    target = f" to revision {spec.to_revision.number}" if spec.to_revision else ""
    if spec.remedy.flag is not None:
        target = f" {flags.named(spec.remedy.flag)}"
    how = "" if rollback.is_by_hand else f"{spec.severity} "  # a manual request has none
    message = f"{how}{spec.remedy.type}{target}: {spec.trigger.message}"
    return Notice(EventReason.ROLLBACK_STARTED, message, True)


def finished(rollback: Rollback) -> Notice:
    """Report the outcome of a rollback."""
    done = find(rollback.status.conditions, ConditionType.COMPLETE)
    outcome = rollback.status.outcome
    is_left = done is not None and done.reason in _UNDECIDED
    message = f"{'Not rolled back' if is_left else outcome}: {done.message if done else ''}"
    if outcome is Outcome.BLOCKED:
        return Notice(EventReason.ROLLBACK_BLOCKED, message, True)
    if outcome is Outcome.OBSERVED:
        return Notice(EventReason.ROLLBACK_OBSERVED, message, True)
    return Notice(EventReason.ROLLBACK_FINISHED, message, outcome is not Outcome.VERIFIED)
