"""Manual request -> plan, or refusal.

The same path as automatic rollbacks, with the guards that apply to people too. Cooldown, budget,
freeze and the rule against rolling back a rollback bind the operator, not a person who has checked.
A request is limited to revisions and images that this Deployment has run before.
"""

from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    MatrixSeverity,
    Mode,
    Outcome,
    Remedy,
    RemedyType,
    Rollback,
    RollbackPolicy,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
    Severity,
    Trigger,
)
from rollback_operator.decide.guards import obstacle
from rollback_operator.decide.plan import Order, plan_remedy
from rollback_operator.model import commands, conditions, rights
from rollback_operator.model.context import Case, Refusal
from rollback_operator.model.workload import Deployment
from rollback_operator.releases.ledger import bar
from rollback_operator.remedies import progress
from rollback_operator.remedies.progress import RollbackEnd

LIFE = timedelta(minutes=10)
"""Validity of a request: later, its effect may differ from its intent."""
ADMISSION_LAG = timedelta(seconds=10)
"""Age of a policy from which admission knows it for sure: API servers look policies up in a cache,
and times are whole seconds."""
UNPROVED = MatrixSeverity.P3
"""Severity of a manual request without proof: investigated, and not express."""


def make_manual_plan(case: Case, request: RollbackRequest, now: datetime) -> RollbackSpec | Refusal:
    """Plan a manual request.

    Mode Observe allows it: that mode prevents only automatic action.
    """
    remedy = request.spec.remedy
    refusal = (
        expired(request, now)
        or _before_policy(case, request)
        or _another_target(case, request)
        or _another_release(case, request)
        or obstacle(case)
        or _own_hands(case.workload.deployment, remedy)
        or _foreign_image(case, remedy)
    )
    if refusal is not None:
        return refusal
    severity = severity_asked(case.policy)
    trigger = Trigger(
        reason=Reason.REQUESTED, message=clipped(request_message(request), 2048), decided_time=now
    )
    planned = plan_remedy(case, Order(request.spec.remedy, severity, Mode.ENFORCE, trigger))
    if isinstance(planned, Refusal):
        return planned
    asked = {"reason": request.spec.reason, "requested_by": request.spec.requested_by}
    return planned.model_copy(update=asked)


def severity_asked(policy: RollbackPolicy) -> MatrixSeverity:
    """Return the severity of a manual request: the release's known severity, or UNPROVED."""
    known = policy.status.severity
    return UNPROVED if known is Severity.NONE else MatrixSeverity(known)


def request_message(request: RollbackRequest) -> str:
    """Describe the requester of a rollback, and the reason."""
    who, why = request.spec.requested_by or "a person", request.spec.reason or "no reason given"
    return f"requested by {who}: {why}"


def expired(asked: RollbackRequest | Rollback, now: datetime) -> Refusal | None:
    """Refuse an expired request: the requester has moved on since."""
    made = asked.metadata.creation_timestamp
    if made is None or now - made <= LIFE:
        return None
    message = f"the request of {made:%Y-%m-%d %H:%M:%S} UTC has expired: requests are valid for "
    return Refusal(
        Reason.REQUEST_EXPIRED, f"{message}{LIFE.seconds // 60} minutes. {_again(asked)}"
    )


def _again(asked: RollbackRequest | Rollback) -> str:
    return (
        f"Look again (kubectl rollback status -n {asked.metadata.namespace}) and repeat it: "
        f"{commands.repeated(asked)}"
    )


def too_late_to_begin(
    rollback: Rollback, deployment: Deployment, now: datetime
) -> RollbackEnd | None:
    """End a rollback that did not begin in time, before any approval request or notification.

    An approval binds to the plan; a rollback without approval runs at once, or not at all.
    """
    late = expired(rollback, now) if rollback.is_by_hand else None
    if late is not None:
        return RollbackEnd(Outcome.ABANDONED, late.reason, late.message)
    if progress.is_rolled_out_again(rollback, deployment):
        return progress.moved(rollback, deployment)
    return progress.stale(rollback, now) if progress.is_stale(rollback, now) else None


def _before_policy(case: Case, request: RollbackRequest) -> Refusal | None:
    """Refuse a request older than the policy, whose author may not have known of it.

    Times are whole seconds: objects applied together have the same time. This is harmless where the
    policy adds no right to what the request alone needs. Where it does, admission must have known
    the policy when it checked the author of the request.
    """
    made, policy = request.metadata.creation_timestamp, case.policy.metadata.creation_timestamp
    if made is None or policy is None:
        return None
    name, lent = case.policy.metadata.name, rights.lent(case.policy)
    changed = max(policy, case.policy.metadata.lending_time or policy)
    if made < policy:
        message = f"the request is older than RollbackPolicy {name}"
    elif lent and made - changed <= ADMISSION_LAG:
        since = "a change" if changed > policy else "the creation"
        message = (
            f"the request was made before {since} of RollbackPolicy {name}, or within "
            f"{ADMISSION_LAG.seconds} s of it, and its author may not have been checked for the "
            f"rights that {lent} needs"
        )
    else:
        return None
    return Refusal(Reason.REQUEST_BEFORE_POLICY, f"{message}. {_again(request)}")


