"""Which migrations are applied that were not when a release was good: can it go back onto them.

Pure. A migration is newer if the target's record does not name it, or there is no record, and if it
was applied later than `settle` seconds before the release came: what the target had lived with for
that long is its own. What has no time is judged by the record alone; without both nothing is known.
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
    SchemaResponse,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import clipped
from rollback_operator.model.samples import Missing

MOST_MIGRATIONS_NAMED = 5
_CONSEQUENCES = {
    SchemaResponse.BLOCK: Consequence.BLOCK,
    SchemaResponse.REQUIRE_APPROVAL: Consequence.REQUIRE_APPROVAL,
    SchemaResponse.IGNORE: Consequence.PROCEED,
}


@dataclass(frozen=True, slots=True)
class Migration:
    """An applied migration."""

    name: str
    applied: datetime | None = None
    """None: the history does not tell, or not with a time zone."""


@dataclass(frozen=True, slots=True)
class Applied:
    """All applied migrations, the newest last."""

    migrations: tuple[Migration, ...]


@dataclass(frozen=True, slots=True)
class HistoryComparison:
    """What the history is held against."""

    record: AppliedMigrations | None
    """What was applied when the target was good; None: nobody looked then."""
    released: datetime
    """When the bad release came."""
    settle: timedelta
    """What the target has lived with for so long is its own."""


@dataclass(frozen=True, slots=True)
class Compatible:
    """Nothing was applied that the target has not lived with."""

    count: int


@dataclass(frozen=True, slots=True)
class Newer:
    """These were applied since, the newest last."""

    names: tuple[str, ...]


SchemaFinding = Compatible | Newer | Missing


def ordered(migrations: Sequence[Migration]) -> Applied:
    """Put migrations in the order of their application, of their names where that is not told."""
    by_name = sorted(migrations, key=lambda one: one.name)
    times = {one.name: one.applied.timestamp() for one in by_name if one.applied is not None}
    if len(times) < len(by_name):
        return Applied(tuple(by_name))
    return Applied(tuple(sorted(by_name, key=lambda one: times[one.name])))


def recorded(applied: Applied, now: datetime) -> AppliedMigrations:
    """Make the record of a revision that has been found good."""
    names = [one.name[:NAME_LENGTH] for one in applied.migrations]
    return AppliedMigrations(count=len(names), names=names[-MOST_RECORDED_MIGRATIONS:], time=now)


def compare(found: Applied | Missing, question: HistoryComparison) -> SchemaFinding:
    """Find out which migrations are newer than the target."""
    if isinstance(found, Missing):
        return found
    unrecorded = _unrecorded(found, question.record)
    if isinstance(unrecorded, Missing):
        return unrecorded
    since = question.released - question.settle
    untimed = any(one.applied is None for one in unrecorded)
    if question.record is None and untimed:
        return Missing(
            Reason.SCHEMA_UNKNOWN,
            "the migrations of the target revision are not recorded, and the history has no time "
            "with a time zone",
        )
    newer = [one for one in unrecorded if one.applied is None or one.applied > since]
    if newer:
        return Newer(tuple(one.name[:NAME_LENGTH] for one in newer))
    return Compatible(len(found.migrations))


def _unrecorded(found: Applied, record: AppliedMigrations | None) -> Sequence[Migration] | Missing:
    """Choose what the record does not hold; it names only the newest of what there was."""
    if record is None:
        return found.migrations
    names = [one.name[:NAME_LENGTH] for one in found.migrations]
    known = set(record.names)
    held = [at for at, name in enumerate(names) if name in known]
    older = record.count - len(record.names)
    if record.names and not held and older:
        message = "no recorded migration of the target is applied: the history is another"
        return Missing(Reason.SCHEMA_UNKNOWN, message)
    # Before the oldest that the record names there were as many as it has counted.
    first = held[0] if held else 0
    skipped = min(first, older)
    return [
        one for at, one in enumerate(found.migrations) if at >= skipped and names[at] not in known
    ]


def item(finding: SchemaFinding, on_newer: SchemaResponse, on_unknown: SchemaResponse) -> CheckItem:
    """Say what was found, and what follows by the policy's rules."""
    match finding:
        case Compatible(count):
            said = f"none of {count} applied migrations is newer than the target"
            return _item(CheckResult.PASSED, said, Consequence.PROCEED)
        case Newer(names):
            shown = ", ".join(names[-MOST_MIGRATIONS_NAMED:])
            more = (
                f" and {len(names) - MOST_MIGRATIONS_NAMED} earlier"
                if len(names) > MOST_MIGRATIONS_NAMED
                else ""
            )
            said = f"applied after the target revision: {shown}{more}"
            advice = "; fix forward, or revert the migrations first"
            consequence = _CONSEQUENCES[on_newer]
            result = CheckResult.WARNED if on_newer is SchemaResponse.IGNORE else CheckResult.FAILED
            return _item(result, said + advice, consequence)
        case Missing(message=message):
            said = f"the schema could not be compared: {message}"
            return _item(CheckResult.WARNED, said, _CONSEQUENCES[on_unknown])


def _item(result: CheckResult, message: str, consequence: Consequence) -> CheckItem:
    return CheckItem(
        name=CheckName.DATABASE_SCHEMA,
        result=result,
        consequence=consequence,
        message=clipped(message, 1024),
    )


def skipped(why: str) -> CheckItem:
    """Say why the schema is not looked at."""
    return _item(CheckResult.SKIPPED, why, Consequence.PROCEED)
