"""A release under load in virtual time, through the real queue, passes, observer and judge.

Pods, requests, scrapes and answers take the time that they take on a node; nobody waits for it. So
it shows where the time goes between the first failing response and the undo, the same each time.
"""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Rollback, StoredStrategy
from rollback_operator.evidence.baseline import Control
from rollback_operator.model.pod import MetricsPage, Pod
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import CounterQuery, PageQuery, PodPage, Prometheus
from rollback_operator.runtime.workqueue import WorkQueue
from tests.builders import (
    LIST,
    NAME,
    PURCHASE,
    RESERVE,
    T0,
    make_control,
    make_pod,
    make_replica_set,
    make_template,
    make_workload,
)
from tests.world import KEY, World

MIX: Mapping[str, float] = {LIST: 0.4, RESERVE: 0.3, PURCHASE: 0.3}
REPLICAS = 4
RELEASED = 5.0
"""Seconds after the start at which the template changes."""
SCRAPE = 5.0


class _Clock(selectors.SelectSelector):
    """Whoever waits for time to pass finds that it has."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


@dataclass(frozen=True)
class Latencies:
    """Seconds that answers take at the median; each takes half to one and a half of it."""

    api: float = 0.02
    prometheus: float = 0.03
    page: float = 0.01
    event: float = 0.05
    lost: float = 0.3
    """Until a connection to an address that nobody has any more is given up."""


@dataclass
class _Life:
    """A pod's times, seconds after the release."""

    number: int
    version: str
    created: float
    started: float = math.inf
    ready: float = math.inf
    served: float = math.inf
    """From when on it gets requests."""
    gone: float = math.inf

    @property
    def name(self) -> str:
        return f"{NAME}-hash{self.version}-{self.number}"


