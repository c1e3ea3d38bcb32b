"""One request to Prometheus, bounded in time and size, never redirected, with a token that rotates.

prometheus-api-client asks; the session under it is ours, since the library waits for ever, retries
for seconds, follows redirects and drops Prometheus' warnings. What an address that a policy names
leads to is looked at before a word is sent: its name is allowed by its form, and who owns the name
chooses what it is resolved to.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from rollback_operator.adapters.prometheus.budget import NoRoomError, Part
from rollback_operator.adapters.prometheus.credentials import (
    NONE,
    TOKEN,
    Credentials,
    trusting,
)
from rollback_operator.adapters.prometheus.decoding import (
    CHUNK_BYTES,
    VALUE_BYTES,
    Unpacking,
    decoded,
    values_in,
)
from rollback_operator.addresses import is_callable
from rollback_operator.api.json_text import parsed
from rollback_operator.api.reasons import Reason
from rollback_operator.core.reading import Missing

_OK = 200
_LISTED = "/targets/metadata"
"""The address whose data is a list."""
_PORTS = {"http": 80, "https": 443}
_LEAST_TOKEN = 8
"""What is shorter is no secret, and may stand in any answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take and how much it may hold."""

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    most_bytes: int = 16 * 1024 * 1024
    """Of one answer, unpacked."""
    most_values: int = 1_500_000
    """JSON values of one answer: a sample is three of them."""


DEFAULT_LIMITS = Limits()


class AnswerError(Exception):
    """An answer that is no use, as a Missing."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.missing = Missing(reason, message)


@dataclass(frozen=True, slots=True)
class Answer:
    """What prometheus-api-client looks at in a response."""

    status_code: int
    content: bytes
    value: Any = None
    """The content as JSON, where it is an API's answer."""

    def json(self) -> Any:
        """Give the body as JSON."""
        return self.value if self.value is not None else parsed(self.content)


class BoundedSession(requests.Session):
    """A session whose answers are bounded in time and size and never redirected."""

    def __init__(
        self, access: "Access", limits: Limits, base: str, credentials: Credentials = NONE
    ) -> None:
        """Connect to nothing yet.

        Args:
            access: the operator's own.
            limits: of answers.
            base: the address whose API is asked, and no other.
            credentials: of the policy that asks.
        """
        super().__init__()
        self.trust_env = False
        self.credentials = credentials
        self.verify = str(access.ca_file) if access.ca_file else True
        self._access = access
        self._limits = limits
        self._base = base
        # To the operator's own Prometheus wherever that is.
        may_call = None if access.leads_to_own(base) else access.may_call
        self._line = _Line()
        self._connections = _Connections(may_call, credentials.authorities, self._line)
        self.answer = Answer(0, b"")
        self.part: Part | None = None
        """What the answers to a question may take; None: all that they want."""

    @property
    def envelope(self) -> Mapping[str, Any]:
        """What is around the data of the last answer."""
        return self.answer.value or {}

    def forget(self) -> None:
        """Hold nothing of the last answer: it may be megabytes, and the session waits idle."""
        self.answer, self.part = Answer(0, b""), None

    def stop(self) -> None:
        """End at once what a thread is waiting for; what cannot be asked any more is closed."""
        self._line.cut()

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()
        self._line.cut()

    def get_adapter(self, url: str) -> Any:
        """Choose who connects, for each address the same."""
        return self._connections

    def request(self, method: str, url: str, **options: Any) -> Any:  # type: ignore[override] # the library passes keywords only
        """Ask, and keep what came."""
        sent = self._access.headers(self._base, self.credentials)
        options |= {
            "timeout": (self._limits.connect_seconds, self._limits.read_seconds),
            "stream": True,
            "allow_redirects": False,
            "headers": sent | {"Accept-Encoding": "gzip"},
        }
        with super().request(method, url, **options) as response:
            body = _without(self._body(response), sent)
            self.answer = Answer(response.status_code, body)
        if self.answer.status_code == _OK:
            self._hold(len(body) + VALUE_BYTES * self._counted(body))
            kind = list if url.endswith(_LISTED) else dict
            self.answer = Answer(_OK, b"", _envelope(body, kind))
        return self.answer

    def _body(self, response: Any) -> bytes:
        until = time.monotonic() + self._limits.read_seconds
        body = bytearray()
        try:
            unpacking = Unpacking(response.headers.get("Content-Encoding", ""))
            # What is there, however little: a wait for a full chunk has no end but the server's.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                for piece in unpacking.of(chunk):
                    body += piece
                    if len(body) > self._limits.most_bytes:
                        raise _too_large(f"{self._limits.most_bytes >> 20} MiB")
                    self._hold(len(body))
                if time.monotonic() > until:
                    raise requests.exceptions.ReadTimeout("the answer did not end in time")
        except ValueError as error:
            raise AnswerError(Reason.ANSWER_MALFORMED, str(error)) from None
        return bytes(body)

    def _counted(self, body: bytes) -> int:
        found = values_in(body)
        if found > self._limits.most_values:
            raise _too_large(f"{self._limits.most_values // 3} samples")
        return found

    def _hold(self, size: int) -> None:
        try:
            if self.part is not None:
                self.part.grow(size)
        except NoRoomError:
            raise AnswerError(
                Reason.ANSWER_TOO_LARGE,
                "there is no room for this answer beside those that are being read for other "
                "policies: it is asked for again; narrow signals.*.matchers if that lasts",
            ) from None


