"""A service's own address: a real HTTP server that answers as a test says and notes what came."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from tests.integration.background import BackgroundLoop

Maker = Callable[[int], web.Response | Awaitable[web.Response]]


@dataclass(frozen=True)
class Heard:
    """A request that has arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str


class Listener:
    """Answers by path; 404 where a test says nothing."""

    def __init__(self, background: BackgroundLoop, host: str = "127.0.0.1") -> None:
        self._background = background
        self.host = host
        self._lock = threading.Lock()
        self._answers: dict[str, Maker] = {}
        self._heard: list[Heard] = []
        self._runner: web.AppRunner | None = None

    def start(self) -> None:
        self.port = self._background.run(self._start())

    def stop(self) -> None:
        if self._runner is not None:
            self._background.run(self._runner.cleanup())

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def answer(self, path: str, make: Maker) -> None:
        """Answer the n-th request to a path, from 1 on; at once or after a while."""
        with self._lock:
            self._answers[path] = make

    def heard(self, path: str) -> list[Heard]:
        with self._lock:
            return [one for one in self._heard if one.path == path]

    def all_heard(self) -> list[Heard]:
        with self._lock:
            return list(self._heard)

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, 0).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.text()
        heard = Heard(request.method, request.path, dict(request.headers), body)
        with self._lock:
            self._heard.append(heard)
            make = self._answers.get(request.path)
            count = sum(one.path == request.path for one in self._heard)
        made = web.Response(status=404) if make is None else make(count)
        return await made if inspect.isawaitable(made) else made
