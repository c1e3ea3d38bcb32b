"""A plain-HTTP way to the API server that writes down what the operator asks, and can cut in.

It forwards with the operator's own token, so that the operator's own rights hold. A test may have
the operator killed before its n-th write is forwarded, or after it was done and before the answer
is returned.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import yarl
from aiohttp import web

from lab.ports import free_ports
from tests.integration.background import BackgroundLoop

NOT_FORWARDED = frozenset({"host", "content-length", "accept-encoding", "connection"})
NOT_RETURNED = frozenset({"content-length", "transfer-encoding", "connection", "content-encoding"})
WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
UNCOUNTED = frozenset({"leases", "events"})
BODY_BYTES = 64 * 1024 * 1024
OK = 200
ERROR = 400


@dataclass
class Call:
    """One request: what it was for the authorizer, and what came of it."""

    verb: str
    group: str
    resource: str
    """With its subresource: rollbacks/status."""
    namespace: str
    name: str
    body: Any = None
    status: int = 0
    time: float = field(default_factory=time.monotonic)

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES.values()

    @property
    def is_counted(self) -> bool:
        return self.is_write and self.resource not in UNCOUNTED

    @property
    def right(self) -> tuple[str, str, str]:
        return self.verb, self.group, self.resource

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def each(_: Call) -> bool:
    """Mean any write."""
    return True


@dataclass
class Cut:
    """Where the operator is killed: at its n-th write from now on of those that are meant."""

    number: int
    is_before: bool
    kill: Callable[[], None]
    is_meant: Callable[[Call], bool] = each
    at: Call | None = None
    """The write at which it happened."""


@dataclass
class Exchange:
    """A request on its way, and how it is passed on."""

    request: web.Request
    call: Call
    pass_on: Callable[[], Awaitable[web.StreamResponse]]

    def hang_up(self) -> web.StreamResponse:
        """Break the connection off in place of an answer."""
        if self.request.transport is not None:
            self.request.transport.abort()
        return web.Response(status=502)


Fault = Callable[[Exchange], Awaitable[web.StreamResponse]]


@dataclass(eq=False)
class Watching:
    """A watch that is open."""

    request: web.Request
    call: Call
    response: web.StreamResponse

    def abort(self) -> None:
        """Break it off."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Relay(Protocol):
    """What the events of a watch meet on their way."""

    async def tell(self, watching: Watching, line: bytes) -> bool:
        """Pass on what the server tells, or do not; gives whether the watch goes on."""

    async def end(self, watching: Watching) -> None:
        """Take in that the server has ended a watch; then it ends for the operator too."""


