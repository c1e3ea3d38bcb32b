"""Migrations newer than a good release: whether a rollback across them is compatible.

Pure. A migration is newer if the target does not know it, and if it was applied later than `settle`
seconds before the release: the target has run with any earlier migration. The target knows what its
record names and what its template declares. Without a time, that alone decides; without both the
result is unknown.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback_operator.api.checklist import (
    MOST_RECORDED_MIGRATIONS,
    NAME_LENGTH,
    AppliedMigrations,
    CheckItem,
    CheckName,
    CheckResult,
    Consequence,
    NewerSchemaResponse,
    SchemaResponse,
)
from rollback_operator.api.shape import clipped
from rollback_operator.model.schema import (
    UNDECLARED,
    Applied,
    Compatible,
    DeclaredSchema,
    DirtySchema,
    HistoryForm,
    Migration,
    NewerSchema,
    SchemaAnswer,
    SchemaHistory,
    UnknownSchema,
)
from rollback_operator.remedies.database.declared_schema import (
    HEAD_ANNOTATION,
    is_reached,
    known_until,
    number_of,
)

MIGRATIONS_SECONDS = 5.0
"""For one read of the applied migrations, with the start of the process that reads them."""
MOST_MIGRATIONS_NAMED = 5
_HASH_LENGTH = 16
_SEVERE = tuple(Consequence)
"""From the mildest to the most severe."""
_CONSEQUENCES = {
    SchemaResponse.BLOCK: Consequence.BLOCK,
    SchemaResponse.REQUIRE_APPROVAL: Consequence.REQUIRE_APPROVAL,
    SchemaResponse.IGNORE: Consequence.PROCEED,
}
_CONSEQUENCES_OF_NEWER = {
    NewerSchemaResponse.BLOCK: Consequence.BLOCK,
    NewerSchemaResponse.REQUIRE_APPROVAL: Consequence.REQUIRE_APPROVAL,
    # `migrations` makes the item, unless the rollback has no plan for the database.
    NewerSchemaResponse.ROLLBACK_MIGRATIONS: Consequence.BLOCK,
    NewerSchemaResponse.IGNORE: Consequence.PROCEED,
}


@dataclass(frozen=True, slots=True)
class HistoryComparison:
    """What the target knows, and since when the bad release may have migrated."""

    record: AppliedMigrations | None
    """The migrations applied when the target was good; None: none was read then."""
    released: datetime
    """Time of the bad release."""
    settle: timedelta
    """The target is compatible with a migration that it has run with for this long."""
    declared: DeclaredSchema = UNDECLARED
    """What the target's template says."""

    @property
    def knows_nothing(self) -> bool:
        """Whether neither a record nor a declaration exists."""
        return self.record is None and not self.declared.heads


def ordered(migrations: Sequence[Migration]) -> Applied:
    """Order migrations by the time of their application, or by name without a time."""
    by_name = sorted(migrations, key=lambda migration: migration.name)
    times = {
        migration.name: migration.applied.timestamp()
        for migration in by_name
        if migration.applied is not None
    }
    if len(times) < len(by_name):
        return Applied(tuple(by_name))
    return Applied(tuple(sorted(by_name, key=lambda migration: times[migration.name])))


def recorded(applied: Applied, now: datetime) -> AppliedMigrations:
    """Make the record of a revision that is verified as good."""
    names = [_on_record(migration.name) for migration in applied.migrations]
    return AppliedMigrations(count=len(names), names=names[-MOST_RECORDED_MIGRATIONS:], time=now)


def _on_record(name: str) -> str:
    """Cut a long name, so that names that differ still do."""
    if len(name) <= NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_HASH_LENGTH]
    return f"{name[: NAME_LENGTH - _HASH_LENGTH - 1]}~{digest}"


def compare(history: SchemaHistory, comparison: HistoryComparison) -> SchemaAnswer:
    """Determine which migrations are newer than the target."""
    if not isinstance(history, Applied):
        return history
    if history.form is not HistoryForm.LIST:
        return _compare_state(history, comparison)
    record = comparison.record
    if not history.migrations and (record is None or record.count):
        return UnknownSchema("the history is empty: no migration is applied")
    unknown = _unknown(history, comparison)
    if isinstance(unknown, UnknownSchema):
        return unknown
    since = comparison.released - comparison.settle
    if comparison.knows_nothing and any(each.applied is None for each in unknown):
        return UnknownSchema(
            "the migrations of the target revision are not recorded, and the history has no time "
            "with a time zone"
        )
    newer = [each for each in unknown if each.applied is None or each.applied > since]
    return _answer(history, newer, record)


def _answer(
    history: Applied, newer: Sequence[Migration], record: AppliedMigrations | None
) -> SchemaAnswer:
    applied = {_on_record(migration.name) for migration in history.migrations}
    gone = tuple(name for name in (record.names if record else ()) if name not in applied)
    if newer:
        names = tuple(_on_record(migration.name) for migration in newer)
        return NewerSchema(len(names), names, gone)
    if gone:
        return UnknownSchema(
            f"the target has run with {_named(gone)}, which is no longer applied: the schema is "
            "older than the target; apply it again, or decide"
        )
    return Compatible(len(history.migrations))


def _unknown(
    history: Applied, comparison: HistoryComparison
) -> Sequence[Migration] | UnknownSchema:
    """Select the migrations that the target neither has on record nor declares."""
    unrecorded = _unrecorded(history, comparison.record)
    undeclared = _undeclared(history, comparison.declared)
    if isinstance(unrecorded, UnknownSchema):
        return unrecorded
    if isinstance(undeclared, UnknownSchema):
        return undeclared
    return [history.migrations[at] for at in sorted(unrecorded & undeclared)]


