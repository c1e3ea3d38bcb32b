"""Prometheus' HTTP API -> counters, or the kind of nothing that came instead.

prometheus-api-client asks; the session under it is ours, since the library waits for ever, retries
for seconds, follows redirects and drops Prometheus' warnings. Blocking calls run in a few threads
per address, each with a deadline of its own and one around the await.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
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
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels, split_matcher
from rollback_operator.core.model import (
    Control,
    Counters,
    CounterSeries,
    Missing,
    Reading,
    RouteControl,
)
from rollback_operator.ports import CounterQuery

CHUNK_BYTES = 65536
HOUR_SECONDS = 3600
MINUTE_SECONDS = 60
LEAST_MINUTE_REQUESTS = 20
PER_ADDRESS = 4
_SCRAPER_LABELS = frozenset(
    {"__name__", "job", "instance", "replica", "prometheus_replica", "prometheus", "namespace"}
)
_REFUSED = (400, 422)
_UNAUTHORIZED = (401, 403)
_OK = 200
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take and how much it may hold."""

    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    most_bytes: int = 32 * 1024 * 1024


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
            answer = _Answer(response.status_code, bytes(body))
        self.envelope = _envelope(answer)
        return answer


def _envelope(answer: _Answer) -> dict[str, Any]:
    if answer.status_code != _OK:
        return {}
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("data"), dict):
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


