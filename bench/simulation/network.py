"""What lies between an operator and the rest: each call has a fate, and each is a step.

`Client` stands where the Kubernetes client's connection pool is: above it all is the product's own,
time-outs and the reading of refusals included.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any

import aiohttp

from bench.simulation.loop import Process, VirtualLoop
from bench.simulation.pods import Pod
from bench.simulation.prometheus import MetricFaults
from bench.simulation.releases import ROUTES, Truth
from bench.simulation.server import Request, Response, Server
from bench.simulation.weather import Effect, Fate, Weather
from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import MigrationRecord
from rollback_operator.api.notify import Channel
from rollback_operator.api.reasons import Reason
from rollback_operator.api.verification import HttpProbe
from rollback_operator.model.message import Message
from rollback_operator.model.pod import Endpoint
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.model.schema import UnknownSchema
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.metrics import PageQuery, PodPage
from rollback_operator.remedies.database.migrations import LossReport
from rollback_operator.rollback.integrity import Answers
from rollback_operator.rollback.probing import ProbeResponse, Reply, Silence

KEPT = 4000


DISCOVERY = "/apis"


@dataclass
class Trace:
    """What has happened, in order: counted, summed up, and the last of it kept."""

    now: Callable[[], float]
    steps: int = 0
    sum: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))

    def step(self, text: str) -> None:
        """Note something that an operator has done: a point at which a fault may strike."""
        self.steps += 1
        self.note(text)

    def note(self, text: str) -> None:
        """Note anything else."""
        line = f"{self.now():10.3f} {text}"
        self.sum = zlib.crc32(line.encode(), self.sum)
        self.lines.append(line)


@dataclass
class Air:
    """What an operator's calls go through."""

    loop: VirtualLoop
    weather: Weather
    trace: Trace
    sent: Callable[[str, Request], None] = lambda name, request: None
    """Told of each call to the API server, and who makes it."""


@dataclass(frozen=True, slots=True)
class _Body:
    """What an answer holds, as it is read from a connection."""

    text: str

    @property
    def content(self) -> _Body:
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self.text.encode()


@dataclass(frozen=True, slots=True)
class Received:
    """An answer as aiohttp gives it."""

    answer: Response
    date: str

    @property
    def response(self) -> _Body:
        return _Body(self.answer.text)

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> Any:
        return {"Date": self.date, **self.answer.headers}

    async def read(self) -> bytes:
        return self.answer.text.encode()


@dataclass
class Client:
    """One operator's connections to the API server."""

    air: Air
    server: Server
    process: Process
    name: str
    died: Callable[[], None]
    """Told when the operator ends at a call."""

    async def param_serialize(
        self,
        method: str,
        path: str,
        *,
        query_params: Iterable[tuple[str, str]],
        body: Any,
        **_: Any,
    ) -> tuple[Request]:
        """Put a request together."""
        return (Request(method, path, dict(query_params), body),)

    async def call_api(self, request: Request, _request_timeout: float) -> Received:
        """Send a request and wait for its answer."""
        if request.path == DISCOVERY:
            # Which kinds there are besides is a side question: no fault is drawn for it.
            return self._received(Response(200, '{"groups": []}'))
        self.air.sent(self.name, request)
        fate = self.air.weather.fate(self.name, request)
        answer: asyncio.Future[Received] = self.air.loop.create_future()
        said = f"{self.name} {request.method} {request.path}"
        self.air.trace.step(said)
        if math.isfinite(fate.out):
            self.air.loop.after(fate.out, self._arrive, request, fate, answer)
        elif fate.kills:
            self._die(said)
        elif math.isfinite(fate.back):
            self.air.loop.after(fate.back, self._refuse, fate, answer)
        else:
            self.air.trace.note(f"{said}: lost")
        async with asyncio.timeout(_request_timeout):
            return await answer

    async def close(self) -> None:
        """Close nothing."""

    def _arrive(self, request: Request, fate: Fate, answer: asyncio.Future[Received]) -> None:
        response = self.server.handle(self.name, request)
        said = f"{self.name} {request.method} {request.path}"
        if request.method != "GET" or fate.kills or fate.is_reset:
            self.air.trace.note(f"{said}: {response.status}{_what(request)}")
        if fate.kills:
            self._die(said)
        elif fate.is_reset:
            self.air.loop.after(fate.back, self._refuse, fate, answer)
        elif math.isfinite(fate.back):
            self.air.loop.after(fate.back, _settle, answer, self._received(response))
        else:
            self.air.trace.note(f"{said}: its answer is lost")

    def _received(self, response: Response) -> Received:
        moment = datetime.fromisoformat(self.server.now())
        return Received(response, format_datetime(moment, usegmt=True))

    def _refuse(self, fate: Fate, answer: asyncio.Future[Received]) -> None:
        if fate.refusal is not None:
            self.air.trace.note(f"{self.name} is answered {fate.refusal.status}")
            _settle(answer, self._received(fate.refusal))
        elif not answer.done():
            answer.set_exception(aiohttp.ServerDisconnectedError())

    def _die(self, said: str) -> None:
        if not self.process.is_dead:
            self.air.trace.note(f"{self.name} is killed at {said}")
            self.process.kill()
            self.died()


