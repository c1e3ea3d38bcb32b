"""Order of application and schema in a rollback, by which release runs on which schema.

Pure. Between two steps both the old and the new release may serve, on the schema of that moment.
The table names the order in which no release serves on a schema that it does not run on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rollback_operator.api.database.rolling_back import DownMigration, MigrationOrder
from rollback_operator.api.v1alpha1 import RollbackSpec, StepName

MIGRATION_STEPS = (StepName.BACKUP, StepName.MIGRATE_DOWN)


@dataclass(frozen=True, slots=True)
class Fit:
    """Which release runs on the schema of the other; each runs on its own."""

    old_on_new: bool
    """The target on the schema with the newer migrations: they only expand it."""
    new_on_old: bool
    """The bad release on the schema without them."""


_ORDERS = {
    Fit(old_on_new=True, new_on_old=True): MigrationOrder.UNDO_FIRST,
    # Expand: the old release ignores what was added; the new release needs it until it is gone.
    Fit(old_on_new=True, new_on_old=False): MigrationOrder.UNDO_FIRST,
    # The old release needs what was removed or changed, and the new release does without that.
    Fit(old_on_new=False, new_on_old=True): MigrationOrder.MIGRATE_FIRST,
    # Contract: whichever is changed first, a release would serve on the other's schema.
    Fit(old_on_new=False, new_on_old=False): MigrationOrder.TRAFFIC_STOPPED,
}


@dataclass(frozen=True, slots=True)
class StepParts:
    """Steps of a rollback without migrations, in their order."""

    before: tuple[StepName, ...]
    """Preparations, such as the suspension of the owner."""
    act: tuple[StepName, ...]
    complete: tuple[StepName, ...]
    """Until no pod of the bad release is left."""
    after: tuple[StepName, ...]


def fit_of(migrations: Iterable[DownMigration]) -> Fit:
    """Combine what is declared of each migration: the strictest decides for all."""
    known = tuple(migrations)
    return Fit(
        old_on_new=all(each.old_release_runs for each in known),
        new_on_old=all(each.new_release_runs for each in known),
    )


def order_of(fit: Fit, *, is_kept: bool) -> MigrationOrder:
    """Choose the order; a schema that the old release runs on stays if it is to be kept."""
    return MigrationOrder.UNDO_ONLY if fit.old_on_new and is_kept else _ORDERS[fit]


def ordered(order: MigrationOrder | None, parts: StepParts) -> tuple[StepName, ...]:
    """List all steps of a rollback; None: no migration is newer."""
    down: tuple[tuple[StepName, ...], ...]
    match order:
        case None | MigrationOrder.UNDO_ONLY:
            down = (parts.act, parts.complete)
        case MigrationOrder.UNDO_FIRST:
            down = (parts.act, parts.complete, MIGRATION_STEPS)
        case MigrationOrder.MIGRATE_FIRST | MigrationOrder.TRAFFIC_STOPPED:
            down = (MIGRATION_STEPS, parts.act, parts.complete)
    return (*parts.before, *(step for part in down for step in part), *parts.after)


def can_stop_traffic(spec: RollbackSpec) -> bool:
    """Return whether the plan stops and restores traffic."""
    return spec.traffic is not None
