"""A reference judge in one page: hour-long control, odds, blame by onset, vetoes.

At each sample the errors of the new pods are coin flips against the old pods of the same scrape,
or, where none serve, counts against a ceiling: three times the worst quarter of the old revision's
last hour. It shares no rule with the operator's judge, only the lower bound of a rate (Wilson 1927)
and what both see. It shows what the operator's further rules buy.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np

from bench.detection.lives import NEW, Life
from bench.detection.scenario import P2_RATE, PURCHASE, RESERVE, ROUTES
from bench.detection.target import Target
from bench.detection.world import Floats, Series, World
from rollback_operator.stats.sequential import wilson_lower

ALPHA = 1e-4
EFFECTS = np.array((3.0, 10.0, 100.0))
LEAST_CEILING, CEILING_TIMES, MOST_CEILING = 0.01, 3.0, 0.5
HOUR, QUARTER, MINUTE = 3600.0, 900.0, 60.0
LEAST_REQUESTS, LEAST_ERRORS, LEAST_SAMPLES = 20, 10, 2
WARM_UP_SECONDS, NEARLY_ALL = 20.0, 0.9
BLAME_SECONDS = 300.0
"""A fault that begins within so long of the first request is the release's."""
ENDED_SECONDS, SPIKE_TIMES = 15.0, 2.0
RESTARTS, STUCK_SECONDS = 3, 300.0
_END = attrgetter("end")
SCOPES = ((PURCHASE,), (RESERVE,), ROUTES)


@dataclass(frozen=True, slots=True)
class Interval:
    """What a pod counted on a route between two samples."""

    pod: Life
    route: str
    start: float
    end: float
    requests: float
    errors: float


@dataclass
class Odds:
    """Log-likelihood ratios by effect, and the counts behind them."""

    nats: Floats = field(default_factory=lambda: np.zeros(len(EFFECTS)))
    requests: float = 0.0
    errors: float = 0.0

    @property
    def value(self) -> float:
        """The odds, each effect weighted alike."""
        return float(np.mean(np.exp(np.minimum(self.nats, 600.0))))


def decide(world: World, until: float) -> float | None:
    """Give the time of the rollback, seconds from the template's change; None: never."""
    times = (_by_pods(world, until), _Judge(world).decide(until))
    return min((time for time in times if time is not None), default=None)


def _by_pods(world: World, until: float) -> float | None:
    """Find new pods that restart again and again, or never come up by their own failure."""
    target = Target(world)
    for change in (*(time for time in target.changes if time < STUCK_SECONDS), STUCK_SECONDS):
        new = [pod for pod in target.at(change).pods if pod.pod_hash == NEW and change <= until]
        failing = [pod for pod in new if not pod.ready and pod.own_failure]
        is_looping = bool(failing) and all(pod.restarts >= RESTARTS for pod in new)
        is_stuck = change >= STUCK_SECONDS and not any(pod.ready for pod in new)
        if is_looping or (failing and is_stuck):
            return change
    return None


