"""A real SMTP server beside a test: takes every mail and keeps it."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from email.message import Message

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.integration.background import BackgroundLoop


class MailServer:
    """Listens on this machine until it is stopped."""

    def __init__(self, background: BackgroundLoop) -> None:
        self._background = background
        self._lock = threading.Lock()
        self._mails: list[Message] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    def start(self) -> None:
        self.port = self._background.run(self._start())

    def stop(self) -> None:
        if self._server is not None:
            self._background.run(self._close(self._server))

    def mails(self) -> list[Message]:
        with self._lock:
            return list(self._mails)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        found = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with self._lock:
            self._mails.append(found)
        return "250 OK"

    async def _start(self) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="mail.example.com"), "127.0.0.1", 0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @staticmethod
    async def _close(server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()
