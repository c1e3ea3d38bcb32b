"""The checklist before an act: all items in order, their consequence, and the pace of the act.

Pure. The worst consequence of any item is that of the list; a policy may treat a warning more
strictly than the item does, and nothing more leniently.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollback_operator.api.checklist import CheckItem, CheckName, CheckResult, Consequence
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Pace,
    Rollback,
    RollbackPolicy,
    RollbackStatus,
)
from rollback_operator.model.schema import DirtySchema, NewerSchema, SchemaAnswer
from rollback_operator.model.surroundings import ClusterCapacity
from rollback_operator.remedies.progress import RollbackEnd
from rollback_operator.remedies.steps import traffic_stop
from rollback_operator.rollback import checks, schema_check
from rollback_operator.rollback.checks import ChecklistFacts

_ITEMS: tuple[Callable[[ChecklistFacts], CheckItem], ...] = (
    checks.bad_revision,
    checks.known_good,
    checks.template,
    checks.images,
    checks.references,
    checks.configuration,
    checks.room,
)
_LAST_ITEMS: tuple[Callable[[ChecklistFacts], CheckItem], ...] = (
    checks.nobody_else,
    checks.metrics,
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
    """The items and their consequence."""

    items: tuple[CheckItem, ...]
    pace: Pace
    schema: SchemaAnswer | None = None
    """How the database relates to the target; None: it was not read."""
    down: MigrationRecord | None = None
    """Migrations to roll back; None: none."""

    @property
    def consequence(self) -> Consequence:
        """The worst consequence of any item."""
        return max((item.consequence for item in self.items), key=_BY_SEVERITY.index)

    def of(self, consequence: Consequence) -> tuple[CheckItem, ...]:
        """Select the items with this consequence."""
        return tuple(item for item in self.items if item.consequence is consequence)

    @property
    def blocked(self) -> RollbackEnd:
        """Return the end of a rollback that the checklist blocks."""
        items = self.of(Consequence.BLOCK)
        reason = _BLOCKED_BECAUSE.get(items[0].name, Reason.CHECKLIST_BLOCKED)
        if items[0].name is CheckName.DATABASE_SCHEMA:
            reason = _schema_reason(self.schema)
        return RollbackEnd(Outcome.BLOCKED, reason, summarized(items))

    @property
    def observed(self) -> RollbackEnd:
        """Return the end of a rollback in mode Observe."""
        would = {
            Consequence.PROCEED: "",
            Consequence.REQUIRE_APPROVAL: "; approval would be required: "
            + summarized(self.of(Consequence.REQUIRE_APPROVAL)),
            Consequence.BLOCK: f"; it would be blocked: {summarized(self.of(Consequence.BLOCK))}",
        }
        message = f"mode {Mode.OBSERVE}: nothing was changed{would[self.consequence]}"
        return RollbackEnd(Outcome.OBSERVED, Reason.RECORDED_ONLY, message)


def make(facts: ChecklistFacts) -> Checklist:
    """Evaluate all items."""
    schema = schema_check.schema_answer(facts)
    down = schema_check.migrations_down(facts)
    record = down if isinstance(down, MigrationRecord) else None
    made = [
        *(item(facts) for item in _ITEMS),
        checks.capacity(facts, traffic_stop(facts.rollback.spec, record)),
        *(item(facts) for item in _LAST_ITEMS),
        schema_check.database_schema(facts, schema),
    ]
    items = [_tightened(item, facts.policy) for item in made]
    by_name = {item.name: item for item in items}
    is_tight = by_name[CheckName.ROOM].result is CheckResult.WARNED and _is_known(facts)
    pace = Pace.NORMAL if is_tight else facts.rollback.spec.pace
    return Checklist(tuple(items), pace, schema, record)


def _schema_reason(answer: SchemaAnswer | None) -> Reason:
    match answer:
        case NewerSchema():
            return Reason.NEWER_SCHEMA
        case DirtySchema():
            return Reason.SCHEMA_DIRTY
        case _:
            return Reason.SCHEMA_UNKNOWN


def _is_known(facts: ChecklistFacts) -> bool:
    """Return whether a shortage of capacity is observed: missing data slows nothing down."""
    return isinstance(facts.quotas, Sequence) and isinstance(facts.cluster, ClusterCapacity)


def _tightened(item: CheckItem, policy: RollbackPolicy | None) -> CheckItem:
    rules = policy.spec.checklist if policy is not None else []
    if item.result is not CheckResult.WARNED:
        return item
    consequences = [rule.on_warned for rule in rules if rule.name is item.name]
    worst = max([item.consequence, *consequences], key=_BY_SEVERITY.index)
    return item.model_copy(update={"consequence": worst})


def summarized(items: Sequence[CheckItem]) -> str:
    """Summarize items in one line."""
    return "; ".join(f"{item.name}: {item.message}" for item in items)


def plan_digest(rollback: Rollback, checklist: Checklist) -> str:
    """Make the digest that an approval names: of the stored intent, the object, and the question.

    It includes the object's uid, so that nobody can approve an object in advance.
    """
    items = checklist.of(Consequence.REQUIRE_APPROVAL)
    plan = rollback.spec.model_dump(mode="json", exclude={"approval"}, exclude_none=True)
    # The question is the warning, without its figures, which change constantly.
    about = [(item.name, item.result, item.message if _is_firm(item) else "") for item in items]
    parts = [rollback.metadata.uid, plan, about]
    if checklist.down is not None:
        parts.append(checklist.down.model_dump(mode="json"))
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_firm(item: CheckItem) -> bool:
    return item.result is CheckResult.FAILED


def with_checklist(status: RollbackStatus, checklist: Checklist) -> RollbackStatus:
    """Record a checklist."""
    return status.model_copy(
        update={
            "checklist": list(checklist.items),
            "pace": checklist.pace,
            "migrations": checklist.down,
        }
    )
