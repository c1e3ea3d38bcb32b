"""Whether a proof replaces an open question: an automatic rollback takes the place of a request.

Pure. A request that waits for an approval, and is forgotten, must not keep the operator from an
automatic rollback until its deadline: it has changed nothing, and nobody has answered. ADR 38.
"""

from dataclasses import replace
from datetime import datetime

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Mode, Outcome, Rollback, RollbackSpec
from rollback_operator.decide import asking, guards
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Case, Refusal
from rollback_operator.releases import ownership
from rollback_operator.remedies import progress, rollback_status
from rollback_operator.remedies.attempts import name_of
from rollback_operator.remedies.progress import RollbackEnd

_IGNORED = (Reason.APPROVAL_UNPROTECTED, Reason.PLAN_CHANGED)
"""Why a decision that exists does not count."""


def replaceable(case: Case) -> Rollback | None:
    """Find the open question that a proof against the running release replaces; None: none.

    A proposal is none: it proceeds without an approval, unless its checklist asks for another.
    """
    digest = case.workload.deployment.template.digest
    return next(
        (
            rollback
            for rollback in case.rollbacks
            if guards.awaits_approval(rollback)
            and not asking.is_waiting(rollback)
            and ownership.is_open(rollback, case.policy)
            and ownership.is_ours(rollback, case.policy)
            and not progress.has_acted(rollback)
            and rollback.spec.from_revision.digest == digest
            and case.policy.spec.mode is Mode.ENFORCE
            and _is_unanswered(rollback)
        ),
        None,
    )


def _is_unanswered(question: Rollback) -> bool:
    """Return whether nobody has decided, or the decision does not count.

    A decision that is not evaluated yet is an answer.
    """
    evaluated = find(question.status.conditions, ConditionType.APPROVED)
    is_ignored = evaluated is not None and evaluated.reason in _IGNORED
    return question.spec.approval is None or is_ignored


def without(case: Case, question: Rollback | None, now: datetime) -> Case:
    """Return the case as it is once a question has ended; None: unchanged."""
    if question is None:
        return case
    end = RollbackEnd(Outcome.ABANDONED, Reason.SUPERSEDED, "")
    over = question.model_copy(update={"status": rollback_status.ended(question, end, now)})
    return with_rollback(case, over)


def with_rollback(case: Case, rollback: Rollback) -> Case:
    """Return the case with the newest version of a Rollback."""
    uid = rollback.metadata.uid
    known = [rollback if each.metadata.uid == uid else each for each in case.rollbacks]
    return replace(case, rollbacks=known)


def superseded(plan: RollbackSpec, severity: str) -> RollbackEnd:
    """End a question whose place a plan takes."""
    message = (
        f"the release is proved bad ({severity}) and nobody has decided: the automatic rollback "
        f"{name_of(plan)} takes its place. This rollback has changed nothing"
    )
    return RollbackEnd(Outcome.ABANDONED, Reason.SUPERSEDED, message)


def refused_too(refusal: Refusal, question: Rollback | None) -> Refusal:
    """Name the question that stays where the automatic rollback is refused for another reason."""
    if question is None or refusal.reason is Reason.ALREADY_ROLLED_BACK:
        return refusal
    waits = guards.active_message(question)
    return replace(refusal, message=f"{refusal.message}. {waits}", needs_person=True)


def stays(question: Rollback, why: str) -> Refusal:
    """Refuse an automatic rollback that would need an approval too, or would be blocked.

    Args:
        question: the question that stays open.
        why: what the checklist of the automatic rollback says.
    """
    message = (
        f"{guards.active_message(question)}. The automatic rollback cannot take its place: {why}"
    )
    return Refusal(Reason.ROLLBACK_ACTIVE, message, needs_person=True)
