"""Which series of a pod's own page is which of Prometheus'.

Prometheus adds labels to what a pod exposes (and calls the pod's own `exported_` where the names
collide), so the same counter has two sets of labels: on the same pod, route and kind, one contains
the other. Each series is paired once. Where the pair is ambiguous, or where the two plainly differ
(routes rewritten, series dropped by relabeling), nothing is guessed: the book has a conflict, and
the operator uses Prometheus alone.
"""

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from rollback_operator.model.samples import Counters, CounterSeries

CLOCK_GRAIN = 1.0
"""Kubernetes' times have no fractions: a start may be up to this much later than shown."""
Labels = tuple[tuple[str, str], ...]
SeriesKey = tuple[str, str, Labels]
"""Kind, pod, and labels with the route first."""
Shape = tuple[str, Labels]
"""A series on whichever pod."""
Own = frozenset[tuple[str, str]]
"""Labels by the names that the pod itself uses."""
Names = frozenset[str]
T = TypeVar("T", bound=Hashable)
_EXPORTED = "exported_"
MOST_SHAPES = 64
"""Different sets of labels of the series of one pod and route: more cannot be paired in bounded
time, and the operator uses Prometheus alone."""
_EXCESS = f"the series of a pod and route have more than {MOST_SHAPES} different sets of labels"


@dataclass(frozen=True, slots=True)
class Head:
    """The position of a series."""

    time: float
    value: float
    life: float | None = None
    """Start of the container that its last reset was put down to: each start resets once."""
    is_scraped: bool = True
    """Prometheus has it; False: so far only the pod's own page has."""


@dataclass(frozen=True, slots=True)
class Book:
    """The position of each series, and its names."""

    heads: Mapping[SeriesKey, Head] = field(default_factory=dict)
    pairs: Mapping[SeriesKey, SeriesKey] = field(default_factory=dict)
    """Per series of a pod's own page, the one it is counted as."""
    foreign: frozenset[Shape] = frozenset()
    """Series that pods expose and Prometheus does not keep: they are no evidence."""
    conflict: str = ""
    """Why the pods' own pages and Prometheus cannot be counted together; empty: they can."""
    named: tuple[tuple[SeriesKey, CounterSeries], ...] = ()
    """An answer's series under the names by which they are counted."""
    size: int = 0
    """Of the memory that all of it takes, in bytes, as estimated."""
    excess: str = ""
    """Why they are too many to be kept; empty: they are not."""

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
    waiting, conflict = _unpaired(own), book.conflict
    heads, pairs = dict(book.heads), dict(book.pairs)
    foreign = _Related((shape, (shape[0], shape[1][0]), _own(shape[1])) for shape in book.foreign)
    by_name = {name: key for key, name in pairs.items()}
    named = []
    for kind, series in counted:
        key = _key(kind, series)
        is_sought = own and (key in own or key not in heads)
        alike = waiting.nearest(_group(key), _own(key[2])) if is_sought else _NONE
        if alike.only is not None:
            waiting.remove(alike.only)
            heads[key] = replace(heads.pop(alike.only), is_scraped=True)
            pairs[by_name[alike.only]] = key
        elif alike.count:
            conflict = (
                f"{_described(key)} matches {alike.count} series on the metrics page of the pod"
            )
        elif key not in by_name and _is_missing(series, heads.get(key), shown, begun):
            conflict = f"{_described(key)} is missing on the metrics page of the pod"
        if key not in heads and foreign:
            for shape in foreign.all_alike((key[0], key[2][0]), _own(key[2])):
                foreign.remove(shape)
        # A series that the next read of the page may show is not new before that read.
        if key in heads or series.samples[-1][0] > silent.get(key[1], -math.inf):
            named.append((key, series))
    known = replace(book, heads=heads, pairs=pairs, foreign=frozenset(foreign))
    return replace(known, conflict=waiting.excess or conflict, named=tuple(named))


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
    waiting = _unpaired(
        key for key, head in book.heads.items() if unknown and head.is_scraped and key not in taken
    )
    for key in unknown:
        alike = waiting.nearest(_group(key), _own(key[2]))
        if alike.only is not None:
            waiting.remove(alike.only)
            pairs[key] = alike.only
        elif alike.count:
            conflict = f"{_described(key)} matches {alike.count} series in Prometheus"
        elif key[1] in settled:
            foreign.add(_shape(key))
        elif _shape(key) not in foreign:
            pairs[key] = key
    conflict = waiting.excess or conflict
    named = tuple((pairs[key], series) for key, series in keyed if key in pairs)
    return replace(book, pairs=pairs, foreign=frozenset(foreign), conflict=conflict, named=named)


def _is_missing(
    series: CounterSeries,
    head: Head | None,
    shown: Mapping[str, float],
    begun: Mapping[str, float | None],
) -> bool:
    """Return whether a pod's page has been read since this series of it was scraped, without it."""
    latest = shown.get(series.pod, 0.0)
    if head is None:
        return series.samples[0][0] < latest
    # The last series of a container that has ended are not on the page of its successor.
    start = begun.get(series.pod)
    return start is not None and head.is_scraped and start + CLOCK_GRAIN <= head.time < latest


