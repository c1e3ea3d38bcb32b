"""A seeded release under load, sample by sample: what Prometheus and Kubernetes would show of it.

Requests come as a Poisson stream and fall on the pods that are ready; each pod is scraped on its
own clock, first 5-10 s after its start; who goes is not scraped any more. `looks` feeds all that to
the judge as the operator would.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rollback_operator.api.v1alpha1 import VerdictValue
from rollback_operator.evidence.baseline import Control, RouteControl
from rollback_operator.evidence.watch import (
    Watch,
    open_watch,
    with_pages,
    with_reading,
    with_workload,
)
from rollback_operator.judge.judge import judge
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, CounterSeries
from rollback_operator.model.verdict import Verdict
from rollback_operator.model.workload import Workload
from tests.builders import (
    LIST,
    PURCHASE,
    RESERVE,
    T0,
    make_deployment,
    make_question,
    make_replica_set,
)

STEP = 0.25
BEFORE = 30.0
INGESTED = 0.3
MIX: Mapping[str, float] = {LIST: 0.4, RESERVE: 0.3, PURCHASE: 0.3}


@dataclass(frozen=True)
class Burst:
    """A fault of something that both revisions need."""

    start: float
    seconds: float
    rate: float
    routes: frozenset[str] = frozenset(MIX)


@dataclass(frozen=True)
class Life:
    """A pod's times, seconds after the template changed."""

    name: str
    version: str
    started: float
    ready: float
    gone: float = math.inf


@dataclass(frozen=True)
class Release:
    """What happens."""

    seed: int
    rps: float = 50.0
    base: float = 0.001
    """Error rate of both revisions, always."""
    fails: Mapping[str, float] = field(default_factory=dict)
    """Share of the new revision's requests that fail, by route."""
    fails_from: float = 0.0
    """Seconds after the template changed from which they do."""
    bad_pods: frozenset[int] = frozenset(range(100))
    """Which new pods have that fault."""
    warm_up: float = 0.0
    """Error rate in a new pod's first moment; it decays with a time constant of 4 s."""
    bursts: tuple[Burst, ...] = ()
    rollout: tuple[Life, ...] = ()
    interval: float = 5.0
    traffic: float = 1.0
    """Factor on the requests from the template's change on."""
    has_control: bool = True
    read_every: float = 0.0
    """Seconds between two reads of the pods' own pages, beside Prometheus; 0: none."""
    read_seconds: float = 0.02
    """How long they may take to answer."""

    @property
    def lives(self) -> tuple[Life, ...]:
        return self.rollout or fast_rollout(random.Random(self.seed))


def fast_rollout(dice: random.Random, replicas: int = 4) -> tuple[Life, ...]:
    """All new pods at once, the old ones gone a moment later: nothing is left to compare with."""
    new = []
    for number in range(replicas):
        started = 1 + number * dice.uniform(0.2, 1.5)
        new.append(Life(f"new-{number}", "v2", started, started + dice.uniform(0.5, 3)))
    ready = sorted(one.ready for one in new)
    old = [
        Life(f"old-{number}", "v1", -3600, -3590, ready[number] + dice.uniform(0.1, 1.0))
        for number in range(replicas)
    ]
    return (*new, *old)


def slow_rollout(dice: random.Random, replicas: int = 4, pause: float = 25.0) -> tuple[Life, ...]:
    """One pod after another, each with minReadySeconds: old pods live for a minute or two."""
    new, old = [], []
    for number in range(replicas):
        started = 1 + number * pause * dice.uniform(0.8, 1.2)
        ready = started + dice.uniform(1, 5)
        new.append(Life(f"new-{number}", "v2", started, ready))
        old.append(Life(f"old-{number}", "v1", -3600, -3590, ready + pause * 0.6))
    return (*new, *old)


def paused_rollout(dice: random.Random, replicas: int = 4, new: int = 2) -> tuple[Life, ...]:
    """A rollout that stands still with both revisions serving."""
    started = [1 + dice.uniform(0, 2) for _ in range(new)]
    return (
        *(Life(f"new-{n}", "v2", at, at + dice.uniform(0.5, 3)) for n, at in enumerate(started)),
        *(Life(f"old-{n}", "v1", -3600, -3590) for n in range(replicas - new + 1)),
    )


