"""Whatever JSON a server answers, it is read or it is Missing; nothing is raised."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.adapters.prometheus import answers
from rollback_operator.api.v1alpha1 import SignalLabels
from rollback_operator.model.samples import Missing, usable

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["NaN", "+Inf", "1", "1e400", "-3", "0x1"]),
)
KEYS = st.sampled_from(
    ["metric", "values", "value", "histogram", "histograms", "count", "sum", "buckets", "pod", "le"]
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.one_of(st.floats(0, 2e9).map(str), SCALARS)
PAIRS = st.lists(st.tuples(st.floats(1e9, 2e9) | SCALARS, NUMBERS).map(list), max_size=4)
HISTOGRAMS = st.fixed_dictionaries(
    {
        "count": NUMBERS,
        "sum": NUMBERS,
        "buckets": st.lists(st.tuples(SCALARS, NUMBERS, NUMBERS, NUMBERS).map(list), max_size=3),
    }
)
SERIES = st.fixed_dictionaries(
    {"metric": st.dictionaries(KEYS, st.text(max_size=4), max_size=3)},
    optional={
        "values": PAIRS,
        "value": st.tuples(SCALARS, NUMBERS).map(list),
        "histogram": st.tuples(SCALARS, HISTOGRAMS).map(list),
        "histograms": st.lists(st.tuples(NUMBERS, HISTOGRAMS).map(list), max_size=2),
    },
)
ANSWERS = st.one_of(ANY, st.lists(SERIES, max_size=3))


@given(ANSWERS)
def test_counters_are_read_or_missing(answer: Any) -> None:
    found = answers.table(answer, SignalLabels())
    if not isinstance(found, Missing):
        times = [[time for time, _ in one.samples] for one in found.series]
        assert all(one == sorted(one) for one in times)
        kept = usable(found.series)
        if not isinstance(kept, Missing):
            values = [value for one in kept for _, value in one.samples]
            assert all(math.isfinite(one) and one >= 0 for one in values)


@given(ANSWERS)
def test_minutes_are_read_or_missing(answer: Any) -> None:
    found = answers.minutes(answer, "route")
    if not isinstance(found, Missing):
        assert all(value >= 0 for one in found.values() for value in one.values())


@pytest.mark.parametrize("read", [answers.vector, answers.vectors], ids=lambda read: read.__name__)
@given(answer=ANSWERS)
def test_values_are_read_or_missing(read: Any, answer: Any) -> None:
    read(answer)