@dataclass
class Race:
    """One release."""

    seed: int
    fails: Mapping[str, float]
    """Share of the new revision's requests that fail, by route."""
    rate: float = 50.0
    latencies: Latencies = field(default_factory=Latencies)
    failures: list[float] = field(default_factory=list)
    undone: float | None = None

    def run(self, seconds: float = 30.0) -> Race:
        """Let it happen, until the undo or for so long after the release."""
        loop = _Loop()
        try:
            loop.run_until_complete(self._happen(loop, seconds))
        finally:
            loop.close()
        return self

    @property
    def reaction(self) -> float:
        """Seconds from the first failing response to the undo; infinite without one."""
        return math.inf if self.undone is None else self.undone - self.failures[0]

    async def _happen(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop, self._dice = loop, random.Random(self.seed)
        self._over = asyncio.Event()
        self._lives = [
            _Life(one, "v1", -3600.0, -3599.0, -3590.0, -3590.0) for one in range(REPLICAS)
        ]
        self._version = "v1"
        self._requests = {(one.name, route): 5000.0 for one in self._lives for route in MIX}
        self._errors = dict.fromkeys(self._requests, 5.0)
        self._scraped: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
        self._world = self._made()
        self._operator = self._world.operator()
        self._queue: WorkQueue[tuple[str, str]] = WorkQueue(loop.time)
        self._operator.cache.deployments[KEY] = self._workload().deployment
        self._queue.add(KEY)
        parts = (self._serve(), self._roll_out(), self._scrape())
        tasks = [asyncio.create_task(one) for one in parts]
        tasks.append(
            asyncio.create_task(self._queue.run(self._operator.reconcile, 2, lambda: True))
        )
        try:
            async with asyncio.timeout(RELEASED + seconds):
                await self._over.wait()
        except TimeoutError:
            pass
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the world ---------------------------------------------------------------------------------

    @property
    def _time(self) -> float:
        return self._loop.time() - RELEASED

    async def _takes(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._dice.uniform(0.5, 1.5))

    async def _serve(self) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(self.rate))
            live = [one for one in self._lives if one.served <= self._time < one.gone]
            pod = self._dice.choice(live)
            (route,) = self._dice.choices(list(MIX), list(MIX.values()))
            key = pod.name, route
            self._requests[key] = self._requests.get(key, 0.0) + 1
            if pod.version == "v2" and self._dice.random() < self.fails.get(route, 0.0):
                self._errors[key] += 1
                self.failures.append(self._time)

    async def _roll_out(self) -> None:
        """As with maxSurge and maxUnavailable of a quarter: two at first, then one for one."""
        await asyncio.sleep(RELEASED)
        self._version = "v2"
        self._tell()
        await asyncio.sleep(0.15)
        old = list(self._lives)
        old.pop().gone = self._time + 0.2

        async def start() -> None:
            number = sum(one.version == "v2" for one in self._lives)
            life = _Life(number, "v2", self._time)
            self._lives.append(life)
            await asyncio.sleep(self._dice.uniform(0.6, 1.0))
            life.started = self._time
            self._errors.update({(life.name, route): 0.0 for route in MIX})
            await asyncio.sleep(self._dice.uniform(0.7, 2.0))
            life.ready, life.served = self._time, self._time + self._dice.uniform(0.1, 0.8)
            self._tell()
            await asyncio.sleep(0.1)
            if old:
                old.pop().gone = self._time + self._dice.uniform(0.1, 0.6)
            while self._world.workloads.workload.deployment.paused:  # noqa: ASYNC110 (it costs nothing)
                await asyncio.sleep(0.1)
            if sum(one.version == "v2" for one in self._lives) < REPLICAS:
                await start()

        await asyncio.gather(start(), start())

    def _tell(self) -> None:
        """Let the watch of Deployments deliver."""

        def deliver() -> None:
            known, found = self._operator.cache.deployments[KEY], self._workload().deployment
            self._operator.cache.deployments[KEY] = found
            self._queue.add(KEY, 0.0 if known.template != found.template else 0.3)

        self._loop.call_later(self.latencies.event, deliver)

    async def _scrape(self) -> None:
        """Each pod every five seconds, found up to five seconds after its start."""
        due: dict[str, float] = {}
        while True:
            await asyncio.sleep(0.05)
            for one in self._lives:
                found = self._time if one.created < 0 else math.ceil(self._time / SCRAPE) * SCRAPE
                first = due.setdefault(one.name, found + self._dice.uniform(0, SCRAPE))
                if self._time < first or not one.started <= self._time < one.gone:
                    continue
                due[one.name] += SCRAPE
                for kind, all_ in (("requests", self._requests), ("errors", self._errors)):
                    for (pod, route), value in all_.items():
                        if pod == one.name:
                            samples = self._scraped.setdefault((kind, pod, route), [])
                            samples.append((T0 + self._time, value))

    def _workload(self) -> Workload:
        now = self._time
        there = [one for one in self._lives if one.created <= now < one.gone + 10]
        staying = [one for one in there if now < one.gone]
        known = self._world.workloads.workload
        deployment = replace(
            known.deployment,
            template=make_template(self._version),
            revision=int(self._version[1:]),
            updated=sum(one.version == self._version for one in staying),
            total=len(staying),
            available=sum(one.ready <= now for one in staying),
        )
        sets = [make_replica_set(one, created=T0 - 3600) for one in ("v1", self._version)]
        return Workload(
            deployment,
            replica_sets=tuple(sets if self._version == "v2" else sets[:1]),
            pods=tuple(self._pod(one) for one in there),
        )

    def _pod(self, life: _Life) -> Pod:
        now = self._time
        return make_pod(
            life.number,
            life.version,
            created=T0 + math.floor(life.created),
            started=T0 + math.floor(life.started) if life.started <= now else None,
            ready=life.ready <= now < life.gone,
            ready_since=T0 + math.floor(life.ready) if life.ready <= now else None,
            terminating=life.gone <= now,
            address=f"10.0.{life.version[1:]}.{life.number}",
            page=MetricsPage(port=9102, serving_port=8080),
        )

    # -- the ports ---------------------------------------------------------------------------------

    def _made(self) -> World:
        """A world whose ports take their time."""
        world = World(seconds=0.0)
        world.now = lambda: datetime.fromtimestamp(T0 + self._time, UTC)  # type: ignore[method-assign]
        world.tell = lambda operator: None  # type: ignore[method-assign]
        world.workloads.workload = make_workload("v1", older=())
        world.metrics, world.pods = _Prometheus(self), _Pages(self)  # type: ignore[assignment]
        slow = ("list_rollbacks", "create_rollback", "write_rollback", "write_policy", "post")
        for name in (*slow, "guard", "release"):
            setattr(world.store, name, self._slow(getattr(world.store, name)))
        for name in ("pause", "resume"):
            setattr(world.workloads, name, self._slow(getattr(world.workloads, name)))

        async def inspect(namespace: str, name: str) -> Workload | Failure:
            await self._takes(2 * self.latencies.api)
            return self._workload()

        async def undo(rollback: Rollback, surge: StoredStrategy | None) -> Deployment | Failure:
            await self._takes(3 * self.latencies.api)
            self.undone = self._time
            self._over.set()
            return self._workload().deployment

        world.workloads.inspect = inspect  # type: ignore[method-assign]
        world.workloads.undo = undo  # type: ignore[method-assign]
        return world

    def _slow(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*arguments: Any) -> Any:
            await self._takes(self.latencies.api)
            self._world.workloads.workload = self._workload()
            return await call(*arguments)

        return called

    def scrapes(self) -> Reading:
        """What Prometheus has, with the labels that it adds."""
        found = {
            kind: tuple(
                CounterSeries(pod, route, (("job", "pods"),), f"{pod}:9102", tuple(samples))
                for (one, pod, route), samples in self._scraped.items()
                if one == kind
            )
            for kind in ("requests", "errors")
        }
        if not found["requests"]:
            return Missing(Reason.NO_SERIES, "nothing has been scraped yet")
        return Counters(found["requests"], found["errors"])

    async def page(self, pod: PodPage) -> Counters:
        """What a pod shows: a series of requests only after the first one."""
        sent = self._time
        life = next(one for one in self._lives if one.name == pod.pod)
        if not life.started <= sent < life.gone + 2:
            await asyncio.sleep(0.0 if pod.is_leaving else self.latencies.lost)
            return Counters((), ())
        await self._takes(self.latencies.page)
        at = T0 + (self._time if pod.is_judged else sent)
        kinds = [
            tuple(
                CounterSeries(name, route, (), f"{name}:9102", ((at, value),))
                for (name, route), value in all_.items()
                if name == pod.pod
            )
            for all_ in (self._requests, self._errors)
        ]
        return Counters(*kinds)


@dataclass
class _Prometheus:
    race: Race

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        found = self.race.scrapes()
        await self.race._takes(self.race.latencies.prometheus)
        return found

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        await self.race._takes(self.race.latencies.prometheus)
        return make_control()

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        return T0 + self.race._time


@dataclass
class _Pages:
    race: Race

    async def read(self, query: PageQuery) -> Reading:
        """In the order of the real reader: the judged pods, then the others."""
        found: list[Counters] = []
        for is_judged in (True, False):
            asked = [self.race.page(one) for one in query.pages if one.is_judged is is_judged]
            found += await asyncio.gather(*asked)
        requests = tuple(series for one in found for series in one.requests)
        if not requests:
            return Missing(Reason.NO_COUNTERS_EXPOSED, "no pod has served yet")
        return Counters(requests, tuple(series for one in found for series in one.errors))
