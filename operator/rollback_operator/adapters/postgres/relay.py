"""A connection of a library that reads whatever it is sent, led through a port that counts.

libpq holds a row whole before anybody sees it, and a row may have a gigabyte. So it is called at a
port of our own on loopback, from where as many bytes as may be come on from the server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024


@dataclass
class Relay:
    """Ports that lead to addresses, one for each, and what has come from there in all."""

    most: int
    seconds: float
    """How long connecting to an address may take."""
    ports: tuple[int, ...] = ()
    received: int = 0
    error: OSError | None = None
    """Why an address could not be connected to, the last time."""

    @property
    def is_over(self) -> bool:
        """Tell whether more has come than may."""
        return self.received > self.most

    @asynccontextmanager
    async def open(self, ips: tuple[str, ...], port: int) -> AsyncIterator[None]:
        """Listen until the end; what is connected then is closed."""
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
                for one in tuple(carrying):
                    one.cancel()
                await asyncio.gather(*carrying, return_exceptions=True)

    async def _carry(
        self,
        address: tuple[str, int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Carry what both sides say, until one of them ends or has said too much."""
        try:
            async with asyncio.timeout(self.seconds):
                there = await asyncio.open_connection(*address, limit=CHUNK_BYTES)
        except OSError as error:  # a timeout is one
            self.error = error
            writer.close()
            return
        try:
            ways = {
                asyncio.create_task(self._pass_on(there[0], writer)),
                asyncio.create_task(self._pass_back(reader, there[1])),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in ways:
                    one.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
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