@dataclass(frozen=True, slots=True)
class _Alike(Generic[T]):
    """Which series may be the same as another."""

    count: int = 0
    only: T | None = None
    """The matching series, if exactly one matches."""


_NONE: "_Alike[Any]" = _Alike()


class _Related(Generic[T]):
    """Finds among many sets of labels those that contain another set, or are contained in it.

    Sets of the same labels' names are kept together, by their values of the names that were asked
    for: a question costs a search for each set of names, however many series have it.
    """

    def __init__(self, items: Iterable[tuple[T, Hashable, Own]]) -> None:
        """Take items, each with its labels and its group; only items of one group are compared."""
        self.excess = ""
        """Why not all is compared; empty: all is."""
        self._places: dict[T, tuple[Hashable, Own]] = {}
        self._groups: dict[Hashable, dict[Names, dict[Names, dict[Own, dict[T, None]]]]] = {}
        """Group, names of labels, names asked for: by their values, the items."""
        for item, group, labels in items:
            self._places[item] = group, labels
            names = _names(labels)
            shapes = self._groups.setdefault(group, {})
            if names not in shapes and len(shapes) >= MOST_SHAPES:
                self.excess = _EXCESS
                continue
            known = shapes.setdefault(names, {}).setdefault(names, {})
            known.setdefault(labels, {})[item] = None

    def __iter__(self) -> Iterator[T]:
        return iter(self._places)

    def __bool__(self) -> bool:
        """Return whether any is left."""
        return bool(self._places)

    def nearest(self, group: Hashable, labels: Own) -> _Alike[T]:
        """Find those with the fewest labels more or less.

        Labels that a pod is given are the same on all its series: of several that contain this set,
        that with the fewest more is the match.
        """
        least, candidates = math.inf, list[dict[T, None]]()
        for distance, items in self._each(group, labels):
            if distance < least:
                least, candidates = distance, []
            if distance == least:
                candidates.append(items)
        count = sum(map(len, candidates))
        return _Alike(count, next(iter(candidates[0])) if count == 1 else None)

    def all_alike(self, group: Hashable, labels: Own) -> list[T]:
        """List all of them."""
        return [item for _, items in self._each(group, labels) for item in items]

    def remove(self, item: T) -> None:
        """Leave one out from now on."""
        group, labels = self._places.pop(item)
        for asked, known in self._groups[group].get(_names(labels), {}).items():
            known.get(_of(labels, asked), {}).pop(item, None)

    def _each(self, group: Hashable, labels: Own) -> Iterator[tuple[int, dict[T, None]]]:
        names = _names(labels)
        for theirs, asked in self._groups.get(group, {}).items():
            if names <= theirs:
                shared = names
            elif theirs <= names:
                shared = theirs
            else:
                continue
            if shared not in asked:
                if len(asked) > MOST_SHAPES:
                    self.excess = _EXCESS
                    continue
                asked[shared] = {}
                for own, items in asked[theirs].items():
                    asked[shared].setdefault(_of(own, shared), {}).update(items)
            alike = asked[shared].get(_of(labels, shared))
            if alike:
                yield abs(len(names) - len(theirs)), alike


def _unpaired(keys: Iterable[SeriesKey]) -> "_Related[SeriesKey]":
    return _Related((key, _group(key), _own(key[2])) for key in keys)


def _names(labels: Own) -> Names:
    return frozenset(name for name, _ in labels)


def _of(labels: Own, names: Names) -> Own:
    return frozenset(label for label in labels if label[0] in names)


def _key(kind: str, series: CounterSeries) -> SeriesKey:
    return kind, series.pod, (("route", series.route), *series.identity)


def _shape(key: SeriesKey) -> Shape:
    return key[0], key[2]


def _group(key: SeriesKey) -> tuple[str, str, tuple[str, str]]:
    return key[0], key[1], key[2][0]


def _own(labels: Labels) -> Own:
    """Give labels by the names that the pod itself uses."""
    by_name = dict(labels[1:])
    kept = {name: value for name, value in by_name.items() if not name.startswith(_EXPORTED)}
    exported = {
        name.removeprefix(_EXPORTED): value
        for name, value in by_name.items()
        if name.startswith(_EXPORTED)
    }
    return frozenset((kept | exported).items())


def _described(key: SeriesKey) -> str:
    return f"{key[0]} {dict(key[2])} of {key[1]}"


def error_instances(counters: Counters, instances: Mapping[str, str]) -> dict[str, str]:
    """Choose the scrape target of each pod's errors: that of its requests, if it has any error.

    A sidecar may count the requests of a pod, and the application its errors.
    """
    chosen: dict[str, str] = {}
    for series in sorted(counters.errors, key=lambda each: each.instance):
        own = instances.get(series.pod)
        is_better = series.instance == own or series.pod not in chosen
        if own is not None and series.samples and is_better:
            chosen[series.pod] = series.instance
    return chosen
