"""The item of the checklist on the database: whether the target is compatible with its schema.

Pure. What the target knows comes from the ledger and from its template's annotations.
"""

from datetime import datetime, timedelta

from rollback_operator.api.checklist import AppliedMigrations, CheckItem
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.api.shape import is_among
from rollback_operator.api.v1alpha1 import Rollback, RollbackPolicy
from rollback_operator.model.schema import (
    UNDECLARED,
    Applied,
    DeclaredSchema,
    NewerSchema,
    SchemaAnswer,
    UnknownSchema,
)
from rollback_operator.remedies.database import declared_schema, migrations, schema
from rollback_operator.remedies.database.migration_order import can_stop_traffic
from rollback_operator.remedies.steps import KEEP_THE_RELEASE
from rollback_operator.rollback.checks import ChecklistFacts, no_target


def database_schema(facts: ChecklistFacts, answer: SchemaAnswer | None) -> CheckItem:
    """Check whether the target is compatible with the database schema."""
    remedy = facts.rollback.spec.remedy.type
    if remedy in KEEP_THE_RELEASE:
        return schema.skipped(no_target(remedy))
    database = facts.policy.spec.database if facts.policy is not None else None
    if answer is None or database is None:
        return schema.skipped("the policy names no database")
    down, planned = migrations_down(facts), facts.rollback.spec.database
    if isinstance(answer, NewerSchema) and isinstance(down, str):
        return migrations.blocked(answer.names, down)
    if isinstance(down, MigrationRecord) and planned is not None:
        return migrations.item(planned, down)
    return schema.item(answer, database.on_newer_schema, database.on_unknown_schema)


def migrations_down(facts: ChecklistFacts) -> MigrationRecord | str | None:
    """Plan which migrations are rolled back, with the data that this loses.

    A text: the obstacle. None: no migration is newer, or none may be rolled back.
    """
    answer, planned = schema_answer(facts), facts.rollback.spec.database
    if planned is None or not isinstance(answer, NewerSchema):
        return None
    if not isinstance(facts.schema, Applied):
        return None
    can_stop = can_stop_traffic(facts.rollback.spec)
    made = migrations.plan(planned, answer, facts.schema, can_stop=can_stop)
    if facts.loss is None or isinstance(made, str):
        return made
    return facts.loss.fault or migrations.with_report(made, facts.loss)


def schema_answer(facts: ChecklistFacts) -> SchemaAnswer | None:
    """Compare the database with what the target knows; None: there is nothing to compare."""
    rollback, policy, history = facts.rollback, facts.policy, facts.schema
    if policy is None or history is None or rollback.spec.remedy.type in KEEP_THE_RELEASE:
        return None
    declared = _declared(facts)
    if isinstance(declared, UnknownSchema):
        return declared
    current = policy.status.revision
    is_same = current is not None and current.digest == facts.deployment.template.digest
    released = current.since if current is not None and is_same else None
    running = facts.workload.current
    if released is None:
        created = running.created if running is not None else 0.0
        released = datetime.fromtimestamp(created, facts.now.tzinfo)
    settle = timedelta(seconds=policy.spec.safety.good_after_seconds)
    record = _record_of(rollback, policy)
    comparison = schema.HistoryComparison(record, released, settle, declared)
    return schema.compare(history, comparison)


def _declared(facts: ChecklistFacts) -> DeclaredSchema | UnknownSchema:
    """Give what the target's template says; a pinned image has no template."""
    if facts.target is None:
        return UNDECLARED
    target = facts.target.template
    return declared_schema.declared(target.schema_head, target.schema_range)


def _record_of(rollback: Rollback, policy: RollbackPolicy) -> AppliedMigrations | None:
    """Find the migrations applied when the target was good; a pinned image's name identifies it."""
    target, image = rollback.spec.to_revision, rollback.spec.remedy.image
    for entry in policy.status.revisions:
        is_it = entry.release == target.release if target else is_among(image or "", entry.images)
        if is_it and entry.migrations is not None:
            return entry.migrations
    return None
