"""Which applied migrations are newer than a target: by its record, by time, or not known."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.checklist import (
    MOST_RECORDED_MIGRATIONS,
    AppliedMigrations,
    CheckItem,
    CheckResult,
    Consequence,
    NewerSchemaResponse,
    SchemaResponse,
)
from rollback_operator.model.schema import (
    Applied,
    Compatible,
    DeclaredSchema,
    DirtyReason,
    DirtySchema,
    HistoryForm,
    Migration,
    NewerSchema,
    SchemaAnswer,
    SchemaHistory,
    UnknownSchema,
)
from rollback_operator.remedies.database import schema
from rollback_operator.remedies.database.schema import HistoryComparison, compare, ordered, recorded
from tests.builders import at

RELEASED = 10_000.0
SETTLE = timedelta(seconds=600)
DOWN = UnknownSchema("the connection was refused")
DIRTY = DirtySchema(DirtyReason.FAILED, "Flyway marks V3__x.sql as failed", ("V3__x.sql",))
UNRECORDED = UnknownSchema(
    "the migrations of the target revision are not recorded, and the history has no time with a "
    "time zone"
)


def applied(*names: str, time: float | None = 0.0) -> Applied:
    when: datetime | None = at(time) if time is not None else None
    return ordered([Migration(name, when) for name in names])


def record(*names: str) -> AppliedMigrations:
    return recorded(applied(*names), at(0))


def question(known: AppliedMigrations | None) -> HistoryComparison:
    return HistoryComparison(known, at(RELEASED), SETTLE)


def with_late(found: Applied, name: str, time: float | None) -> Applied:
    late = Migration(name, at(time) if time is not None else None)
    return ordered([*found.migrations, late])


OLD = applied("001", "002")
UNTIMED = applied("001", "002", time=None)
CASES: dict[str, tuple[SchemaHistory, AppliedMigrations | None, SchemaAnswer]] = {
    "nothing new": (OLD, record("001", "002"), Compatible(2)),
    "one came with the release": (
        with_late(OLD, "003", RELEASED + 5),
        record("001", "002"),
        NewerSchema(1, ("003",)),
    ),
    "one came just before the release": (
        with_late(OLD, "003", RELEASED - 300),
        record("001", "002"),
        NewerSchema(1, ("003",)),
    ),
    "one that the target has lived with": (
        with_late(OLD, "003", RELEASED - 601),
        record("001", "002"),
        Compatible(3),
    ),
    "one without a time": (
        with_late(UNTIMED, "003", None),
        record("001", "002"),
        NewerSchema(1, ("003",)),
    ),
    "no record, and all old": (OLD, None, Compatible(2)),
    "no record, and one new": (with_late(OLD, "003", RELEASED), None, NewerSchema(1, ("003",))),
    "no record and no times": (
        UNTIMED,
        None,
        UNRECORDED,
    ),
    "one was rolled back since": (
        applied("001"),
        record("001", "002"),
        UnknownSchema(
            "the target has run with 002, which is no longer applied: the schema is older than the "
            "target; apply it again, or decide"
        ),
    ),
    "one was replaced since": (
        with_late(applied("001"), "002_again", RELEASED),
        record("001", "002"),
        NewerSchema(1, ("002_again",), ("002",)),
    ),
    "nothing is applied any more": (
        Applied(()),
        record("001"),
        UnknownSchema("the history is empty: no migration is applied"),
    ),
    "nothing was ever applied": (
        Applied(()),
        AppliedMigrations(count=0, time=at(0)),
        Compatible(0),
    ),
    "a record of none": (
        with_late(Applied(()), "001", RELEASED),
        AppliedMigrations(count=0, time=at(0)),
        NewerSchema(1, ("001",)),
    ),
    "nobody answers": (DOWN, record("001"), DOWN),
    "a migration has failed": (DIRTY, record("001"), DIRTY),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_newer(case: str) -> None:
    found, known, wanted = CASES[case]

    assert compare(found, question(known)) == wanted


def test_a_history_that_is_another_is_not_compared() -> None:
    many = [f"{one:03}" for one in range(2 * MOST_RECORDED_MIGRATIONS)]
    found = compare(applied("x", time=RELEASED), question(record(*many)))

    assert isinstance(found, UnknownSchema)


@given(
    before=st.lists(st.integers(0, 500), unique=True, max_size=80),
    since=st.lists(st.integers(501, 600), unique=True, max_size=8),
    has_times=st.booleans(),
)
def test_what_came_since_is_found_however_long_the_history(
    before: list[int], since: list[int], has_times: bool
) -> None:
    def made(numbers: list[int], time: float) -> list[Migration]:
        when = at(time) if has_times else None
        return [Migration(f"{one:03}_step", when) for one in numbers]

    then = ordered(made(before, 0))
    now = ordered([*made(before, 0), *made(since, RELEASED)])
    found = compare(now, question(recorded(then, at(0))))

    names = tuple(f"{one:03}_step" for one in sorted(since))
    assert found == (NewerSchema(len(names), names) if since else Compatible(len(before)))


@given(names=st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=60))
def test_a_record_is_bounded_and_finds_its_own_history_compatible(names: list[str]) -> None:
    found = applied(*names, time=None)
    known = recorded(found, at(0))

    assert len(known.names) <= MOST_RECORDED_MIGRATIONS
    assert compare(found, question(known)) == Compatible(len(names))


def test_long_names_that_differ_at_their_end_do_on_record() -> None:
    long = "m" * 200

    found = compare(applied(f"{long}1", f"{long}2", time=None), question(record(f"{long}1")))

    assert isinstance(found, NewerSchema)
    assert found.count == 1


# -- what the target declares ----------------------------------------------------------------------

FLYWAY = ("V1__init.sql", "V2__seats.sql", "V10__prices.sql")


@pytest.mark.parametrize(
    ("names", "declared", "wanted"),
    [
        (FLYWAY, DeclaredSchema(("V2__seats.sql",)), ("V10__prices.sql",)),
        (FLYWAY, DeclaredSchema(("V2",)), ("V10__prices.sql",)),
        (FLYWAY, DeclaredSchema(("2",)), ("V10__prices.sql",)),
        (FLYWAY, DeclaredSchema(("9",)), ("V10__prices.sql",)),
        (FLYWAY, DeclaredSchema(("12",)), ()),
        (FLYWAY, DeclaredSchema(("V10",), "V2"), ()),
        (FLYWAY, DeclaredSchema(("V12",), "V11"), None),
        (FLYWAY, DeclaredSchema(("seats",)), None),
        (("a.0001", "b.0001"), DeclaredSchema(("a.0001",)), ("b.0001",)),
        (("a.0001", "b.0001"), DeclaredSchema(("a.0001", "b.0001")), ()),
    ],
)
def test_a_declaration_stands_for_a_record(
    names: tuple[str, ...], declared: DeclaredSchema, wanted: tuple[str, ...] | None
) -> None:
    history = Applied(tuple(Migration(name) for name in names))

    found = compare(history, HistoryComparison(None, at(RELEASED), SETTLE, declared))

    if wanted is None:
        assert isinstance(found, UnknownSchema)
    else:
        assert found == (NewerSchema(len(wanted), wanted) if wanted else Compatible(len(names)))


def test_what_is_recorded_counts_beside_what_is_declared() -> None:
    history = applied("001", "002", "003", time=None)
    asked = HistoryComparison(record("001", "002"), at(RELEASED), SETTLE, DeclaredSchema(("001",)))

    assert compare(history, asked) == NewerSchema(1, ("003",))


# -- a head or a version alone ---------------------------------------------------------------------

HEAD, VERSION = HistoryForm.HEAD, HistoryForm.VERSION


@pytest.mark.parametrize(
    ("form", "current", "known", "wanted"),
    [
        (HEAD, "b", record("b"), Compatible(1)),
        (HEAD, "b", record("a"), NewerSchema(None, ("b",), ("a",))),
        (HEAD, "b", DeclaredSchema(("b",)), Compatible(1)),
        (HEAD, "b", DeclaredSchema(("a",)), NewerSchema(None, ("b",), ("a",))),
        (HEAD, "", record("a"), UnknownSchema),
        (HEAD, "b", None, UnknownSchema),
        (VERSION, "7", record("7"), Compatible(1)),
        (VERSION, "7", record("6"), NewerSchema(None, ("7",), ("6",))),
        (VERSION, "10", record("9"), NewerSchema(None, ("10",), ("9",))),
        (VERSION, "6", record("7"), UnknownSchema),
        (VERSION, "7", AppliedMigrations(count=0, time=at(0)), NewerSchema(None, ("7",))),
        (VERSION, "7", DeclaredSchema(("0007_seats",)), Compatible(1)),
        (VERSION, "7", DeclaredSchema(("9",), "6"), Compatible(1)),
        (VERSION, "5", DeclaredSchema(("9",), "6"), UnknownSchema),
    ],
)
def test_a_head_is_compared_as_a_state(
    form: HistoryForm,
    current: str,
    known: AppliedMigrations | DeclaredSchema | None,
    wanted: SchemaAnswer | type[UnknownSchema],
) -> None:
    history = Applied((Migration(current),) if current else (), form)
    declared = known if isinstance(known, DeclaredSchema) else DeclaredSchema()
    record = known if isinstance(known, AppliedMigrations) else None

    found = compare(history, HistoryComparison(record, at(RELEASED), SETTLE, declared))

    assert found == wanted or (wanted is UnknownSchema and isinstance(found, UnknownSchema))


# -- what follows ----------------------------------------------------------------------------------

BLOCK, ASK, IGNORE = SchemaResponse


@pytest.mark.parametrize(
    ("finding", "result", "consequences"),
    [
        (Compatible(3), CheckResult.PASSED, (Consequence.PROCEED,) * 3),
        (NewerSchema(1, ("008",)), CheckResult.FAILED, tuple(reversed(Consequence))),
        (DOWN, CheckResult.WARNED, tuple(reversed(Consequence))),
        (DIRTY, CheckResult.FAILED, tuple(reversed(Consequence))),
    ],
    ids=["compatible", "newer", "unknown", "dirty"],
)
def test_what_follows_is_the_policys_to_say(
    finding: SchemaAnswer, result: CheckResult, consequences: tuple[Consequence, ...]
) -> None:
    for response, consequence in zip((BLOCK, ASK, IGNORE), consequences, strict=True):
        on_newer = NewerSchemaResponse(response)
        found: CheckItem = schema.item(finding, on_newer, response)

        assert found.consequence is consequence
        is_ignored = response is IGNORE and isinstance(finding, NewerSchema | DirtySchema)
        assert found.result is (CheckResult.WARNED if is_ignored else result)


def test_newer_migrations_are_named_the_newest_first_of_all() -> None:
    names = tuple(f"{one:03}" for one in range(8))

    found = schema.item(NewerSchema(8, names), NewerSchemaResponse.BLOCK, ASK)

    assert "003, 004, 005, 006, 007 and 3 earlier" in found.message
    assert "fix forward, or revert the migrations" in found.message


def test_a_head_that_nobody_can_count_names_both_states() -> None:
    found = schema.item(NewerSchema(None, ("b",), ("a",)), NewerSchemaResponse.BLOCK, ASK)

    assert "the database is at b, and the target knows a" in found.message


def test_to_ignore_what_is_half_applied_takes_both_fields() -> None:
    newer = NewerSchemaResponse

    assert schema.item(DIRTY, newer.BLOCK, IGNORE).consequence is Consequence.REQUIRE_APPROVAL
    assert schema.item(DIRTY, newer.IGNORE, IGNORE).consequence is Consequence.PROCEED
    assert schema.item(DIRTY, newer.IGNORE, BLOCK).consequence is Consequence.BLOCK


def test_migrations_are_not_rolled_back_on_a_half_applied_schema_without_a_person() -> None:
    found = schema.item(DIRTY, NewerSchemaResponse.ROLLBACK_MIGRATIONS, IGNORE)

    assert found.consequence is Consequence.REQUIRE_APPROVAL
