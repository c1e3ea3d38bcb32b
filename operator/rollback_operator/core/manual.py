"""What a person asks for -> a plan, or the refusal that they read.

The same road as the operator's own rollbacks, with the guards that hold for people too. Cooldown,
budget, freeze and the rule against rolling back a rollback bind the operator, not a person who
has looked. Nobody gets further than to what this Deployment has run before.
"""

from datetime import datetime

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    MatrixSeverity,
    Mode,
    Outcome,
    Remedy,
    RemedyType,
    RollbackPolicy,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
    Severity,
    Trigger,
)
from rollback_operator.core import conditions
from rollback_operator.core.case import Case, Refusal
from rollback_operator.core.guards import obstacle
from rollback_operator.core.ledger import bar
from rollback_operator.core.plan import Order, plan_remedy

UNPROVED = MatrixSeverity.P3
"""Of what a person wants while nothing is proved: looked into, and not express."""


def make_manual_plan(case: Case, request: RollbackRequest, now: datetime) -> RollbackSpec | Refusal:
    """Plan what a person asks for.

    In mode Observe too: that mode keeps the operator from acting by itself.
    """
    remedy = request.spec.remedy
    refusal = (
        _another_target(case, request)
        or obstacle(case, now)
        or _own_hands(remedy)
        or _foreign_image(case, remedy)
    )
    if refusal is not None:
        return refusal
    severity = severity_asked(case.policy)
    trigger = Trigger(reason=Reason.REQUESTED, message=said(request)[:2048], decided_time=now)
    planned = plan_remedy(case, Order(request.spec.remedy, severity, Mode.ENFORCE, trigger))
    if isinstance(planned, Refusal):
        return planned
    asked = {"reason": request.spec.reason, "requested_by": request.spec.requested_by}
    return planned.model_copy(update=asked)


def severity_asked(policy: RollbackPolicy) -> MatrixSeverity:
    """Give the severity of what a person asks for: what is known of the release, or UNPROVED."""
    known = policy.status.severity
    return UNPROVED if known is Severity.NONE else MatrixSeverity(known)


def said(request: RollbackRequest) -> str:
    """Say who asks for a rollback, and why."""
    who, why = request.spec.requested_by or "a person", request.spec.reason or "no reason given"
    return f"{who} asks for it: {why}"


def _another_target(case: Case, request: RollbackRequest) -> Refusal | None:
    """Refuse what was asked for another Deployment: by that name it was let in."""
    target, seen = case.policy.spec.target_ref.name, request.spec.seen
    if seen is None or seen.deployment == target:
        return None
    return Refusal(
        Reason.TARGET_MOVED,
        f"spec.seen.deployment: it was asked for {seen.deployment}, and the policy watches "
        f"{target}: look again, then ask again",
    )


def _own_hands(remedy: Remedy) -> Refusal | None:
    """A person who may set a flag does so; nothing has to be gone back to for it."""
    if remedy.flag is None:
        return None
    said = "set it in its ConfigMap, then kubectl rollout restart where pods read it as a variable"
    return Refusal(Reason.FLAG_UNUSABLE, f"a flag is not set by a Rollback made by hand: {said}")


def _foreign_image(case: Case, remedy: Remedy) -> Refusal | None:
    """Refuse an image that this Deployment has never run: that is a release, and no rollback."""
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
            f"no ReplicaSet of this Deployment has run {remedy.image} in container "
            f"{remedy.container}: a new image is a release, not a rollback. Known are: "
            f"{', '.join(sorted(known - {''}))}",
        )
    against = [bar(case.ledger, one.template.release) for one in with_it]
    if all(against):
        return Refusal(
            Reason.TARGET_KNOWN_BAD, f"{remedy.image}: each revision of it is {against[0]}"
        )
    return None


def planned(status: RollbackStatus, spec: RollbackSpec) -> RollbackStatus:
    """Store what was made of a request."""
    return status.model_copy(update={"plan": spec.plan, "severity": spec.severity})


def refused(status: RollbackStatus, refusal: Refusal, now: datetime) -> RollbackStatus:
    """Store why nothing is made of a request."""
    done = conditions.condition(ConditionType.COMPLETE, True, refusal.reason, refusal.message)
    return status.model_copy(
        update={
            "outcome": Outcome.REFUSED,
            "finished_time": now,
            "conditions": conditions.upsert(status.conditions, [done], 1, now),
        }
    )
