"""Asks a Prometheus within limits of time and size; every way in which it can fail has a name.

prometheus-api-client asks; the session under it is ours, since the library waits for ever, retries
for seconds, follows redirects and drops Prometheus' warnings. Blocking calls run in a few threads
per address, each with a deadline of its own and one around the await.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from rollback_operator.api.reasons import Reason
from rollback_operator.core.model import Missing

CHUNK_BYTES = 65536
PER_ADDRESS = 4
_REFUSED = (400, 422)
_UNAUTHORIZED = (401, 403)
_OK = 200
_LISTED = "/targets/metadata"
"""The address whose data is a list."""
_PORTS = {"http": 80, "https": 443}
_WHOLE = {"partial_response": "false", "deny_partial_response": "1", "max_source_resolution": "0s"}
"""All of the raw data or an error: the first is Thanos' word for it, the second VictoriaMetrics',
the third keeps Thanos from answering with downsampled blocks. Others ignore them."""
_UNTYPED = frozenset({"unknown", "untyped", ""})


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take and how much it may hold."""

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    most_bytes: int = 32 * 1024 * 1024


DEFAULT_LIMITS = Limits()


class _AnswerError(Exception):
    """An answer that is no use, as a Missing."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.missing = Missing(reason, message)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What prometheus-api-client looks at in a response."""

    status_code: int
    content: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.content)


class _BoundedSession(requests.Session):
    """A session whose answers are bounded in time and size and never redirected."""

    def __init__(self, access: "Access", limits: Limits) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = str(access.ca_file) if access.ca_file else True
        self._access = access
        self._limits = limits
        self.answer = _Answer(0, b"")
        self.envelope: dict[str, Any] = {}

    def request(self, method: str, url: str, **options: Any) -> Any:  # type: ignore[override] # the library passes keywords only
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
                    raise _AnswerError(
                        Reason.ANSWER_TOO_LARGE,
                        f"the answer exceeds {self._limits.most_bytes >> 20} MiB: "
                        "narrow signals.*.matchers",
                    )
                if time.monotonic() > until:
                    raise requests.exceptions.ReadTimeout("the answer did not end in time")
            self.answer = _Answer(response.status_code, bytes(body))
        self.envelope = _envelope(self.answer, list if url.endswith(_LISTED) else dict)
        return self.answer


def _envelope(answer: _Answer, kind: type) -> dict[str, Any]:
    if answer.status_code != _OK:
        return {}
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("data"), kind):
        begin = answer.content[:80].decode(errors="replace")
        raise _AnswerError(
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


@dataclass
class _Address:
    """Connections to one Prometheus: one thread at a time each, a few at once.

    The threads are its own, so that a server that never ends an answer holds up nobody else.
    """

    idle: list[PrometheusConnect] = field(default_factory=list)
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PER_ADDRESS))
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PER_ADDRESS, thread_name_prefix="prometheus")
    )


@dataclass(frozen=True, slots=True)
class Steps:
    """The times of a range query: from `start` to `end`, seconds since the epoch."""

    start: float
    end: float
    seconds: int


@dataclass(frozen=True, slots=True)
class Span:
    """A time over which samples are read."""

    seconds: int
    until: float | None = None
    """None: up to now, by the server's clock."""


