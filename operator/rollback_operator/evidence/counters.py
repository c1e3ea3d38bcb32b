"""Counters -> increments per pod, route and time. Each sample counts once, from either reader.

There are two readers: Prometheus, and the operator itself on the metrics pages of the pods. Each
series of a container has one sequence, whose value is the maximum seen. A fall counts as a reset
only if the container has restarted, once per restart. A counter starts from zero where its
container started after the watch opened, or where its series appeared on a pod that was already
read; otherwise the first sample is the base. (Prometheus' rate() discards the first scrape of a new
pod, and those seconds decide here.)
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rollback_operator.evidence.limits import (
    SHORTEST_SECONDS,
    SLOWEST_SCRAPE_SECONDS,
    STALE_INTERVALS,
)
from rollback_operator.evidence.retention import (
    INCREMENT_BYTES,
    Routes,
    Scraped,
    within,
    without_ceased,
)
from rollback_operator.evidence.series_identity import (
    CLOCK_GRAIN,
    Book,
    Head,
    SeriesKey,
    error_instances,
    named_as_read,
    named_as_scraped,
)
from rollback_operator.evidence.trends import only_of
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, CounterSeries
from rollback_operator.stats.windows import CellKey, Increment, add, merged


@dataclass(frozen=True, slots=True)
class Evidence:
    """All increments since the watch opened, and the position of each series."""

    opened: float
    book: Book = field(default_factory=Book)
    """The position of each series, and its names."""
    seen: Mapping[str, float] = field(default_factory=dict)
    """Per pod, the time of its newest sample from either reader."""
    scraped: Mapping[str, float] = field(default_factory=dict)
    """Per pod, the time of its newest sample in Prometheus."""
    read: Mapping[str, float] = field(default_factory=dict)
    """Per pod, the time at which the operator last read its own page."""
    pages: Mapping[str, str] = field(default_factory=dict)
    """Per pod, the address and port of that page."""
    instances: Mapping[str, str] = field(default_factory=dict)
    """Per pod, the scrape target whose series are counted: two targets must not square the odds."""
    increments: tuple[Increment, ...] = ()
    interval: float = 15.0
    """Seconds between two scrapes of a pod, as seen."""
    routes: Routes = field(default_factory=Routes)
    """The routes that are counted separately."""
    named: frozenset[str] = frozenset()
    """Routes that the policy names, which are always counted separately."""

    @property
    def size(self) -> int:
        """Estimate the bytes of it."""
        return INCREMENT_BYTES * len(self.increments) + self.book.size

    def of(self, pods: Collection[str]) -> "Evidence":
        """Forget other pods."""
        heads = {key: head for key, head in self.book.heads.items() if key[1] in pods}
        pairs = {page: key for page, key in self.book.pairs.items() if key in heads}
        return replace(
            self,
            book=replace(self.book, heads=heads, pairs=pairs),
            seen=only_of(self.seen, pods),
            scraped=only_of(self.scraped, pods),
            read=only_of(self.read, pods),
            pages=only_of(self.pages, pods),
            instances=only_of(self.instances, pods),
            increments=tuple(increment for increment in self.increments if increment.pod in pods),
        )

    @property
    def newest(self) -> float | None:
        """Time of the newest sample of any pod."""
        return max(self.seen.values(), default=None)

    @property
    def newest_scrape(self) -> float | None:
        """Time of the newest sample in Prometheus."""
        return max(self.scraped.values(), default=None)

    def newest_of(self, pods: Iterable[str]) -> float | None:
        """Time of the newest sample of these pods."""
        return max((self.seen[pod] for pod in pods if pod in self.seen), default=None)


def fold(evidence: Evidence, counters: Counters, pods: tuple[Pod, ...]) -> Evidence:
    """Add what an answer of Prometheus holds; samples that are known already change nothing.

    Args:
        evidence: what is known so far.
        counters: an answer, which may overlap with earlier answers.
        pods: the target's pods, for the start of their containers.
    """
    instances = _instances(evidence, counters)
    counted = list(_within_requests(evidence.book.heads, _counted(counters, instances)))
    times = _times(series for _, series in counted)
    silent = {
        pod: read + STALE_INTERVALS * evidence.interval for pod, read in evidence.read.items()
    }
    # A scrape bears the time at which it began: what it shows may have come after a later page.
    slowest = min(max(CLOCK_GRAIN, evidence.interval), SLOWEST_SCRAPE_SECONDS)
    shown = {pod: read - slowest for pod, read in evidence.read.items()}
    begun = {pod.name: pod.started for pod in pods}
    book = named_as_scraped(evidence.book, counted, shown, silent, begun)
    book = _with_targets(book, evidence.pages, instances)
    result = _with_samples(replace(evidence, book=book), book.named, times, pods)
    result = replace(
        result,
        scraped=_later(evidence.scraped, times),
        instances=instances,
        interval=scrape_interval(counters, evidence.interval),
    )
    return replace(result, book=_within_bounds(result, pods))


def fold_read(evidence: Evidence, counters: Counters, pods: tuple[Pod, ...]) -> Evidence:
    """Add what the operator has read from the pods' own pages: one sample a series.

    Args:
        evidence: what is known so far, Prometheus' answers first.
        counters: what the pages hold, timed by Prometheus' clock.
        pods: the target's pods, for the start of their containers.
    """
    counted = [
        (kind, series) for kind, series in _each(counters) if math.isfinite(series.samples[-1][1])
    ]
    pages = {**evidence.pages, **{series.pod: series.instance for _, series in counted}}
    times = _times(series for _, series in counted)
    book = named_as_read(evidence.book, counted, _settled(evidence, times, pods))
    read = _later(evidence.read, times)
    book = _with_targets(book, pages, evidence.instances)
    known = replace(evidence, book=book, read=read, pages=pages)
    result = _with_samples(known, book.named, times, pods)
    # Where a page shows more than Prometheus keeps, the rest comes from Prometheus or not at all:
    # only Prometheus decides up to when the pod has been read.
    kept = {id(series) for _, series in book.named}
    partial = {series.pod for _, series in counted if id(series) not in kept}
    seen = {pod: at for pod, at in result.seen.items() if pod not in partial} | {
        pod: evidence.seen[pod] for pod in partial if pod in evidence.seen
    }
    result = replace(result, seen=seen, book=result.book.with_unscraped(evidence.book))
    book = _within_bounds(result, pods)
    # Prometheus alone has fewer series, and is still read.
    return replace(result, book=replace(book, excess="", conflict=book.conflict or book.excess))


def _within_bounds(evidence: Evidence, pods: tuple[Pod, ...]) -> Book:
    gone = {pod.name for pod in pods if pod.terminating}
    return without_ceased(evidence.book, Scraped(evidence.scraped, gone, evidence.interval))


def _settled(
    evidence: Evidence, times: Mapping[str, Sequence[float]], pods: tuple[Pod, ...]
) -> set[str]:
    """Choose the pods read for the first time whose series Prometheus already has.

    A young pod may show successes that came after its only scrape, beside errors that came before:
    without them everything would seem to fail.
    """
    begun = {pod.name: pod.started or pod.created for pod in pods}
    age = STALE_INTERVALS * evidence.interval
    return {
        pod
        for pod, all_ in times.items()
        if pod not in evidence.read
        and pod in evidence.scraped
        and begun.get(pod, 0.0) < all_[-1] - age
    }


def _later(known: Mapping[str, float], times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {**known, **{pod: max(all_[-1], known.get(pod, 0.0)) for pod, all_ in times.items()}}


def _with_targets(book: Book, pages: Mapping[str, str], instances: Mapping[str, str]) -> Book:
    """Detect that Prometheus scrapes a pod at another port: other counters of the same name."""
    for pod, scraped in instances.items():
        page = pages.get(pod, scraped)
        if page != scraped and page.rpartition(":")[0] == scraped.rpartition(":")[0]:
            return replace(book, conflict=f"{pod} is read at {page} and scraped at {scraped}")
    return book


def _with_samples(
    evidence: Evidence,
    counted: Iterable[tuple[SeriesKey, CounterSeries]],
    times: Mapping[str, list[float]],
    pods: tuple[Pod, ...],
) -> Evidence:
    known = {pod.name: pod for pod in pods}
    heads = dict(evidence.book.heads)
    cells: dict[CellKey, Increment] = {}
    for key, series in counted:
        pod = known.get(series.pod)
        route = evidence.routes.of(series.route, evidence.named)
        zero = None if key in heads else _zero(evidence, series, pod, times[series.pod])
        for begin, amount, head in _steps(series, heads.get(key), pod, zero):
            if begin is not None:
                counts = (amount, 0.0) if key[0] == "requests" else (0.0, amount)
                # A pod that was ready in the instant of its first sample has served before it.
                start = min(begin, head.time - SHORTEST_SECONDS)
                step = Increment(series.pod, route, start, head.time, *counts)
                add(cells, (series.pod, route, head.time), step)
            heads[key] = head
    grains = dict.fromkeys(evidence.read, max(1.0, evidence.interval))
    increments, routes = within(
        merged(evidence.increments, cells, grains, evidence.opened),
        evidence.routes.having(route for _, route, _ in cells),
        evidence.named,
    )
    return replace(
        evidence,
        book=replace(evidence.book, heads=heads, named=()),
        seen=_later(evidence.seen, times),
        increments=increments,
        routes=routes,
    )


def _within_requests(
    heads: Mapping[SeriesKey, Head], counted: Iterable[tuple[str, CounterSeries]]
) -> Iterator[tuple[str, CounterSeries]]:
    """Cut errors that are newer than the requests of their pod and route: a later read has both.

    Prometheus answers two queries, and a scrape between them is only in the second: more would fail
    than was requested. Requests stay though no error is as new: errors may have no series.
    """
    known = list(counted)
    newest: dict[tuple[str, str], float] = {}
    for pod, route, time in (
        *(
            (pod, labels[0][1], head.time)
            for (kind, pod, labels), head in heads.items()
            if kind == "requests"
        ),
        *(
            (each.pod, each.route, each.samples[-1][0])
            for kind, each in known
            if kind == "requests"
        ),
    ):
        newest[pod, route] = max(time, newest.get((pod, route), time))
    of_pod: dict[str, float] = {}
    for (pod, _), time in newest.items():
        of_pod[pod] = max(time, of_pod.get(pod, time))
    for kind, series in known:
        # Requests may lack the route of an error: then any request of the pod.
        limit = newest.get((series.pod, series.route), of_pod.get(series.pod, math.inf))
        if kind == "requests" or series.samples[-1][0] <= limit:
            yield kind, series
        elif end := bisect_right(series.samples, limit, key=lambda sample: sample[0]):
            yield kind, replace(series, samples=series.samples[:end])


def _steps(
    series: CounterSeries, head: Head | None, pod: Pod | None, zero: float | None
) -> Iterator[tuple[float | None, float, Head]]:
    """Give the begin, amount and end of each step; begin None: a base for later samples only."""
    for time, value in series.samples:
        if (head is not None and time <= head.time) or not math.isfinite(value):
            continue
        begin, base = (zero, 0.0) if head is None else (head.time, head.value)
        known = head or Head(time, value)
        if head is not None and value < base:
            if pod is None or not _has_restarted(pod, head, time):
                # A late or foreign sample, or a restart that is not known yet. Its increase is
                # counted once a later sample, or the known restart, explains it.
                continue
            begin, base = max(head.time, _serving_since(pod, time)), 0.0
            known = replace(head, life=pod.started)
        amount = max(0.0, value - base) if begin is not None else 0.0
        head = Head(time, value, known.life, known.is_scraped)
        yield begin, amount, head


def _zero(
    evidence: Evidence, series: CounterSeries, pod: Pod | None, times: list[float]
) -> float | None:
    """Give the time from which a series without a base has counted from zero; None: unknown."""
    first = series.samples[0][0]
    seen = evidence.seen.get(series.pod)
    earlier = bisect_left(times, first)
    known = [*times[max(0, earlier - 1) : earlier], *([seen] if seen is not None else [])]
    if pod is not None:
        # Of a container that has restarted since, only the pod's creation is known.
        for begin in (pod.started, pod.created):
            if begin is not None and evidence.opened - CLOCK_GRAIN <= begin <= first:
                # A series that was not there at the pod's last sample has counted since then only.
                last = max((time for time in known if time < first), default=begin)
                return max(begin, last, _serving_since(pod, first))
    # The pod was being read before this series was there: it appeared with its first event. The
    # first time in a first answer may only lie outside this series' own, slightly later window.
    before = [] if seen is None and earlier <= 1 else known
    return max((time for time in before if time < first), default=None)


def _has_restarted(pod: Pod, head: Head, until: float) -> bool:
    """Return whether a start explains a fall that no earlier start explained.

    The clocks of the two readers differ slightly: after a restart one reader may lag the other.
    """
    is_new = pod.started is not None and pod.started != head.life
    return is_new and head.time - CLOCK_GRAIN < (pod.started or 0.0) <= until


def _serving_since(pod: Pod, until: float) -> float:
    """Give the time from which a pod has had requests: before it is ready nobody sends any."""
    since = [time for time in (pod.started, pod.ready_since) if time is not None and time <= until]
    return max(since, default=0.0)


def _counted(
    counters: Counters, instances: Mapping[str, str]
) -> Iterator[tuple[str, CounterSeries]]:
    of_errors = error_instances(counters, instances)
    for kind, series in _each(counters):
        chosen = instances if kind == "requests" else of_errors
        if chosen.get(series.pod) == series.instance:
            yield kind, series


def _each(counters: Counters) -> Iterator[tuple[str, CounterSeries]]:
    for kind, all_ in (("requests", counters.requests), ("errors", counters.errors)):
        for series in all_:
            if series.samples:
                yield kind, series


def _instances(evidence: Evidence, counters: Counters) -> dict[str, str]:
    """Choose one scrape target per pod, and keep to it while it is being scraped."""
    targets_of: dict[str, dict[str, tuple[int, float]]] = {}
    for series in counters.requests:
        if series.samples:
            known = targets_of.setdefault(series.pod, {})
            count, newest = known.get(series.instance, (0, 0.0))
            known[series.instance] = (
                count + len(series.samples),
                max(newest, series.samples[-1][0]),
            )
    chosen = dict(evidence.instances)
    for pod, targets in targets_of.items():
        newest = max(time for _, time in targets.values())
        kept = chosen.get(pod)
        if kept in targets and targets[kept][1] >= newest - STALE_INTERVALS * evidence.interval:
            continue
        scraped = evidence.scraped.get(pod, 0.0)
        if kept is not None and scraped >= newest - STALE_INTERVALS * evidence.interval:
            continue
        chosen[pod] = min(
            targets, key=lambda name: (name != evidence.pages.get(pod), -targets[name][0], name)
        )
    return chosen


def _times(counted: Iterable[CounterSeries]) -> dict[str, list[float]]:
    times_of: dict[str, set[float]] = {}
    for series in counted:
        times_of.setdefault(series.pod, set()).update(time for time, _ in series.samples)
    return {pod: sorted(times) for pod, times in times_of.items()}


def scrape_interval(counters: Counters, known: float) -> float:
    """Give the usual time between two samples of a pod; `known` if no pod has two.

    In halves of a second: what a scrape is late by moves the cells in which revisions are compared,
    and a restarted operator, which sees other gaps, would come to other odds.
    """
    gaps = sorted(
        later[0] - earlier[0]
        for series in counters.requests
        for earlier, later in zip(series.samples, series.samples[1:], strict=False)
    )
    gap = gaps[len(gaps) // 2] if gaps else known
    return round(2 * gap) / 2 or gap
