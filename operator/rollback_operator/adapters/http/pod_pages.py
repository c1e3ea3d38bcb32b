"""The watched pods' own metrics pages -> counters, one sample a series.

Answers are bounded in time and size, never redirected, and carry no credentials. Only addresses
that can be a pod's own are called: no loopback, no link-local one, none that is no IP address.
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
from rollback_operator.adapters.http.page_text import (
    PageLimits,
    PageReservation,
    wanted_lines,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.api.user_text.expression import expression
from rollback_operator.api.v1alpha1 import CounterSignal, SignalLabels, split_matcher
from rollback_operator.model.samples import Counters, CounterSeries, Missing, Reading
from rollback_operator.ports.queries import PageQuery, PodPage

AT_ONCE, EACH = 256, 64
"""Reads of all policies together, and of one namespace's."""
_OK = 200
_UNAUTHORIZED = (401, 403)
_HEADERS = {"Accept": "text/plain;version=0.0.4,*/*;q=0.1", "Accept-Encoding": "identity"}
_EXPORTED = "exported_"
KNOWN_SERIES, KNOWN_MATCHES = 4096, 2048
LONGEST_KNOWN = 384
"""Characters of a line that is remembered, and of a label's value that is: none but ASCII."""
JUDGED_AHEAD_SECONDS = 0.1
"""By how much at most the judged pods are asked before the others."""
LEAVING_POD_SECONDS = 0.05
"""For how long pods that go are waited for when all others have answered."""


DEFAULT_PAGE_LIMITS = PageLimits()


@dataclass(frozen=True, slots=True)
class _PageResponse:
    pod: PodPage
    text: str
    time: float

    @property
    def lines(self) -> int:
        """How many lines of the wanted counters there are."""
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
        """Read all pages at once."""
        if refused := _refused_matcher(query):
            return refused
        look = PageReservation(self.holdings, (query.namespace, object()))
        try:
            return await self._read_all(query, look)
        finally:
            look.end()

    async def _read_all(self, query: PageQuery, look: PageReservation) -> Reading:
        answers = await self._answers(query, look)
        # Parsed only when all have answered: while one is being parsed no answer can be timed.
        read = sum(one.lines for one in answers if isinstance(one, _PageResponse))
        if read > self._limits.most_lines_of_all:
            said = f"the pods' pages hold {read} lines of the wanted counters together"
            return _too_many(said, self._limits.most_lines_of_all)
        found = [
            await _parsed(one, query, self._limits) if isinstance(one, _PageResponse) else one
            for one in answers
        ]
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
        self, query: PageQuery, look: PageReservation
    ) -> list[_PageResponse | Missing]:
        """Ask all pods, in the order of `pages`; the judged ones a moment before the others.

        Only time that the others have been read over is compared: asked together with the judged
        ones, whose answers are timed later, they would put that off until the next read.
        """
        pages = query.pages
        async with asyncio.TaskGroup() as group:
            tasks: dict[int, asyncio.Task[_PageResponse | Missing]] = {}
            for is_judged in (True, False):
                asked = [
                    (number, group.create_task(self._turn(query, page, look)))
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
                await asyncio.wait(leaving, timeout=LEAVING_POD_SECONDS if staying else None)
            for one in leaving:
                one.cancel()
        return [
            Missing(Reason.PODS_SLOW, f"{_said(page)} is being ended")
            if tasks[number].cancelled()
            else tasks[number].result()
            for number, page in enumerate(pages)
        ]

    async def _turn(
        self, query: PageQuery, pod: PodPage, look: PageReservation
    ) -> _PageResponse | Missing:
        async with self._gate.turn(query.namespace):
            try:
                return await self._read(query, pod, look)
            except BudgetExhaustedError:
                said = f"{_said(pod)}: the pages that are being read leave no room for this one"
                return Missing(Reason.ANSWER_TOO_LARGE, f"{said}; it is read again")

    async def _read(
        self, query: PageQuery, pod: PodPage, look: PageReservation
    ) -> _PageResponse | Missing:
        if not self._is_allowed(pod.address):
            return Missing(Reason.PODS_UNREACHABLE, f"{pod.address} is no address of a pod")
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                return await self._get(query, pod, look)
        except aiohttp.ConnectionTimeoutError:
            return Missing(Reason.PODS_UNREACHABLE, f"{_said(pod)} takes no connection")
        except TimeoutError:
            return Missing(Reason.PODS_SLOW, f"{_said(pod)} did not answer in time")
        except ValueError as error:
            return Missing(Reason.PODS_UNREACHABLE, f"{_said(pod)}: {error}"[:300])
        except (aiohttp.ClientError, OSError) as error:
            said = f"{_said(pod)}: {cause(error)}"[:300]
            return Missing(Reason.PODS_UNREACHABLE, said)

    async def _get(
        self, query: PageQuery, pod: PodPage, look: PageReservation
    ) -> _PageResponse | Missing:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._limits.connect_seconds
                ),
                headers=_HEADERS,
                trust_env=False,
                auto_decompress=False,  # a few bytes can become a gigabyte
            )
        sent = self._clock()
        async with asyncio.timeout(self._limits.answer_seconds):
            answered = await self._session.get(_url(pod), allow_redirects=False)
        async with answered as response:
            got = self._clock()
            if response.status != _OK:
                return _refused(pod, response.status)
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                said = f"{_said(pod)} answers compressed, which was not asked for: send plain text"
                return Missing(Reason.NO_COUNTERS_EXPOSED, said)
            names = {query.requests.metric, query.errors.metric}
            begins = tuple(name.encode() for name in sorted(names))
            hold = partial(look.hold, pod.pod)
            text = await wanted_lines(response.content, begins, self._limits, hold)
        if text is None:
            whole, kept = self._limits.most_bytes >> 20, self._limits.most_kept_bytes >> 20
            said = f"{_said(pod)} exceeds {whole} MiB, or {kept} MiB"
            return Missing(Reason.ANSWER_TOO_LARGE, f"{said} of the wanted counters")
        # What is compared must never seem to have failed before what it is compared with was read.
        answer = _PageResponse(pod, text, got if pod.is_judged else sent)
        if answer.lines > self._limits.most_lines:
            said = f"{_said(pod)} shows {answer.lines} lines of the wanted counters"
            return _too_many(said, self._limits.most_lines)
        return answer


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
                said = f"{_said(answer.pod)} has labels so long that the matchers take too long"
                return Missing(Reason.ANSWER_TOO_LARGE, f"{said}: match them by less, or exactly")
    except (IndexError, ValueError) as error:
        said = f"{_said(answer.pod)} shows no metrics that can be read: {error}"[:300]
        return Missing(Reason.NO_COUNTERS_EXPOSED, said)
    requests, errors = (side.series(answer) for side in sides)
    if requests:
        return Counters(requests, errors)
    said = f"{_said(answer.pod)} shows no {query.requests.metric} at {answer.pod.page.path}"
    return Missing(Reason.NO_COUNTERS_EXPOSED, said)


