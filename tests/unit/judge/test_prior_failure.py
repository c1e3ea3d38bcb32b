"""What the old pods' last minute tells: the new pods' fault, another one, or chance."""

import pytest

from rollback_operator.judge.prior_failure import is_alike
from rollback_operator.stats.windows import Increment
from tests.builders import make_increment

KNOWN = (0.001, 0.005)
"""The old revision's own rate, as a rule and at its worst."""


def counts(
    pod: str, *each: tuple[float, float], last: float = 0.0, every: float = 15.0
) -> list[Increment]:
    """One pod's (requests, errors) in samples so many seconds apart, the last one at `last`."""
    return [
        make_increment(
            pod=pod,
            start=last - every * (number + 1),
            end=last - every * number,
            requests=float(requests),
            errors=float(errors),
        )
        for number, (requests, errors) in enumerate(reversed(each))
    ]


ALIKE = {
    "as bad for two samples": (0.2, [*counts("a", (60, 0), (60, 12), (60, 13))]),
    "since a second before two pods were last read": (
        0.8,
        [*counts("a", (300, 0), (300, 17), last=1.0), *counts("b", (300, 0), (300, 16), last=0.9)],
    ),
    "... and a pod that was read before that is clean": (
        0.8,
        [
            *counts("a", (300, 0), (300, 17), last=1.0),
            *counts("b", (300, 0), (300, 16), last=0.9),
            *counts("c", (300, 0), (300, 0), last=-0.5),
        ],
    ),
    "on a pod for a second, on another for five": (
        0.4,
        [*counts("a", (300, 8), last=-4.0), *counts("b", (300, 0), (300, 41), last=0.0)],
    ),
    "a third as bad, for all that can be told within a sample": (
        0.6,
        [*counts("a", (60, 0), (60, 12)), *counts("b", (60, 0), (60, 11))],
    ),
    "read each half minute": (
        0.5,
        [
            *counts("a", (900, 0), (900, 60), every=30.0),
            *counts("b", (900, 0), (900, 55), every=30.0, last=-0.2),
        ],
    ),
}
NOT_ALIKE = {
    "never served": (0.5, []),
    "no error": (0.5, [*counts("a", (60, 0), (60, 0))]),
    "an error now and then": (0.5, [*counts("a", (900, 1), (900, 0), (900, 1))]),
    "one clump": (0.6, [*counts("a", (60, 0), (60, 10)), *counts("b", (60, 0), (60, 0))]),
    "errors on one pod, none on another in the same seconds": (
        0.8,
        [*counts("a", (300, 9), (300, 17)), *counts("b", (300, 0), (300, 0), last=0.3)],
    ),
    "a lesser fault that has lasted": (
        1.0,
        [*counts("a", (60, 8), (60, 9), (60, 8)), *counts("b", (60, 9), (60, 8), (60, 8))],
    ),
    "a lesser fault that two pods had for different times": (
        0.9,
        [*counts("a", (300, 0), (300, 30)), *counts("b", (300, 0), (300, 15), last=-5.0)],
    ),
    "errors that ended before": (
        0.5,
        [*counts("a", (300, 80), (300, 0)), *counts("b", (300, 75), (300, 0), last=-1.0)],
    ),
}


@pytest.mark.parametrize(("rate", "last"), ALIKE.values(), ids=ALIKE)
def test_old_pods_had_come_to_fail_like_the_new_ones(rate, last) -> None:
    assert is_alike(last, rate, KNOWN)


@pytest.mark.parametrize(("rate", "last"), NOT_ALIKE.values(), ids=NOT_ALIKE)
def test_what_the_old_pods_show_is_not_the_new_ones_fault(rate, last) -> None:
    assert not is_alike(last, rate, KNOWN)


def test_what_was_as_bad_in_the_hour_before_is_nothing_new() -> None:
    last = [*counts("a", (60, 12), (60, 13)), *counts("b", (60, 11), (60, 12))]
    assert is_alike(last, 0.2, KNOWN)
    assert not is_alike(last, 0.2, (0.01, 0.25))


def test_many_pods_tell_as_much_as_they_are() -> None:
    few = [one for number in range(2) for one in counts(f"a{number}", (20, 0), (20, 1))]
    many = [one for number in range(200) for one in counts(f"a{number}", (20, 0), (20, 1))]
    assert not is_alike(few, 0.5, (0.02, 0.05))
    assert is_alike(many, 0.5, (0.001, 0.005))


def test_a_lesser_fault_that_the_new_pods_show_beside_is_no_coincidence() -> None:
    last = [*counts("a", (20, 0), (20, 3)), *counts("b", (20, 0), (20, 2), last=-4.0)]
    assert is_alike(last, 0.95, KNOWN)
    assert not is_alike(last, 0.95, KNOWN, beside=0.2)
    undoubted = [*counts("a", (60, 0), (60, 57)), *counts("b", (60, 0), (60, 38), last=-5.0)]
    assert is_alike(undoubted, 0.95, KNOWN, beside=0.2)
