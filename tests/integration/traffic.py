"""The metrics that real pods would serve: counters for each pod that KWOK makes Ready.

One scrape target tells the counters of all pods under their own names (`honor_labels`). What they
grow by is set per Deployment and image tag, or the annotation `version` where images are the same;
a pod counts from zero, from when it became Ready.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.integration.api import Api
from tests.integration.background import BackgroundLoop

PURCHASE = "/api/v1/tickets/purchase"
LIST = "/api/v1/tickets"
REQUESTS = "http_request_duration_seconds_count"
ERRORS = "http_request_errors_total"
LABEL = "traffic"
"""Pods with this label have counters, by its value."""
RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Flow:
    """What a pod counts: requests a second on each route, and the share of them that fails."""

    rate: float = 30.0
    failing: Mapping[str, float] = field(default_factory=dict)
    routes: tuple[str, ...] = (PURCHASE, LIST)
    value: str | None = None
    """Tell this in place of each counter: NaN."""


GOOD = Flow()
BAD = Flow(failing={PURCHASE: 1.0})
"""All purchases fail: P1."""
WORSE = Flow(failing={PURCHASE: 0.3, LIST: 0.3})
"""Three in ten fail: P2."""
SILENT = Flow(routes=())

Group = tuple[str, str, str]
"""Namespace, value of the label, image tag or annotation."""


@dataclass
class _Counted:
    group: Group
    since: float
    requests: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)

    def advance(self, flow: Flow, now: float) -> None:
        seconds = max(0.0, now - self.since)
        for route in flow.routes:
            amount = flow.rate * seconds
            self.requests[route] = self.requests.get(route, 0.0) + amount
            share = flow.failing.get(route, 0.0)
            self.errors[route] = self.errors.get(route, 0.0) + amount * share
        self.since = now


class Traffic:
    """Follows the pods and serves their counters."""

    def __init__(self, api: Api, background: BackgroundLoop, port: int) -> None:
        self._api = api
        self._background = background
        self._lock = threading.Lock()
        self._flows: dict[Group, Flow] = {}
        self._pods: dict[tuple[str, str], _Counted] = {}
        self._port = port
        self._runner: web.AppRunner | None = None
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._background.run(self._start())

    def stop(self) -> None:
        self._background.run(self._stop())

    def set(self, group: Group, flow: Flow) -> None:
        """Change what the pods of a group count from now on."""
        with self._lock:
            self._advance()
            self._flows[group] = flow

    async def _start(self) -> None:
        app = web.Application()
        app.add_routes([web.get("/metrics", self._metrics)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._following = asyncio.create_task(self._follow())

    async def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        with self._lock:
            self._advance()
            text = "\n".join(self._lines())
        return web.Response(text=f"{text}\n")

    def _advance(self) -> None:
        now = time.monotonic()
        for pod in self._pods.values():
            pod.advance(self._flows.get(pod.group, GOOD), now)

    def _lines(self) -> Iterator[str]:
        for metric, kind in ((REQUESTS, "requests"), (ERRORS, "errors")):
            for (namespace, name), pod in self._pods.items():
                said = self._flows.get(pod.group, GOOD).value
                for route, amount in getattr(pod, kind).items():
                    labels = f'namespace="{namespace}",pod="{name}",route="{route}"'
                    yield f"{metric}{{{labels}}} {said or int(amount)}"

    # -- which pods there are ----------------------------------------------------------------------

    async def _follow(self) -> None:
        context = ssl.create_default_context(cafile=self._api.authority)
        headers = {"Authorization": f"Bearer {self._api.token}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            while True:
                try:
                    await self._watch(session, context)
                except aiohttp.ClientError:
                    await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
        url = f"{self._api.server}/api/v1/pods"
        query = {"labelSelector": LABEL}
        async with session.get(url, params=query, ssl=context) as answer:
            listed = await answer.json()
        living = {
            (one["metadata"]["namespace"], one["metadata"]["name"]) for one in listed["items"]
        }
        with self._lock:
            for gone in self._pods.keys() - living:
                del self._pods[gone]
        for raw in listed["items"]:
            self._see("ADDED", raw)
        query |= {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        async with session.get(url, params=query, ssl=context, read_bufsize=2**20) as answer:
            async for line in answer.content:
                event = json.loads(line)
                self._see(event["type"], event["object"])

    def _see(self, kind: str, raw: Mapping[str, Any]) -> None:
        metadata = raw.get("metadata") or {}
        key = str(metadata.get("namespace")), str(metadata.get("name"))
        with self._lock:
            if kind == "DELETED" or metadata.get("deletionTimestamp"):
                self._pods.pop(key, None)
            elif key not in self._pods and _is_ready(raw):
                image = str(raw["spec"]["containers"][0]["image"])
                version = (metadata.get("annotations") or {}).get("version")
                group = key[0], metadata["labels"][LABEL], version or image.rpartition(":")[2]
                flow = self._flows.get(group, GOOD)
                counted = _Counted(group, time.monotonic())
                counted.advance(flow, counted.since)
                self._pods[key] = counted


def _is_ready(raw: Mapping[str, Any]) -> bool:
    conditions = (raw.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
