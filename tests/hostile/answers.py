"""Every port of the operator, with answers drawn anew at each call: good, odd, missing, failed.

Each call is written down with the namespace that it was for. Within what a port promises anything
may come back: what an adapter makes of bytes has tests of its own.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import aiohttp

from bench.simulation.network import Received
from bench.simulation.server import Request, Response, Server, refusal
from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.database.rolling_back import DataLoss, MigrationRecord
from rollback_operator.api.notify import Channel
from rollback_operator.api.reasons import Reason
from rollback_operator.api.verification import HttpProbe
from rollback_operator.evidence.baseline import Control, RouteControl
from rollback_operator.model.message import Message
from rollback_operator.model.pod import Endpoint
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.model.schema import (
    Applied,
    DirtyReason,
    DirtySchema,
    HistoryForm,
    Migration,
    SchemaHistory,
    UnknownSchema,
)
from rollback_operator.ports.failure import MOST_RETRY_SECONDS, Failure, FailureKind
from rollback_operator.ports.metrics import CounterQuery, PageQuery, Prometheus, SeriesQuery
from rollback_operator.remedies.database.migrations import (
    HalfWay,
    LossReport,
    StatementFault,
    Undone,
)
from rollback_operator.rollback.integrity import Answers, QueryFailure, QueryRows
from rollback_operator.rollback.probing import ProbeResponse, Reply, Silence
from rollback_operator.stats.histogram import Histogram

_SEGMENT = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9._]*")
_CLUSTER_WIDE = re.compile(
    r"/apis(/[-a-z0-9.]+(/v[0-9a-z]+)?)?|/api/v1/(nodes|pods)"
    r"|/apis/authorization\.k8s\.io/v1/selfsubjectaccessreviews"
    r"|/apis/admissionregistration\.k8s\.io/v1/validatingadmissionpolic(ies|ybindings)"
    r"/rollback-operator-[a-z]+"
    r"|/apis/rollback\.tickettoken\.io/v1alpha1/(rollbacks|rollbackpolicies)"
)
_IN_NAMESPACE = re.compile(
    r"(?:/api/v1|/apis/[-a-z0-9.]+/v[0-9a-z]+)/namespaces/([^/]+)/([^/]+)(?:/([^/]+)(?:/([^/]+))?)?"
)
STEERED = frozenset(
    {"applications", "applicationsets", "imageupdaters", "kustomizations", "helmreleases"}
)
"""GitOps objects stand in namespaces of their own, and the chart gives rights on them by namespace.
Which of them may be suspended is for tests/unit/test_suspending.py."""
_MISSING = tuple(
    Missing(reason, "drawn")
    for reason in (
        Reason.NO_SERIES,
        Reason.NOT_A_NUMBER,
        Reason.TOO_FEW_REQUESTS,
        Reason.SAMPLES_STALE,
        Reason.PROVIDER_UNREACHABLE,
        Reason.PROVIDER_UNAUTHORIZED,
        Reason.PROVIDER_ERROR,
    )
)
_STATUSES = (400, 401, 403, 404, 408, 409, 410, 413, 422, 429, 500, 503, 504)
_RETRY_AFTER = ("0", "1", "-1", "abc", "9" * 20, "Wed, 21 Oct 2015 07:28:00 GMT")
_AMOUNTS = (0.0, 1.0, 3.0, 100.0, 1e5, 1e15)


@dataclass
class Ledger:
    """The calls that were made, and those that should not have been."""

    namespace: str
    calls: int = 0
    faults: list[str] = field(default_factory=list)

    def call(self, what: str, namespace: str) -> None:
        """Write down a call to a port."""
        self.calls += 1
        if namespace != self.namespace:
            self.faults.append(f"{what} for namespace {namespace!r}")

    def request(self, request: Request) -> None:
        """Write down a call to the API server."""
        self.calls += 1
        path, said = request.path, f"{request.method} {request.path!r}"
        if _CLUSTER_WIDE.fullmatch(path):
            return
        found = _IN_NAMESPACE.fullmatch(path)
        if found is None:
            self.faults.append(f"{said}: no path of an object")
            return
        segments = [one for one in found.groups() if one is not None]
        if any(not _SEGMENT.fullmatch(unquote(one)) for one in segments):
            self.faults.append(f"{said}: a name that is none")
        if segments[0] != self.namespace and segments[1] not in STEERED:
            self.faults.append(f"{said}: another namespace")


@dataclass
class Weather:
    """How much goes wrong."""

    dice: random.Random
    failing: float = 0.15
    """Share of the calls that fail."""

    async def fails(self) -> bool:
        """Wait as whoever waits for a server, and tell whether the call fails."""
        await asyncio.sleep(self.dice.choice((0.0, 0.01, 0.2)))
        return self.dice.random() < self.failing


@dataclass
class DrawnClient:
    """The connection to an API server in memory that refuses, breaks off and talks nonsense."""

    server: Server
    weather: Weather
    ledger: Ledger

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
        """Answer, or not."""
        self.ledger.request(request)
        if await self.weather.fails():
            return self._received(self._failure())
        return self._received(self._answer(request))

    async def close(self) -> None:
        """Close nothing."""

    def _answer(self, request: Request) -> Response:
        dice = self.weather.dice
        if request.path.endswith("selfsubjectaccessreviews"):
            allowed = {"allowed": dice.random() < 0.7}
            return Response(201, json.dumps({"status": dice.choice((allowed, allowed, {}))}))
        if request.path == "/apis":
            return Response(200, dice.choice(('{"groups": []}', '{"groups": null}', _GROUPS)))
        if _DISCOVERY.fullmatch(request.path):
            is_group = request.path.count("/") == 2
            texts = (_GROUP, _GROUP) if is_group else ('{"resources": null}', _KINDS)
            return Response(200, dice.choice(texts))
        if "/imageupdaters" in request.path or "/applications" in request.path:
            return Response(200, json.dumps(dice.choice(_APPLICATIONS)))
        return self.server.handle("operator", request)

    def _failure(self) -> Response:
        dice = self.weather.dice
        kind = dice.randrange(6)
        if kind == 0:
            raise aiohttp.ServerDisconnectedError
        if kind == 1:
            raise TimeoutError
        if kind == 2:
            texts = ("", "[]", "null", '{"items": null}', "{", "<html>", "[" * 5000, '{"items": 7}')
            return Response(dice.choice((200, 502)), dice.choice(texts[:3] + texts[4:7]))
        status = dice.choice(_STATUSES)
        reasons = ("NotFound", "Conflict", "AlreadyExists", "Forbidden", "Invalid", "")
        made = refusal(status, dice.choice(reasons), "drawn \u202e\u0000")
        if status == 429:
            return Response(status, made.text, {"Retry-After": dice.choice(_RETRY_AFTER)})
        return made

    def _received(self, response: Response) -> Received:
        moment = datetime.fromisoformat(self.server.now())
        return Received(response, format_datetime(moment, usegmt=True))


_GROUPS = json.dumps(
    {
        "groups": [
            {
                "name": name,
                "versions": [{"groupVersion": f"{name}/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": f"{name}/v1", "version": "v1"},
            }
            for name in ("argoproj.io", "flagger.app", "image.toolkit.fluxcd.io", "keda.sh")
        ]
    }
)
_DISCOVERY = re.compile(r"/apis/[^/]+(/[^/]+)?")
_GROUP = json.dumps({"preferredVersion": {"groupVersion": "x.io/v1", "version": "v1"}})
_KINDS = json.dumps(
    {
        "resources": [
            {"name": name, "kind": name, "namespaced": True, "verbs": ["get", "list"]}
            for name in ("applications", "rollouts", "canaries", "imagepolicies")
        ],
    }
)
_ROLLED = {"metadata": {"name": "shop", "namespace": "argocd", "uid": "u", "resourceVersion": "1"}}
_TREE = [{"kind": "Deployment", "name": "shop", "namespace": "tenant"}, {}]
_APPLICATIONS: tuple[Any, ...] = (
    {"items": []},
    {**_ROLLED, "spec": {}},
    {
        **_ROLLED,
        "spec": {
            "syncPolicy": {"automated": {"selfHeal": True}},
            "destination": {"namespace": "x"},
        },
        "status": {"resources": _TREE},
    },
    {"metadata": {}, "spec": None, "items": []},
)


@dataclass
class DrawnMetrics:
    """Metrics, trends, the pods' own pages and the check of credentials."""

    weather: Weather
    ledger: Ledger
    clock: Callable[[], float]
    pods: Callable[[], list[str]]

    async def _missing(self) -> Missing | None:
        return self.weather.dice.choice(_MISSING) if await self.weather.fails() else None

    async def read(self, query: CounterQuery | PageQuery, *_: float) -> Reading:
        """Read counters, by Prometheus or by pages."""
        if isinstance(query, CounterQuery):
            self.ledger.call("metrics", query.namespace)
            self.ledger.call("Prometheus", query.prometheus.namespace)
        pods = [one.pod for one in query.pages] if isinstance(query, PageQuery) else self.pods()
        return await self._missing() or Counters(self._series(pods), self._series(pods))

    def _series(self, pods: list[str]) -> tuple[CounterSeries, ...]:
        dice = self.weather.dice
        chosen = [one for one in (*pods, "stranger", "") if dice.random() < 0.8]
        routes = ("/buy", "/list", "", "/" + "r" * 600, "\u202e")
        return tuple(
            CounterSeries(pod, route, (("code", "500"),), f"{pod}:8080", self._samples())
            for pod in chosen
            for route in dice.sample(routes, dice.randint(1, 2))
        )

    def _samples(self) -> tuple[tuple[float, float], ...]:
        dice = self.weather.dice
        at, value, found = self.clock() - dice.choice((0.0, 30.0, 600.0, 7200.0)), 0.0, []
        for _ in range(dice.choice((0, 1, 2, 20, 300))):
            at += dice.choice((0.5, 5.0, 60.0))
            value = 0.0 if dice.random() < 0.02 else value + dice.choice(_AMOUNTS[:5])
            found.append((at, min(value, 1e15)))
        return tuple(found)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the past."""
        self.ledger.call("control", query.namespace)
        made = self._route()
        routes = {route: self._route() for route in ("/buy", "", "/" + "r" * 600)}
        seconds = self.weather.dice.choice((0.0, 30.0, 3600.0))
        return await self._missing() or Control(seconds, routes, made.requests, 0.0, made)

    def _route(self) -> RouteControl:
        dice = self.weather.dice
        requests = dice.choice(_AMOUNTS)
        errors = requests * dice.choice((0.0, 0.001, 0.5, 1.0))
        rate = dice.choice((0.0, 0.01, 1.0))
        return RouteControl(requests, errors, rate, ((60.0, rate), (900.0, rate)), rate)

    async def read_clock(self, prometheus: Prometheus) -> float | Missing:
        """Read the time."""
        self.ledger.call("clock", prometheus.namespace)
        off = self.weather.dice.choice((0.0, 0.0, -3600.0, 3600.0, 1e9))
        return await self._missing() or self.clock() + off

    async def obstacle(self, prometheus: Prometheus) -> str:
        """Say what is wrong with what a policy brings."""
        await self.weather.fails()
        self.ledger.call("credentials", prometheus.namespace)
        return self.weather.dice.choice(("", "", "spec.prometheus.caSecretRef: nothing there"))

    def _histogram(self) -> Histogram:
        dice = self.weather.dice
        if dice.random() < 0.2:
            return Histogram()
        bounds = (0.1, 1.0, math.inf) if dice.random() < 0.8 else (math.inf,)
        total = dice.choice(_AMOUNTS)
        return Histogram(bounds, tuple(total * share for share in (0.5, 0.9, 1.0))[-len(bounds) :])

    async def read_latency(
        self, query: SeriesQuery, at: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read durations."""
        self.ledger.call("latency", query.namespace)
        return await self._missing() or {one: self._histogram() for one in self.pods()}

    async def read_past_latency(self, query: SeriesQuery, until: float) -> Histogram | Missing:
        """Read durations of before."""
        self.ledger.call("latency", query.namespace)
        return await self._missing() or self._histogram()

    async def read_route_latency(
        self, query: SeriesQuery, until: float
    ) -> Mapping[str, Histogram] | Missing:
        """Read durations by route."""
        self.ledger.call("latency", query.namespace)
        return await self._missing() or {one: self._histogram() for one in ("/buy", "", "r" * 600)}

    async def read_gauge(self, query: SeriesQuery, at: float) -> Mapping[str, float] | Missing:
        """Read memory."""
        self.ledger.call("gauge", query.namespace)
        return await self._missing() or {
            one: self.weather.dice.choice(_AMOUNTS) for one in self.pods()
        }

    async def read_gauge_slope(
        self, query: SeriesQuery, seconds: float, at: float
    ) -> Mapping[str, float] | Missing:
        """Read growth."""
        self.ledger.call("slope", query.namespace)
        values = (*_AMOUNTS, -1e9)
        return await self._missing() or {
            one: self.weather.dice.choice(values) for one in self.pods()
        }

    async def read_query(self, prometheus: Prometheus, query: str, at: float) -> float | Missing:
        """Read one number."""
        self.ledger.call("query", prometheus.namespace)
        values = (*_AMOUNTS, -1e300, 1e300)
        return await self._missing() or self.weather.dice.choice(values)