def is_served_at_rest(
    ready: Reason, deployment: Deployment | None, request: RollbackRequest
) -> bool:
    """Return whether a request is served although no release is evaluated.

    A suspended policy serves people. Without replicas another template harms nobody, and the next
    scale-up runs it; more replicas would be such a scale-up. Replicas that the operator has set to
    0 return once the bad release no longer runs: that is no undo for later.

    Args:
        ready: the reason of the policy's condition Ready.
        deployment: its target; None: it has none.
        request: the request.
    """
    if deployment is None:
        return False
    is_empty = ready is Reason.TARGET_SCALED_TO_ZERO and not deployment.is_stopped
    is_undo = request.spec.remedy.type in (RemedyType.UNDO, RemedyType.PIN_IMAGE)
    return ready is Reason.SUSPENDED or (is_empty and is_undo)


def _another_release(case: Case, request: RollbackRequest) -> Refusal | None:
    """Refuse a request for another running release: the rollback could undo a fix."""
    seen, workload = request.spec.seen, case.workload
    runs = workload.current.revision if workload.current else workload.deployment.revision
    now = f"revision {runs} is running"
    if seen is None:
        message = f"spec.seen is missing; {now}. {_again(request)}"
        return Refusal(Reason.REQUEST_OUTDATED, message)
    numbers = {runs, workload.deployment.revision}
    if seen.digest == workload.deployment.template.digest and seen.revision in numbers:
        return None
    message = f"spec.seen: the request is for revision {seen.revision} ({seen.digest})"
    return Refusal(
        Reason.REQUEST_OUTDATED,
        f"{message}; {now} ({workload.deployment.template.digest}). {_again(request)}",
    )


def _another_target(case: Case, request: RollbackRequest) -> Refusal | None:
    """Refuse a request for another Deployment: admission allowed it under that name."""
    target, seen = case.policy.spec.target_ref.name, request.spec.seen
    if seen is None or seen.deployment == target:
        return None
    return Refusal(
        Reason.TARGET_MOVED,
        f"spec.seen.deployment: the request is for {seen.deployment}, and the policy watches "
        f"{target}. {_again(request)}",
    )


def _own_hands(deployment: Deployment, remedy: Remedy) -> Refusal | None:
    """Refuse to set a flag: an authorized person sets it directly, without a rollback."""
    if remedy.flag is None:
        return None
    message = (
        "set it in its ConfigMap, or by kubectl set env. If pods read the ConfigMap as an "
        f"environment variable, then: kubectl rollout restart deployment/{deployment.name} -n "
        f"{deployment.namespace}"
    )
    return Refusal(Reason.FLAG_UNUSABLE, f"a manual request cannot set a flag: {message}")


def _foreign_image(case: Case, remedy: Remedy) -> Refusal | None:
    """Refuse an image that this Deployment has never run: it is a release, not a rollback."""
    workload = case.workload
    if (
        remedy.type is not RemedyType.PIN_IMAGE
        or workload.deployment.template.image_of(remedy.container) is None
    ):
        return None
    with_it = [
        one
        for one in workload.replica_sets
        if one.template.image_of(remedy.container) == remedy.image
    ]
    if not with_it:
        known = {one.template.image_of(remedy.container) or "" for one in workload.replica_sets}
        return Refusal(
            Reason.FOREIGN_IMAGE,
            f"no ReplicaSet of the Deployment runs {remedy.image} in container "
            f"{remedy.container}: a new image is a release, not a rollback. Known images: "
            f"{', '.join(sorted(known - {''}))}",
        )
    against = [bar(case.ledger, one.template.release) for one in with_it]
    if all(against):
        return Refusal(
            Reason.TARGET_KNOWN_BAD, f"{remedy.image}: every revision with it is {against[0]}"
        )
    return None


def planned(status: RollbackStatus, spec: RollbackSpec) -> RollbackStatus:
    """Store the plan of a request."""
    return status.model_copy(update={"plan": spec.plan, "severity": spec.severity})


def refused(status: RollbackStatus, refusal: Refusal, now: datetime) -> RollbackStatus:
    """Store the refusal of a request."""
    done = conditions.condition(ConditionType.COMPLETE, True, refusal.reason, refusal.message)
    return status.model_copy(
        update={
            "outcome": Outcome.REFUSED,
            "finished_time": now,
            "conditions": conditions.upsert(status.conditions, [done], 1, now),
        }
    )
