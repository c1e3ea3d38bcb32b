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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
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
from rollback_operator.core.control import HOUR_SECONDS, MINUTE_SECONDS, Minutes, control_of
from rollback_operator.core.evidence import usable
from rollback_operator.core.model import Control, Counters, CounterSeries, Missing, Reading
from rollback_operator.ports import CounterQuery

CHUNK_BYTES = 65536
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
        raw = await self._raw(query, span, self._params)
        if isinstance(raw, Missing):
            return raw
        requested, failed = usable(raw.requests), usable(raw.errors)
        if isinstance(requested, Missing):
            return requested
        if isinstance(failed, Missing):
            return failed
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

    async def read_past(self, query: CounterQuery, start: float, end: float) -> Reading:
        """Read the raw counters of a time that is over, values that are no counts included.

        An hour at a time, and less where that is too much for one answer.
        """
        parts: list[Counters] = []
        span = float(HOUR_SECONDS)
        while start < end:
            until = min(end, start + span)
            params = {**self._params, "time": f"{until:.3f}"}
            part = await self._raw(query, math.ceil(until - start), params)
            if isinstance(part, Counters):
                parts.append(part)
                start = until
            elif part.reason is Reason.ANSWER_TOO_LARGE and span > MINUTE_SECONDS:
                span /= 2
            else:
                return part
        return _joined(parts)

    async def read_errors_known(
        self, query: CounterQuery, start: float, end: float
    ) -> tuple[float, ...] | Missing:
        """Give the minutes in which any pod of the namespace had the error counter."""
        name, matchers = query.errors.metric, _matchers(query.errors, query.namespace)
        answer = await self._ask_minutes(query.url, f"count({name}{{{matchers}}})", start, end)
        if isinstance(answer, Missing):
            return answer
        try:
            return tuple(sorted(_minutes(answer, "").get("", {})))
        except (KeyError, TypeError, ValueError):
            return Missing(Reason.ANSWER_MALFORMED, "a range answer has no series in it")

    async def read_control(self, query: CounterQuery, until: float) -> Control | Missing:
        """Read the error rates, minute by minute, of the hour up to `until`."""
        by = query.labels.route
        asked = [
            self._ask_minutes(
                query.url,
                f"sum by ({by}) (increase({_selector(query, signal)}[{MINUTE_SECONDS}s]))",
                until - HOUR_SECONDS + MINUTE_SECONDS,
                until,
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
        return control_of(tables[0], tables[1])

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

    async def _raw(self, query: CounterQuery, span: int, params: dict[str, str]) -> Reading:
        asked = [
            self._ask(
                query.url,
                f"{_selector(query, signal)}[{span}s]",
                lambda api, text: api.custom_query(text, params=params),
            )
            for signal in (query.requests, query.errors)
        ]
        made = []
        for answer in await asyncio.gather(*asked):
            if isinstance(answer, Missing):
                return answer
            series = _series(answer, query.labels)
            if isinstance(series, Missing):
                return series
            made.append(series)
        return Counters(made[0], made[1])

    async def _ask_minutes(self, url: str, text: str, start: float, end: float) -> Any | Missing:
        """Ask for a value at each minute."""
        return await self._ask(
            url,
            text,
            lambda api, text: api.custom_query_range(
                text,
                start_time=datetime.fromtimestamp(start, UTC),
                end_time=datetime.fromtimestamp(end, UTC),
                step=str(MINUTE_SECONDS),
                params=self._params,
            ),
        )

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
    except (AttributeError, KeyError, TypeError, ValueError):
        return Missing(Reason.ANSWER_MALFORMED, "the answer holds no series of samples")


def _each(answer: Any, labels: SignalLabels) -> Iterator[CounterSeries]:
    own = {labels.pod, labels.route} | _SCRAPER_LABELS
    for one in answer:
        metric: Mapping[str, str] = one["metric"]
        yield CounterSeries(
            pod=metric.get(labels.pod, ""),
            route=metric.get(labels.route, ""),
            identity=tuple(sorted((k, v) for k, v in metric.items() if k not in own)),
            instance=metric.get("instance", ""),
            samples=tuple((float(at), float(value)) for at, value in one["values"]),
        )


def _joined(parts: Iterable[Counters]) -> Counters:
    """Put the parts of a past together; a sample on their border is in both or in one."""
    found: tuple[dict[Any, CounterSeries], ...] = ({}, {})
    for part in parts:
        for known, side in zip(found, (part.requests, part.errors), strict=True):
            for one in side:
                key = one.pod, one.route, one.identity, one.instance
                before = known[key].samples if key in known else ()
                last = before[-1][0] if before else -math.inf
                later = tuple(sample for sample in one.samples if not sample[0] <= last)
                known[key] = replace(one, samples=before + later)
    return Counters(tuple(found[0].values()), tuple(found[1].values()))


def _minutes(answer: Any, by: str) -> Minutes:
    found: dict[str, dict[float, float]] = {}
    for one in answer:
        values = found.setdefault(one["metric"].get(by, ""), {})
        for at, value in one["values"]:
            if math.isfinite(float(value)):
                values[float(at)] = float(value)
    return found