class PrometheusMetrics:
    """The Metrics port on the Prometheus HTTP API."""

    def __init__(self, access: Access, limits: Limits = Limits()) -> None:
        self._access = access
        self._limits = limits
        self._params = {"timeout": f"{math.ceil(limits.read_seconds)}s"}
        self._addresses: dict[str, _Address] = {}

    def close(self) -> None:
        """Let the threads end; queries that hang end by their own deadline."""
        for one in self._addresses.values():
            one.threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, query: CounterQuery, seconds: float) -> Reading:
        """Read the raw counters of the last `seconds`."""
        span = max(1, math.ceil(seconds))
        asked = [
            self._ask(query.url, f"{_selector(query, signal)}[{span}s]", self._matrix)
            for signal in (query.requests, query.errors)
        ]
        found = await asyncio.gather(*asked)
        for answer in found:
            if isinstance(answer, Missing):
                return answer
        made = [
            _series(answer, query.labels) for answer in found if not isinstance(answer, Missing)
        ]
        for one in made:
            if isinstance(one, Missing):
                return one
        requested, failed = (one for one in made if not isinstance(one, Missing))
        if not requested:
            return Missing(
                Reason.NO_SERIES,
                f"there are no series {_selector(query, query.requests)}: check "
                "spec.signals.requests, the pod label and that the pods are scraped",
            )
        if not failed:
            missing = await self._find_errors(query)
            if missing is not None:
                return missing
        return Counters(requested, failed)

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the error rates, minute by minute, of the hour up to `until`."""
        by = query.labels.route
        asked = [
            self._ask(
                query.url,
                f"sum by ({by}) (increase({_selector(query, signal)}[{MINUTE_SECONDS}s]))",
                lambda api, text: api.custom_query_range(
                    text,
                    start_time=datetime.fromtimestamp(until - HOUR_SECONDS + 60, UTC),
                    end_time=datetime.fromtimestamp(until, UTC),
                    step=str(MINUTE_SECONDS),
                    params=self._params,
                ),
            )
            for signal in (query.requests, query.errors)
        ]
        found = await asyncio.gather(*asked)
        tables = []
        for answer in found:
            if isinstance(answer, Missing):
                return answer
            try:
                tables.append(_minutes(answer, by))
            except (KeyError, TypeError, ValueError):
                return Missing(Reason.ANSWER_MALFORMED, "a range answer has no series in it")
        return _control(tables[0], tables[1])

    async def read_clock(self, url: str) -> float | Missing:
        """Read the provider's time."""
        answer = await self._ask(url, "time()", self._matrix)
        if isinstance(answer, Missing):
            return answer
        try:
            found = float(answer[1])
        except (LookupError, TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            return Missing(Reason.ANSWER_MALFORMED, "the query time() has no number for an answer")
        return found

    async def _find_errors(self, query: CounterQuery) -> Missing | None:
        """Tell 'no error yet' from 'no such metric': neither has a series."""
        name, matchers = query.errors.metric, _matchers(query.errors, query.namespace)
        text = f"count(present_over_time({name}{{{matchers}}}[{HOUR_SECONDS}s]))"
        answer = await self._ask(query.url, text, self._matrix)
        if isinstance(answer, Missing):
            return answer
        if answer:
            return None
        return Missing(
            Reason.ERROR_SERIES_MISSING,
            f"no pod of the namespace has ever counted {name}{{{matchers}}}: whether there are no "
            "errors or no such metric cannot be told. Check spec.signals.errors, and initialise "
            "the counter to 0",
        )

    async def _ask(
        self, url: str, text: str, call: Callable[[PrometheusConnect, str], Any]
    ) -> Any | Missing:
        address = self._addresses.setdefault(url, _Address())
        async with address.gate:
            api = address.idle.pop() if address.idle else self._connect(url)
            loop = asyncio.get_running_loop()
            try:
                limits = self._limits
                async with asyncio.timeout(limits.connect_seconds + limits.read_seconds + 1):
                    found = await loop.run_in_executor(address.threads, _call, api, text, call)
            except TimeoutError:
                # The thread may still hold this connection: it is not used again.
                return Missing(Reason.PROVIDER_UNREACHABLE, f"{url} did not answer in time")
            address.idle.append(api)
            return found

    def _matrix(self, api: PrometheusConnect, text: str) -> Any:
        return api.custom_query(text, params=self._params)

    def _connect(self, url: str) -> PrometheusConnect:
        session = _BoundedSession(self._access, self._limits)
        return PrometheusConnect(url=url.rstrip("/"), session=session, retry=Retry(total=0))


def _call(api: PrometheusConnect, text: str, call: Callable[[PrometheusConnect, str], Any]) -> Any:
    """Ask, in a thread; every way in which it can fail has a name."""
    try:
        found = call(api, text)
    except _AnswerError as error:
        return error.missing
    except PrometheusApiClientException as error:
        return _refused(str(error))
    except (OSError, HTTPError) as error:  # requests' own and unreadable token files are OSErrors
        return Missing(
            Reason.PROVIDER_UNREACHABLE, f"{api.url}: {type(error).__name__}: {error}"[:500]
        )
    except (KeyError, TypeError, ValueError) as error:
        return Missing(Reason.ANSWER_MALFORMED, f"the answer cannot be read: {error!r}"[:300])
    session: Any = api._session
    warnings = session.envelope.get("warnings")
    if warnings:
        return Missing(Reason.ANSWER_PARTIAL, f"Prometheus warns: {warnings[0]}"[:500])
    return found


def _refused(message: str) -> Missing:
    code = re.search(r"HTTP Status Code (\d+)", message)
    status = int(code.group(1)) if code else 0
    body = message.partition("(")[2][:200]
    if status in _UNAUTHORIZED:
        return Missing(
            Reason.PROVIDER_UNAUTHORIZED,
            f"Prometheus answers {status}: give the operator a token it accepts "
            "(--prometheus-token-file)",
        )
    if status in _REFUSED:
        return Missing(Reason.QUERY_REFUSED, f"Prometheus refuses the query ({status}): {body}")
    return Missing(Reason.PROVIDER_ERROR, f"Prometheus answers {status}")


def _selector(query: CounterQuery, signal: CounterSignal) -> str:
    matchers = _matchers(signal, query.namespace)
    if query.labels.pod and query.pods:
        matchers += f",{query.labels.pod}=~{json.dumps('|'.join(query.pods))}"
    return f"{signal.metric}{{{matchers}}}"


def _matchers(signal: CounterSignal, namespace: str) -> str:
    pairs = {**signal.matchers, "namespace": namespace}
    split = {name: split_matcher(value) for name, value in pairs.items()}
    return ",".join(
        f"{name}{operator}{json.dumps(operand, ensure_ascii=False)}"
        for name, (operator, operand) in sorted(split.items())
    )


def _series(answer: Any, labels: SignalLabels) -> tuple[CounterSeries, ...] | Missing:
    try:
        return tuple(_each(answer, labels))
    except _AnswerError as error:
        return error.missing
    except (AttributeError, KeyError, TypeError, ValueError):
        return Missing(Reason.ANSWER_MALFORMED, "the answer holds no series of samples")


def _each(answer: Any, labels: SignalLabels) -> Iterator[CounterSeries]:
    for one in answer:
        metric: Mapping[str, str] = one["metric"]
        read = [(float(at), float(value)) for at, value in one["values"]]
        samples = tuple(one for one in read if _is_count(*one))
        # What was no number once is left out; what is none now leaves nothing to judge from.
        if read and not _is_count(*read[-1]):
            raise _AnswerError(
                Reason.NOT_A_NUMBER,
                f"series {dict(metric)} holds a value that no counter has (NaN, infinite or "
                "negative)",
            )
        own = {labels.pod, labels.route} | _SCRAPER_LABELS
        yield CounterSeries(
            pod=metric.get(labels.pod, ""),
            route=metric.get(labels.route, ""),
            identity=tuple(sorted((k, v) for k, v in metric.items() if k not in own)),
            instance=metric.get("instance", ""),
            samples=samples,
        )


def _is_count(at: float, value: float) -> bool:
    return math.isfinite(at + value) and value >= 0


Minutes = dict[str, dict[float, float]]


def _minutes(answer: Any, by: str) -> Minutes:
    found: Minutes = {}
    for one in answer:
        values = found.setdefault(one["metric"].get(by, ""), {})
        for at, value in one["values"]:
            if math.isfinite(float(value)):
                values[float(at)] = float(value)
    return found


def _control(requests_by: Minutes, errors_by: Minutes) -> Control:
    routes = {
        route: _route(minutes, errors_by.get(route, {})) for route, minutes in requests_by.items()
    }
    pooled, failed = _pooled(requests_by), _pooled(errors_by)
    served = [amount for amount in pooled.values() if amount > 0]
    return Control(
        # The first minute with traffic may have begun with its last second.
        seconds=max(0, len(served) - 1) * MINUTE_SECONDS,
        routes=routes,
        busiest_minute=max(served, default=0.0) / MINUTE_SECONDS,
        pooled=_route(pooled, failed),
    )


def _pooled(table: Minutes) -> dict[float, float]:
    sums: dict[float, float] = {}
    for minutes in table.values():
        for at, amount in minutes.items():
            sums[at] = sums.get(at, 0.0) + amount
    return sums


def _route(minutes: Mapping[float, float], errors: Mapping[float, float]) -> RouteControl:
    rates = [
        min(1.0, errors.get(at, 0.0) / amount)
        for at, amount in minutes.items()
        if amount >= LEAST_MINUTE_REQUESTS
    ]
    return RouteControl(sum(minutes.values()), sum(errors.values()), max(rates, default=0.0))