def _settle(answer: asyncio.Future[Received], received: Received) -> None:
    if not answer.done():
        answer.set_result(received)


def _what(request: Request) -> str:
    """Name what a patch changes, or why a rollback is wanted."""
    if request.method == "POST" and "trigger" in request.body.get("spec", {}):
        trigger = request.body["spec"]["trigger"]
        return f" ({trigger['reason']}: {trigger['message']})"
    if request.method != "PATCH":
        return ""
    changed = [f"{one['op']} {one['path']}" for one in request.body if one["op"] != "test"]
    return f" ({', '.join(changed)})"


@dataclass
class Questions(MetricFaults):
    """What becomes of one operator's questions to Prometheus."""

    air: Air
    name: str

    async def of_metrics(self, what: str) -> Missing | None:
        """Wait for an answer."""
        self.air.trace.step(f"{self.name} asks Prometheus: {what}")
        seconds, missing = self.air.weather.metrics(self.name)
        await asyncio.sleep(seconds)
        return missing

    def newest_sample(self) -> float:
        """Give the time after which there is nothing."""
        return self.air.weather.newest_sample()


@dataclass
class Pages:
    """The PodMetrics port: the pods' own pages."""

    air: Air
    name: str
    pods: Callable[[], dict[str, Pod]]
    clock: Callable[[], float]

    async def read(self, query: PageQuery) -> Reading:
        """Read them all at once."""
        self.air.trace.step(f"{self.name} reads {len(query.pages)} pages")
        sent = self.clock()
        await asyncio.sleep(self.air.weather.dice.uniform(0.005, 0.03))
        if self.air.weather.has(Effect.PAGES_DOWN, self.name):
            return Missing(Reason.PODS_UNREACHABLE, "connection refused")
        found = [(one, self.pods().get(one.pod)) for one in query.pages]
        living = [(page, pod) for page, pod in found if pod is not None and pod.started]
        if not living:
            return Missing(Reason.PODS_UNREACHABLE, "connection refused")
        times = (sent, self.clock())
        return Counters(
            tuple(one for page, pod in living for one in _page(page, pod.requests, times)),
            tuple(one for page, pod in living for one in _page(page, pod.errors, times)),
        )


def _page(
    page: PodPage, counts: dict[str, int], times: tuple[float, float]
) -> tuple[CounterSeries, ...]:
    at = times[1] if page.is_judged else times[0]
    return tuple(
        CounterSeries(page.pod, route, (), f"{page.address}:8080", ((at, float(counts[route])),))
        for route in ROUTES
    )


@dataclass
class Service:
    """The Probes port: the service under its address."""

    air: Air
    name: str
    pods: Callable[[], dict[str, Pod]]

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        """Send a functional probe to a pod that serves."""
        self.air.trace.step(f"{self.name} sends the probe {probe.name}")
        await asyncio.sleep(0.02)
        serving = [pod for pod in self.pods().values() if pod.serves]
        if not serving:
            return Silence("connection refused")
        release = self.air.weather.dice.choice(serving).release
        fails = release.fails if release.truth is Truth.FAILING else 0.0
        return ProbeResponse(500 if self.air.weather.dice.random() < fails else 200)

    async def ask(self, namespace: str, address: str, endpoint: Endpoint) -> Reply:
        """Ask a pod for its health."""
        self.air.trace.step(f"{self.name} asks {address}{endpoint.path}")
        await asyncio.sleep(0.02)
        return ProbeResponse(200)


@dataclass
class Inbox:
    """The Channels port, and all that has arrived."""

    air: Air
    name: str
    told: list[tuple[str, str]]
    """Channel and identifier; of all operators."""

    async def obstacle(self, channel: Channel, namespace: str) -> str:
        """Find every Secret usable."""
        return ""

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Take a message."""
        self.air.trace.step(f"{self.name} tells {channel.name} {message.transition}")
        await asyncio.sleep(0.05)
        if self.air.weather.has(Effect.CHANNELS_DEAD, self.name):
            return Failure(FailureKind.UNAVAILABLE, "no answer")
        if self.air.weather.has(Effect.CHANNELS_HUNG, self.name):
            await asyncio.Event().wait()
        self.told.append((channel.name, message.id))
        return None


class NoSchemas:
    """The Schemas port: no policy here names a database."""

    async def read(self, namespace: str, database: DatabaseSpec) -> UnknownSchema:
        """Know nothing."""
        return UnknownSchema("there is no database")

    async def ask(
        self, namespace: str, database: DatabaseSpec, questions: Mapping[str, str]
    ) -> Answers | Missing:
        """Know nothing."""
        return Missing(Reason.SCHEMA_UNKNOWN, "there is no database")


class NoChanges:
    """The SchemaChanges port: no policy here names a database."""

    async def measure(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> LossReport:
        """Know nothing."""
        return LossReport(unknown="there is no database")

    async def roll_back(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> Missing:
        """Change nothing."""
        return Missing(Reason.SCHEMA_UNKNOWN, "there is no database")
