"""The watched pods' own metrics pages -> counters, one sample a series.

Answers are bounded in time and size, never redirected, and carry no credentials. Only addresses
that can be a pod's own are called: no loopback, no link-local one, none that is no IP address.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from rollback_operator.addresses import is_callable
from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels, split_matcher
from rollback_operator.core.reading import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.queries import PageQuery, PodPage

CHUNK_BYTES = 65536
AT_ONCE = 64
"""Reads of all policies together."""
_OK = 200
_UNAUTHORIZED = (401, 403)
_HEADERS = {"Accept": "text/plain;version=0.0.4,*/*;q=0.1", "Accept-Encoding": "identity"}
_EXPORTED = "exported_"
_NAME = re.compile(r"[\s{]")
KNOWN_SERIES = 8192
MOST_REPEATS = 2
LONGEST_VALUE = 512
JUDGED_AHEAD_SECONDS = 0.1
"""By how much at most the judged pods are asked before the others."""
LEAVING_SECONDS = 0.05
"""For how long pods that go are waited for when all others have answered."""


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How long a page may take and how much of it is read."""

    connect_seconds: float = 0.3
    answer_seconds: float = 0.5
    """When a pod that takes longer has counted what it shows is too uncertain for a comparison."""
    read_seconds: float = 1.0
    most_bytes: int = 8 * 1024 * 1024
    most_kept_bytes: int = 1024 * 1024
    """Of a page only the lines of the wanted counters are held."""


DEFAULT_LIMITS = PageLimits()


@dataclass(frozen=True, slots=True)
class _Answer:
    pod: PodPage
    text: str
    time: float


