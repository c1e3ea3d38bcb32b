"""Whole passes over one manifest: the operator as it is wired, on a cluster and answers drawn.

Time is virtual. Between passes the cluster changes, people ask, the policy is edited or deleted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import looptime

from bench.simulation.server import DELETED, Event, Server
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.adapters.kube.clock import ServerClock
from rollback_operator.adapters.kube.projections.templates import template_of
from rollback_operator.reconcile.cache import Unreadable
from rollback_operator.runtime.bootstrap import Outside, Parts, wire
from rollback_operator.runtime.settings import Settings
from rollback_operator.runtime.telemetry import Telemetry
from tests.hostile.answers import (
    DrawnChanges,
    DrawnChannels,
    DrawnClient,
    DrawnMetrics,
    DrawnProbes,
    DrawnSchemas,
    Ledger,
    Weather,
)
from tests.hostile.fields import Manifest
from tests.hostile.surroundings import PERSON, Surroundings
from tests.loop_time import Callback, watched

NAMESPACE, POLICY = "tenant", "drawn"
EPOCH = 1_893_456_000.0
PASS_SECONDS = 600.0
"""Of virtual time: a pass that takes longer stands still."""
STEPS = 6
OWN = "_Life.run"


class DrawnLoop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """An event loop whose time is that of its timers."""


@dataclass(frozen=True)
class Manifests:
    """What passes are made over: a policy, what it is edited to, and what people ask for."""

    policy: Manifest
    edited: Manifest
    rollbacks: tuple[Manifest, ...] = ()


@dataclass
class Found:
    """What was seen."""

    passes: int = 0
    calls: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Why the models refuse a policy that was admitted."""
    faults: list[str] = field(default_factory=list)
    longest: Callback = field(default_factory=lambda: Callback(0.0, "none"))


def go_through(manifests: Manifests, seed: int) -> Found:
    """Make passes over manifests; everything else is drawn from the seed."""
    found = Found()
    loop = DrawnLoop()
    asyncio.set_event_loop(loop)
    try:
        with _errors(found), watched() as times:
            loop.set_exception_handler(lambda _, context: found.faults.append(_words(context)))
            loop.run_until_complete(_Life(manifests, random.Random(seed), found, loop).run())
        # The life's own steps draw and change objects: no callback of the operator.
        theirs = (one for one in times.slowest if not one.name.startswith(OWN))
        found.longest = max(theirs, default=found.longest)
    finally:
        _sweep(loop)
        asyncio.set_event_loop(None)
    found.faults = [f"seed {seed}: {one}" for one in found.faults]
    return found


