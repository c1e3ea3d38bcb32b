"""The checklist before an act: all items in their order, what they lead to, and at which pace.

Pure. The worst consequence of any item is that of the list; a policy may take a warning more
strictly than the item does, and nothing more mildly.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollback_operator.api.checklist import CheckItem, CheckName, CheckResult, Consequence
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Pace,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
)
from rollback_operator.model.surroundings import ClusterCapacity
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.rollback import checks
from rollback_operator.rollback.checks import ChecklistFacts

_ITEMS: tuple[Callable[[ChecklistFacts], CheckItem], ...] = (
    checks.bad_revision,
    checks.known_good,
    checks.template,
    checks.images,
    checks.references,
    checks.room,
    checks.capacity,
    checks.nobody_else,
    checks.metrics,
    checks.database_schema,
)
_BY_SEVERITY = tuple(Consequence)
"""From the mildest to the most severe."""
_BLOCKED_BECAUSE = {
    CheckName.TARGET_KNOWN_GOOD: Reason.TARGET_KNOWN_BAD,
    CheckName.TARGET_TEMPLATE: Reason.TARGET_TEMPLATE_CHANGED,
    CheckName.REFERENCES: Reason.REFERENCE_GONE,
}


@dataclass(frozen=True, slots=True)
class Checklist:
    """What was found, item by item, and what it leads to."""

    items: tuple[CheckItem, ...]
    pace: Pace

    @property
    def consequence(self) -> Consequence:
        """The worst that any item leads to."""
        return max((one.consequence for one in self.items), key=_BY_SEVERITY.index)

    def of(self, consequence: Consequence) -> tuple[CheckItem, ...]:
        """Choose the items that lead to this."""
        return tuple(one for one in self.items if one.consequence is consequence)

    @property
    def blocked(self) -> RollbackEnd:
        """How a rollback ends that the list stops."""
        items = self.of(Consequence.BLOCK)
        reason = _BLOCKED_BECAUSE.get(items[0].name, Reason.CHECKLIST_BLOCKED)
        if items[0].name is CheckName.DATABASE_SCHEMA:
            is_newer = items[0].result is CheckResult.FAILED
            reason = Reason.NEWER_SCHEMA if is_newer else Reason.SCHEMA_UNKNOWN
        return RollbackEnd(Outcome.BLOCKED, reason, summarized(items))

    @property
    def observed(self) -> RollbackEnd:
        """How a rollback ends that is only recorded."""
        would = {
            Consequence.PROCEED: "",
            Consequence.REQUIRE_APPROVAL: "; approval would be required: "
            + summarized(self.of(Consequence.REQUIRE_APPROVAL)),
            Consequence.BLOCK: f"; it would be blocked: {summarized(self.of(Consequence.BLOCK))}",
        }
        message = f"mode {Mode.OBSERVE}: nothing was changed{would[self.consequence]}"
        return RollbackEnd(Outcome.OBSERVED, Reason.RECORDED_ONLY, message)


def make(facts: ChecklistFacts) -> Checklist:
    """Go through all items."""
    items = [_tightened(item(facts), facts.policy) for item in _ITEMS]
    found = {one.name: one for one in items}
    is_tight = found[CheckName.ROOM].result is CheckResult.WARNED and _is_known(facts)
    pace = Pace.NORMAL if is_tight else facts.rollback.spec.pace
    return Checklist(tuple(items), pace)


def _is_known(facts: ChecklistFacts) -> bool:
    """Return whether room was seen to be short: not to have seen it slows nothing down."""
    return isinstance(facts.quotas, Sequence) and isinstance(facts.cluster, ClusterCapacity)


def _tightened(item: CheckItem, policy: RollbackPolicy | None) -> CheckItem:
    rules = policy.spec.checklist if policy is not None else []
    if item.result is not CheckResult.WARNED:
        return item
    asked = [one.on_warned for one in rules if one.name is item.name]
    worst = max([item.consequence, *asked], key=_BY_SEVERITY.index)
    return item.model_copy(update={"consequence": worst})


def summarized(items: Sequence[CheckItem]) -> str:
    """Say items in one line."""
    return "; ".join(f"{one.name}: {one.message}" for one in items)


def plan_digest(rollback: Rollback, checklist: Checklist) -> str:
    """Name what a person decides on: the stored intent, the object, and what they are asked about.

    The object's uid is in it, so that nobody can approve what is not there yet.
    """
    asked = checklist.of(Consequence.REQUIRE_APPROVAL)
    plan = rollback.spec.model_dump(mode="json", exclude={"approval"}, exclude_none=True)
    # Figures of a warning tick: what is asked about is the warning, not the figure.
    about = [(one.name, one.result, one.message if _is_firm(one) else "") for one in asked]
    parts = [rollback.metadata.uid, plan, about]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_firm(item: CheckItem) -> bool:
    return item.result is CheckResult.FAILED


def with_checklist(status: RollbackStatus, checklist: Checklist) -> RollbackStatus:
    """Put a checklist on record."""
    return status.model_copy(update={"checklist": list(checklist.items), "pace": checklist.pace})
