"""Relays a library's connections through a local port, to limit the bytes that it receives.

libpq buffers a whole row, and a row may have a gigabyte. So libpq connects to a port of the
operator on loopback, which forwards a limited number of bytes from the server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024


@dataclass
class Relay:
    """A local port for each address, and the number of bytes received."""

    most: int
    seconds: float
    """Connect time-out of an address."""
    ports: tuple[int, ...] = ()
    received: int = 0
    is_connected: bool = False
    """Whether an address has accepted a connection: what follows is the server's answer."""
    error: OSError | None = None
    """Last failure to connect."""

    @property
    def is_over(self) -> bool:
        """Whether the limit is exceeded."""
        return self.received > self.most

    @asynccontextmanager
    async def open(self, ips: tuple[str, ...], port: int) -> AsyncIterator[None]:
        """Listen during the block; close all connections after it."""
        carrying: set[asyncio.Task[None]] = set()
        async with AsyncExitStack() as stack:
            for ip in ips:

                def accept(
                    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ip: str = ip
                ) -> None:
                    task = asyncio.create_task(self._carry((ip, port), reader, writer))
                    carrying.add(task)
                    task.add_done_callback(carrying.discard)

                server = await asyncio.start_server(accept, HOST, 0, limit=CHUNK_BYTES)
                stack.callback(server.close)
                self.ports = (*self.ports, int(server.sockets[0].getsockname()[1]))
            try:
                yield
            finally:
                for task in tuple(carrying):
                    task.cancel()
                await asyncio.gather(*carrying, return_exceptions=True)

    async def _carry(
        self,
        address: tuple[str, int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Forward both directions until a side closes or the limit is exceeded."""
        try:
            async with asyncio.timeout(self.seconds):
                there = await asyncio.open_connection(*address, limit=CHUNK_BYTES)
        except OSError as error:  # or a TimeoutError
            self.error = error
            writer.close()
            return
        self.is_connected = True
        try:
            directions = {
                asyncio.create_task(self._pass_on(there[0], writer)),
                asyncio.create_task(self._pass_back(reader, there[1])),
            }
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        finally:
            there[1].close()
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                self.received += len(chunk)
                if self.is_over:
                    return
                writer.write(chunk)
                await writer.drain()

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
