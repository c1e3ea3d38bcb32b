"""Operators: the product's own wiring and life, in a process that can be killed at any point."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from bench.simulation.loop import Process, own
from bench.simulation.network import (
    Air,
    Client,
    Inbox,
    NoChanges,
    NoSchemas,
    Pages,
    Questions,
    Service,
)
from bench.simulation.pods import Pod
from bench.simulation.prometheus import Database, Provider
from bench.simulation.server import Event, Id, Server
from bench.simulation.weather import Effect
from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.clock import ServerClock
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.cache import Key
from rollback_operator.reconcile.reconciler import Reconciler
from rollback_operator.runtime import handlers
from rollback_operator.runtime.bootstrap import Outside, Parts, wire
from rollback_operator.runtime.main import Life, live, settle
from rollback_operator.runtime.settings import Settings
from rollback_operator.runtime.telemetry import Telemetry

LEASE_SECONDS = 15.0
WATCHED = {
    kind.plural: paths.whole_cluster(kind)
    for kind in (paths.POLICIES, paths.ROLLBACKS, paths.DEPLOYMENTS)
}
_HANDLERS = {
    "rollbackpolicies": "on_policy",
    "rollbacks": "on_rollback",
    "deployments": "on_deployment",
}
Handler = Callable[..., Awaitable[None]]


class Registry:
    """Takes what `handlers.register` gives to kopf."""

    def __init__(self) -> None:
        self._watching: list[Any] = []

    def handler(self, plural: str) -> Handler:
        """Give the handler of a kind."""
        wanted = _HANDLERS[plural]
        found: Handler = next(one.fn for one in self._watching if one.fn.__name__ == wanted)
        return found


@dataclass
class Ground:
    """What all operators stand on."""

    air: Air
    server: Server
    database: Database
    pods: Callable[[], dict[str, Pod]]
    told: list[tuple[str, str]]
    dice: random.Random
    epoch: float


@dataclass(eq=False)
class Feed:
    """One operator's watch of one kind: a list, then the events since, the last of each object."""

    ground: Ground
    name: str
    plural: str
    api: ApiServer
    handler: Handler
    arrived: asyncio.Queue[tuple[str | None, str]] = field(default_factory=asyncio.Queue)
    is_listing: bool = True
    since: list[Event] = field(default_factory=list)
    """What has happened since the list was asked for."""
    pending: dict[Id, Event] = field(default_factory=dict)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            self.is_listing, self.since = True, []
            self.gone.clear()
            listed = await self.api.get(WATCHED[self.plural])
            if isinstance(listed, Failure):
                await asyncio.sleep(1.0)
                continue
            self.pending.clear()
            for one in listed["items"]:
                self.arrived.put_nowait((None, json.dumps(one)))
            self.is_listing = False
            version = int(listed["metadata"]["resourceVersion"])
            for event in self.since:
                if event.version > version:
                    self._send(event)
            await self.gone.wait()
            await asyncio.sleep(self.ground.dice.uniform(0.1, 2.0))

    async def hand_over(self) -> None:
        """Give what arrives to the product's handler."""
        while True:
            type_, text = await self.arrived.get()
            await self.handler(event={"type": type_, "object": json.loads(text)})

    def tell(self, event: Event) -> None:
        """Take in that something has changed."""
        weather = self.ground.air.weather
        if event.id[0] != self.plural:
            return
        if weather.has(Effect.WATCH_GONE, self.name):
            return  # `gone` is set at the end of the spell
        if weather.has(Effect.WATCH_MUTE, self.name):
            return
        if self.is_listing:
            self.since.append(event)
        else:
            self._send(event)

    def _send(self, event: Event) -> None:
        if event.id not in self.pending:
            delay = self.ground.air.weather.event_delay(self.name)
            self.ground.air.loop.after(delay, self._deliver, event.id)
        self.pending[event.id] = event

    def _deliver(self, id_: Id) -> None:
        if self.ground.air.weather.has(Effect.WATCH_SILENT, self.name):
            self.ground.air.loop.after(1.0, self._deliver, id_)
            return
        event = self.pending.pop(id_, None)
        if event is not None:
            self.arrived.put_nowait((event.type, event.text))


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a policy, as it went."""

    name: str
    """Of the process."""
    began: float
    """Seconds of the loop."""
    seconds: float
    raised: str = ""
    """What it raised; empty: nothing."""


@dataclass
class Timed(Reconciler):
    """The product's reconciler, with a watch on how long its passes take."""

    name: str = ""
    time: Callable[[], float] = lambda: 0.0
    passed: Callable[[Pass], None] = lambda one: None

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass."""
        began, raised = self.time(), ""
        try:
            return await super().reconcile(key)
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.passed(Pass(self.name, began, self.time() - began, raised))


@dataclass(eq=False)
class Operator:
    """A replica: runs one process after another, as its pod's kubelet would."""

    ground: Ground
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    offset: float = 0.0
    """Seconds by which its clock is ahead."""
    process: Process | None = None
    life: Life | None = None
    feeds: list[Feed] = field(default_factory=list)
    passed: Callable[[Pass], None] = lambda one: None
    """Told of each pass."""
    down_until: float = 0.0
    """Nobody starts it before."""
    renames: bool = False
    """Each process has a name of its own, as that of a pod which is replaced."""
    _number: int = 0
    _kept: list[object] = field(default_factory=list)

    def now(self) -> datetime:
        """Read its clock."""
        loop = self.ground.air.loop
        return datetime.fromtimestamp(self.ground.epoch + loop.time() + self.offset, UTC)

    def start(self) -> None:
        """Begin a process."""
        loop = self.ground.air.loop
        if loop.time() < self.down_until:
            loop.after(self.down_until - loop.time(), self.start)
            return
        self._number += 1
        process = self.process = Process(f"{self.name}.{self._number}")
        self.ground.air.trace.note(f"{process.name} begins")
        main = self._main(process)
        # What a killed process leaves is kept until the end: nothing of it is to be cleaned up.
        self._kept.append(loop.create_task(main, context=own(process)))

    def kill(self) -> None:
        """End its process here and now."""
        if self.process is not None and not self.process.is_dead:
            self.process.kill()
            self.died()

    def died(self) -> None:
        """Begin anew after a while."""
        self._leave()
        self.ground.air.loop.after(self.ground.dice.uniform(0.5, 8.0), self.start)

    def gone(self) -> None:
        """Let its watches find out that they have missed something."""
        for one in self.feeds:
            one.gone.set()

    def _leave(self) -> None:
        watchers = self.ground.server.watchers
        for one in self.feeds:
            watchers.remove(one.tell)
        self._kept.extend(self.feeds)
        self.feeds = []

    async def _main(self, process: Process) -> None:
        ground = self.ground
        telemetry = Telemetry()
        client = Client(ground.air, ground.server, process, self.name, self.died)
        clock = ServerClock(self.now, ground.air.loop.time)
        api = ApiServer(client, telemetry.measure_call, clock)  # type: ignore[arg-type]
        provider = Provider(ground.database, Questions(ground.air, self.name))
        outside = Outside(
            api=api,
            metrics=provider,
            trends=provider,
            pods=Pages(ground.air, self.name, ground.pods, lambda: clock.now().timestamp()),
            schemas=NoSchemas(),
            changes=NoChanges(),
            probes=Service(ground.air, self.name, ground.pods),
            channels=Inbox(ground.air, self.name, ground.told),
            clock=clock.now,
            monotonic=ground.air.loop.time,
            wall=self.now,
        )
        identity = process.name if self.renames else self.name
        settings = Settings(
            identity=identity,
            lease_seconds=LEASE_SECONDS,
            workers=2,
            prometheus_url="http://prometheus.monitoring:9090",
            **self.settings,
        )
        parts = wire(outside, settings, telemetry)
        parts.reconciler = Timed(
            **{one.name: getattr(parts.reconciler, one.name) for one in fields(parts.reconciler)},
            name=process.name,
            time=ground.air.loop.time,
            passed=self.passed,
        )
        life = self.life = Life()
        status = await live(parts, settings, life, self._watch(parts, settings, life))
        ground.air.trace.note(f"{process.name} ends with {status}")
        process.is_dead = True
        self._leave()
        ground.air.loop.after(ground.dice.uniform(0.5, 3.0), self.start)

    async def _watch(self, parts: Parts, settings: Settings, life: Life) -> None:
        registry = Registry()
        handlers.register(registry, parts.intake)  # type: ignore[arg-type]
        self.feeds = [
            Feed(self.ground, self.name, plural, parts.api, registry.handler(plural))
            for plural in WATCHED
        ]
        self.ground.server.watchers.extend(one.tell for one in self.feeds)
        tasks = [
            asyncio.create_task(settle(parts, settings, life.ready)),
            *(asyncio.create_task(one.run()) for one in self.feeds),
            *(asyncio.create_task(one.hand_over()) for one in self.feeds),
        ]
        await life.stop.wait()
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
