"""Connections to Prometheus: restricted to allowed addresses, and closable by another thread."""

import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Callable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection

from rollback_operator.adapters.http.addresses import Pinned
from rollback_operator.adapters.http.wire import MOST_FRAME_BYTES, MOST_HEAD_BYTES
from rollback_operator.adapters.prometheus.credentials import trusting
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing


class AnswerError(Exception):
    """An unusable answer, as a Missing."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.missing = Missing(reason, message)


class Connections(HTTPAdapter):
    """Connects to allowed addresses only."""

    def __init__(self, authorities: str | None, line: "Line") -> None:
        """Connect to nothing yet.

        Args:
            authorities: CA certificates in PEM; None: those that the session trusts.
            line: the connection.
        """
        self._line = line
        self._authorities = authorities
        super().__init__()

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        """Create pools whose connections are checked."""
        if self._authorities is not None:
            options["ssl_context"] = trusting(self._authorities)
        super().init_poolmanager(*sizes, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._line)

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        """Choose a pool; a policy's CA certificates are in the context and exclude all others."""
        chosen = verify if self._authorities is None else True
        return super().build_connection_pool_key_attributes(request, chosen, cert)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Set the CA certificates, unless the context holds them: both would be trusted."""
        if self._authorities is None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]


class _CountedInput(io.RawIOBase):
    """Bytes of a server, as many as it may send beside the body."""

    def __init__(self, connection: io.RawIOBase) -> None:
        self._connection = connection
        # A read of the body may take all its bytes from the connection before they count.
        self.left = MOST_HEAD_BYTES + MOST_FRAME_BYTES

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read some bytes.

        Raises:
            OSError: there are too many.
        """
        size: int | None = self._connection.readinto(buffer)
        self.left -= size or 0
        if self.left < 0:
            raise OSError(
                "the server sends more headers, interim answers and chunk frames than body"
            )
        return size

    def close(self) -> None:
        """Close the connection's input."""
        self._connection.close()
        super().close()


class _CountedResponse(http.client.HTTPResponse):
    """A response whose server sends a bounded number of bytes beside the body.

    http.client skips interim answers, chunk extensions and trailers without an end.
    """

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._input = _CountedInput(self.fp.detach())
        self.fp = io.BufferedReader(self._input)

    def read1(self, n: int = -1) -> bytes:
        """Read a part of the body; each of its bytes allows another beside it."""
        part = super().read1(n)
        self._input.left += 2 * len(part)
        return part


class Line:
    """The connection of a session, closable while another thread waits for it.

    It is held by a second descriptor, since TLS takes the first over.
    """

    def __init__(self, pinned: Pinned | None, may_call: Callable[[str], bool] | None) -> None:
        """Connect to nothing yet.

        Args:
            pinned: the address; None: resolved by name.
            may_call: whether an IP address may be called; None: all may.
        """
        self.pinned = pinned
        self._may_call = may_call
        self._lock = threading.Lock()
        self._is_cut = False
        self._held: socket.socket | None = None

    def hold(self, connection: socket.socket) -> socket.socket:
        """Replace the last connection, if the new one leads to an allowed address.

        The check is on the connection itself: a later answer of the resolver changes nothing.
        """
        if self._may_call is not None and not self._may_call(str(connection.getpeername()[0])):
            connection.close()
            raise AnswerError(
                Reason.ADDRESS_NOT_ALLOWED,
                "the host of spec.prometheus.url leads to the operator's machine or network, "
                "or to a cloud's metadata",
            )
        with self._lock:
            if self._is_cut:
                connection.close()
                raise OSError("the caller has given up")
            last, self._held = self._held, connection.dup()
        if last is not None:
            last.close()
        return connection

    def cut(self) -> None:
        """Close the connection, and refuse every other."""
        with self._lock:
            self._is_cut = True
            last, self._held = self._held, None
        if last is not None:
            with contextlib.suppress(OSError):  # the server closed it first
                last.shutdown(socket.SHUT_RDWR)
            last.close()


def _pools(line: Line) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        response_class = _CountedResponse

        def _new_conn(self) -> socket.socket:
            at = line.pinned
            return line.hold(super()._new_conn() if at is None else _connected(self, at))

    class Tls(HTTPSConnection):
        response_class = _CountedResponse

        def _new_conn(self) -> socket.socket:
            at = line.pinned
            return line.hold(super()._new_conn() if at is None else _connected(self, at))

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _connected(made: HTTPConnection, at: Pinned) -> socket.socket:
    """Connect to the first address that accepts a connection."""
    last: OSError = OSError("no address")
    for ip in at.ips:
        try:
            return create_connection(
                (ip, at.called_port), made.timeout, socket_options=made.socket_options
            )
        except OSError as error:  # or a TimeoutError
            last = error
    if isinstance(last, TimeoutError):
        raise ConnectTimeoutError(made, f"Connection to {at} timed out") from last
    raise NewConnectionError(made, f"Failed to establish a new connection: {last}") from last