def _unrecorded(history: Applied, record: AppliedMigrations | None) -> set[int] | UnknownSchema:
    """Select the places of the migrations that the record lacks; it names only the newest."""
    if record is None:
        return set(range(len(history.migrations)))
    names = [_on_record(migration.name) for migration in history.migrations]
    recorded = set(record.names)
    positions = [at for at, name in enumerate(names) if name in recorded]
    older = record.count - len(record.names)
    if record.names and not positions and older:
        return UnknownSchema(
            "no recorded migration of the target is applied: the history is another"
        )
    # The record only counts the migrations before its oldest named migration.
    first = positions[0] if positions else 0
    skipped = min(first, older)
    return {at for at, name in enumerate(names) if at >= skipped and name not in recorded}


def _undeclared(history: Applied, declared: DeclaredSchema) -> set[int] | UnknownSchema:
    """Select the places of the migrations that the target does not declare."""
    names = [migration.name for migration in history.migrations]
    if declared.least and not is_reached(names, declared.least):
        return _older((declared.least,))
    known = known_until(names, declared.heads)
    if isinstance(known, str):
        return UnknownSchema(
            f"the target declares {known}, which is not applied, and the names of the applied "
            "migrations begin with no number to compare"
        )
    return set(range(known, len(names)))


# -- histories of a head or a version --------------------------------------------------------------


def _compare_state(history: Applied, comparison: HistoryComparison) -> SchemaAnswer:
    """Compare a history that shows its current head, or heads, alone."""
    current = tuple(_on_record(migration.name) for migration in history.migrations)
    record, declared = comparison.record, comparison.declared
    if comparison.knows_nothing:
        return UnknownSchema(
            "the migrations of the target revision are not recorded, and the history has a head "
            f"without a time: declare the target's with annotation {HEAD_ANNOTATION}"
        )
    accepted = [set(record.names)] if record else []
    if declared.heads:
        accepted.append(set(declared.heads))
    if set(current) in accepted:
        return Compatible(len(current))
    known = tuple(sorted(set().union(*accepted) - set(current)))
    if history.form is HistoryForm.VERSION:
        return _compare_version(current, known, declared)
    if not current:
        return _older(known)
    return NewerSchema(None, current, known)


def _compare_version(
    current: Sequence[str], known: Sequence[str], declared: DeclaredSchema
) -> SchemaAnswer:
    version = number_of(current[0]) if current else None
    numbers = [number for name in known if (number := number_of(name))]
    if version is None:
        return _older(known)
    if version > max(numbers, default=()):
        return NewerSchema(None, tuple(current), tuple(known))
    least = number_of(declared.least)
    if least is not None and least <= version:
        return Compatible(1)
    return Compatible(1) if version in numbers else _older(known)


def _older(known: Sequence[str]) -> UnknownSchema:
    return UnknownSchema(
        f"the target needs {_named(known) or 'another state'}, which the database has not reached: "
        "the schema is older"
    )


# -- what follows ----------------------------------------------------------------------------------


def item(
    answer: SchemaAnswer, on_newer: NewerSchemaResponse, on_unknown: SchemaResponse
) -> CheckItem:
    """Report the result, and the consequence by the policy's rules."""
    match answer:
        case Compatible(count):
            text = f"none of {count} applied migrations is newer than the target"
            return _item(CheckResult.PASSED, text, Consequence.PROCEED)
        case NewerSchema():
            advice = "; fix forward, or revert the migrations first"
            is_accepted = on_newer is NewerSchemaResponse.IGNORE
            result = CheckResult.WARNED if is_accepted else CheckResult.FAILED
            return _item(result, _newer_words(answer) + advice, _CONSEQUENCES_OF_NEWER[on_newer])
        case DirtySchema(message=message):
            # Nobody knows what a half applied migration has changed: to ignore it takes both.
            is_ignored = (
                on_newer is NewerSchemaResponse.IGNORE and on_unknown is SchemaResponse.IGNORE
            )
            asked = max(_CONSEQUENCES[on_unknown], Consequence.REQUIRE_APPROVAL, key=_SEVERE.index)
            text = f"the schema is dirty: {message}"
            if is_ignored:
                return _item(CheckResult.WARNED, text, Consequence.PROCEED)
            return _item(CheckResult.FAILED, text, asked)
        case UnknownSchema(reason):
            text = f"the schema could not be compared: {reason}"
            return _item(CheckResult.WARNED, text, _CONSEQUENCES[on_unknown])


def _newer_words(newer: NewerSchema) -> str:
    if newer.count is None:
        text = f"the database is at {_named(newer.names)}, and the target knows"
        return f"{text} {_named(newer.gone) or 'none'}"
    text = f"applied after the target revision: {_named(newer.names)}"
    return f"{text}; no longer applied: {_named(newer.gone)}" if newer.gone else text


def _named(names: Sequence[str]) -> str:
    """Name the newest."""
    more = len(names) - MOST_MIGRATIONS_NAMED
    shown = ", ".join(names[-MOST_MIGRATIONS_NAMED:])
    return f"{shown} and {more} earlier" if more > 0 else shown


def _item(result: CheckResult, message: str, consequence: Consequence) -> CheckItem:
    return CheckItem(
        name=CheckName.DATABASE_SCHEMA,
        result=result,
        consequence=consequence,
        message=clipped(message, 1024),
    )


def skipped(why: str) -> CheckItem:
    """Explain why the schema is not checked."""
    return _item(CheckResult.SKIPPED, why, Consequence.PROCEED)
