"""Answers of a database -> checks and the damage on record, however odd the answers."""

from __future__ import annotations

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.verification import (
    LONGEST_ROW,
    MOST_ASSESSED_ROWS,
    DamageAssessment,
    IntegrityCheck,
    VerificationResult,
)
from rollback_operator.model.samples import Missing
from rollback_operator.rollback.integrity import (
    Answers,
    QueryFailure,
    QueryRows,
    assessed,
    checked,
    summary,
)
from tests.builders import at

CHECK = IntegrityCheck(name="invalid", query="SELECT count(*) FROM tickets")
AWAY = Missing(Reason.SCHEMA_UNKNOWN, "the connection was refused")
PASSED, FAILED, UNKNOWN = VerificationResult


@pytest.mark.parametrize(
    ("row", "expect", "result"),
    [
        ('{"count":0}', "0", PASSED),
        ('{"count":7}', "0", FAILED),
        ('{"ok":true}', "true", PASSED),
        ('{"ok":null}', "null", PASSED),
        ('{"state":"fine"}', "fine", PASSED),
        ('{"sum":12345678901234567890123}', "12345678901234567890123", PASSED),
        ('{"first":1,"second":2}', "1", PASSED),
        ("{}", "0", UNKNOWN),
        ("[0]", "0", UNKNOWN),
        ('{"count":', "0", UNKNOWN),
        ("[" * 2000, "0", UNKNOWN),
    ],
)
def test_the_first_value_is_compared(row: str, expect: str, result: VerificationResult) -> None:
    check = CHECK.model_copy(update={"expect": expect})

    found = checked(check, {"invalid": QueryRows((row,))})

    assert (found.name, found.result) == ("Integrity-invalid", result)


@pytest.mark.parametrize(
    "answers", [AWAY, {}, {"invalid": QueryFailure("no such table")}, {"invalid": QueryRows()}]
)
def test_without_an_answer_nothing_is_known(answers: Answers | Missing) -> None:
    assert checked(CHECK, answers).result is UNKNOWN


def test_rows_are_kept_within_their_limits() -> None:
    rows = tuple("x" * 1000 for _ in range(30))

    (found,) = assessed(["damage"], {"damage": QueryRows(rows)}, at(5))

    assert len(found.rows) == MOST_ASSESSED_ROWS
    assert all(len(row) <= LONGEST_ROW for row in found.rows)
    assert found.message == "there are more rows"
    assert DamageAssessment.model_validate(found.model_dump()) == found
    assert summary([found]) == "damage: 10 rows, there are more rows"


def test_no_database_is_said_for_each_query() -> None:
    found = assessed(["one", "two"], AWAY, at(5))

    assert [each.message for each in found] == ["not assessed: the connection was refused"] * 2