def _sweep(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_exception_handler(lambda *_: None)
    left = asyncio.all_tasks(loop)
    for one in left:
        one.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()


class _Life:
    """One operator, for a few passes."""

    def __init__(
        self, manifests: Manifests, dice: random.Random, found: Found, loop: DrawnLoop
    ) -> None:
        self.manifests, self.dice, self.found, self.loop = manifests, dice, found, loop
        self.server = Server(lambda: self._now().isoformat())
        target = manifests.policy["spec"]["targetRef"]["name"]
        self.around = Surroundings(self.server, dice, NAMESPACE, target)
        self.ledger = Ledger(NAMESPACE)
        self.weather = Weather(dice, dice.choice((0.0, 0.05, 0.3)))
        self.parts = self._wired()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH + self.loop.time(), UTC)

    def _wired(self) -> Parts:
        telemetry = Telemetry()
        client = DrawnClient(self.server, self.weather, self.ledger)
        clock = ServerClock(self._now, self.loop.time)
        api = ApiServer(client, telemetry.measure_call, clock)  # type: ignore[arg-type]
        stamp = lambda: clock.now().timestamp()  # noqa: E731
        metrics = DrawnMetrics(self.weather, self.ledger, stamp, self.around.pods)
        outside = Outside(
            api=api,
            metrics=metrics,
            trends=metrics,
            pods=metrics,
            schemas=DrawnSchemas(self.weather, self.ledger),
            changes=DrawnChanges(self.weather, self.ledger),
            probes=DrawnProbes(self.weather, self.ledger),
            channels=DrawnChannels(self.weather, self.ledger),
            clock=clock.now,
            monotonic=self.loop.time,
            wall=self._now,
            credentials=metrics,
        )
        hosts = "prometheus.monitoring"
        settings = Settings(
            prometheus_url=f"http://{hosts}:9090", identity="drawn", allowed_hosts=(hosts,)
        )
        parts = wire(outside, settings, telemetry)
        # It leads all along, however long a step lasts: nobody renews its lease here.
        parts.elector.leading.set()
        parts.elector._renewed = (math.inf, math.inf)
        return parts

    async def run(self) -> None:
        """Live from the first list to the last pass."""
        self.around.fill()
        self._put_up()
        self.server.watchers.append(self._tell)
        for id_ in list(self.server.texts):
            self._tell(Event("ADDED", id_, 0, self.server.texts[id_]))
        await asyncio.sleep(0)
        background = asyncio.create_task(self.parts.reconciler.teller.run())
        for _ in range(STEPS):
            await self._pass()
            self._happen()
            await asyncio.sleep(self.dice.choice((0.1, 1.0, 5.0, 30.0, 600.0, 4000.0)))
        policies = self.parts.intake.cache.policies.values()
        self.found.unreadable += [one.message for one in policies if isinstance(one, Unreadable)]
        background.cancel()
        with suppress(asyncio.CancelledError):
            await background
        await self.parts.close()
        self.found.calls += self.ledger.calls
        self.found.faults += self.ledger.faults

    def _put_up(self) -> None:
        self.server.make(PERSON, "rollbackpolicies", self._placed(self.manifests.policy, POLICY))
        for place, one in enumerate(self.manifests.rollbacks):
            raw = self._placed(one, f"r{place}-{'0' * 10}")
            raw["spec"]["policyRef"]["name"] = POLICY
            if "targetRef" in raw["spec"] and self.around.is_there:
                uid = self.around.deployment()["metadata"]["uid"]
                raw["spec"]["targetRef"] |= {"name": self.around.name, "uid": uid}
            if "seen" in raw["spec"] and self.around.is_there and self.dice.random() < 0.8:
                template = self.around.deployment()["spec"]["template"]
                digest = template_of(template).digest
                raw["spec"]["seen"] = {"deployment": self.around.name, "digest": digest}
                raw["spec"]["seen"]["revision"] = 1
            self.server.make(PERSON, "rollbacks", raw)

    def _placed(self, manifest: Manifest, name: str) -> Manifest:
        raw: Manifest = json.loads(json.dumps(manifest))
        created = self.around.time(self.dice.choice((0, -5, -86400)))
        raw["metadata"] = {"name": name, "namespace": NAMESPACE, "creationTimestamp": created}
        return raw

    def _tell(self, event: Event) -> None:
        """Deliver what a watch tells, or lose it now and then."""
        if event.id[0] not in ("rollbackpolicies", "rollbacks", "deployments"):
            return
        if self.dice.random() > 0.05:
            self.loop.call_soon(self._deliver, event)

    def _deliver(self, event: Event) -> None:
        try:
            if event.type == DELETED:
                self.parts.intake.drop(event.id[0], event.id[1:])
            else:
                self.parts.intake.take(event.id[0], json.loads(event.text))
        except Exception:
            self.found.faults.append(f"an event of {event.id}: {traceback.format_exc()}")

    async def _pass(self) -> None:
        self.found.passes += 1
        try:
            async with asyncio.timeout(PASS_SECONDS):
                making = self.parts.reconciler.reconcile((NAMESPACE, POLICY))
                wait = await asyncio.create_task(making)
            if wait is not None and not wait >= 0:
                self.found.faults.append(f"a pass wants to look again in {wait} s")
        except Exception:
            self.found.faults.append(f"a pass: {traceback.format_exc()}")

    def _happen(self) -> None:
        for _ in range(self.dice.randint(0, 2)):
            self.around.happen()
        id_ = "rollbackpolicies", NAMESPACE, POLICY
        if self.dice.random() < 0.15:
            raw = self.server.read(id_)
            if raw is not None:
                raw["spec"] = self.manifests.edited["spec"]
                self.server.write(PERSON, id_, raw)
        if self.dice.random() < 0.05:
            self.server.delete(PERSON, id_)
        for other in [one for one in self.server.texts if one[0] == "rollbacks"]:
            self._decide(other)

    def _decide(self, id_: tuple[str, str, str]) -> None:
        raw = self.server.read(id_)
        if raw is None:
            return
        if self.dice.random() < 0.05:
            self.server.delete(PERSON, id_)
        elif self.dice.random() < 0.3 and "approval" not in raw["spec"]:
            digest = (raw.get("status") or {}).get("planDigest") or "0" * 16
            decision = self.dice.choice(("Approve", "Approve", "Reject"))
            raw["spec"]["approval"] = {"decision": decision, "by": "a", "planDigest": digest}
            self.server.write(PERSON, id_, raw)


@contextmanager
def _errors(found: Found) -> Iterator[None]:
    """Take what is caught and logged with its traceback for what it is: something has raised."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                said = "".join(traceback.format_exception(*record.exc_info))
                found.faults.append(f"logged: {record.getMessage()}\n{said}")

    handler, root = Handler(logging.ERROR), logging.getLogger("rollback_operator")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _words(context: dict[str, Any]) -> str:
    error = context.get("exception")
    said = "".join(traceback.format_exception(error)) if error else ""
    return f"the loop: {context.get('message')}\n{said}"