def _too_many(said: str, most: int) -> Missing:
    return Missing(
        Reason.ANSWER_TOO_LARGE,
        f"{said}, {most} at most are read: expose fewer labels, or read Prometheus alone "
        "(spec.podMetrics.everyMilliseconds: 0)",
    )


_Sample = tuple[str, Mapping[str, str], float]


def _sampled(line: str, names: frozenset[str]) -> _Sample | None:
    """Parse a sample of these names; None: the line is of another one.

    Raises:
        ValueError: it is no sample.
    """
    name = line.partition("{")[0].split(None, 1)
    if not name or name[0] not in names:
        return None
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
    raise ValueError(f"{line[:80]!r} is no sample")


_known_sample = lru_cache(maxsize=KNOWN_SERIES)(_sample)
"""A series is the same at each read, and on each pod: only its value is new."""


class _Side:
    """The series of one signal on one page."""

    def __init__(self, signal: CounterSignal, labels: SignalLabels) -> None:
        self._metric = signal.metric
        self._labels = labels
        self._matchers = {name: split_matcher(matcher) for name, matcher in signal.matchers.items()}
        self._found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def add(self, sample: _Sample) -> int:
        """Take in a sample if it is meant; gives how many steps it took at most."""
        name, own, value = sample
        if name != self._metric:
            return 0
        is_meant, steps = self._matched(own)
        # Else it is nothing that a counter has.
        if is_meant and math.isfinite(value) and value >= 0:
            route = self._labels.route
            route = route if route in own else route.removeprefix(_EXPORTED)
            identity = tuple(sorted((k, v) for k, v in own.items() if k != route))
            self._found[own.get(route, ""), identity] = value
        return steps

    def series(self, answer: _PageResponse) -> tuple[CounterSeries, ...]:
        """Give what was found."""
        address = _url(answer.pod).partition("://")[2].partition("/")[0]
        return tuple(
            CounterSeries(answer.pod.pod, route, identity, address, ((answer.time, value),))
            for (route, identity), value in self._found.items()
        )

    def _matched(self, own: Mapping[str, str]) -> tuple[bool, int]:
        """Apply the matchers on labels that the pod exposes.

        The others are on labels that Prometheus gives its targets: true by construction.
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
    """Say which matcher RE2 does not take; a policy that was checked has none."""
    for signal in (query.requests, query.errors):
        for name, matcher in signal.matchers.items():
            operator, operand = split_matcher(matcher)
            try:
                if "~" in operator:
                    expression(operand)
            except ValueError as error:
                said = f"the matcher {name}: {matcher!r} is none of RE2's: {error}"
                return Missing(Reason.POD_METRICS_DISABLED, said)
    return None
