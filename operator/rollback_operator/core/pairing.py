"""Which series of a pod's own page is which of Prometheus'.

Prometheus adds labels to what a pod exposes (and calls the pod's own `exported_` where the names
collide), so the same counter has two sets of labels: on the same pod, route and kind, one contains
the other. Each series is paired once. Where that cannot be told, or where the two plainly differ
(routes rewritten, series dropped by relabeling), nothing is guessed: the book has a conflict, and
Prometheus alone is believed.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from rollback_operator.core.reading import CounterSeries

CLOCK_GRAIN = 1.0
"""Kubernetes' times have no fractions: a start may be up to this much later than it is told."""
Labels = tuple[tuple[str, str], ...]
SeriesKey = tuple[str, str, Labels]
"""Kind, pod, and labels with the route first."""
Shape = tuple[str, Labels]
"""A series on whichever pod."""
_EXPORTED = "exported_"


@dataclass(frozen=True, slots=True)
class Head:
    """Where a series stands."""

    time: float
    value: float
    life: float | None = None
    """Start of the container that its last reset was put down to: each start resets once."""
    is_scraped: bool = True
    """Prometheus has it; False: so far only the pod's own page has."""


@dataclass(frozen=True, slots=True)
class Book:
    """Where each series stands, and by which names it is known."""

    heads: Mapping[SeriesKey, Head] = field(default_factory=dict)
    pairs: Mapping[SeriesKey, SeriesKey] = field(default_factory=dict)
    """Per series of a pod's own page, the one it is counted as."""
    foreign: frozenset[Shape] = frozenset()
    """Series that pods expose and Prometheus does not keep: they are no evidence."""
    conflict: str = ""
    """Why the pods' own pages and Prometheus cannot be counted together; empty: they can."""
    named: tuple[tuple[SeriesKey, CounterSeries], ...] = ()
    """An answer's series under the names by which they are counted."""

    def with_unscraped(self, before: "Book") -> "Book":
        """Mark what is new since `before` as not scraped yet."""
        new = (key for key in self.heads if key not in before.heads)
        marked = {key: replace(self.heads[key], is_scraped=False) for key in new}
        return replace(self, heads={**self.heads, **marked}) if marked else self


def named_as_scraped(
    book: Book,
    counted: Iterable[tuple[str, CounterSeries]],
    shown: Mapping[str, float],
    silent: Mapping[str, float],
    begun: Mapping[str, float | None],
) -> Book:
    """Name Prometheus' series; what a page has shown before takes the name that it has there.

    Args:
        book: what is known so far.
        counted: an answer's series, by kind.
        shown: per pod, up to when a scraped series must be on the page that was last read.
        silent: per pod, from when on its page is no longer waited for.
        begun: per pod, when its container started.
    """
    own = {key for key, head in book.heads.items() if not head.is_scraped}
    waiting, conflict = _Unpaired(own), book.conflict
    heads, pairs, foreign = dict(book.heads), dict(book.pairs), book.foreign
    by_name = {name: key for key, name in pairs.items()}
    named = []
    for kind, series in counted:
        key = _key(kind, series)
        alike = waiting.alike(key) if own and (key in own or key not in heads) else []
        if len(alike) == 1:
            waiting.take(alike[0])
            heads[key] = replace(heads.pop(alike[0]), is_scraped=True)
            pairs[by_name[alike[0]]] = key
        elif alike:
            conflict = f"{_said(key)} may be any of {len(alike)} series of the pod's page"
        elif key not in by_name and _is_missing(series, heads.get(key), shown, begun):
            conflict = f"{_said(key)} is not on the pod's own page"
        if key not in heads and foreign:
            foreign = frozenset(shape for shape in foreign if not _is_alike(shape, key))
        # What the page may show at the next look is not taken for a new series before.
        if key in heads or series.samples[-1][0] > silent.get(key[1], -math.inf):
            named.append((key, series))
    known = replace(book, heads=heads, pairs=pairs, foreign=foreign)
    return replace(known, conflict=conflict, named=tuple(named))


