"""The operator's listening socket: any pod may connect, so connections are few, small and short.

Each connection has a single request. Beyond the limit the oldest connection of the address with the
most connections is closed, so that the kubelet and Prometheus are served whatever a pod holds open.
An address that connects too often is refused before its request is read.
"""

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

MOST_CONNECTIONS = 32
MOST_ARRIVALS = 30
"""Connections of an address in a second. The kubelet and Prometheus need fewer."""
MOST_REQUEST_BYTES = 16 * 1024
"""Of a connection, headers and body together."""
CONNECTION_SECONDS = 10.0
"""From the connect to the end of the answer."""
MOST_CONNECTION_MEMORY = 64 * 1024
"""Memory of a connection: the request, parsed, and the answer."""


class BoundedServer(web.Server):
    """Accepts a bounded number of connections."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler)
        self._open: dict[_Caller, str] = {}
        """The address of each connection, the oldest first."""
        self._second = 0
        self._arrivals: Counter[str] = Counter()
        """Connections of each address in this second."""

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a connection."""
        return _Caller(self)

    def enter(self, connection: "_Caller", address: str) -> None:
        """Count a connection, and close it or another if there are too many."""
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second, self._arrivals = second, Counter()
        self._arrivals[address] += 1
        if self._arrivals[address] > MOST_ARRIVALS:
            connection.end()
            return
        self._open[connection] = address
        if len(self._open) > MOST_CONNECTIONS:
            crowd = Counter(self._open.values()).most_common(1)[0][0]
            oldest = next(caller for caller, of in self._open.items() if of == crowd)
            oldest.end()

    def leave(self, connection: "_Caller") -> None:
        """Count a connection no longer."""
        self._open.pop(connection, None)


class _Caller(web.RequestHandler):
    """A connection with a single, small request and a deadline."""

    def __init__(self, server: BoundedServer) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, access_log=None, lingering_time=0)  # type: ignore[arg-type] # None: no log
        self._server = server
        self._received = 0
        self._deadline = loop.call_later(CONNECTION_SECONDS, self.end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername") or ("",)
        self._server.enter(self, str(peer[0]))

    def data_received(self, data: bytes) -> None:
        """Parse a part of the request, unless there is too much."""
        self._received += len(data)
        if self._received > MOST_REQUEST_BYTES:
            self.end()
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._deadline.cancel()
        self._server.leave(self)
        super().connection_lost(exc)

    def end(self) -> None:
        """Close the connection at once, with all that is not sent."""
        self._server.leave(self)
        if self.transport is not None:
            self.transport.abort()