class Session:
    """Asks any Prometheus by its address."""

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access = access
        self._limits = limits
        self._params = {"timeout": f"{math.ceil(limits.read_seconds)}s", **_WHOLE}
        self._addresses: dict[str, _Address] = {}

    def close(self) -> None:
        """Let the threads end; queries that hang end by their own deadline."""
        for one in self._addresses.values():
            one.threads.shutdown(wait=False, cancel_futures=True)

    async def query(self, url: str, text: str, at: float | None = None) -> Any | Missing:
        """Ask for the value that an expression has, or had at a time."""
        params = {**self._params, **({} if at is None else {"time": f"{at:.3f}"})}
        return await self._ask(url, lambda api: api.custom_query(text, params=params))

    async def query_samples(self, url: str, selector: str, span: Span) -> Any | Missing:
        """Ask for samples as they are stored."""
        at = {} if span.until is None else {"time": f"{span.until:.3f}"}
        text, params = f"{selector}[{span.seconds}s]", {**self._params, **at}
        return await self._ask(url, lambda api: api.custom_query(text, params=params))

    async def query_range(self, url: str, text: str, steps: Steps) -> Any | Missing:
        """Ask for the values of an expression over time."""
        return await self._ask(
            url,
            lambda api: api.custom_query_range(
                text,
                start_time=datetime.fromtimestamp(steps.start, UTC),
                end_time=datetime.fromtimestamp(steps.end, UTC),
                step=str(steps.seconds),
                params=self._params,
            ),
        )

    async def types(self, url: str, metric: str) -> frozenset[str] | Missing:
        """Ask what the metric's own targets call it; empty where nobody says."""
        found = await self._ask(url, lambda api: api.get_metric_metadata(metric))
        if isinstance(found, Missing):
            return found
        said = {str(one["type"]) for one in found if one["metric_name"] == metric}
        return frozenset(said - _UNTYPED)

    async def declares(self, url: str, target: dict[str, str], metric: str) -> bool | Missing:
        """Ask whether a target, by its labels, exposes a metric, with or without samples."""
        found = await self._ask(url, lambda api: api.get_target_metadata(target, metric))
        return found if isinstance(found, Missing) else bool(found)

    async def _ask(self, url: str, call: Callable[[PrometheusConnect], Any]) -> Any | Missing:
        address = self._addresses.setdefault(url, _Address())
        async with address.gate:
            api = address.idle.pop() if address.idle else self._connect(url)
            loop = asyncio.get_running_loop()
            try:
                limits = self._limits
                async with asyncio.timeout(limits.connect_seconds + limits.read_seconds + 1):
                    found = await loop.run_in_executor(address.threads, _call, api, call)
            except TimeoutError:
                # The thread may still hold this connection: it is not used again.
                return Missing(Reason.PROVIDER_UNREACHABLE, f"{url} did not answer in time")
            address.idle.append(api)
            return found

    def _connect(self, url: str) -> PrometheusConnect:
        session = _BoundedSession(self._access, self._limits)
        return PrometheusConnect(url=url.rstrip("/"), session=session, retry=Retry(total=0))


def _call(api: PrometheusConnect, call: Callable[[PrometheusConnect], Any]) -> Any:
    """Ask, in a thread; every way in which it can fail has a name."""
    session: Any = api._session
    try:
        found = call(api)
    except _AnswerError as error:
        return error.missing
    except PrometheusApiClientException:
        return _refused(session.answer)
    except (OSError, HTTPError) as error:  # requests' own and unreadable token files are OSErrors
        return Missing(
            Reason.PROVIDER_UNREACHABLE, f"{api.url}: {type(error).__name__}: {error}"[:500]
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Missing(Reason.ANSWER_MALFORMED, f"the answer cannot be read: {error!r}"[:300])
    return _partial(session.envelope) or found


def _partial(envelope: Mapping[str, Any]) -> Missing | None:
    """Tell an answer that lacks something: as Prometheus and Thanos say it, or VictoriaMetrics."""
    warnings = envelope.get("warnings")
    if warnings:
        said = warnings[0] if isinstance(warnings, list) else warnings
        return Missing(Reason.ANSWER_PARTIAL, f"Prometheus warns: {said}"[:500])
    if envelope.get("isPartial"):
        return Missing(
            Reason.ANSWER_PARTIAL, "the answer is partial: a storage node did not answer"
        )
    return None


def _refused(answer: _Answer) -> Missing:
    status, said = answer.status_code, _words(answer)
    if status in _UNAUTHORIZED:
        return Missing(
            Reason.PROVIDER_UNAUTHORIZED,
            f"Prometheus answers {status}{said}: give the operator a token it accepts "
            "(--prometheus-token-file)",
        )
    if status in _REFUSED:
        return Missing(Reason.QUERY_REFUSED, f"Prometheus refuses the query ({status}){said}")
    return Missing(Reason.PROVIDER_ERROR, f"Prometheus answers {status}{said}")


def _words(answer: _Answer) -> str:
    """Give the server's own words: `error` of an API answer, else the beginning of the text."""
    try:
        said = answer.json()["error"]
    except (KeyError, TypeError, ValueError, RecursionError):
        said = answer.content[:200].decode(errors="replace")
    found = " ".join(str(said).split())[:200]
    # A page for a browser says nothing in its first line.
    return f": {found}" if found and not found.startswith("<") else ""