@dataclass(frozen=True)
class Look:
    """What the judge said at one time, seconds after the template changed."""

    time: float
    verdict: Verdict
    watch: Watch
    workload: Workload
    first_failed: float | None
    """When the new revision's first request failed; None: none has."""


def looks(release: Release, until: float, every: float | None = None) -> Iterator[Look]:
    """Judge a release as the operator would: `every` seconds, or after each sample."""
    dice = random.Random(release.seed)
    traffic = _traffic(release, until + 1, dice)
    times = {
        life.name: _sample_times(life, release.interval, until, dice) for life in release.lives
    }
    arrivals = sorted({time + INGESTED for all_ in times.values() for time in all_ if time > 0})
    due = arrivals if every is None else _multiples(every, until)
    pages = set(_multiples(release.read_every, until) if release.read_every else ())
    watch = open_watch("digest-v2", T0, frozenset({"hashv1"}))
    watch = _with_control(watch, release, dice)
    known = -math.inf
    for now in sorted({*due, *pages}):
        workload = workload_at(release.lives, now)
        watch = with_workload(watch, workload, T0 + now)
        seen = {
            name: [time for time in all_ if known - 2 * release.interval < time <= now - INGESTED]
            for name, all_ in times.items()
        }
        known = now
        watch = with_reading(watch, _counters(release, traffic, seen))
        if now in pages:
            watch = with_pages(watch, _pages(release, traffic, now, dice), T0 + now)
            assert not watch.evidence.book.conflict
        verdict = judge(watch, workload, make_question(), T0 + now)
        first = traffic.first_failed
        yield Look(now, verdict, watch, workload, first if first is None or first < now else None)


def _multiples(step: float, until: float) -> list[float]:
    return [step * number for number in range(1, int(until / step) + 1)]


def first_bad(release: Release, until: float, every: float | None = None) -> Look | None:
    """Give the first look at which the release is called bad."""
    found = looks(release, until, every)
    return next((one for one in found if one.verdict.value is VerdictValue.BAD), None)


def workload_at(lives: Sequence[Life], now: float) -> Workload:
    """What Kubernetes shows at a time."""
    alive = [life for life in lives if life.started - 1 <= now < life.gone]
    ready = [life for life in alive if life.ready <= now]
    new = [life for life in alive if life.version == "v2"]
    return Workload(
        deployment=make_deployment(
            updated=len(new), total=len(alive), available=len(ready), replicas=4
        ),
        replica_sets=(make_replica_set("v2"), make_replica_set("v1", replicas=0)),
        pods=tuple(_pod(life, now) for life in alive),
    )


def _pod(life: Life, now: float) -> Pod:
    # The API server's times have no fractions.
    return Pod(
        name=life.name,
        pod_hash=f"hash{life.version}",
        node=f"node-{life.name}",
        created=math.floor(T0 + life.started - 1),
        started=math.floor(T0 + life.started) if life.started <= now else None,
        ready=life.ready <= now,
        ready_since=math.floor(T0 + life.ready) if life.ready <= now else None,
    )


@dataclass
class _Traffic:
    requests: dict[tuple[str, str], list[int]]
    errors: dict[tuple[str, str], list[int]]
    first_failed: float | None = None


def _traffic(release: Release, until: float, dice: random.Random) -> _Traffic:
    """Counters of each pod and route at the end of each step, from 0."""
    keys = [(life.name, route) for life in release.lives for route in MIX]
    traffic = _Traffic({key: [0] for key in keys}, {key: [0] for key in keys})
    for step in range(int((until + BEFORE) / STEP)):
        now = step * STEP - BEFORE
        serving = [life for life in release.lives if life.ready <= now < life.gone]
        rps = release.rps * (release.traffic if now >= 0 else 1)
        for life in release.lives:
            is_serving = life.ready <= now < life.gone
            for route, share in MIX.items():
                mean = rps * STEP * share / len(serving) if is_serving else 0.0
                count = _poisson(mean, dice) if mean else 0
                rate = _rate(release, life, route, now) if count else 0.0
                failed = sum(dice.random() < rate for _ in range(count)) if rate else 0
                if failed and life.version == "v2" and traffic.first_failed is None:
                    traffic.first_failed = now
                key = (life.name, route)
                traffic.requests[key].append(traffic.requests[key][-1] + count)
                traffic.errors[key].append(traffic.errors[key][-1] + failed)
    return traffic


