"""Which pods were scraped when: all that a past of counters shows of pods."""

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
    """A pod: when it was scraped, and when its counters fell."""

    name: str
    pod_hash: str
    times: tuple[float, ...]
    restarts: tuple[tuple[float, float], ...] = ()
    """(last time before, first time after) of each fall of all its counters."""

    @property
    def first(self) -> float:
        """The time of its first sample."""
        return self.times[0]

    def last(self, now: float) -> float | None:
        """Return the time of its last sample up to now."""
        index = bisect_right(self.times, now)
        return self.times[index - 1] if index else None

    def gap(self, now: float) -> float | None:
        """Return the usual time between two of its newest samples."""
        index = bisect_right(self.times, now)
        newest = self.times[max(0, index - RECENT_GAPS - 1) : index]
        gaps = [later - earlier for earlier, later in pairwise(newest)]
        return median_low(gaps) if gaps else None

    def restarted(self, now: float) -> list[tuple[float, float]]:
        """List the restarts that are known by now."""
        return [restart for restart in self.restarts if restart[1] <= now]


@dataclass
class Tracks:
    """All pods of the target in a past."""

    pods: Mapping[str, Track] = field(default_factory=dict)
    _intervals: dict[float, float] = field(default_factory=dict, init=False, repr=False)
    """By time: an evaluation asks for the same time repeatedly."""

    def seen(self, now: float) -> list[Track]:
        """List the pods with a sample by now."""
        return [track for track in self.pods.values() if track.first <= now]

    def interval(self, now: float) -> float:
        """Return the scrape interval, as far as it is known by now."""
        if now not in self._intervals:
            gaps = sorted(gap for track in self.seen(now) if (gap := track.gap(now)) is not None)
            self._intervals[now] = gaps[len(gaps) // 2] if gaps else DEFAULT_INTERVAL
        return self._intervals[now]


def tracks_of(counters: Counters | Missing, deployment: str, hashes: Iterable[str]) -> Tracks:
    """Find the pods `<deployment>-<templateHash>-<suffix>` in a past."""
    if isinstance(counters, Missing):
        return Tracks()
    known = set(hashes)
    by_pod: dict[str, list[CounterSeries]] = {}
    for series in counters.requests:
        if series.samples and hash_of(series.pod, deployment) in known:
            by_pod.setdefault(series.pod, []).append(series)
    tracks = {
        name: _track(name, hash_of(name, deployment), series) for name, series in by_pod.items()
    }
    return Tracks(tracks)


def hash_of(pod: str, deployment: str) -> str:
    """Return the template hash in a pod's name; empty for a pod of another Deployment."""
    if not pod.startswith(f"{deployment}-"):
        return ""
    pod_hash, _, suffix = pod.removeprefix(f"{deployment}-").rpartition("-")
    return pod_hash if suffix else ""


def _track(name: str, pod_hash: str, all_series: list[CounterSeries]) -> Track:
    # If two scrapers read a pod, the first to read it counts: their times must not be mixed.
    first = min(all_series, key=lambda series: (series.samples[0][0], series.instance))
    values: dict[float, list[tuple[int, float]]] = {}
    for number, series in enumerate(all_series):
        if series.instance == first.instance:
            for time, value in series.samples:
                values.setdefault(time, []).append((number, value))
    times = sorted(values)
    restarts = []
    newest: dict[int, float] = {}
    for index, time in enumerate(times):
        changes = [value - newest[number] for number, value in values[time] if number in newest]
        # A counter that falls while others rise is a foreign sample, not a restart.
        if changes and min(changes) < 0 and max(changes) <= 0:
            restarts.append((times[index - 1], time))
        newest.update(values[time])
    return Track(name, pod_hash, tuple(times), tuple(restarts))
