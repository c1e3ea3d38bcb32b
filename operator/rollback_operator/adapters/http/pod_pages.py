"""The watched pods' own metrics pages -> counters, with one sample per series.

Requests are bounded in time and size, never redirected, and carry no credentials. Only IP addresses
that a pod can have are called: no loopback, no link-local address.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from rollback_operator.adapters.fairness.gates import Gate
from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError, Holdings
from rollback_operator.adapters.fairness.slices import Slices
from rollback_operator.adapters.http import page_text
from rollback_operator.adapters.http.addresses import is_callable
from rollback_operator.adapters.http.causes import cause
from rollback_operator.adapters.http.outgoing import guarded_session
from rollback_operator.adapters.http.page_text import (
    PageLimits,
    PageReservation,
    wanted_lines,
)
from rollback_operator.adapters.http.tls import verified
from rollback_operator.adapters.http.wire import CountedConnector
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.expression import expression
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels, split_matcher
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.metrics import PageQuery, PodPage

AT_ONCE, EACH = 256, 64
"""Concurrent reads in total, and per namespace."""
_OK = 200
_UNAUTHORIZED = (401, 403)
_ACCEPT = "text/plain;version=0.0.4,*/*;q=0.1"
_EXPORTED = "exported_"
KNOWN_SERIES, KNOWN_MATCHES = 4096, 2048
LONGEST_KNOWN = 384
"""Longest line, and longest label value, that is cached; both ASCII only."""
LONGEST_SERIES = 4096
"""Characters of a line with labels: the parser needs up to 30 microseconds for each of them, in the
event loop, and more for each character of a longer line."""
JUDGED_AHEAD_SECONDS = 0.1
"""Longest head start of the judged pods over the others."""
LEAVING_POD_SECONDS = 0.05
"""Longest wait for terminating pods after all others have answered."""


DEFAULT_PAGE_LIMITS = PageLimits()


@dataclass(frozen=True, slots=True)
class _PageResponse:
    pod: PodPage
    text: str
    time: float

    @property
    def lines(self) -> int:
        """Number of lines of the requested counters."""
        return self.text.count("\n") + 1


class PodPages:
    """The PodMetrics port over HTTP."""

    def __init__(
        self,
        clock: Callable[[], float],
        is_allowed: Callable[[str], bool] = is_callable,
        limits: PageLimits = DEFAULT_PAGE_LIMITS,
    ) -> None:
        self._clock = clock
        self._is_allowed = is_allowed
        self._limits = limits
        self._gate = Gate(AT_ONCE, EACH)
        self.holdings = Holdings(page_text.MOST_PAGES_BYTES, free=0)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def read(self, query: PageQuery) -> Reading:
        """Read all pages concurrently."""
        if refused := _refused_matcher(query):
            return refused
        reservation = PageReservation(self.holdings, (query.namespace, object()))
        try:
            return await self._read_all(query, reservation)
        finally:
            reservation.end()

    async def _read_all(self, query: PageQuery, reservation: PageReservation) -> Reading:
        answers = await self._answers(query, reservation)
        # Parsed after all answers, since no answer can be timed while another is parsed.
        lines = sum(answer.lines for answer in answers if isinstance(answer, _PageResponse))
        if lines > self._limits.most_lines_of_all:
            excess = f"the pods' pages have {lines} lines of the requested counters together"
            return _too_many(excess, self._limits.most_lines_of_all)
        readings = [
            await _parsed(x, query, self._limits) if isinstance(x, _PageResponse) else x
            for x in answers
        ]
        pages = [reading for reading in readings if isinstance(reading, Counters)]
        requests = tuple(series for page in pages for series in page.requests)
        errors = tuple(series for page in pages for series in page.errors)
        missing = [reading for reading in readings if isinstance(reading, Missing)]
        if requests and (errors or query.requests.metric == query.errors.metric):
            return Counters(requests, errors)
        if requests:
            return Missing(
                Reason.ERROR_SERIES_MISSING,
                f"no pod exposes {query.errors.metric}: there are no errors, or no such counter. "
                "Initialise it to 0",
            )
        return _commonest(missing) or Missing(Reason.PODS_UNREACHABLE, "no pod may be read")

    async def _answers(
        self, query: PageQuery, reservation: PageReservation
    ) -> list[_PageResponse | Missing]:
        """Read all pods, the judged pods a moment earlier; answers are in the order of `pages`.

        Only periods that the other pods cover are compared. Judged pods are timed at their answer:
        read at the same moment, the others would cover it only with the next read.
        """
        pages = query.pages
        async with asyncio.TaskGroup() as group:
            tasks: dict[int, asyncio.Task[_PageResponse | Missing]] = {}
            for is_judged in (True, False):
                asked = [
                    (number, group.create_task(self._turn(query, page, reservation)))
                    for number, page in enumerate(pages)
                    if page.is_judged is is_judged
                ]
                tasks.update(asked)
                if is_judged and 0 < len(asked) < len(pages):
                    await asyncio.wait([task for _, task in asked], timeout=JUDGED_AHEAD_SECONDS)
            staying = [tasks[number] for number, page in enumerate(pages) if not page.is_leaving]
            leaving = [tasks[number] for number, page in enumerate(pages) if page.is_leaving]
            if staying:
                await asyncio.wait(staying)
            if leaving:
                await asyncio.wait(leaving, timeout=LEAVING_POD_SECONDS if staying else None)
            for task in leaving:
                task.cancel()
        return [
            Missing(Reason.PODS_SLOW, f"{_port_of(page)} terminates")
            if tasks[number].cancelled()
            else tasks[number].result()
            for number, page in enumerate(pages)
        ]

    async def _turn(
        self, query: PageQuery, pod: PodPage, reservation: PageReservation
    ) -> _PageResponse | Missing:
        async with self._gate.turn(query.namespace):
            try:
                return await self._read(query, pod, reservation)
            except BudgetExhaustedError:
                text = f"{_port_of(pod)}: other pages in progress hold the memory budget"
                return Missing(Reason.ANSWER_TOO_LARGE, f"{text}; the operator reads it again")

    async def _read(
        self, query: PageQuery, pod: PodPage, reservation: PageReservation
    ) -> _PageResponse | Missing:
        if not self._is_allowed(pod.address):
            return Missing(Reason.PODS_UNREACHABLE, f"{pod.address} is not the address of a pod")
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                return await self._get(query, pod, reservation)
        except aiohttp.ConnectionTimeoutError:
            return Missing(Reason.PODS_UNREACHABLE, f"{_port_of(pod)} accepts no connection")
        except TimeoutError:
            return Missing(Reason.PODS_SLOW, f"{_port_of(pod)} did not answer in time")
        except ValueError as error:
            return Missing(Reason.PODS_UNREACHABLE, f"{_port_of(pod)}: {error}"[:300])
        except (aiohttp.ClientError, OSError) as error:
            text = f"{_port_of(pod)}: {cause(error)}"[:300]
            return Missing(Reason.PODS_UNREACHABLE, text)

    async def _get(
        self, query: PageQuery, pod: PodPage, reservation: PageReservation
    ) -> _PageResponse | Missing:
        if self._session is None:
            connector = CountedConnector(limit=0, ssl=verified())
            self._session = guarded_session(connector, _ACCEPT, self._limits.connect_seconds)
        sent = self._clock()
        async with asyncio.timeout(self._limits.answer_seconds):
            answered = await self._session.get(_url(pod), allow_redirects=False)
        async with answered as response:
            got = self._clock()
            if response.status != _OK:
                return _refused(pod, response.status)
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                text = f"{_port_of(pod)} answers compressed, against the request: send plain text"
                return Missing(Reason.NO_COUNTERS_EXPOSED, text)
            names = {query.requests.metric, query.errors.metric}
            begins = tuple(name.encode() for name in sorted(names))
            hold = partial(reservation.hold, pod.pod)
            kept = await wanted_lines(response.content, begins, self._limits, hold)
        if kept is None:
            whole, part = self._limits.most_bytes >> 20, self._limits.most_kept_bytes >> 20
            text = f"{_port_of(pod)} exceeds {whole} MiB, or {part} MiB"
            return Missing(Reason.ANSWER_TOO_LARGE, f"{text} of the requested counters")
        # Judged pods are timed late and others early, so that a failure that hits both never seems
        # to begin on the judged pods first.
        answer = _PageResponse(pod, kept, got if pod.is_judged else sent)
        if answer.lines > self._limits.most_lines:
            excess = f"{_port_of(pod)} has {answer.lines} lines of the requested counters"
            return _too_many(excess, self._limits.most_lines)
        return answer


def _url(pod: PodPage) -> str:
    host = f"[{pod.address}]" if ":" in pod.address else pod.address
    return f"{pod.page.scheme}://{host}:{pod.page.port}{pod.page.path}"


def _port_of(pod: PodPage) -> str:
    return f"port {pod.page.port} of pod {pod.pod}"


def _refused(pod: PodPage, status: int) -> Missing:
    if status in _UNAUTHORIZED:
        text = f"{_port_of(pod)} answers {status}: it requires credentials, and none are sent"
        return Missing(Reason.PODS_UNAUTHORIZED, text)
    if status >= 500:  # noqa: PLR2004 (HTTP)
        return Missing(Reason.PODS_UNREACHABLE, f"{_port_of(pod)} answers {status}")
    text = f"{_port_of(pod)} answers {status} to {pod.page.path}: check spec.podMetrics"
    return Missing(Reason.NO_COUNTERS_EXPOSED, text)


def _commonest(missing: Sequence[Missing]) -> Missing | None:
    counted = Counter(page.reason for page in missing)
    if not counted:
        return None
    reason = counted.most_common(1)[0][0]
    return next(page for page in missing if page.reason is reason)


async def _parsed(
    answer: _PageResponse, query: PageQuery, limits: PageLimits
) -> Counters | Missing:
    signals = query.requests, query.errors
    names = frozenset(signal.metric for signal in signals)
    sides = [_Side(signal, query.labels) for signal in signals]
    slices, steps = Slices(), 0
    try:
        for line in answer.text.split("\n"):
            await slices.rest()
            sample = _sampled(line, names)
            if sample is None:
                continue
            steps += sum(side.add(sample) for side in sides)
            if steps > limits.most_steps:
                text = f"{_port_of(answer.pod)} has labels that take the matchers too long"
                return Missing(Reason.ANSWER_TOO_LARGE, f"{text}: use shorter or exact matchers")
    except _LongSeriesError as error:
        return Missing(Reason.ANSWER_TOO_LARGE, f"{_port_of(answer.pod)}: {error}"[:300])
    except (IndexError, ValueError) as error:
        text = f"{_port_of(answer.pod)} exposes no readable metrics: {error}"[:300]
        return Missing(Reason.NO_COUNTERS_EXPOSED, text)
    requests, errors = (side.series(answer) for side in sides)
    if requests:
        return Counters(requests, errors)
    text = f"{_port_of(answer.pod)} exposes no {query.requests.metric} at {answer.pod.page.path}"
    return Missing(Reason.NO_COUNTERS_EXPOSED, text)


def _too_many(excess: str, most: int) -> Missing:
    return Missing(
        Reason.ANSWER_TOO_LARGE,
        f"{excess}, {most} at most are read: expose fewer labels, or read Prometheus alone "
        "(spec.podMetrics.everyMilliseconds: 0)",
    )


class _LongSeriesError(ValueError):
    """A line would occupy the parser for too long."""


_Sample = tuple[str, Mapping[str, str], float]


def _sampled(line: str, names: frozenset[str]) -> _Sample | None:
    """Parse a sample of these metrics; None: the line has another name.

    Raises:
        ValueError: the line is not a sample.
    """
    name = line.partition("{")[0].split(None, 1)
    if not name or name[0] not in names:
        return None
    if len(line) > LONGEST_SERIES:
        text = f"a series of {name[0][:80]} has {len(line)} characters, {LONGEST_SERIES} at most"
        raise _LongSeriesError(f"{text} are read: shorten the values of its labels")
    end = line.rfind("}") + 1
    if not end or " # " in line:
        return _sample(line)
    sample = _known_sample if end <= LONGEST_KNOWN and line.isascii() else _sample
    own, labels, _ = sample(f"{line[:end]} 0")
    return own, labels, float(line[end:].split(maxsplit=1)[0])


def _sample(line: str) -> _Sample:
    for family in text_string_to_metric_families(f"{line}\n"):
        for sample in family.samples:
            return sample.name, sample.labels, sample.value
    raise ValueError(f"{line[:80]!r} is not a sample")


_known_sample = lru_cache(maxsize=KNOWN_SERIES)(_sample)
"""Series repeat on each read and on each pod; only their values change."""


class _Side:
    """Series of a signal on a page."""

    def __init__(self, signal: CounterSignal, labels: SignalLabels) -> None:
        self._metric = signal.metric
        self._labels = labels
        self._matchers = {name: split_matcher(matcher) for name, matcher in signal.matchers.items()}
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def add(self, sample: _Sample) -> int:
        """Add a sample if the signal selects it; returns an upper bound of the RE2 steps."""
        name, own, value = sample
        if name != self._metric:
            return 0
        is_selected, steps = self._matched(own)
        # A counter has no other values.
        if is_selected and math.isfinite(value) and value >= 0:
            route = self._labels.route
            route = route if route in own else route.removeprefix(_EXPORTED)
            identity = tuple(sorted((k, v) for k, v in own.items() if k != route))
            self._values[own.get(route, ""), identity] = value
        return steps

    def series(self, answer: _PageResponse) -> tuple[CounterSeries, ...]:
        """Return the series with the page's time."""
        address = _url(answer.pod).partition("://")[2].partition("/")[0]
        return tuple(
            CounterSeries(answer.pod.pod, route, identity, address, ((answer.time, value),))
            for (route, identity), value in self._values.items()
        )

    def _matched(self, own: Mapping[str, str]) -> tuple[bool, int]:
        """Apply the matchers of labels that the pod exposes.

        The other labels are Prometheus' target labels, whose matchers hold by construction.
        """
        steps = 0
        for name, (operator, operand) in self._matchers.items():
            known = name if name in own else name.removeprefix(_EXPORTED)
            if known not in own:
                continue
            value = own[known]
            if "~" in operator:
                steps += expression(operand).size * len(value)
                is_known = len(value) <= LONGEST_KNOWN and value.isascii()
                matches = _is_known_match if is_known else _is_match
                is_same = matches(operand, value)
            else:
                is_same = value == operand
            if is_same == operator.startswith("!"):
                return False, steps
        return True, steps


def _is_match(operand: str, value: str) -> bool:
    return expression(operand).matches(value)


_is_known_match = lru_cache(maxsize=KNOWN_MATCHES)(_is_match)


def _refused_matcher(query: PageQuery) -> Missing | None:
    """Name the matcher that RE2 rejects; a validated policy has none."""
    for signal in (query.requests, query.errors):
        for name, matcher in signal.matchers.items():
            operator, operand = split_matcher(matcher)
            try:
                if "~" in operator:
                    expression(operand)
            except ValueError as error:
                text = f"the matcher {name}: {matcher!r} is not valid RE2: {error}"
                return Missing(Reason.POD_METRICS_DISABLED, text)
    return None
