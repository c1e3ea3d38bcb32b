"""What a release says of its own schema: two annotations."""

from __future__ import annotations

import pytest

from rollback_operator.model.schema import DeclaredSchema, UnknownSchema
from rollback_operator.remedies.database.declared_schema import (
    MOST_DECLARED_CHARACTERS,
    declared,
    number_of,
)


@pytest.mark.parametrize(
    ("head", "span", "wanted"),
    [
        ("", "", DeclaredSchema()),
        ("007_seats", "", DeclaredSchema(("007_seats",))),
        ("tickets.0007, auth.0012", "", DeclaredSchema(("tickets.0007", "auth.0012"))),
        ("", "003..007", DeclaredSchema(("007",), "003")),
        ("", " 003 .. 007 ", DeclaredSchema(("007",), "003")),
        ("1.2", "", DeclaredSchema(("1.2",))),
    ],
)
def test_what_annotations_declare(head: str, span: str, wanted: DeclaredSchema) -> None:
    assert declared(head, span) == wanted


@pytest.mark.parametrize(
    ("head", "span", "part"),
    [
        ("007", "003..007", "not both"),
        ("", "003", "FIRST..LAST"),
        ("", "..007", "FIRST..LAST"),
        ("", "1..2..3", "FIRST..LAST"),
        ("x" * (MOST_DECLARED_CHARACTERS + 1), "", "schema-head has more than"),
        ("", "x" * (MOST_DECLARED_CHARACTERS + 1), "schema-range has more than"),
        (",".join("a" * 21), "", "more than 20"),
    ],
)
def test_what_cannot_be_read_names_the_annotation(head: str, span: str, part: str) -> None:
    found = declared(head, span)

    assert isinstance(found, UnknownSchema)
    assert part in found.reason
    assert "rollback.tickettoken.io/schema-" in found.reason


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("V1_2__x.sql", (1, 2)),
        ("V10__x.sql", (10,)),
        ("001_2fa", (1,)),
        ("1.10.2", (1, 10, 2)),
        ("20240101120000-x.js", (20240101120000,)),
        ("Init1700000000000", None),
        ("tickets.0001", None),
        ("\u0661_x", None),
        ("", None),
        ("V", None),
    ],
)
def test_the_number_that_a_name_begins_with(name: str, number: tuple[int, ...] | None) -> None:
    assert number_of(name) == number


def test_a_number_without_an_end_costs_nothing() -> None:
    assert number_of("9" * 100_000) == (int("9" * 64),)