def _rate(release: Release, life: Life, route: str, now: float) -> float:
    passes = 1 - release.base
    if life.version == "v2":
        number = int(life.name.rsplit("-", 1)[1])
        if number in release.bad_pods and now >= release.fails_from:
            passes *= 1 - release.fails.get(route, 0.0)
        if release.warm_up:
            passes *= 1 - release.warm_up * math.exp(-(now - life.ready) / 4)
    for burst in release.bursts:
        if burst.start <= now < burst.start + burst.seconds and route in burst.routes:
            passes *= 1 - burst.rate
    return 1 - passes


def _poisson(mean: float, dice: random.Random) -> int:
    if mean > 30:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, dice.random()
    while product > limit:
        count += 1
        product *= dice.random()
    return count


def _sample_times(life: Life, interval: float, until: float, dice: random.Random) -> list[float]:
    """A pod is discovered some seconds after its start and then scraped at its own offset."""
    offset = dice.uniform(0, interval)
    begin = max(life.started, -BEFORE) + (dice.uniform(5, 10) if life.version == "v2" else 0)
    first = math.ceil((begin - offset) / interval) * interval + offset
    if life.version == "v2":
        first = begin
    end = min(until, life.gone)
    return [first + n * interval for n in range(max(0, math.floor((end - first) / interval) + 1))]


def _counters(release: Release, traffic: _Traffic, seen: Mapping[str, Sequence[float]]) -> Counters:
    def series(counts: Mapping[tuple[str, str], Sequence[int]]) -> tuple[CounterSeries, ...]:
        return tuple(
            CounterSeries(
                pod=name,
                route=route,
                identity=(),
                instance=f"{name}:8080",
                samples=tuple(
                    (T0 + time, float(counts[name, route][int((time + BEFORE) / STEP)]))
                    for time in seen[name]
                ),
            )
            for name in seen
            if seen[name]
            for route in MIX
        )

    return Counters(series(traffic.requests), series(traffic.errors))


def _pages(release: Release, traffic: _Traffic, now: float, dice: random.Random) -> Counters:
    """What the pods' own pages show: each answers at some moment, which nobody knows exactly."""
    living = [life for life in release.lives if life.ready <= now < life.gone]
    shown = {life.name: [now + dice.uniform(0, release.read_seconds)] for life in living}
    told = {
        life.name: T0 + now + (release.read_seconds if life.version == "v2" else 0)
        for life in living
    }

    def timed(all_: Sequence[CounterSeries]) -> tuple[CounterSeries, ...]:
        return tuple(replace(one, samples=((told[one.pod], one.samples[0][1]),)) for one in all_)

    found = _counters(release, traffic, shown)
    return Counters(timed(found.requests), timed(found.errors))


def _with_control(watch: Watch, release: Release, dice: random.Random) -> Watch:
    """The old revision's last hour, by the minute."""
    if not release.has_control:
        return watch
    routes = {route: _past(release, release.rps * share, dice) for route, share in MIX.items()}
    control = Control(
        seconds=3600.0,
        routes=routes,
        busiest_minute=release.rps * 1.1,
        pooled=_past(release, release.rps, dice),
    )
    return Watch(
        watch.digest,
        watch.opened,
        watch.evidence,
        control=control,
        control_hashes=watch.control_hashes,
    )


def _past(release: Release, rps: float, dice: random.Random) -> RouteControl:
    expected = 60 * rps * release.base
    errors = [_poisson(expected, dice) if expected else 0 for _ in range(60)]
    return RouteControl(
        requests=3600 * rps,
        errors=float(sum(errors)),
        worst_minute=max(errors) / (60 * rps) if 60 * rps >= 20 else 0.0,
    )
