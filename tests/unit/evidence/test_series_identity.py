"""Series are paired in nearly linear time, just as comparing each with each would pair them."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_operator.evidence import series_identity
from rollback_operator.evidence.series_identity import (
    MOST_SHAPES,
    Book,
    Head,
    SeriesKey,
    named_as_read,
    named_as_scraped,
)
from rollback_operator.model.samples import CounterSeries
from tests.growth import growth
from tests.sizes import examples


class EachWithEach:
    """What is to come out: every set of labels is compared with every other one."""

    excess = ""

    def __init__(self, items: Iterable[tuple[object, object, frozenset[tuple[str, str]]]]) -> None:
        self.items = {item: (group, labels) for item, group, labels in items}

    def __iter__(self):
        return iter(self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    def _found(self, group, labels) -> dict[int, list[object]]:
        found: dict[int, list[object]] = {}
        for item, (theirs, own) in self.items.items():
            if theirs == group and (labels <= own or own <= labels):
                found.setdefault(len(labels ^ own), []).append(item)
        return found

    def nearest(self, group, labels):
        found = self._found(group, labels)
        nearest = found[min(found)] if found else []
        return series_identity._Alike(len(nearest), nearest[0] if len(nearest) == 1 else None)

    def all_alike(self, group, labels) -> list[object]:
        return [one for all_ in self._found(group, labels).values() for one in all_]

    def remove(self, item: object) -> None:
        del self.items[item]


NAMES = ["a", "b", "c", "exported_a", "exported_b", "d"]
SERIES = st.builds(
    lambda pod, route, labels, at, value: CounterSeries(
        pod, route, tuple(sorted(labels.items())), "", ((at, value),)
    ),
    st.sampled_from(["p", "q"]),
    st.sampled_from(["", "/x"]),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from("12"), max_size=4),
    st.integers(1, 30).map(float),
    st.integers(0, 5).map(float),
)
COUNTED = st.lists(
    st.tuples(st.sampled_from(["requests", "errors"]), SERIES),
    max_size=12,
    unique_by=lambda one: (one[0], one[1].pod, one[1].route, one[1].identity),
)


def key(kind: str, series: CounterSeries) -> SeriesKey:
    return kind, series.pod, (("route", series.route), *series.identity)


def rounds(looks: list[tuple[bool, list[tuple[str, CounterSeries]]]]) -> list[Book]:
    """Take in answers of Prometheus (True) and of pages, as evidence does."""
    book, found = Book(), []
    for is_scraped, counted in looks:
        before = book
        if is_scraped:
            book = named_as_scraped(book, counted, {"p": 20.0}, {"q": 25.0}, {"p": 10.0})
        else:
            book = named_as_read(book, counted, {"p"})
        heads = dict(book.heads)
        for name, series in book.named:
            life = heads[name] if name in heads else Head(0.0, 0.0)
            heads[name] = replace(life, time=series.samples[-1][0], value=series.samples[-1][1])
        book = replace(book, heads=heads)
        book = book if is_scraped else book.with_unscraped(before)
        found.append(book)
    return found


@settings(max_examples=examples(600), deadline=None)
@given(st.lists(st.tuples(st.booleans(), COUNTED), min_size=1, max_size=5))
def test_series_are_paired_as_comparing_each_with_each_pairs_them(looks) -> None:
    found = rounds(looks)
    related = series_identity._Related
    series_identity._Related = EachWithEach
    try:
        expected = rounds(looks)
    finally:
        series_identity._Related = related
    assert found == expected


def many(count: int, extra: tuple[tuple[str, str], ...] = ()) -> list[tuple[str, CounterSeries]]:
    return [
        ("requests", CounterSeries("p", "", (*extra, ("user", str(n))), "", ((5.0, 1.0),)))
        for n in range(count)
    ]


def test_pairing_grows_with_the_series_and_no_faster() -> None:
    """Each with each, four times the series took sixteen times as long, and 2,000 of them 2.4 s."""

    def paired(count: int) -> Book:
        scraped = named_as_scraped(Book(), many(count, (("job", "x"),)), {}, {}, {})
        heads = {key(kind, one): Head(5.0, 1.0) for kind, one in many(count, (("job", "x"),))}
        return named_as_read(replace(scraped, heads=heads), many(count), set())

    found = paired(2000)
    assert len(found.pairs) == 2000
    assert not found.conflict
    assert growth(paired, 500, 2000) < 8


@pytest.mark.parametrize("is_scraped", [True, False])
def test_series_that_differ_in_their_labels_names_are_not_paired(is_scraped: bool) -> None:
    """So many sets of names cannot be compared in bounded time: Prometheus alone is believed."""
    counted = [
        ("requests", CounterSeries("p", "", ((f"l{n:04}", "1"),), "", ((5.0, 1.0),)))
        for n in range(MOST_SHAPES + 1)
    ]
    heads = {key(*one): Head(5.0, 1.0, is_scraped=not is_scraped) for one in counted}
    book = Book(heads=heads, pairs={one: one for one in heads} if is_scraped else {})
    one = [("requests", CounterSeries("p", "", (), "", ((5.0, 1.0),)))]
    found = (
        named_as_scraped(book, one, {}, {}, {}) if is_scraped else named_as_read(book, one, set())
    )
    assert "different sets of labels" in found.conflict