class PodPages:
    """The PodMetrics port over HTTP."""

    def __init__(
        self,
        clock: Callable[[], float],
        is_allowed: Callable[[str], bool] = is_callable,
        limits: PageLimits = DEFAULT_LIMITS,
    ) -> None:
        self._clock = clock
        self._is_allowed = is_allowed
        self._limits = limits
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def read(self, query: PageQuery) -> Reading:
        """Read all pages at once."""
        for matcher in (*_wild(query.requests), *_wild(query.errors)):
            said = f"the matcher {matcher!r} is too involved to be applied to the pods' own pages"
            return Missing(Reason.POD_METRICS_DISABLED, said)
        names = tuple(sorted({query.requests.metric, query.errors.metric}))
        answers = await self._answers(query.pages, names)
        # Parsed only when all have answered: while one is being parsed no answer can be timed.
        found = [_parsed(one, query) if isinstance(one, _Answer) else one for one in answers]
        made = [one for one in found if isinstance(one, Counters)]
        requests = tuple(series for one in made for series in one.requests)
        errors = tuple(series for one in made for series in one.errors)
        missing = [one for one in found if isinstance(one, Missing)]
        if requests and (errors or query.requests.metric == query.errors.metric):
            return Counters(requests, errors)
        if requests:
            return Missing(
                Reason.ERROR_SERIES_MISSING,
                f"no pod exposes {query.errors.metric}: whether there are no errors or no such "
                "counter cannot be told. Initialise it to 0",
            )
        return _commonest(missing) or Missing(Reason.PODS_UNREACHABLE, "no pod may be read")

    async def _answers(
        self, pages: Sequence[PodPage], names: tuple[str, ...]
    ) -> list[_Answer | Missing]:
        """Ask all pods, in the order of `pages`; the judged ones a moment before the others.

        Only time that the others have been read over is compared: asked together with the judged
        ones, whose answers are timed later, they would put that off until the next read.
        """
        async with asyncio.TaskGroup() as group:
            tasks: dict[int, asyncio.Task[_Answer | Missing]] = {}
            for is_judged in (True, False):
                asked = [
                    (number, group.create_task(self._read(page, names)))
                    for number, page in enumerate(pages)
                    if page.is_judged is is_judged
                ]
                tasks.update(asked)
                if is_judged and 0 < len(asked) < len(pages):
                    await asyncio.wait([one for _, one in asked], timeout=JUDGED_AHEAD_SECONDS)
            staying = [tasks[number] for number, one in enumerate(pages) if not one.is_leaving]
            leaving = [tasks[number] for number, one in enumerate(pages) if one.is_leaving]
            if staying:
                await asyncio.wait(staying)
            if leaving:
                await asyncio.wait(leaving, timeout=LEAVING_SECONDS if staying else None)
            for one in leaving:
                one.cancel()
        return [
            Missing(Reason.PODS_SLOW, f"{_said(page)} is being ended")
            if tasks[number].cancelled()
            else tasks[number].result()
            for number, page in enumerate(pages)
        ]

    async def _read(self, pod: PodPage, names: tuple[str, ...]) -> _Answer | Missing:
        if not self._is_allowed(pod.address):
            return Missing(Reason.PODS_UNREACHABLE, f"{pod.address} is no address of a pod")
        async with self._gate:
            try:
                async with asyncio.timeout(self._limits.read_seconds):
                    return await self._get(pod, names)
            except aiohttp.ConnectionTimeoutError:
                return Missing(Reason.PODS_UNREACHABLE, f"{_said(pod)} takes no connection")
            except TimeoutError:
                return Missing(Reason.PODS_SLOW, f"{_said(pod)} did not answer in time")
            except (aiohttp.ClientError, OSError, ValueError) as error:
                said = f"{_said(pod)}: {type(error).__name__}: {error}"[:300]
                return Missing(Reason.PODS_UNREACHABLE, said)

    async def _get(self, pod: PodPage, names: tuple[str, ...]) -> _Answer | Missing:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._limits.connect_seconds
                ),
                headers=_HEADERS,
                trust_env=False,
            )
        sent = self._clock()
        async with asyncio.timeout(self._limits.answer_seconds):
            answered = await self._session.get(_url(pod), allow_redirects=False)
        async with answered as response:
            got = self._clock()
            if response.status != _OK:
                return _refused(pod, response.status)
            begins = tuple(name.encode() for name in names)
            text = await _lines(response.content, begins, self._limits)
        if text is None:
            whole, kept = self._limits.most_bytes >> 20, self._limits.most_kept_bytes >> 20
            said = f"{_said(pod)} exceeds {whole} MiB, or {kept} MiB"
            return Missing(Reason.ANSWER_TOO_LARGE, f"{said} of the wanted counters")
        # What is compared must never seem to have failed before what it is compared with was read.
        return _Answer(pod, text, got if pod.is_judged else sent)


async def _lines(
    content: aiohttp.StreamReader, begins: tuple[bytes, ...], limits: PageLimits
) -> str | None:
    """Read the lines that begin so; None: there is too much of it."""
    kept, rest, size = bytearray(), b"", 0
    async for chunk in content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(begins):
                kept += line + b"\n"
        if size > limits.most_bytes or len(kept) + len(rest) > limits.most_kept_bytes:
            return None
    return (kept + rest if rest.startswith(begins) else kept).decode(errors="replace")


def _url(pod: PodPage) -> str:
    host = f"[{pod.address}]" if ":" in pod.address else pod.address
    return f"{pod.page.scheme}://{host}:{pod.page.port}{pod.page.path}"


def _said(pod: PodPage) -> str:
    return f"port {pod.page.port} of pod {pod.pod}"


def _refused(pod: PodPage, status: int) -> Missing:
    if status in _UNAUTHORIZED:
        said = f"{_said(pod)} answers {status}: it asks for credentials, and none are sent"
        return Missing(Reason.PODS_UNAUTHORIZED, said)
    if status >= 500:  # noqa: PLR2004 (HTTP)
        return Missing(Reason.PODS_UNREACHABLE, f"{_said(pod)} answers {status}")
    said = f"{_said(pod)} answers {status} to {pod.page.path}: see spec.podMetrics.port and path"
    return Missing(Reason.NO_COUNTERS_EXPOSED, said)


