"""What people read of a question and of the decision on it: the Event, with the figures."""

import re

from rollback_operator.api.reasons import ConditionType, EventReason, Reason
from rollback_operator.api.v1alpha1 import Rollback, RollbackStatus
from rollback_operator.model import commands, conditions
from rollback_operator.model.message import Notice


def notice(rollback: Rollback, status: RollbackStatus) -> Notice | None:
    """Report a decision, an invalid decision or a question: each once.

    Args:
        rollback: as it is stored.
        status: its new status.
    """
    before, meta = rollback.status, rollback.metadata
    new, old = (
        conditions.find(version.conditions, ConditionType.APPROVED) for version in (status, before)
    )
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return None
    match new.reason:
        case Reason.APPROVAL_NEEDED:
            until = f"{status.approval_deadline_time:%Y-%m-%d %H:%M:%S} UTC"
            decide = commands.approve(meta.name, meta.namespace)
            message = (
                f"{_figures(rollback)}{new.message}. Approve or reject the rollback: {decide} "
                f"(or reject), until {until}"
            )
            return Notice(EventReason.APPROVAL_NEEDED, message, True)
        case Reason.APPROVAL_UNPROTECTED | Reason.PLAN_CHANGED:
            return Notice(EventReason.APPROVAL_REFUSED, f"{new.reason}: {new.message}", True)
        case _ if new.status == "True":
            return Notice(EventReason.ROLLBACK_APPROVED, f"{new.reason}: {new.message}")
    return None


def mark(rollback: Rollback) -> str:
    """Distinguish the occurrences of a notice of the same reason.

    A retry of its record has the same mark: the stored state that the notice replaces, and the
    decision that it is about.
    """
    old = conditions.find(rollback.status.conditions, ConditionType.APPROVED)
    approval = rollback.spec.approval
    decided = f"{approval.decision} {approval.plan_digest}" if approval is not None else ""
    since = f"{old.reason} {old.last_transition_time.isoformat()}" if old is not None else ""
    return f"{since} {decided}"


def _figures(rollback: Rollback) -> str:
    """Give the error rates that the decision rests on; empty: it rests on none, or names them."""
    trigger = rollback.spec.trigger
    if not trigger.requests or rollback.spec.requires_approval:
        return ""
    rate = 100 * trigger.errors / trigger.requests
    where = route_of(trigger.message)
    on = f" on {where}" if where else ""
    return f"{rate:.0f} % of requests{on} fail ({trigger.errors} of {trigger.requests}). "


_ROUTE = re.compile(r"served \d+ requests on (\S+) and failed")
"""The route as judge/explain.py states it; "all routes" has two words and does not match."""


def route_of(message: str) -> str:
    """Return the route of the figures; empty: they are of all routes."""
    match = _ROUTE.search(message)
    return match[1] if match else ""