def named_as_read(
    book: Book,
    counted: Iterable[tuple[str, CounterSeries]],
    settled: Collection[str],
) -> Book:
    """Name the series of the pods' own pages as Prometheus does, as far as it has them.

    Args:
        book: what is known so far.
        counted: the pages' series, by kind.
        settled: the pods whose page is read for the first time, and which Prometheus has known for
            so long that it has all that it keeps of them.
    """
    pairs, foreign, conflict = dict(book.pairs), set(book.foreign), book.conflict
    keyed = [(_key(kind, series), series) for kind, series in counted]
    unknown = [key for key, _ in keyed if key not in pairs and _shape(key) not in foreign]
    # What pods that Prometheus knows have beyond it holds for the pods that it does not know yet.
    unknown.sort(key=lambda key: key[1] not in settled)
    taken = set(pairs.values()) if unknown else set()
    waiting = _Unpaired(
        key for key, head in book.heads.items() if unknown and head.is_scraped and key not in taken
    )
    for key in unknown:
        alike = waiting.alike(key)
        if len(alike) == 1:
            waiting.take(alike[0])
            pairs[key] = alike[0]
        elif alike:
            conflict = f"{_said(key)} may be any of {len(alike)} series in Prometheus"
        elif key[1] in settled:
            foreign.add(_shape(key))
        elif _shape(key) not in foreign:
            pairs[key] = key
    named = tuple((pairs[key], series) for key, series in keyed if key in pairs)
    return replace(book, pairs=pairs, foreign=frozenset(foreign), conflict=conflict, named=named)


def _is_missing(
    series: CounterSeries,
    head: Head | None,
    shown: Mapping[str, float],
    begun: Mapping[str, float | None],
) -> bool:
    """Tell whether a pod's page has been read since this series of it was scraped, without it."""
    latest = shown.get(series.pod, 0.0)
    if head is None:
        return series.samples[0][0] < latest
    # What is left of a container that has ended is not on the page of the next one.
    start = begun.get(series.pod)
    return start is not None and head.is_scraped and start + CLOCK_GRAIN <= head.time < latest


class _Unpaired:
    """Series that are not paired yet, to find one of another reader among them."""

    def __init__(self, keys: Iterable[SeriesKey]) -> None:
        self._groups: dict[tuple[str, str, tuple[str, str]], list[SeriesKey]] = {}
        for key in keys:
            self._groups.setdefault(_group(key), []).append(key)

    def alike(self, key: SeriesKey) -> list[SeriesKey]:
        """List those that may be the same series: none, the one, or several alike."""
        labels = _own(key[2])
        found: dict[int, list[SeriesKey]] = {}
        for other in self._groups.get(_group(key), ()):
            theirs = _own(other[2])
            if labels <= theirs or theirs <= labels:
                # Labels that a pod is given are the same on all its series: of several that
                # contain this one, the one with the fewest more is it.
                found.setdefault(len(labels ^ theirs), []).append(other)
        return found[min(found)] if found else []

    def take(self, key: SeriesKey) -> None:
        """Leave one out from now on."""
        self._groups[_group(key)].remove(key)


def _key(kind: str, series: CounterSeries) -> SeriesKey:
    return kind, series.pod, (("route", series.route), *series.identity)


def _shape(key: SeriesKey) -> Shape:
    return key[0], key[2]


def _group(key: SeriesKey) -> tuple[str, str, tuple[str, str]]:
    return key[0], key[1], key[2][0]


def _is_alike(shape: Shape, key: SeriesKey) -> bool:
    labels, theirs = _own(shape[1]), _own(key[2])
    is_same_route = (shape[0], shape[1][0]) == (key[0], key[2][0])
    return is_same_route and (labels <= theirs or theirs <= labels)


def _own(labels: Labels) -> frozenset[tuple[str, str]]:
    """Give labels by the names that the pod itself uses."""
    found = dict(labels[1:])
    kept = {name: value for name, value in found.items() if not name.startswith(_EXPORTED)}
    exported = {
        name.removeprefix(_EXPORTED): value
        for name, value in found.items()
        if name.startswith(_EXPORTED)
    }
    return frozenset((kept | exported).items())


def _said(key: SeriesKey) -> str:
    return f"{key[0]} {dict(key[2])} of {key[1]}"
