"""Counters -> increments per pod, route and time. Whoever read a sample, it is counted once.

One sequence per series, its value the maximum seen; a fall counts as a reset only if the container
has restarted. A counter is taken from zero where its container started after the watch opened, or
where its series appeared on a pod that was already being read; otherwise the first sample is the
base. (Prometheus' own rate() throws a new pod's first scrape away: seconds that decide here.)
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from rollback_operator.api.reasons import Reason
from rollback_operator.core.model import Counters, CounterSeries, Missing, Pod

COARSE_AFTER_SECONDS = 180.0
"""Older increments are merged to minutes: the onset of a fault is looked for in fresh ones."""
COARSE_SECONDS = 60.0
MOST_COUNTED = 1e15
"""Above it a float cannot tell a count from the next one."""
CLOCK_GRAIN = 1.0
"""Kubernetes' times have no fractions: a start may be up to this much later than it is told."""


@dataclass(frozen=True, slots=True)
class Increment:
    """What one pod counted on one route between two readings of it."""

    pod: str
    route: str
    start: float
    end: float
    requests: float
    errors: float


@dataclass(frozen=True, slots=True)
class _Head:
    time: float
    value: float


SeriesKey = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All increments since the watch opened, and where each series stands."""

    opened: float
    heads: Mapping[SeriesKey, _Head] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)
    """Per pod, the time of its newest sample."""
    instances: Mapping[str, str] = field(default_factory=dict)
    """Per pod, the scrape target whose series are counted: two targets must not square the odds."""
    increments: tuple[Increment, ...] = ()
    interval: float = 15.0
    """Seconds between two samples of a pod, as seen."""

    @property
    def newest(self) -> float | None:
        """Time of the newest sample of any pod."""
        return max(self.seen.values(), default=None)

    def newest_of(self, pods: Iterable[str]) -> float | None:
        """Time of the newest sample of these pods."""
        return max((self.seen[pod] for pod in pods if pod in self.seen), default=None)


def usable(series: Iterable[CounterSeries]) -> tuple[CounterSeries, ...] | Missing:
    """Leave out what was no number once; what is none now leaves nothing to judge from.

    One such value after good ones is left out: so VictoriaMetrics tells that a series has ended.
    """
    found = []
    for one in series:
        samples = tuple(sample for sample in one.samples if is_count(sample[1]))
        if one.samples and not any(is_count(value) for _, value in one.samples[-2:]):
            labels = {"pod": one.pod, "route": one.route, **dict(one.identity)}
            return Missing(
                Reason.NOT_A_NUMBER,
                f"series {labels} holds a value that no counter has (NaN, infinite, negative or "
                "beyond counting)",
            )
        found.append(one if len(samples) == len(one.samples) else replace(one, samples=samples))
    return tuple(found)


def is_count(value: float) -> bool:
    """Tell whether a counter can have this value."""
    return 0 <= value <= MOST_COUNTED  # a NaN is neither


def fold(evidence: Evidence, counters: Counters, pods: tuple[Pod, ...]) -> Evidence:
    """Add what an answer holds to the evidence; samples that are known already change nothing.

    Args:
        evidence: what is known so far.
        counters: an answer, overlapping with earlier ones or not.
        pods: the target's pods, for the start of their containers.
    """
    instances = _instances(evidence, counters)
    times = _times(counters, instances)
    known = {pod.name: pod for pod in pods}
    heads = dict(evidence.heads)
    cells: dict[_Cell, Increment] = {}
    for kind, series in _counted(counters, instances):
        key = (kind, series.pod, (("route", series.route), *series.identity))
        pod = known.get(series.pod)
        zero = _zero(evidence, series, pod, times[series.pod])
        for step in _steps(series, heads.get(key), pod, zero):
            if step.begin is not None:
                _add(cells, kind, series, step)
            heads[key] = _Head(step.end, step.value)
    seen = evidence.seen
    newest = {pod: max(all_[-1], seen.get(pod, 0.0)) for pod, all_ in times.items()}
    return replace(
        evidence,
        heads=heads,
        seen={**seen, **newest},
        instances=instances,
        increments=_merged(evidence.increments, cells),
        interval=_interval(counters, evidence.interval),
    )


_Cell = tuple[str, str, float]
"""Pod, route and end of an increment."""


@dataclass(frozen=True, slots=True)
class _Step:
    begin: float | None
    """None: this sample is only the base of the next ones."""
    end: float
    amount: float
    value: float


def _steps(
    series: CounterSeries, head: _Head | None, pod: Pod | None, zero: float | None
) -> Iterator[_Step]:
    for time, value in series.samples:
        if (head is not None and time <= head.time) or not math.isfinite(value):
            continue
        begin, base = (zero, 0.0) if head is None else (head.time, head.value)
        if head is not None and value < base:
            if pod is None or not _has_restarted(pod, head.time, time):
                # A late or foreign sample, or a restart that nobody has told of yet. What it adds
                # is counted once a later sample, or the news of the restart, explains it.
                continue
            begin, base = max(head.time, _serving_since(pod, time)), 0.0
        amount = max(0.0, value - base) if begin is not None else 0.0
        head = _Head(time, value)
        yield _Step(begin, time, amount, value)


def _zero(
    evidence: Evidence, series: CounterSeries, pod: Pod | None, times: list[float]
) -> float | None:
    """Tell since when a series that has no base yet has counted from zero; None: unknown."""
    first = series.samples[0][0]
    if pod is not None:
        # Of a container that has restarted since, only the pod's creation is known.
        for begin in (pod.started, pod.created):
            if begin is not None and evidence.opened - CLOCK_GRAIN <= begin <= first:
                return max(begin, _serving_since(pod, first))
    # The pod was being read before this series was there: it appeared with its first event. The
    # first time in a first answer may only lie outside this series' own, slightly later window.
    seen = evidence.seen.get(series.pod)
    before = times[1:] if seen is None else [seen, *times]
    return max((time for time in before if time < first), default=None)


def _has_restarted(pod: Pod, after: float, until: float) -> bool:
    return pod.started is not None and after - CLOCK_GRAIN < pod.started <= until


def _serving_since(pod: Pod, until: float) -> float:
    """Give the time from which a pod has had requests: before it is ready nobody sends any."""
    since = [one for one in (pod.started, pod.ready_since) if one is not None and one <= until]
    return max(since, default=0.0)


def _add(cells: dict[_Cell, Increment], kind: str, series: CounterSeries, step: _Step) -> None:
    begin = step.end if step.begin is None else min(step.begin, step.end)
    key = (series.pod, series.route, step.end)
    old = cells.get(key) or Increment(series.pod, series.route, begin, step.end, 0.0, 0.0)
    requests = old.requests + (step.amount if kind == "requests" else 0.0)
    errors = old.errors + (step.amount if kind == "errors" else 0.0)
    cells[key] = replace(old, start=min(old.start, begin), requests=requests, errors=errors)


def _counted(
    counters: Counters, instances: Mapping[str, str]
) -> Iterator[tuple[str, CounterSeries]]:
    for kind, all_ in (("requests", counters.requests), ("errors", counters.errors)):
        for series in all_:
            if series.samples and instances.get(series.pod) == series.instance:
                yield kind, series


def _instances(evidence: Evidence, counters: Counters) -> dict[str, str]:
    """Choose one scrape target per pod, and keep to it while it is being scraped."""
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for series in counters.requests:
        if series.samples:
            one = found.setdefault(series.pod, {})
            count, newest = one.get(series.instance, (0, 0.0))
            one[series.instance] = (
                count + len(series.samples),
                max(newest, series.samples[-1][0]),
            )
    chosen = dict(evidence.instances)
    for pod, targets in found.items():
        newest = max(time for _, time in targets.values())
        kept = chosen.get(pod)
        if kept in targets and targets[kept][1] >= newest - 3 * evidence.interval:
            continue
        if kept is not None and evidence.seen[pod] >= newest - 3 * evidence.interval:
            continue
        chosen[pod] = min(targets, key=lambda name: (-targets[name][0], name))
    return chosen


def _times(counters: Counters, instances: Mapping[str, str]) -> dict[str, list[float]]:
    found: dict[str, set[float]] = {}
    for _, series in _counted(counters, instances):
        found.setdefault(series.pod, set()).update(time for time, _ in series.samples)
    return {pod: sorted(times) for pod, times in found.items()}


def _interval(counters: Counters, known: float) -> float:
    gaps = sorted(
        later[0] - earlier[0]
        for series in counters.requests
        for earlier, later in zip(series.samples, series.samples[1:], strict=False)
    )
    return gaps[len(gaps) // 2] if gaps else known


def _merged(
    known: tuple[Increment, ...], cells: Mapping[_Cell, Increment]
) -> tuple[Increment, ...]:
    """Put new increments to the known ones; errors may come later than their requests."""
    if not cells:
        return known
    begin = min(end for _, _, end in cells)
    tail = bisect_left(known, begin, key=lambda one: one.end)
    found = dict(cells)
    for one in known[tail:]:
        key = one.pod, one.route, one.end
        found[key] = _joined(one, found[key]) if key in found else one
    fresh = sorted(found.values(), key=lambda one: one.end)
    return _coarsened((*known[:tail], *fresh), before=known[-1].end if known else 0.0)


def _joined(one: Increment, other: Increment) -> Increment:
    return Increment(
        one.pod,
        one.route,
        min(one.start, other.start),
        max(one.end, other.end),
        one.requests + other.requests,
        one.errors + other.errors,
    )


def _coarsened(increments: tuple[Increment, ...], before: float) -> tuple[Increment, ...]:
    """Merge what lies long enough ago, whole minutes at a time, as each of them comes of age."""
    limit = _limit(increments[-1].end)
    if limit == _limit(before):
        return increments
    tail = bisect_left(increments, limit, key=lambda one: one.end)
    minutes: dict[tuple[str, str, int], Increment] = {}
    for one in increments[:tail]:
        key = (one.pod, one.route, int(one.end // COARSE_SECONDS))
        minutes[key] = _joined(minutes[key], one) if key in minutes else one
    return (*sorted(minutes.values(), key=lambda one: one.end), *increments[tail:])


def _limit(newest: float) -> float:
    return (newest - COARSE_AFTER_SECONDS) // COARSE_SECONDS * COARSE_SECONDS
