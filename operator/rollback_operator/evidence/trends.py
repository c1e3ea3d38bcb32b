"""What changes slowly under a release: durations, memory, out-of-memory kills, own queries.

Read every quarter of a minute, not with every sample: nothing here is worse than P3.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rollback_operator.evidence.limits import (
    LATENCY_WARM_UP_SECONDS,
    SUSTAINED_TREND_SECONDS,
    TREND_SECONDS,
)
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Missing
from rollback_operator.stats.histogram import Histogram

MOST_POINTS = 120
BUCKET_BYTES, POINT_BYTES = 64, 112
"""Of memory."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time."""

    time: float
    value: float


@dataclass(frozen=True, slots=True)
class LatencySample:
    """Durations of every pod up to a time, counted from its container's start."""

    time: float
    pods: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class PastGrowth:
    """How fast the memory of the old pods grew at the age of the new pods at an evaluation."""

    age: float
    """Seconds from the release to that look."""
    per_hour: float | None
    """Bytes, of the pod that grew most; None: nobody knows."""


@dataclass(frozen=True, slots=True)
class Kills:
    """How often containers of a pod were OOM-killed, as observed."""

    restarts: int
    out_of_memory: int
    before: int = 0
    """Restarts before the watch began."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The results of a matrix probe in this watch."""

    passed_before: bool = False
    """On another release, by its record."""
    by_old: bool | None = None
    """Whether the old pods passed it before a new pod was ready; None: it was not probed."""
    has_passed: bool = False
    """The release has passed it, with no old pod left to do so for it."""
    failures: int = 0
    """In a row, since a new pod is ready."""
    since: float | None = None
    """Of the first of them."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Trends:
    """Everything of the kind that is known of a release under watch."""

    read: float | None = None
    """When it was last read, seconds of the provider's clock."""
    latency: tuple[LatencySample, ...] = ()
    bases: Mapping[str, LatencySample] = field(default_factory=dict)
    """Per pod, the sample from which on its requests are counted."""
    firsts: Mapping[str, LatencySample] = field(default_factory=dict)
    """Per pod, the next sample: the durations of its first counted requests."""
    past_latency: Histogram | None = None
    """Of the old revision in the hour before the release."""
    memory: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    """Per pod, bytes."""
    past_growth: PastGrowth | None = None
    """None: not asked yet."""
    queries: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    """Per query, its value before the release."""
    kills: Mapping[str, Kills] = field(default_factory=dict)
    trials: Mapping[str, Trial] = field(default_factory=dict)
    """Per functional probe that the matrix names."""
    integrity: Mapping[str, Trial] = field(default_factory=dict)
    """Per integrity check of the database; `has_passed`: in this watch."""
    unread_integrity: Missing | None = None
    """Why the database was not read last; None: it was, or is not asked."""
    missing: Mapping[str, Missing] = field(default_factory=dict)
    """Per signal, why it could not be read."""

    @property
    def size(self) -> int:
        """Estimate the bytes of it."""
        samples = (*self.latency, *self.bases.values(), *self.firsts.values())
        buckets = sum(
            len(histogram.bounds) + 4 for sample in samples for histogram in sample.pods.values()
        )
        points = sum(map(len, (*self.memory.values(), *self.queries.values())))
        return BUCKET_BYTES * buckets + POINT_BYTES * points

    def of(self, pods: Collection[str]) -> "Trends":
        """Forget other pods."""
        return replace(
            self,
            bases=only_of(self.bases, pods),
            firsts=only_of(self.firsts, pods),
            memory=only_of(self.memory, pods),
            kills=only_of(self.kills, pods),
        )

    def is_due(self, now: float) -> bool:
        """Return whether to read again."""
        return self.read is None or now - self.read >= TREND_SECONDS - 1


def only_of(known: Mapping[str, T], pods: Collection[str]) -> dict[str, T]:
    """Keep what is known of these pods."""
    return {pod: value for pod, value in known.items() if pod in pods}


def with_latency(
    trends: Trends, time: float, read: Mapping[str, Histogram], pods: Mapping[str, Pod]
) -> Trends:
    """Add durations; a pod counts from its first sample after its warm-up."""
    sample = LatencySample(time, read)
    bases, firsts = dict(trends.bases), dict(trends.firsts)
    for name in read:
        since = pods[name].ready_since if name in pods else None
        own = LatencySample(time, {name: read[name]})
        if name in bases:
            firsts.setdefault(name, own)
        elif since is not None and time - since >= LATENCY_WARM_UP_SECONDS:
            bases[name] = own
    kept = [each for each in trends.latency if time - each.time <= 2 * SUSTAINED_TREND_SECONDS]
    return replace(trends, latency=(*kept, sample), bases=bases, firsts=firsts)


def with_memory(trends: Trends, time: float, read: Mapping[str, float]) -> Trends:
    """Add the memory of each pod."""
    memory = dict(trends.memory)
    for pod, value in read.items():
        memory[pod] = thinned((*memory.get(pod, ()), Point(time, value)))
    return replace(trends, memory=memory)


def with_query(trends: Trends, time: float, query: str, value: float) -> Trends:
    """Add the answer to an own query."""
    points = (*trends.queries.get(query, ()), Point(time, value))
    return replace(trends, queries={**trends.queries, query: points[-MOST_POINTS:]})


def with_kills(trends: Trends, pods: Mapping[str, Pod], opened: float) -> Trends:
    """Add the OOM kills that Kubernetes shows.

    The status of a pod only shows how its newest container ended, and how often it restarted.
    Of a pod that is older than the watch, neither shows what happened since: it may have been
    killed months ago.

    Args:
        trends: what is known so far.
        pods: by name.
        opened: when the watch began.
    """
    kills = dict(trends.kills)
    for name, pod in pods.items():
        before = pod.restarts if pod.created < opened else 0
        known = kills.get(name, Kills(before, 0, before))
        # Of several restarts since the last look, only the newest shows its reason.
        is_killed = pod.is_out_of_memory and pod.restarts > known.restarts
        killed = known.out_of_memory + is_killed
        kills[name] = Kills(max(pod.restarts, known.restarts), killed, known.before)
    return replace(trends, kills=kills)


def thinned(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Keep a long series short: every other point, the newest always."""
    if len(points) <= MOST_POINTS:
        return points
    return (*points[:-1:2], points[-1])
