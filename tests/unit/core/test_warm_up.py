"""Which counts of a pod's first seconds are left out: those that hold a warm-up and little else."""

import pytest

from rollback_operator.core.scope import without_warm_up
from tests.builders import T0, make_increment

STARTS = {"pod-0": (T0,)}
BEGIN = make_increment(start=2, end=3, requests=1)
"""The pod's first request: ages are counted from here."""


@pytest.mark.parametrize(
    ("start", "end", "is_counted"),
    [(3, 12, False), (3, 24, False), (3, 32, False), (3, 62, True), (14, 27, True), (23, 36, True)],
    ids=[
        "within it",
        "a scrape that ends a little later",
        "a scrape of thirty seconds",
        "a gap of a minute is no warm-up",
        "nothing failed in the first half of it",
        "after it",
    ],
)
def test_what_is_counted(start, end, is_counted) -> None:
    one = make_increment(start=start, end=end, requests=80, errors=12)
    assert (one in without_warm_up([BEGIN, one], STARTS)) is is_counted
