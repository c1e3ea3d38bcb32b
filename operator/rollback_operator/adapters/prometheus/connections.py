"""Connections to Prometheus: where they may lead, and how they are ended."""

import contextlib
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
from rollback_operator.adapters.prometheus.credentials import trusting
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing


class AnswerError(Exception):
    """An answer that is no use, as a Missing."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.missing = Missing(reason, message)


class Connections(HTTPAdapter):
    """Connects where an address may lead, and nowhere else."""

    def __init__(self, authorities: str | None, line: "Line") -> None:
        """Connect to nothing yet.

        Args:
            authorities: whose certificates are taken, in PEM; None: whom the session trusts.
            line: where to.
        """
        self._line = line
        self._authorities = authorities
        super().__init__()

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        """Make connections that are looked at."""
        if self._authorities is not None:
            options["ssl_context"] = trusting(self._authorities)
        super().init_poolmanager(*sizes, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._line)

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        """Choose a pool; a policy's authorities are in the context, beside which none are named."""
        chosen = verify if self._authorities is None else True
        return super().build_connection_pool_key_attributes(request, chosen, cert)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Name the authorities, unless the context holds them: both would be taken."""
        if self._authorities is None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]


class Line:
    """The connection of one session, to be cut by another thread than the one that waits for it.

    It is held by a second descriptor: with TLS the first one changes hands.
    """

    def __init__(self, pinned: Pinned | None, may_call: Callable[[str], bool] | None) -> None:
        """Connect to nothing yet.

        Args:
            pinned: where to; None: where the name leads.
            may_call: whether an IP address may be called; None: any may.
        """
        self.pinned = pinned
        self._may_call = may_call
        self._lock = threading.Lock()
        self._is_cut = False
        self._held: socket.socket | None = None

    def hold(self, connection: socket.socket) -> socket.socket:
        """Take a new connection in place of the last one, if it leads where it may.

        At the connection itself: another answer of the resolver a moment later leads nowhere else.
        """
        if self._may_call is not None and not self._may_call(str(connection.getpeername()[0])):
            connection.close()
            raise AnswerError(
                Reason.ADDRESS_NOT_ALLOWED,
                "the host of spec.prometheus.url leads to the operator's own machine or network, "
                "or to a cloud's metadata",
            )
        with self._lock:
            if self._is_cut:
                connection.close()
                raise OSError("nobody waits for the answer any more")
            last, self._held = self._held, connection.dup()
        if last is not None:
            last.close()
        return connection

    def cut(self) -> None:
        """End the connection, and let there be no other."""
        with self._lock:
            self._is_cut = True
            last, self._held = self._held, None
        if last is not None:
            with contextlib.suppress(OSError):  # the server was quicker
                last.shutdown(socket.SHUT_RDWR)
            last.close()


def _pools(line: Line) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            at = line.pinned
            return line.hold(super()._new_conn() if at is None else _connected(self, at))

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            at = line.pinned
            return line.hold(super()._new_conn() if at is None else _connected(self, at))

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _connected(made: HTTPConnection, at: Pinned) -> socket.socket:
    """Connect to the first of the addresses that takes a connection."""
    last: OSError = OSError("no address")
    for ip in at.ips:
        try:
            return create_connection(
                (ip, at.called_port), made.timeout, socket_options=made.socket_options
            )
        except OSError as error:  # a timeout is one
            last = error
    if isinstance(last, TimeoutError):
        raise ConnectTimeoutError(made, f"Connection to {at} timed out") from last
    raise NewConnectionError(made, f"Failed to establish a new connection: {last}") from last
