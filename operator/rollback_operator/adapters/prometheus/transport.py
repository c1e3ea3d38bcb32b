"""A request to Prometheus, bounded in time and size, never redirected, with a rotating login.

prometheus-api-client runs on a session of the operator's own, since the library's waits for ever,
retries for seconds, follows redirects and drops Prometheus' warnings. A policy's URL is called at
its pinned address; if it is not pinned, the peer's address is checked before the request is sent.
"""

import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError
from rollback_operator.adapters.http.addresses import Pinned, PinnedUrl, is_callable
from rollback_operator.adapters.http.outgoing import CHUNK_BYTES, Unpacking
from rollback_operator.adapters.prometheus.budget import AnswerShare
from rollback_operator.adapters.prometheus.connections import AnswerError, Connections, Line
from rollback_operator.adapters.prometheus.credentials import (
    LOGIN_KEYS,
    NONE,
    Credentials,
    basic,
    bearer,
)
from rollback_operator.adapters.prometheus.decoding import SAMPLE_VALUE_BYTES, decoded
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.json_text import parsed, values_in
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import Prometheus

_OK = 200
_LISTED = "/targets/metadata"
"""The endpoint whose data is a list."""
_PORTS = {"http": 80, "https": 443}
TENANT_HEADER = "X-Scope-OrgID"
"""Of Cortex and the servers derived from it."""
_LEAST_TOKEN = 8
"""Shorter values are no secret, and occur in any answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an answer."""

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    most_bytes: int = 16 * 1024 * 1024
    """Of an answer, decompressed."""
    most_values: int = 750_000
    """JSON values of an answer: a sample has three."""


DEFAULT_QUERY_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Opening:
    """Parameters of a connection."""

    base: str
    """The only base URL that is queried."""
    credentials: Credentials = NONE
    """Of the policy."""
    pinned: Pinned | None = None
    """The address; None: resolved by name."""


@dataclass(frozen=True, slots=True)
class QueryResponse:
    """The part of a response that prometheus-api-client uses."""

    status_code: int
    content: bytes
    value: Any = None
    """The content as JSON, if it is an answer of the API."""

    def json(self) -> Any:
        """Parse the body."""
        return self.value if self.value is not None else parsed(self.content)


class BoundedSession(requests.Session):
    """A session whose answers are bounded in time and size and never redirected."""

    def __init__(self, access: "Access", limits: Limits, opening: Opening) -> None:
        super().__init__()
        self.trust_env = False
        self.opening = opening
        self.credentials = opening.credentials
        self.verify = str(access.ca_file) if access.ca_file else True
        self._access = access
        self._limits = limits
        self._base = opening.base
        # The operator's own Prometheus may have any address; a pinned address is checked already.
        is_known = opening.pinned is not None or access.leads_to_own(opening.base)
        self._line = Line(opening.pinned, None if is_known else access.may_call)
        self._connections = Connections(opening.credentials.authorities, self._line)
        self.answer = QueryResponse(0, b"")
        self.part: AnswerShare | None = None
        """Share of the memory budget; None: unlimited."""

    @property
    def envelope(self) -> Mapping[str, Any]:
        """The envelope around the data of the last answer."""
        return self.answer.value or {}

    def forget(self) -> None:
        """Release the last answer: it may be megabytes, and the session stays idle."""
        self.answer, self.part = QueryResponse(0, b""), None

    def stop(self) -> None:
        """End a blocking request at once; the session is unusable afterwards."""
        self._line.cut()

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()
        self._line.cut()

    def get_adapter(self, url: str) -> Any:
        """Return the same adapter for every URL."""
        return self._connections

    def request(self, method: str, url: str, **options: Any) -> Any:  # type: ignore[override] # the library passes keywords only
        """Send a request, and keep the answer."""
        sent = self._access.headers(self._base, self.credentials)
        options |= {
            "timeout": (self._limits.connect_seconds, self._limits.read_seconds),
            "stream": True,
            "allow_redirects": False,
            "headers": sent | {"Accept-Encoding": "gzip"},
        }
        with super().request(method, url, **options) as response:
            body = _without(self._body(response), sent)
            self.answer = QueryResponse(response.status_code, body)
        if self.answer.status_code == _OK:
            self._hold(len(body) + SAMPLE_VALUE_BYTES * self._counted(body))
            kind = list if url.endswith(_LISTED) else dict
            self.answer = QueryResponse(_OK, b"", _envelope(body, kind))
        return self.answer

    def _body(self, response: Any) -> bytes:
        until = time.monotonic() + self._limits.read_seconds
        body = bytearray()
        try:
            unpacking = Unpacking(response.headers.get("Content-Encoding", ""))
            # read1 returns any available bytes: a wait for a full chunk ends when the server likes.
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
        values = values_in(body)
        if values > self._limits.most_values:
            raise _too_large(f"{self._limits.most_values // 3} samples")
        return values

    def _hold(self, size: int) -> None:
        try:
            if self.part is not None:
                self.part.grow(size)
        except BudgetExhaustedError:
            raise AnswerError(
                Reason.ANSWER_TOO_LARGE,
                "answers for other policies hold the memory budget; the operator queries again. "
                "Narrow signals.*.matchers if this repeats",
            ) from None


