"""One request to Prometheus, bounded in time and size, never redirected, with a login that rotates.

prometheus-api-client asks; the session under it is ours, since the library waits for ever, retries
for seconds, follows redirects and drops Prometheus' warnings. An address that a policy names is
called where it was pinned; where nobody has pinned it, what it leads to is looked at before a word
is sent.
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
from rollback_operator.adapters.prometheus.budget import AnswerShare
from rollback_operator.adapters.prometheus.connections import AnswerError, Connections, Line
from rollback_operator.adapters.prometheus.credentials import (
    LOGIN_KEYS,
    NONE,
    Credentials,
    basic,
    bearer,
)
from rollback_operator.adapters.prometheus.decoding import (
    CHUNK_BYTES,
    SAMPLE_VALUE_BYTES,
    Unpacking,
    decoded,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.json_text import parsed, values_in
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.queries import Prometheus

_OK = 200
_LISTED = "/targets/metadata"
"""The address whose data is a list."""
_PORTS = {"http": 80, "https": 443}
TENANT_HEADER = "X-Scope-OrgID"
"""Of Cortex, and of those who come from it."""
_LEAST_TOKEN = 8
"""What is shorter is no secret, and may stand in any answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take and how much it may hold."""

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    most_bytes: int = 16 * 1024 * 1024
    """Of one answer, unpacked."""
    most_values: int = 750_000
    """JSON values of one answer: a sample is three of them."""


DEFAULT_QUERY_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Opening:
    """What a connection is opened with."""

    base: str
    """The address whose API is asked, and no other."""
    credentials: Credentials = NONE
    """Of the policy that asks."""
    pinned: Pinned | None = None
    """Where it is called; None: where its name leads."""


@dataclass(frozen=True, slots=True)
class QueryResponse:
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

    def __init__(self, access: "Access", limits: Limits, opening: Opening) -> None:
        """Connect to nothing yet.

        Args:
            access: the operator's own.
            limits: of answers.
            opening: where to, and for whom.
        """
        super().__init__()
        self.trust_env = False
        self.opening = opening
        self.credentials = opening.credentials
        self.verify = str(access.ca_file) if access.ca_file else True
        self._access = access
        self._limits = limits
        self._base = opening.base
        # To the operator's own Prometheus wherever that is; what is pinned has been looked at.
        is_known = opening.pinned is not None or access.leads_to_own(opening.base)
        self._line = Line(opening.pinned, None if is_known else access.may_call)
        self._connections = Connections(opening.credentials.authorities, self._line)
        self.answer = QueryResponse(0, b"")
        self.part: AnswerShare | None = None
        """What the answers to a question may take; None: all that they want."""

    @property
    def envelope(self) -> Mapping[str, Any]:
        """What is around the data of the last answer."""
        return self.answer.value or {}

    def forget(self) -> None:
        """Hold nothing of the last answer: it may be megabytes, and the session waits idle."""
        self.answer, self.part = QueryResponse(0, b""), None

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
        except BudgetExhaustedError:
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
    """Take the login out of an answer: of what a server says, a part may be told to people."""
    for secret in _secrets(sent.get("Authorization", "")):
        if len(secret) >= _LEAST_TOKEN:
            body = body.replace(secret, b"***")
    return body


def _secrets(authorization: str) -> Iterator[bytes]:
    """Give what nobody may see of a header's value: as it is sent, as it is read, and as JSON."""
    scheme, _, sent = authorization.partition(" ")
    yield sent.encode()
    if scheme == "Basic":
        password = base64.b64decode(sent).decode().partition(":")[2]
        for is_plain in (True, False):
            yield json.dumps(password, ensure_ascii=is_plain)[1:-1].encode()
        yield password.encode()


@dataclass(frozen=True, slots=True)
class Access:
    """The operator's own: read anew for each query since they rotate, told to one address."""

    token_file: Path | None = None
    ca_file: Path | None = None
    url: str = ""
    """Whose token it is: a policy may name an address of its own, which must not be told it."""
    may_call: Callable[[str], bool] = is_callable
    """Whether such an address may lead to an IP address, where it is not pinned."""
    pin_url: Callable[[str, str], Awaitable[PinnedUrl | Failure]] | None = None
    """Finds out where such an address is called for a namespace; None: nobody knows."""
    login_folder: Path | None = None
    """Holds the files `username` and `password`, in place of the token's."""
    tenant: str = ""
    """Whose metrics are read there by policies that name none."""
    may_read_as: Callable[[str, str, str], bool] = lambda tenant, url, namespace: True
    """Whether a policy may name a tenant: tenant, address, the policy's namespace."""

    def leads_to_own(self, base: str) -> bool:
        """Tell whether an address leads to the host of the operator's own setting."""
        return _origin(base) == _origin(self.url)

    def is_own(self, base: str) -> bool:
        """Tell whether an address is the operator's own setting.

        With its path: behind another one of the same host there may be somebody else.
        """
        return self.leads_to_own(base) and _path(base) == _path(self.url)

    def admits(self, prometheus: Prometheus) -> bool:
        """Tell whether a policy may name the tenant that it names."""
        asked = prometheus.tenant, prometheus.url, prometheus.namespace
        return not prometheus.tenant or self.may_read_as(*asked)

    def headers(self, base: str, credentials: Credentials = NONE) -> dict[str, str]:
        """Make the headers of a request to an API.

        The operator's own login is told to nobody whom a policy vouches for: neither an address
        that it names nor a certificate that it alone has signed.

        Raises:
            OSError: a file cannot be read, or holds no login; the message never shows its text.
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
