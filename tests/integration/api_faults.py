"""What goes wrong between an operator and the API server, as the proxy between them does it.

Of each kind of write the first is struck, and each second one after that: none succeeds at once,
and all do in the end.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.integration.api_proxy import ApiProxy, Exchange, Fault

GIVEN_UP_SECONDS = 11.5
"""After this the operator does not wait for an answer any more."""
OUTAGE_SECONDS = 20.0


@dataclass
class Striking:
    """Strikes every second write of each kind."""

    strike: Fault
    struck: int = 0
    _seen: Counter[str] = field(default_factory=Counter)

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        call = exchange.call
        if not call.is_counted:
            return await exchange.pass_on()
        self._seen[str(call)] += 1
        if self._seen[str(call)] % 2 == 0:
            return await exchange.pass_on()
        self.struck += 1
        return await self.strike(exchange)


def refused(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer as the server would, and carry nothing out."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason}
    text = json.dumps({**body, "message": "so the test wants it", "details": {}, "code": status})

    async def strike(_: Exchange) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return strike


async def reset(exchange: Exchange) -> web.StreamResponse:
    """Break off before anything is carried out."""
    return exchange.hang_up()


async def lost(_: Exchange) -> web.StreamResponse:
    """Carry nothing out and never answer."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def reset_after(exchange: Exchange) -> web.StreamResponse:
    """Carry it out and break off."""
    await exchange.pass_on()
    return exchange.hang_up()


async def unanswered(exchange: Exchange) -> web.StreamResponse:
    """Carry it out and never answer."""
    await exchange.pass_on()
    return await lost(exchange)


def late(proxy: ApiProxy) -> Fault:
    """Carry it out when the operator has given it up."""

    async def carry_out(exchange: Exchange) -> None:
        await asyncio.sleep(GIVEN_UP_SECONDS)
        with suppress(aiohttp.ClientError):  # the server may be gone by then
            await exchange.pass_on()

    async def strike(exchange: Exchange) -> web.StreamResponse:
        task = asyncio.create_task(carry_out(exchange))
        proxy.others.add(task)
        task.add_done_callback(proxy.others.discard)
        return await lost(exchange)

    return strike


@dataclass
class Outage:
    """Takes no call at all for a while, watches included."""

    until: float = field(default_factory=lambda: time.monotonic() + OUTAGE_SECONDS)
    struck: int = 0

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        if time.monotonic() >= self.until:
            return await exchange.pass_on()
        self.struck += 1
        return exchange.hang_up()


CALLS: Mapping[str, Fault] = {
    "409": refused(409, "Conflict"),
    "422": refused(422, "Invalid"),
    "429": refused(429, "TooManyRequests", {"Retry-After": "1"}),
    "500": refused(500, "InternalError"),
    "503": refused(503, "ServiceUnavailable"),
    "reset": reset,
    "lost": lost,
    "reset after it was done": reset_after,
    "answered after the time-out": unanswered,
}
FAULTS = (*CALLS, "done after the time-out", "outage")


def fault(name: str, proxy: ApiProxy) -> Striking | Outage:
    """Make a fault anew."""
    if name == "outage":
        return Outage()
    return Striking(CALLS[name] if name in CALLS else late(proxy))