def _too_large(most: str) -> AnswerError:
    text = f"the answer exceeds {most}: narrow signals.*.matchers"
    return AnswerError(Reason.ANSWER_TOO_LARGE, text)


def _envelope(body: bytes, kind: type) -> dict[str, Any]:
    try:
        envelope = decoded(body)
    except ValueError:
        envelope = None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("data"), kind):
        begin = body[:80].decode(errors="replace")
        raise AnswerError(
            Reason.ANSWER_MALFORMED,
            f"the answer is no Prometheus API answer, it begins with {begin!r}: "
            "check spec.prometheus.url",
        )
    return envelope


def _without(body: bytes, sent: Mapping[str, str]) -> bytes:
    """Remove the login from an answer: a part of an answer may be shown to people."""
    for secret in _secrets(sent.get("Authorization", "")):
        if len(secret) >= _LEAST_TOKEN:
            body = body.replace(secret, b"***")
    return body


def _secrets(authorization: str) -> Iterator[bytes]:
    """Yield the secrets of a header's value: encoded, in plain text, and as JSON."""
    scheme, _, sent = authorization.partition(" ")
    yield sent.encode()
    if scheme == "Basic":
        password = base64.b64decode(sent).decode().partition(":")[2]
        for is_plain in (True, False):
            yield json.dumps(password, ensure_ascii=is_plain)[1:-1].encode()
        yield password.encode()


@dataclass(frozen=True, slots=True)
class Access:
    """The operator's own access, sent to a single URL; files are reread, since they rotate."""

    token_file: Path | None = None
    ca_file: Path | None = None
    url: str = ""
    """The URL that receives the token; a policy's own URL never does."""
    may_call: Callable[[str], bool] = is_callable
    """Whether a policy's URL may resolve to an IP address, if it is not pinned."""
    pin_url: Callable[[str, str], Awaitable[PinnedUrl | Failure]] | None = None
    """Pins a policy's URL for a namespace; None: URLs are not pinned."""
    login_folder: Path | None = None
    """Folder of the files `username` and `password`, instead of the token's."""
    tenant: str = ""
    """Tenant for policies that name none."""
    may_read_as: Callable[[str, str, str], bool] = lambda tenant, url, namespace: True
    """Whether a policy may name a tenant: tenant, address, the policy's namespace."""

    def leads_to_own(self, base: str) -> bool:
        """Whether a URL has the origin of the operator's own."""
        return _origin(base) == _origin(self.url)

    def is_own(self, base: str) -> bool:
        """Whether a URL is the operator's own, path included.

        Another path of the same host may belong to somebody else.
        """
        return self.leads_to_own(base) and _path(base) == _path(self.url)

    def admits(self, prometheus: Prometheus) -> bool:
        """Whether a policy may use the tenant that it names."""
        asked = prometheus.tenant, prometheus.url, prometheus.namespace
        return not prometheus.tenant or self.may_read_as(*asked)

    def headers(self, base: str, credentials: Credentials = NONE) -> dict[str, str]:
        """Build the headers of a request.

        The operator's own login goes to no server that only a policy vouches for: neither to a
        policy's URL nor to a server with a certificate of a policy's CA.

        Raises:
            OSError: a file is unreadable or holds no login; the message never shows its text.
        """
        is_own = self.is_own(base)
        tenant = credentials.tenant or (self.tenant if is_own else "")
        headers = {TENANT_HEADER: tenant} if tenant else {}
        authorization = credentials.authorization
        if authorization is None and is_own and not credentials.authorities:
            authorization = self._login()
        return headers if authorization is None else {**headers, "Authorization": authorization}

    def _login(self) -> str | None:
        try:
            if self.login_folder is not None:
                flag = f"--prometheus-basic-auth-folder: {self.login_folder}"
                return basic({key: _text(self.login_folder / key) for key in LOGIN_KEYS})
            if self.token_file is not None:
                flag = f"--prometheus-token-file: {self.token_file}"
                return bearer(_text(self.token_file))
        except ValueError as error:
            raise OSError(f"{flag} {error}") from None
        return None


def _text(file: Path) -> str:
    return file.read_bytes().decode(errors="replace")


def _path(url: str) -> str:
    return urlsplit(url)._replace(scheme="", netloc="").geturl().rstrip("/")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