@dataclass
class DrawnSchemas:
    """A policy's database."""

    weather: Weather
    ledger: Ledger

    async def read(self, namespace: str, database: DatabaseSpec) -> SchemaHistory:
        """Read migrations."""
        self.ledger.call("database", namespace)
        if await self.weather.fails():
            return UnknownSchema("drawn")
        dice = self.weather.dice
        if dice.random() < self.weather.failing:
            return DirtySchema(dice.choice(tuple(DirtyReason)), "drawn", ("\u202e", "m" * 5000))
        times = (None, datetime(1970, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
        names = ("001_init", "", "\u202e", "m" * 5000)
        made = (Migration(dice.choice(names), dice.choice(times)) for _ in range(200))
        form = dice.choice(tuple(HistoryForm))
        return Applied(tuple(made)[: dice.choice((0, 1, 3, 200))], form)

    async def ask(
        self, namespace: str, database: DatabaseSpec, questions: Mapping[str, str]
    ) -> Answers | Missing:
        """Answer queries."""
        self.ledger.call("database", namespace)
        if await self.weather.fails():
            return Missing(Reason.SCHEMA_UNKNOWN, "drawn")
        dice = self.weather.dice
        rows = ('{"count":0}', '{"count":7}', "{}", "[", "null", '"', '{"a":"\u202e"}', "x" * 2000)
        return {
            name: dice.choice((QueryFailure("drawn"), QueryRows((dice.choice(rows),) * 3)))
            for name in questions
        }


@dataclass
class DrawnChanges:
    """Changes of a policy's database."""

    weather: Weather
    ledger: Ledger

    async def measure(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> LossReport:
        """Measure what would be lost."""
        self.ledger.call("measure", namespace)
        if await self.weather.fails():
            return self.weather.dice.choice(
                (LossReport(fault="drawn" * 900), LossReport(unknown="drawn" * 900))
            )
        values = self.weather.dice.choice((0, 1, 2**62))
        return LossReport((DataLoss(place="public.\u202e", values=values),))

    async def roll_back(
        self, namespace: str, database: DatabaseSpec, record: MigrationRecord
    ) -> Undone | HalfWay | StatementFault | Missing:
        """Roll migrations back."""
        self.ledger.call("roll_back", namespace)
        if await self.weather.fails():
            return Missing(Reason.SCHEMA_UNKNOWN, "drawn")
        names = tuple(record.names)
        return self.weather.dice.choice(
            (Undone(), HalfWay(names[:1], names[1:], 5000), StatementFault("drawn" * 900))
        )


@dataclass
class DrawnProbes:
    """The restored service and its pods."""

    weather: Weather
    ledger: Ledger

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        """Send a probe."""
        self.ledger.call("probe", namespace)
        return await self._reply()

    async def ask(self, namespace: str, address: str, endpoint: Endpoint) -> Reply:
        """Ask a pod."""
        self.ledger.calls += 1
        return await self._reply()

    async def _reply(self) -> Reply:
        dice = self.weather.dice
        if await self.weather.fails():
            return Silence("drawn", is_final=dice.random() < 0.3)
        bodies = (b"", b"{}", b'{"a": [1]}', b"[" * 5000, b"\xff\xfe", b"1e999", b"9" * 5000)
        return ProbeResponse(dice.choice((200, 201, 204, 404, 500, 599)), dice.choice(bodies))


@dataclass
class DrawnChannels:
    """Whoever is told."""

    weather: Weather
    ledger: Ledger

    async def obstacle(self, channel: Channel, namespace: str) -> str:
        """Check a channel's Secret."""
        return "drawn" if await self.weather.fails() else ""

    async def send(self, channel: Channel, namespace: str, message: Message) -> Failure | None:
        """Take a message."""
        self.ledger.call("channel", namespace)
        if not await self.weather.fails():
            return None
        kind = self.weather.dice.choice((FailureKind.REJECTED, FailureKind.UNAVAILABLE))
        return Failure(
            kind, "drawn", self.weather.dice.choice((None, 0.0, float(MOST_RETRY_SECONDS)))
        )