@dataclass
class ApiProxy:
    """One address of its own; `calls` lists what came through it."""

    background: BackgroundLoop
    server: str
    authority: str
    token: str
    calls: list[Call] = field(default_factory=list)
    cut: Cut | None = None
    fault: Fault | None = None
    """What each request meets; None: it is passed on."""
    relay: Relay | None = None
    """What the events of watches meet; None: they are passed on."""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds by which the lists of a resource are late."""

    def __post_init__(self) -> None:
        self.port = free_ports(1)[0]
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.watching: set[Watching] = set()
        self.others: set[asyncio.Task[None]] = set()
        """What a fault has left running beside the requests."""
        self._tls = ssl.create_default_context(cafile=self.authority)
        self.counted = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.background.run(self._start())

    def stop(self) -> None:
        self.background.run(self._stop())

    def cut_at(self, cut: Cut) -> None:
        """Count writes from now on and kill at one of them."""
        self.counted = 0
        self.cut = cut

    @property
    def died_at(self) -> Call | None:
        """The call at which the operator was killed, if it has come to it."""
        return self.cut.at if self.cut else None

    def hang_up_watches(self) -> None:
        """Break all watches off that are open."""
        for one in list(self.watching):
            self.background.loop.call_soon_threadsafe(one.abort)

    def writes(self) -> list[Call]:
        """List what has been written, but for Leases and Events."""
        return [one for one in self.calls if one.is_counted]

    def changes_of_deployments(self, namespace: str) -> list[Call]:
        """List what has been sent to change a Deployment, whatever came of it."""
        return [
            one
            for one in self.calls
            if one.is_write and one.resource == "deployments" and one.namespace == namespace
        ]

    def acts_on_deployments(self, namespace: str) -> list[Call]:
        """List what has been sent to change more of a Deployment than the pause of its rollout."""
        return [one for one in self.changes_of_deployments(namespace) if not _is_pause(one)]

    def write_kubeconfig(self, path: Path) -> Path:
        name = "proxy"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        }
        path.write_text(json.dumps(document))
        return path

    async def _start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(
            # A long list would come compressed, to somebody who has not asked for it.
            timeout=timeout,
            auto_decompress=False,
            skip_auto_headers=["Accept-Encoding"],
        )
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _stop(self) -> None:
        others = list(self.others)
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        call = _call(request, content)
        self.calls.append(call)
        cut = self._cut_here(call)
        if cut is not None and cut.is_before:
            return _hang_up(request, cut, call)
        if self.fault is not None:
            pass_on = partial(self._pass_on, request, content, call)
            return await self.fault(Exchange(request, call, pass_on))
        answer = await self._pass_on(request, content, call)
        return answer if cut is None else _hang_up(request, cut, call)

    async def _pass_on(
        self, request: web.Request, content: bytes, call: Call
    ) -> web.StreamResponse:
        assert self._session is not None
        if call.verb == "list":
            await asyncio.sleep(self.delays.get(call.resource, 0.0))
        headers = {k: v for k, v in request.headers.items() if k.lower() not in NOT_FORWARDED}
        headers["Authorization"] = f"Bearer {self.token}"
        url = yarl.URL(f"{self.server}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=content or None, ssl=self._tls
        ) as answer:
            call.status = answer.status
            if call.verb == "watch" and answer.status == OK:
                return await self._stream(request, answer, call)
            body = await answer.read()
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in NOT_RETURNED}
        return web.Response(status=answer.status, headers=kept, body=body)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, call: Call
    ) -> web.StreamResponse:
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in NOT_RETURNED}
        response = web.StreamResponse(status=answer.status, headers=kept)
        watching = Watching(request, call, response)
        self.watching.add(watching)
        try:
            await response.prepare(request)
            await self._relayed(watching, answer)
        except (aiohttp.ClientError, ConnectionError):
            pass  # one of the two has gone; the other sees the end of the stream
        finally:
            self.watching.discard(watching)
        return response

    async def _relayed(self, watching: Watching, answer: aiohttp.ClientResponse) -> None:
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                # Asked for each line: a fault strikes also what is open when it begins.
                if self.relay is None:
                    await watching.response.write(line + b"\n")
                elif not await self.relay.tell(watching, line + b"\n"):
                    return
        if self.relay is not None:
            await self.relay.end(watching)

    def _cut_here(self, call: Call) -> Cut | None:
        if self.cut is None or self.cut.at is not None or not call.is_counted:
            return None
        if not self.cut.is_meant(call):
            return None
        self.counted += 1
        return self.cut if self.counted == self.cut.number else None


def _is_pause(call: Call) -> bool:
    """Tell whether a write pauses a rollout or lets it go, and does nothing else."""
    changed = [one["path"] for one in call.body or [] if one["op"] != "test"]
    return call.verb == "patch" and changed == ["/spec/paused"]


def _hang_up(request: web.Request, cut: Cut, call: Call) -> web.StreamResponse:
    cut.at = call
    cut.kill()
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)


def _call(request: web.Request, content: bytes) -> Call:
    """Read a request as the API server's authorizer does."""
    parts = request.path.strip("/").split("/")
    group = ""
    if parts[0] == "apis" and len(parts) > 2:
        group, parts = parts[1], parts[3:]
    elif parts[0] == "api" and len(parts) > 1:
        parts = parts[2:]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    resource = "/".join([*parts[:1], *parts[2:]])
    name = parts[1] if len(parts) > 1 else ""
    verb = WRITES.get(request.method, "get" if name else "list")
    if request.method == "GET" and request.query.get("watch") in ("true", "1"):
        verb = "watch"
    body = json.loads(content) if content else None
    return Call(verb, group, resource, namespace, name, body)