def _too_large(most: str) -> AnswerError:
    said = f"the answer exceeds {most}: narrow signals.*.matchers"
    return AnswerError(Reason.ANSWER_TOO_LARGE, said)


def _envelope(body: bytes, kind: type) -> dict[str, Any]:
    try:
        found = decoded(body)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("data"), kind):
        begin = body[:80].decode(errors="replace")
        raise AnswerError(
            Reason.ANSWER_MALFORMED,
            f"the answer is no Prometheus API answer, it begins with {begin!r}: "
            "check spec.prometheus.url",
        )
    return found


def _without(body: bytes, sent: Mapping[str, str]) -> bytes:
    """Take the token out of an answer: of what a server says, a part may be told to people."""
    token = sent.get("Authorization", "").removeprefix("Bearer ")
    return body.replace(token.encode(), b"***") if len(token) >= _LEAST_TOKEN else body


class _Connections(HTTPAdapter):
    """Looks at what a connection leads to before anything is sent over it.

    At the connection itself: another answer of the resolver a moment later leads nowhere else.
    """

    def __init__(
        self, may_call: Callable[[str], bool] | None, authorities: str | None, line: "_Line"
    ) -> None:
        """Connect to nothing yet.

        Args:
            may_call: whether an IP address may be called; None: any may.
            authorities: whose certificates are taken, in PEM; None: whom the session trusts.
            line: what is told each connection.
        """
        self._may_call = may_call
        self._line = line
        self._authorities = authorities
        super().__init__()

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        """Make connections that are looked at."""
        if self._authorities is not None:
            options["ssl_context"] = trusting(self._authorities)
        super().init_poolmanager(*sizes, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._may_call, self._line)

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


class _Line:
    """The connection of one session, to be cut by another thread than the one that waits for it.

    A second descriptor of the same connection: with TLS the first one changes hands.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_cut = False
        self._held: socket.socket | None = None

    def hold(self, connection: socket.socket) -> None:
        """Take a new connection in place of the last one."""
        with self._lock:
            if self._is_cut:
                connection.close()
                raise OSError("nobody waits for the answer any more")
            last, self._held = self._held, connection.dup()
        if last is not None:
            last.close()

    def cut(self) -> None:
        """End the connection, and let there be no other."""
        with self._lock:
            self._is_cut = True
            last, self._held = self._held, None
        if last is not None:
            with contextlib.suppress(OSError):  # the server was quicker
                last.shutdown(socket.SHUT_RDWR)
            last.close()


def _pools(
    may_call: Callable[[str], bool] | None, line: _Line
) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _looked_at(super()._new_conn(), may_call, line)

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _looked_at(super()._new_conn(), may_call, line)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _looked_at(
    connection: socket.socket, may_call: Callable[[str], bool] | None, line: _Line
) -> socket.socket:
    if may_call is None or may_call(str(connection.getpeername()[0])):
        line.hold(connection)
        return connection
    connection.close()
    raise AnswerError(
        Reason.ADDRESS_NOT_ALLOWED,
        "the host of spec.prometheus.url leads to the operator's own machine or network, or to a "
        "cloud's metadata",
    )


@dataclass(frozen=True, slots=True)
class Access:
    """The operator's own: read anew for each query since they rotate, told to one address."""

    token_file: Path | None = None
    ca_file: Path | None = None
    url: str = ""
    """Whose token it is: a policy may name an address of its own, which must not be told it."""
    may_call: Callable[[str], bool] = is_callable
    """Whether such an address may lead to an IP address."""

    def leads_to_own(self, base: str) -> bool:
        """Tell whether an address leads to the host of the operator's own setting."""
        return _origin(base) == _origin(self.url)

    def is_own(self, base: str) -> bool:
        """Tell whether an address is the operator's own setting.

        With its path: behind another one of the same host there may be somebody else.
        """
        return self.leads_to_own(base) and _path(base) == _path(self.url)

    def headers(self, base: str, credentials: Credentials = NONE) -> dict[str, str]:
        """Make the headers of a request to an API.

        The operator's own token is told to nobody whom a policy vouches for: neither an address
        that it names nor a certificate that it alone has signed.

        Raises:
            OSError: the file cannot be read, or holds no token; the message never shows its text.
        """
        if credentials.token is not None:
            return {"Authorization": f"Bearer {credentials.token}"}
        if self.token_file is None or credentials.authorities or not self.is_own(base):
            return {}
        token = self.token_file.read_bytes().strip().decode(errors="replace")
        if not TOKEN.fullmatch(token):
            raise OSError(f"--prometheus-token-file: {self.token_file} holds no bearer token")
        return {"Authorization": f"Bearer {token}"}


def _path(url: str) -> str:
    return urlsplit(url)._replace(scheme="", netloc="").geturl().rstrip("/")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