class _Judge:
    def __init__(self, world: World) -> None:
        self._scrape = world.scenario.scrape
        self._begin = world.cast.first_request
        intervals = sorted(_intervals(world), key=lambda each: each.end)
        past = [each for each in intervals if each.end <= 0]
        self._new = [each for each in intervals if each.pod.is_new]
        self._old = [each for each in intervals if not each.pod.is_new and each.end > 0]
        self._ceiling = _ceiling(past)
        self._busiest = max(_sums(past, MINUTE), key=lambda each: each[0], default=(0.0, 0.0))[0]

    def decide(self, until: float) -> float | None:
        """Look at each sample that holds an error; ever less often at a suspicion that stands."""
        began, due = math.inf, -math.inf
        for now in sorted({each.end for each in self._new if each.errors and each.end <= until}):
            new = self._until(self._new, now)
            fresh = new[bisect_right(new, now - MINUTE, key=_END) :]
            failing = [scope for scope in SCOPES if _rate(_on(fresh, scope)) > P2_RATE / 2]
            if not failing or now < due:
                continue
            began = min(began, now)
            due = now + (now - began) / 20
            settled, old = _settled(new), self._until(self._old, now)
            if any(self._is_bad(_on(settled, scope), _on(old, scope), now) for scope in failing):
                return now
        return None

    @staticmethod
    def _until(intervals: Sequence[Interval], now: float) -> Sequence[Interval]:
        return intervals[: bisect_right(intervals, now, key=_END)]

    def _is_bad(self, new: Sequence[Interval], old: Sequence[Interval], now: float) -> bool:
        """Count from the first request, and anew from each of the last two minutes."""
        minute = int(now // MINUTE)
        for begin in {0.0, (minute - 1) * MINUTE, minute * MINUTE}:
            chosen = [each for each in new if each.start >= begin]
            odds = self._odds(chosen, old)
            needed = (math.pi * (minute + 1)) ** 2 / 6 / ALPHA
            is_proved = odds.value >= needed and _meets_floors(chosen, odds)
            rate = odds.errors / max(1.0, odds.requests)
            if is_proved and not (
                self._is_elsewhere(chosen, old, rate) or self._is_environment(new, old, rate)
            ):
                return True
        return False

    def _odds(self, new: Sequence[Interval], old: Sequence[Interval]) -> Odds:
        scrapes: dict[int, list[float]] = {}
        for side, intervals in enumerate((new, old)):
            for each in intervals:
                counts = scrapes.setdefault(int(each.end // self._scrape), [0.0] * 4)
                counts[2 * side] += each.requests
                counts[2 * side + 1] += each.errors
        odds = Odds()
        for requests, errors, others, other_errors in scrapes.values():
            odds.requests += requests
            odds.errors += errors
            if requests and others:
                odds.nats += _coin(requests, errors, others, other_errors)
            elif requests:
                odds.nats += _count(requests, errors, self._ceiling)
        return odds

    def _is_elsewhere(self, new: Sequence[Interval], old: Sequence[Interval], rate: float) -> bool:
        """Tell whether one pod, one node, or the old revision's own past explains the fault."""
        pods = {each.pod.name: each.pod.node for each in new if each.requests}
        failing = {name for name, own in _by_pod(new).items() if own > rate / 2}
        nodes = {pods[name] for name in failing if name in pods}
        is_few = len(pods) > 1 == len(failing) or (len(nodes) == 1 < len(set(pods.values())))
        worst = max(_by_pod(old).values(), default=0.0)
        return self._ceiling > MOST_CEILING or is_few or (len(pods) == 1 and worst >= rate / 2)

    def _is_environment(
        self, new: Sequence[Interval], old: Sequence[Interval], rate: float
    ) -> bool:
        """Tell whether, with no old pod left, the fault came late, with load, or before."""
        latest = new[-1].end
        if any(each.requests and each.end > latest - self._scrape for each in old):
            return False
        bad = [each for each in new if each.errors > each.requests * rate / 2]
        onset = min((each.start for each in bad if each.errors > 1), default=bad[0].start)
        newest = [each for each in self._new if latest - self._scrape < each.end <= latest]
        pace = MINUTE * sum(each.requests / max(1.0, each.end - each.start) for each in newest)
        ended = [each for each in old if each.end > old[-1].end - ENDED_SECONDS]
        is_spike = pace > SPIKE_TIMES * self._busiest > 0
        return onset - self._begin > BLAME_SECONDS or is_spike or _rate(ended) >= rate / 2


def _intervals(world: World) -> Iterator[Interval]:
    lives = {life.name: life for life in world.cast.lives}
    errors = {(each.pod, each.route): each for each in world.errors}
    for counter in world.requests:
        life, failed = lives[counter.pod], errors.get((counter.pod, counter.route))
        before = (life.ready, 0.0, 0.0) if life.is_new else None
        for time, value in zip(counter.times.tolist(), counter.values.tolist(), strict=True):
            bad = _at(failed, time)
            if before is not None:
                start, last, last_bad = before
                requests = value - last if value >= last else value
                grown = bad - last_bad if bad >= last_bad else bad
                yield Interval(life, counter.route, start, time, requests, grown)
            before = time, value, bad


def _at(counter: Series | None, time: float) -> float:
    place = 0 if counter is None else int(np.searchsorted(counter.times, time, side="right"))
    return float(counter.values[place - 1]) if counter is not None and place else 0.0


def _on(intervals: Sequence[Interval], scope: tuple[str, ...]) -> list[Interval]:
    return [each for each in intervals if each.route in scope]


def _settled(new: Sequence[Interval]) -> Sequence[Interval]:
    """Leave a pod's first seconds out, unless nearly everything fails."""
    later = [each for each in new if each.start - each.pod.ready >= WARM_UP_SECONDS]
    return new if _rate(new) >= NEARLY_ALL else later


def _meets_floors(new: Sequence[Interval], odds: Odds) -> bool:
    is_enough = odds.errors >= LEAST_ERRORS or odds.errors >= odds.requests
    times = {each.end for each in new if each.requests}
    is_sampled = odds.requests >= LEAST_REQUESTS and len(times) >= LEAST_SAMPLES
    return is_enough and is_sampled and wilson_lower(odds.requests, odds.errors) > P2_RATE


def _sums(past: Sequence[Interval], length: float) -> list[tuple[float, float]]:
    """Add up (requests, errors) of the last hour by spans of so many seconds."""
    sums: dict[int, tuple[float, float]] = {}
    for each in past:
        if each.end > -HOUR:
            requests, errors = sums.get(int(-each.end // length), (0.0, 0.0))
            sums[int(-each.end // length)] = requests + each.requests, errors + each.errors
    return list(sums.values())


def _ceiling(past: Sequence[Interval]) -> float:
    rates = [errors / requests for requests, errors in _sums(past, QUARTER) if requests]
    return min(NEARLY_ALL, max(LEAST_CEILING, CEILING_TIMES * max(rates, default=0.0)))


def _coin(requests: float, errors: float, others: float, other_errors: float) -> Floats:
    """Each error falls on the new revision with the probability of its share of the requests."""
    share = requests / (requests + others)
    worse = EFFECTS * share / (EFFECTS * share + 1 - share)
    nats: Floats = errors * np.log(worse / share) + other_errors * np.log((1 - worse) / (1 - share))
    return nats


def _count(requests: float, errors: float, ceiling: float) -> Floats:
    worse = np.minimum(0.99, EFFECTS * ceiling)
    passed = (requests - errors) * np.log((1 - worse) / (1 - ceiling))
    nats: Floats = errors * np.log(worse / ceiling) + passed
    return nats


def _by_pod(intervals: Sequence[Interval]) -> dict[str, float]:
    """Give the error rate of each pod that has served."""
    pods: dict[str, list[Interval]] = {}
    for each in intervals:
        if each.requests:
            pods.setdefault(each.pod.name, []).append(each)
    return {name: _rate(own) for name, own in pods.items()}


def _rate(intervals: Sequence[Interval]) -> float:
    requests = sum(each.requests for each in intervals)
    return sum(each.errors for each in intervals) / requests if requests else 0.0
