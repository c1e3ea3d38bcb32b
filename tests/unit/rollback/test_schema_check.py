"""What the target knows of the schema: its record and its template say it."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.checklist import (
    AppliedMigrations,
    CheckName,
    CheckResult,
    Consequence,
    DatabaseSpec,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import Remedy
from rollback_operator.api.v1alpha1 import RemedyType, Rollback, RollbackPolicyStatus
from rollback_operator.model.schema import (
    Applied,
    Compatible,
    DirtyReason,
    DirtySchema,
    Migration,
    NewerSchema,
    SchemaHistory,
    UnknownSchema,
)
from rollback_operator.rollback import checklist
from rollback_operator.rollback.checks import ChecklistFacts
from rollback_operator.rollback.schema_check import schema_answer
from tests.builders import (
    at,
    make_entry,
    make_policy,
    make_replica_set,
    make_rollback,
    make_template,
    make_workload,
)

HISTORY = Applied((Migration("001"), Migration("002")))
DATABASE = {"connectionSecretRef": {"name": "db"}, "onUnknownSchema": "Block"}
SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
PIN = Remedy(type=RemedyType.PIN_IMAGE, container="ticket-service", image="elsewhere/shop:v0")


def facts_of(
    history: SchemaHistory | None = HISTORY,
    rollback: Rollback | None = None,
    record: AppliedMigrations | None = None,
    **template: Any,
) -> ChecklistFacts:
    policy = make_policy(database=DatabaseSpec.model_validate(DATABASE))
    status = RollbackPolicyStatus(
        revision=make_entry("v2", since=at(10)), revisions=[make_entry("v1", migrations=record)]
    )
    target = make_replica_set("v1", template=make_template("v1", **template))
    return ChecklistFacts(
        rollback or make_rollback(),
        make_workload(replica_sets=(make_replica_set("v2"), target)),
        at(20),
        policy.model_copy(update={"status": status}),
        schema=history,
    )


def test_the_record_and_the_annotation_say_what_the_target_knows() -> None:
    record = AppliedMigrations(count=1, names=["001"], time=at(0))
    newer = NewerSchema(1, ("002",))

    assert isinstance(schema_answer(facts_of()), UnknownSchema)
    assert schema_answer(facts_of(record=record)) == newer
    assert schema_answer(facts_of(schema_head="001")) == newer
    assert schema_answer(facts_of(schema_head="002")) == Compatible(2)
    assert schema_answer(facts_of(schema_range="001..002")) == Compatible(2)
    assert schema_answer(facts_of(record=record, schema_head="002")) == Compatible(2)


def test_what_cannot_be_read_is_not_passed_over() -> None:
    assert isinstance(schema_answer(facts_of(schema_range="from 1 to 2")), UnknownSchema)


def test_a_pinned_image_has_no_template_that_declares_anything() -> None:
    pinned = make_rollback(remedy=PIN, to_revision=None)

    assert isinstance(schema_answer(facts_of(rollback=pinned, schema_head="002")), UnknownSchema)


def test_a_release_that_stays_needs_no_other_schema() -> None:
    facts = facts_of(rollback=make_rollback(remedy=SCALE, to_revision=None))
    items = {each.name: each for each in checklist.make(facts).items}

    assert schema_answer(facts) is None
    assert schema_answer(facts_of(None)) is None
    assert items[CheckName.DATABASE_SCHEMA].result is CheckResult.SKIPPED
    nothing = {each.name: each for each in checklist.make(facts_of(None)).items}
    assert nothing[CheckName.DATABASE_SCHEMA].message == "the policy names no database"


@pytest.mark.parametrize(
    ("history", "template", "reason"),
    [
        (HISTORY, {"schema_head": "001"}, Reason.NEWER_SCHEMA),
        (HISTORY, {}, Reason.SCHEMA_UNKNOWN),
        (DirtySchema(DirtyReason.LOCKED, "locked"), {}, Reason.SCHEMA_DIRTY),
        (UnknownSchema("refused"), {"schema_head": "001"}, Reason.SCHEMA_UNKNOWN),
    ],
)
def test_the_end_of_a_blocked_rollback_names_the_answer(
    history: SchemaHistory, template: dict[str, str], reason: Reason
) -> None:
    made = checklist.make(facts_of(history, **template))

    assert made.consequence is Consequence.BLOCK
    assert made.blocked.reason is reason
