"""Integrity checks: what a release that damages data shows, and what is no fault of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import MatrixCondition, SignalName
from rollback_operator.evidence.trends import Trial
from rollback_operator.judge.integrity_trials import damage, with_answer
from rollback_operator.judge.matrix_probes import Serving
from rollback_operator.model.check import failed, passed, unknown

ANY = MatrixCondition(signal=SignalName.INTEGRITY)
NAME = "invalid-tickets"
GOOD, BAD, NONE = passed(NAME, "0"), failed(NAME, "7 instead of 0"), unknown(NAME, "no answer")
OLD, NEW = Serving.OLD, Serving.NEW


def trial(*answers: tuple[object, Serving | None]) -> Trial:
    made = Trial()
    for number, (check, who) in enumerate(answers):
        made = with_answer(made, check, who, float(number))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("answers", "veto"),
    [
        ([(GOOD, OLD), (BAD, NEW), (BAD, NEW)], None),
        ([(GOOD, NEW), (BAD, NEW), (BAD, NEW)], None),
        # Repaired by hand, and damaged again.
        ([(BAD, OLD), (GOOD, NEW), (BAD, NEW), (BAD, NEW)], None),
        ([(BAD, OLD), (BAD, NEW), (BAD, NEW)], Reason.THERE_BEFORE),
        ([(GOOD, OLD), (BAD, OLD), (BAD, NEW), (BAD, NEW)], Reason.THERE_BEFORE),
        # Nobody knows how it was before.
        ([(BAD, NEW), (BAD, NEW)], Reason.THERE_BEFORE),
        ([(NONE, OLD), (BAD, NEW), (BAD, NEW)], Reason.THERE_BEFORE),
        # Whose pods served is not known: it is no baseline, and no proof.
        ([(BAD, None), (BAD, NEW)], Reason.THERE_BEFORE),
    ],
)
def test_a_check_speaks_against_the_release_only_if_it_passed_before(
    answers: Sequence[tuple[object, Serving | None]], veto: Reason | None
) -> None:
    found = damage({NAME: trial(*answers)}, ANY)

    assert found is not None
    assert found.veto is veto
    assert "the query" not in found.message
    assert "7 instead of 0" in found.message


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [(GOOD, OLD), (GOOD, NEW)],
        [(GOOD, OLD), (BAD, NEW)],
        [(GOOD, OLD), (BAD, NEW), (NONE, NEW)],
        [(GOOD, OLD), (BAD, NEW), (GOOD, NEW), (BAD, NEW)],
        [(BAD, OLD), (BAD, OLD), (BAD, OLD)],
    ],
)
def test_once_is_chance_and_old_pods_are_no_release(
    answers: Sequence[tuple[object, Serving | None]],
) -> None:
    assert damage({NAME: trial(*answers)}, ANY) is None


def test_a_condition_names_its_check_and_a_proved_check_comes_first() -> None:
    trials = {
        "another": trial((BAD, NEW), (BAD, NEW)),
        NAME: trial((GOOD, OLD), (BAD, NEW), (BAD, NEW)),
    }

    any_found = damage(trials, ANY)
    named = damage(trials, MatrixCondition(signal=SignalName.INTEGRITY, name="another"))

    assert any_found is not None
    assert (any_found.veto, any_found.name) == (None, "")
    assert NAME in any_found.message
    assert named is not None
    assert (named.veto, named.name) == (Reason.THERE_BEFORE, "another")
    assert damage(trials, MatrixCondition(signal=SignalName.INTEGRITY, name="none")) is None
