"""Which pods were read when: all that a past of counters tells of pods."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median_low

from rollback_operator.model.samples import Counters, CounterSeries, Missing

DEFAULT_INTERVAL = 15.0
RECENT_GAPS = 5


@dataclass(frozen=True, slots=True)
class Track:
    """One pod: when it was read, and when its counters fell."""

    name: str
    pod_hash: str
    times: tuple[float, ...]
    restarts: tuple[tuple[float, float], ...] = ()
    """(last time before, first time after) of each fall of all its counters."""

    @property
    def first(self) -> float:
        """When it was first read."""
        return self.times[0]

    def last(self, now: float) -> float | None:
        """Give when it was last read, up to now."""
        index = bisect_right(self.times, now)
        return self.times[index - 1] if index else None

    def gap(self, now: float) -> float | None:
        """Give the usual time between two readings, by the newest of them."""
        index = bisect_right(self.times, now)
        newest = self.times[max(0, index - RECENT_GAPS - 1) : index]
        gaps = [later - earlier for earlier, later in pairwise(newest)]
        return median_low(gaps) if gaps else None

    def restarted(self, now: float) -> list[tuple[float, float]]:
        """List the restarts that are known by now."""
        return [one for one in self.restarts if one[1] <= now]


@dataclass
class Tracks:
    """All pods of the target in a past."""

    pods: Mapping[str, Track] = field(default_factory=dict)
    _intervals: dict[float, float] = field(default_factory=dict, init=False, repr=False)
    """By the time at which they were asked for: a look asks several times."""

    def seen(self, now: float) -> list[Track]:
        """List the pods that were read at least once by now."""
        return [one for one in self.pods.values() if one.first <= now]

    def interval(self, now: float) -> float:
        """Give the time between two readings of a pod, as far as it is known by now."""
        if now not in self._intervals:
            gaps = sorted(gap for one in self.seen(now) if (gap := one.gap(now)) is not None)
            self._intervals[now] = gaps[len(gaps) // 2] if gaps else DEFAULT_INTERVAL
        return self._intervals[now]


def tracks_of(counters: Counters | Missing, deployment: str, hashes: Iterable[str]) -> Tracks:
    """Find the pods `<deployment>-<templateHash>-<suffix>` in a past."""
    if isinstance(counters, Missing):
        return Tracks()
    known = set(hashes)
    by_pod: dict[str, list[CounterSeries]] = {}
    for one in counters.requests:
        if one.samples:
            by_pod.setdefault(one.pod, []).append(one)
    found = {}
    for name, series in by_pod.items():
        pod_hash = hash_of(name, deployment)
        if pod_hash in known:
            found[name] = _track(name, pod_hash, series)
    return Tracks(found)


def hash_of(pod: str, deployment: str) -> str:
    """Read the template's hash from a pod's name; empty: it is no pod of this Deployment."""
    if not pod.startswith(f"{deployment}-"):
        return ""
    pod_hash, _, suffix = pod.removeprefix(f"{deployment}-").rpartition("-")
    return pod_hash if suffix else ""


def _track(name: str, pod_hash: str, series: list[CounterSeries]) -> Track:
    # Of two scrapers of one pod the first to read it: their times must not be mixed.
    instance = min(series, key=lambda one: (one.samples[0][0], one.instance)).instance
    values: dict[float, list[tuple[CounterSeries, float]]] = {}
    for one in series:
        if one.instance == instance:
            for time, value in one.samples:
                values.setdefault(time, []).append((one, value))
    times = sorted(values)
    restarts = []
    newest: dict[int, float] = {}
    for number, time in enumerate(times):
        changes = [value - newest[id(one)] for one, value in values[time] if id(one) in newest]
        # One counter that falls while others rise is a foreign sample, not a restart.
        if changes and min(changes) < 0 and max(changes) <= 0:
            restarts.append((times[number - 1], time))
        for one, value in values[time]:
            newest[id(one)] = value
    return Track(name, pod_hash, tuple(times), tuple(restarts))
