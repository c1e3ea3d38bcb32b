"""Migrations newer than a good release: whether a rollback across them is compatible.

Pure. A migration is newer if the target's record does not name it, or there is no record, and if it
was applied later than `settle` seconds before the release: the target has run with any earlier
migration. Without a time the record alone decides; without both the result is unknown.
"""

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
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.model.samples import Missing

MIGRATIONS_SECONDS = 5.0
"""For one read of the applied migrations, with the start of the process that reads them."""
MOST_MIGRATIONS_NAMED = 5
_CONSEQUENCES = {
    SchemaResponse.BLOCK: Consequence.BLOCK,
    SchemaResponse.REQUIRE_APPROVAL: Consequence.REQUIRE_APPROVAL,
    SchemaResponse.IGNORE: Consequence.PROCEED,
}
_CONSEQUENCES_OF_NEWER = {
    NewerSchemaResponse.BLOCK: Consequence.BLOCK,
    NewerSchemaResponse.REQUIRE_APPROVAL: Consequence.REQUIRE_APPROVAL,
    # `remedies/migrations` makes the item, unless the rollback has no plan for the database.
    NewerSchemaResponse.ROLLBACK_MIGRATIONS: Consequence.BLOCK,
    NewerSchemaResponse.IGNORE: Consequence.PROCEED,
}


@dataclass(frozen=True, slots=True)
class Migration:
    """An applied migration."""

    name: str
    applied: datetime | None = None
    """None: the history has no time, or no time zone."""


@dataclass(frozen=True, slots=True)
class Applied:
    """All applied migrations, the newest last."""

    migrations: tuple[Migration, ...]


@dataclass(frozen=True, slots=True)
class HistoryComparison:
    """Baseline of the history."""

    record: AppliedMigrations | None
    """The migrations applied when the target was good; None: none was read then."""
    released: datetime
    """Time of the bad release."""
    settle: timedelta
    """The target is compatible with a migration that it has run with for this long."""


@dataclass(frozen=True, slots=True)
class Compatible:
    """The target has run with all applied migrations."""

    count: int


@dataclass(frozen=True, slots=True)
class Newer:
    """Migrations applied since, the newest last."""

    names: tuple[str, ...]


SchemaFinding = Compatible | Newer | Missing


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
    names = [migration.name[:NAME_LENGTH] for migration in applied.migrations]
    return AppliedMigrations(count=len(names), names=names[-MOST_RECORDED_MIGRATIONS:], time=now)


def compare(history: Applied | Missing, comparison: HistoryComparison) -> SchemaFinding:
    """Determine which migrations are newer than the target."""
    if isinstance(history, Missing):
        return history
    unrecorded = _unrecorded(history, comparison.record)
    if isinstance(unrecorded, Missing):
        return unrecorded
    since = comparison.released - comparison.settle
    untimed = any(migration.applied is None for migration in unrecorded)
    if comparison.record is None and untimed:
        return Missing(
            Reason.SCHEMA_UNKNOWN,
            "the migrations of the target revision are not recorded, and the history has no time "
            "with a time zone",
        )
    newer = [
        migration
        for migration in unrecorded
        if migration.applied is None or migration.applied > since
    ]
    if newer:
        return Newer(tuple(migration.name[:NAME_LENGTH] for migration in newer))
    return Compatible(len(history.migrations))


def _unrecorded(
    history: Applied, record: AppliedMigrations | None
) -> Sequence[Migration] | Missing:
    """Select the migrations that the record lacks; it names only the newest."""
    if record is None:
        return history.migrations
    names = [migration.name[:NAME_LENGTH] for migration in history.migrations]
    recorded = set(record.names)
    positions = [at for at, name in enumerate(names) if name in recorded]
    older = record.count - len(record.names)
    if record.names and not positions and older:
        message = "no recorded migration of the target is applied: the history is another"
        return Missing(Reason.SCHEMA_UNKNOWN, message)
    # The record only counts the migrations before its oldest named migration.
    first = positions[0] if positions else 0
    skipped = min(first, older)
    return [
        migration
        for at, migration in enumerate(history.migrations)
        if at >= skipped and names[at] not in recorded
    ]


def item(
    finding: SchemaFinding, on_newer: NewerSchemaResponse, on_unknown: SchemaResponse
) -> CheckItem:
    """Report the result, and the consequence by the policy's rules."""
    match finding:
        case Compatible(count):
            text = f"none of {count} applied migrations is newer than the target"
            return _item(CheckResult.PASSED, text, Consequence.PROCEED)
        case Newer(names):
            shown = ", ".join(names[-MOST_MIGRATIONS_NAMED:])
            more = (
                f" and {len(names) - MOST_MIGRATIONS_NAMED} earlier"
                if len(names) > MOST_MIGRATIONS_NAMED
                else ""
            )
            text = f"applied after the target revision: {shown}{more}"
            advice = "; fix forward, or revert the migrations first"
            consequence = _CONSEQUENCES_OF_NEWER[on_newer]
            is_ignored = on_newer is NewerSchemaResponse.IGNORE
            result = CheckResult.WARNED if is_ignored else CheckResult.FAILED
            return _item(result, text + advice, consequence)
        case Missing(message=message):
            text = f"the schema could not be compared: {message}"
            return _item(CheckResult.WARNED, text, _CONSEQUENCES[on_unknown])


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
