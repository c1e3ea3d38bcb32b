"""What goes wrong with the watches of an operator, as the proxy before the API server does it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from tests.integration.api_faults import refused
from tests.integration.api_proxy import ApiProxy, Exchange, Watching

LIFE_SECONDS = 1.0
LATE_SECONDS = 5.0
EXPIRED, INTERNAL = 410, 500
TWICE = 2


@dataclass
class WatchFault:
    """Passes everything on; each fault does one thing else."""

    struck: int = 0

    def begin(self, proxy: ApiProxy) -> None:
        """Strike from now on."""
        proxy.fault, proxy.relay = self, self

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        """Meet a request."""
        if exchange.call.verb != "watch":
            return await exchange.pass_on()
        return await self.open(exchange)

    async def open(self, exchange: Exchange) -> web.StreamResponse:
        """Meet a watch that begins."""
        return await exchange.pass_on()

    async def tell(self, watching: Watching, line: bytes) -> bool:
        """Meet what a watch tells; gives whether it goes on."""
        await watching.response.write(line)
        return True

    async def end(self, watching: Watching) -> None:
        """Meet the end of a watch."""


@dataclass
class EachSecond(WatchFault):
    """Strikes the first of what each watch tells, and each second one after that."""

    _told: Counter[str] = field(default_factory=Counter)

    async def tell(self, watching: Watching, line: bytes) -> bool:
        self._told[str(watching.call)] += 1
        if self._told[str(watching.call)] % 2 == 0:
            return await super().tell(watching, line)
        self.struck += 1
        return await self.strike(watching, line)

    async def strike(self, watching: Watching, line: bytes) -> bool:
        """Do harm to what a watch tells; gives whether it goes on."""
        raise NotImplementedError


class Dropped(EachSecond):
    """No watch lives longer than a second, and what it tells gets lost with it."""

    async def open(self, exchange: Exchange) -> web.StreamResponse:
        transport = exchange.request.transport
        if transport is not None:
            asyncio.get_running_loop().call_later(LIFE_SECONDS, transport.abort)
        return await exchange.pass_on()

    async def strike(self, watching: Watching, line: bytes) -> bool:
        watching.abort()
        return False


class Torn(EachSecond):
    """The connection breaks in the midst of a line."""

    async def strike(self, watching: Watching, line: bytes) -> bool:
        await watching.response.write(line[: len(line) // 2])
        watching.abort()
        return False


class Expired(EachSecond):
    """In place of an event comes the error 410, and the stream ends."""

    async def strike(self, watching: Watching, line: bytes) -> bool:
        await watching.response.write(error(EXPIRED, "Expired"))
        return False


@dataclass
class FirstTwo(WatchFault):
    """Strikes the first two things that are told, of all watches: each ends an operator."""

    async def tell(self, watching: Watching, line: bytes) -> bool:
        if self.struck == TWICE:
            return await super().tell(watching, line)
        self.struck += 1
        await watching.response.write(self.instead(line))
        return False

    def instead(self, line: bytes) -> bytes:
        """Give what comes in place of what was to be told, before the stream's end."""
        raise NotImplementedError


class CutShort(FirstTwo):
    """The stream ends in good order in the midst of a line."""

    def instead(self, line: bytes) -> bytes:
        return line[: len(line) // 2]


class Failed(FirstTwo):
    """In place of an event comes the error 500, and the stream ends."""

    def instead(self, line: bytes) -> bytes:
        return error(INTERNAL, "InternalError")


@dataclass
class Gone(WatchFault):
    """All watches are broken off, and the first two of each kind after that answered 410."""

    _opened: Counter[str] = field(default_factory=Counter)

    def begin(self, proxy: ApiProxy) -> None:
        super().begin(proxy)
        proxy.hang_up_watches()

    async def open(self, exchange: Exchange) -> web.StreamResponse:
        self._opened[str(exchange.call)] += 1
        if self._opened[str(exchange.call)] > TWICE:
            return await exchange.pass_on()
        self.struck += 1
        return await refused(EXPIRED, "Expired")(exchange)


@dataclass
class HalfOpen(WatchFault):
    """The watches that are open tell nothing any more, not even their end."""

    mute: set[Watching] = field(default_factory=set)

    def begin(self, proxy: ApiProxy) -> None:
        self.mute = set(proxy.watching)
        super().begin(proxy)

    def is_mute(self, watching: Watching) -> bool:
        """Tell whether a watch tells nothing."""
        return watching in self.mute

    async def tell(self, watching: Watching, line: bytes) -> bool:
        if not self.is_mute(watching):
            return await super().tell(watching, line)
        self.struck += 1
        return True

    async def end(self, watching: Watching) -> None:
        if self.is_mute(watching):
            await asyncio.Event().wait()


class Mute(HalfOpen):
    """No watch ever tells anything again."""

    def is_mute(self, watching: Watching) -> bool:
        return True


class Slow(WatchFault):
    """What is told comes seconds late."""

    async def tell(self, watching: Watching, line: bytes) -> bool:
        self.struck += 1
        await asyncio.sleep(LATE_SECONDS)
        return await super().tell(watching, line)


def error(code: int, reason: str) -> bytes:
    """Write an error as a watch tells it."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"message": "so the test wants it", "reason": reason, "code": code}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


QUICK: Mapping[str, Callable[[], WatchFault]] = {
    "dropped again and again": Dropped,
    "torn in the midst of a line": Torn,
    "410 in the stream": Expired,
    "seconds late": Slow,
    "half-open": HalfOpen,
}
"""What an operator lives through."""
ENDING: Mapping[str, Callable[[], WatchFault]] = {
    "410": Gone,
    "500 in the stream": Failed,
    "ended in the midst of a line": CutShort,
}
"""What ends an operator, which then is started again."""
FAULTS: Mapping[str, Callable[[], WatchFault]] = {**QUICK, "mute for good": Mute, **ENDING}
