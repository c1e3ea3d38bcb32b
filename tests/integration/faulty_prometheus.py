"""A Prometheus that fails as told: in front of the real one, each policy under a path of its own.

`url("a")` is the address for one policy; what is asked there meets the fault set for "a", or is
answered by the real Prometheus.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from lab.ports import free_ports
from tests.integration.background import BackgroundLoop

HUGE_BYTES = 40 * 1024 * 1024
Fault = Callable[[web.Request, "FaultyPrometheus"], Awaitable[web.StreamResponse]]


class FaultyPrometheus:
    """A server on a free port; nothing listens there before `listen`."""

    def __init__(self, background: BackgroundLoop, upstream: str) -> None:
        self._background = background
        self._upstream = upstream
        self._port = free_ports(1)[0]
        self._faults: dict[str, Fault] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.open: Counter[str] = Counter()
        """Answers that are being waited for, by the policy's name."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._background.run(self._stop())

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}"

    def listen(self) -> None:
        self._background.run(self._start())

    def fail(self, name: str, fault: Fault) -> None:
        self._faults[name] = fault

    def mend(self, name: str) -> None:
        self._faults.pop(name, None)

    async def ask(self, request: web.Request, moved: float = 0.0) -> Any:
        """Ask the real Prometheus as if its clock were ahead by `moved` seconds."""
        assert self._session is not None
        form = dict(request.query)
        for field in ("start", "end", "time"):
            if field in form:
                form[field] = str(float(form[field]) - moved)
        path = request.match_info["path"]
        async with self._session.get(f"{self._upstream}/{path}", params=form) as answer:
            return await answer.json()

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_route("*", "/{name}/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.open[name] += 1
        try:
            return await self._faults.get(name, passed_on)(request, self)
        finally:
            self.open[name] -= 1


async def passed_on(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
    return web.json_response(await server.ask(request))


def status(code: int, headers: Mapping[str, str] | None = None) -> Fault:
    async def answer(_: web.Request, __: FaultyPrometheus) -> web.StreamResponse:
        return web.Response(status=code, text="no", headers=headers)

    return answer


def wanting(token: Callable[[], str], heard: list[str]) -> Fault:
    """Let only those through who bring the token; note what each brings."""

    async def answer(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
        heard.append(request.headers.get("Authorization", ""))
        if heard[-1] != f"Bearer {token()}":
            return web.Response(status=401, text=f"not with {heard[-1]}")
        return await passed_on(request, server)

    return answer


def wanting_headers(wanted: Mapping[str, str], heard: list[dict[str, str]]) -> Fault:
    """Let only those through who bring these headers; note what each brings of them."""

    async def answer(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
        heard.append({name: request.headers.get(name, "") for name in wanted})
        if heard[-1] != dict(wanted):
            return web.Response(status=401, text=f"not with {heard[-1]}")
        return await passed_on(request, server)

    return answer


async def hanging(_: web.Request, __: FaultyPrometheus) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def dripping(request: web.Request, _: FaultyPrometheus) -> web.StreamResponse:
    """Send a byte now and then: every read succeeds and the answer never ends."""
    response = web.StreamResponse(headers={"Content-Length": str(HUGE_BYTES)})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.5)


async def html(_: web.Request, __: FaultyPrometheus) -> web.StreamResponse:
    return web.Response(text="<html>Sign in</html>", content_type="text/html")


async def empty(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
    found = await server.ask(request)
    if found["data"].get("resultType") != "scalar":
        found["data"]["result"] = []
    return web.json_response(found)


async def not_numbers(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
    found = await server.ask(request)
    for values in _series(found):
        values[:] = [[at, "NaN"] for at, _ in values]
    return web.json_response(found)


async def huge(_: web.Request, __: FaultyPrometheus) -> web.StreamResponse:
    """Send little that unpacks to much."""
    return web.Response(body=PACKED, headers={"Content-Encoding": "gzip"})


PACKED = gzip.compress(b" " * HUGE_BYTES)


async def warning(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
    found = await server.ask(request)
    return web.json_response({**found, "warnings": ["a store did not answer"]})


def ahead(seconds: float) -> Fault:
    """Tell everything as a Prometheus does whose clock is ahead."""

    async def answer(request: web.Request, server: FaultyPrometheus) -> web.StreamResponse:
        found = await server.ask(request, seconds)
        if found["data"].get("resultType") == "scalar":
            now = found["data"]["result"][0] + seconds
            found["data"]["result"] = [now, json.dumps(now)]
        for values in _series(found):
            values[:] = [[at + seconds, value] for at, value in values]
        return web.json_response(found)

    return answer


def _series(found: Any) -> list[list[Any]]:
    """Give the samples of each series of an answer."""
    if found["data"].get("resultType") != "matrix":
        return []
    return [one["values"] for one in found["data"]["result"]]
