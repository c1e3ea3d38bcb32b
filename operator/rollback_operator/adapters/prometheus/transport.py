"""One request to Prometheus, bounded in time and size, never redirected, with a token that rotates.

prometheus-api-client asks; the session under it is ours, since the library waits for ever, retries
for seconds, follows redirects and drops Prometheus' warnings.
"""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from rollback_operator.api.reasons import Reason
from rollback_operator.core.model import Missing

CHUNK_BYTES = 65536
_OK = 200
_LISTED = "/targets/metadata"
"""The address whose data is a list."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take and how much it may hold."""

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    most_bytes: int = 32 * 1024 * 1024


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

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.content)


class BoundedSession(requests.Session):
    """A session whose answers are bounded in time and size and never redirected."""

    def __init__(self, access: "Access", limits: Limits) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = str(access.ca_file) if access.ca_file else True
        self._access = access
        self._limits = limits
        self.answer = Answer(0, b"")
        self.envelope: dict[str, Any] = {}

    def request(self, method: str, url: str, **options: Any) -> Any:  # type: ignore[override] # the library passes keywords only
        """Ask, and keep what came."""
        options |= {
            "timeout": (self._limits.connect_seconds, self._limits.read_seconds),
            "stream": True,
            "allow_redirects": False,
            "headers": self._access.headers(url),
        }
        until = time.monotonic() + self._limits.read_seconds
        with super().request(method, url, **options) as response:
            body = bytearray()
            # What is there, however little: a wait for a full chunk has no end but the server's.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > self._limits.most_bytes:
                    raise AnswerError(
                        Reason.ANSWER_TOO_LARGE,
                        f"the answer exceeds {self._limits.most_bytes >> 20} MiB: "
                        "narrow signals.*.matchers",
                    )
                if time.monotonic() > until:
                    raise requests.exceptions.ReadTimeout("the answer did not end in time")
            self.answer = Answer(response.status_code, bytes(body))
        self.envelope = _envelope(self.answer, list if url.endswith(_LISTED) else dict)
        return self.answer


def _envelope(answer: Answer, kind: type) -> dict[str, Any]:
    if answer.status_code != _OK:
        return {}
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("data"), kind):
        begin = answer.content[:80].decode(errors="replace")
        raise AnswerError(
            Reason.ANSWER_MALFORMED,
            f"the answer is no Prometheus API answer, it begins with {begin!r}: "
            "check spec.prometheus.url",
        )
    return found


@dataclass(frozen=True, slots=True)
class Access:
    """Credentials for the operator's own Prometheus, read anew for each query since they rotate."""

    token_file: Path | None = None
    ca_file: Path | None = None
    url: str = ""
    """Whose token it is: a policy may name an address of its own, which must not be told it."""

    def headers(self, url: str) -> dict[str, str]:
        """Make the headers of a request to `url`.

        Raises:
            OSError: the file cannot be read, or holds no token; the message never shows its text.
        """
        if self.token_file is None or _origin(url) != _origin(self.url):
            return {}
        token = self.token_file.read_bytes().strip()
        if not re.fullmatch(rb"[!-~]+", token):
            raise OSError(f"--prometheus-token-file: {self.token_file} holds no bearer token")
        return {"Authorization": f"Bearer {token.decode()}"}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
