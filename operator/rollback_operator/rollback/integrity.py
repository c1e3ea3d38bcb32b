"""Answers of a policy's database -> integrity checks, and the damage on record.

Rows of the queries on the damage are stored, since a person needs them; of an integrity check only
its first value, clipped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.shape import clipped
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.api.verification import (
    LONGEST_ROW,
    MOST_ASSESSED_ROWS,
    DamageAssessment,
    IntegrityCheck,
)
from rollback_operator.model.check import Check, failed, passed, unknown
from rollback_operator.model.samples import Missing

LONGEST_SHOWN = 64


@dataclass(frozen=True, slots=True)
class QueryRows:
    """First rows of an answer, each as a JSON object of its columns."""

    rows: tuple[str, ...] = ()
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class QueryFailure:
    """No answer to one query."""

    message: str


Answers = Mapping[str, QueryRows | QueryFailure]
"""By the name of the query."""


def checked(check: IntegrityCheck, answers: Answers | Missing) -> Check:
    """Compare the answer to an integrity check with the value of intact data."""
    answer = answers if isinstance(answers, Missing) else answers.get(check.name)
    if not isinstance(answer, QueryRows):
        return unknown(check.title, answer.message if answer is not None else "no answer")
    value = _first_value(answer)
    if value is None:
        return unknown(check.title, "the query gives no row with a short value")
    if value == check.expect:
        return passed(check.title, f"the query gives {value[:LONGEST_SHOWN]!r}")
    wanted = check.expect[:LONGEST_SHOWN]
    return failed(check.title, f"the query gives {value[:LONGEST_SHOWN]!r} instead of {wanted!r}")


def _first_value(answer: QueryRows) -> str | None:
    """Return the first column of the first row, as text; None: there is none."""
    try:
        row = parsed(answer.rows[0].encode()) if answer.rows else None
    except ValueError:
        return None  # longer than a row may be
    if not isinstance(row, dict) or not row:
        return None
    value = next(iter(row.values()))
    return value if isinstance(value, str) else json.dumps(value)


def assessed(
    names: Sequence[str], answers: Answers | Missing, now: datetime
) -> list[DamageAssessment]:
    """Record the answers to the queries on the damage, or why there are none."""
    return [_assessment(name, answers, now) for name in names]


def _assessment(name: str, answers: Answers | Missing, now: datetime) -> DamageAssessment:
    answer = answers if isinstance(answers, Missing) else answers.get(name)
    if not isinstance(answer, QueryRows):
        message = f"not assessed: {answer.message if answer is not None else 'no answer'}"
        return DamageAssessment(name=name, time=now, message=clipped(message, 512))
    rows = [clipped(row, LONGEST_ROW) for row in answer.rows[:MOST_ASSESSED_ROWS]]
    is_whole = answer.is_whole and len(rows) == len(answer.rows)
    message = "" if is_whole else "there are more rows"
    return DamageAssessment(name=name, time=now, rows=rows, message=message)


def summary(assessments: Sequence[DamageAssessment]) -> str:
    """Summarize what was found, without the rows."""
    return "; ".join(
        f"{each.name}: {len(each.rows)} rows" + (f", {each.message}" if each.message else "")
        for each in assessments
    )