def _commonest(missing: Sequence[Missing]) -> Missing | None:
    counted = Counter(one.reason for one in missing)
    if not counted:
        return None
    reason = counted.most_common(1)[0][0]
    return next(one for one in missing if one.reason is reason)


def _parsed(answer: _Answer, query: PageQuery) -> Counters | Missing:
    signals = (query.requests, query.errors)
    names = frozenset(signal.metric for signal in signals)
    try:
        samples = list(_samples(answer.text, names))
    except (IndexError, ValueError) as error:
        said = f"{_said(answer.pod)} shows no metrics that can be read: {error}"[:300]
        return Missing(Reason.NO_COUNTERS_EXPOSED, said)
    requests, errors = (_series(answer, samples, signal, query.labels) for signal in signals)
    if requests:
        return Counters(requests, errors)
    said = f"{_said(answer.pod)} shows no {query.requests.metric} at {answer.pod.page.path}"
    return Missing(Reason.NO_COUNTERS_EXPOSED, said)


_Sample = tuple[str, Mapping[str, str], float]


def _samples(text: str, names: frozenset[str]) -> Iterator[_Sample]:
    """Parse the samples of these names: a page holds thousands of others.

    Raises:
        ValueError: a line is no sample.
    """
    for line in text.splitlines():
        if _NAME.split(line, maxsplit=1)[0] not in names:
            continue
        end = line.rfind("}") + 1
        if end and " # " not in line:
            name, labels, _ = _sample(f"{line[:end]} 0")
            yield name, labels, float(line[end:].split()[0])
        else:
            yield _sample(line)


@lru_cache(maxsize=KNOWN_SERIES)
def _sample(line: str) -> _Sample:
    """Parse a sample. A series is the same at each read, and on each pod: only its value is new."""
    for family in text_string_to_metric_families(f"{line}\n"):
        for sample in family.samples:
            return sample.name, sample.labels, sample.value
    raise ValueError(f"{line[:80]!r} is no sample")


def _series(
    answer: _Answer, samples: Iterable[_Sample], signal: CounterSignal, labels: SignalLabels
) -> tuple[CounterSeries, ...]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for name, own, value in samples:
        if name != signal.metric or not _is_meant(own, signal.matchers):
            continue
        if not math.isfinite(value) or value < 0:
            continue  # nothing that a counter has
        route = labels.route if labels.route in own else labels.route.removeprefix(_EXPORTED)
        identity = tuple(sorted((k, v) for k, v in own.items() if k != route))
        found[own.get(route, ""), identity] = value
    address = _url(answer.pod).partition("://")[2].partition("/")[0]
    return tuple(
        CounterSeries(answer.pod.pod, route, identity, address, ((answer.time, value),))
        for (route, identity), value in found.items()
    )


def _is_meant(own: Mapping[str, str], matchers: Mapping[str, str]) -> bool:
    """Apply the matchers on labels that the pod exposes.

    The others are on labels that Prometheus gives its targets: true by construction.
    """
    for name, value in matchers.items():
        known = name if name in own else name.removeprefix(_EXPORTED)
        if known in own and not _is_matched(value, own[known]):
            return False
    return True


@lru_cache(maxsize=4096)
def _is_matched(matcher: str, value: str) -> bool:
    operator, operand = split_matcher(matcher)
    if "~" not in operator:
        return (value == operand) == (operator == "=")
    is_match = re.fullmatch(operand, value[:LONGEST_VALUE]) is not None
    return is_match == (operator == "=~")


def _wild(signal: CounterSignal) -> Iterator[str]:
    """List the matchers that a regular expression engine might take too long over."""
    for matcher in signal.matchers.values():
        operator, operand = split_matcher(matcher)
        if "~" in operator and not _is_tame(operand):
            yield matcher


@lru_cache(maxsize=256)
def _is_tame(operand: str) -> bool:
    repeats = sum(operand.count(one) for one in "*+?")
    return repeats <= MOST_REPEATS and re.search(r"\)[*+?]|\{", operand) is None
