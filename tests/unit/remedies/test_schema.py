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
    SchemaResponse,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing
from rollback_operator.remedies import schema
from rollback_operator.remedies.schema import (
    Applied,
    Compatible,
    HistoryComparison,
    Migration,
    Newer,
    SchemaFinding,
    compare,
    ordered,
    recorded,
)
from tests.builders import at

RELEASED = 10_000.0
SETTLE = timedelta(seconds=600)
DOWN = Missing(Reason.SCHEMA_UNKNOWN, "the connection was refused")


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
CASES: dict[str, tuple[Applied | Missing, AppliedMigrations | None, SchemaFinding]] = {
    "nothing new": (OLD, record("001", "002"), Compatible(2)),
    "one came with the release": (
        with_late(OLD, "003", RELEASED + 5),
        record("001", "002"),
        Newer(("003",)),
    ),
    "one came just before the release": (
        with_late(OLD, "003", RELEASED - 300),
        record("001", "002"),
        Newer(("003",)),
    ),
    "one that the target has lived with": (
        with_late(OLD, "003", RELEASED - 601),
        record("001", "002"),
        Compatible(3),
    ),
    "one without a time": (
        with_late(UNTIMED, "003", None),
        record("001", "002"),
        Newer(("003",)),
    ),
    "no record, and all old": (OLD, None, Compatible(2)),
    "no record, and one new": (with_late(OLD, "003", RELEASED), None, Newer(("003",))),
    "no record and no times": (
        UNTIMED,
        None,
        Missing(
            Reason.SCHEMA_UNKNOWN,
            "the migrations of the target revision are not recorded, and the history has no time "
            "with a time zone",
        ),
    ),
    "one was rolled back since": (applied("001"), record("001", "002"), Compatible(1)),
    "a record of none": (
        with_late(Applied(()), "001", RELEASED),
        AppliedMigrations(count=0, time=at(0)),
        Newer(("001",)),
    ),
    "nobody answers": (DOWN, record("001"), DOWN),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_newer(case: str) -> None:
    found, known, wanted = CASES[case]

    assert compare(found, question(known)) == wanted


def test_a_history_that_is_another_is_not_compared() -> None:
    many = [f"{one:03}" for one in range(2 * MOST_RECORDED_MIGRATIONS)]
    found = compare(applied("x", time=RELEASED), question(record(*many)))

    assert isinstance(found, Missing)


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
    assert found == (Newer(names) if since else Compatible(len(before)))


@given(names=st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=60))
def test_a_record_is_bounded_and_finds_its_own_history_compatible(names: list[str]) -> None:
    found = applied(*names, time=None)
    known = recorded(found, at(0))

    assert len(known.names) <= MOST_RECORDED_MIGRATIONS
    assert compare(found, question(known)) == Compatible(len(names))


# -- what follows ----------------------------------------------------------------------------------

BLOCK, ASK, IGNORE = SchemaResponse


@pytest.mark.parametrize(
    ("finding", "result", "consequences"),
    [
        (Compatible(3), CheckResult.PASSED, (Consequence.PROCEED,) * 3),
        (Newer(("008",)), CheckResult.FAILED, tuple(reversed(Consequence))),
        (DOWN, CheckResult.WARNED, tuple(reversed(Consequence))),
    ],
    ids=["compatible", "newer", "unknown"],
)
def test_what_follows_is_the_policys_to_say(
    finding: SchemaFinding, result: CheckResult, consequences: tuple[Consequence, ...]
) -> None:
    for response, consequence in zip((BLOCK, ASK, IGNORE), consequences, strict=True):
        found: CheckItem = schema.item(finding, response, response)

        assert found.consequence is consequence
        is_ignored = response is IGNORE and isinstance(finding, Newer)
        assert found.result is (CheckResult.WARNED if is_ignored else result)


def test_newer_migrations_are_named_the_newest_first_of_all() -> None:
    names = tuple(f"{one:03}" for one in range(8))

    found = schema.item(Newer(names), BLOCK, ASK)

    assert "003, 004, 005, 006, 007 and 3 earlier" in found.message
    assert "fix forward, or revert the migrations" in found.message
