"""Asks any Prometheus by its address; every way in which it can fail has a name.

Blocking calls run in threads that all addresses share (`threads`), each with a deadline of its own
and one around the await. What is known of an address is dropped when nobody has asked it for a
while.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from rollback_operator.adapters.http.addresses import Pinned, PinnedUrl
from rollback_operator.adapters.http.causes import cause
from rollback_operator.adapters.prometheus.answers import UNREADABLE
from rollback_operator.adapters.prometheus.budget import AnswerBudget
from rollback_operator.adapters.prometheus.connections import AnswerError
from rollback_operator.adapters.prometheus.credentials import (
    Credentials,
    PolicyCredentials,
    login_needed,
)
from rollback_operator.adapters.prometheus.known import (
    IDLE_SERVER_SECONDS,
    Breaker,
    Known,
    left_alone,
    light,
    unless_open,
)
from rollback_operator.adapters.prometheus.threads import CallLane, NoTurnError, Threads
from rollback_operator.adapters.prometheus.transport import (
    Access,
    BoundedSession,
    Limits,
    Opening,
    QueryResponse,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import FailureKind
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.report.readiness import tenant_refused

T = TypeVar("T")
OWN_THREADS = 16
"""For the operator's own Prometheus: no other address can take them."""
OTHER_THREADS = 48
"""For all other addresses together."""
TRIAL_SECONDS = 3.0
"""In which a server that is well has answered a light question."""
_REFUSED = (400, 422)
_UNAUTHORIZED = (401, 403)
_REDIRECTS = (301, 302, 303, 307, 308)
_WHOLE = {"partial_response": "false", "deny_partial_response": "1", "max_source_resolution": "0s"}
"""All of the raw data or an error: the first is Thanos' word for it, the second VictoriaMetrics',
the third keeps Thanos from answering with downsampled blocks. Most others ignore them."""
_UNTYPED = frozenset({"unknown", "untyped", ""})


@dataclass(frozen=True, slots=True)
class Steps:
    """The times of a range query: from `start` to `end`, seconds since the epoch."""

    start: float
    end: float
    seconds: int


@dataclass(frozen=True, slots=True)
class SampleWindow:
    """A time over which samples are read."""

    seconds: int
    until: float | None = None
    """None: up to now, by the server's clock."""


Read = Callable[[Any], T | Missing]
"""Makes something of an answer: it has whatever form the server gives it."""


class Session:
    """Asks any Prometheus by its address."""

    def __init__(
        self,
        access: Access,
        limits: Limits,
        secrets: Secrets | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Connect to nothing yet.

        Args:
            access: the operator's own credentials.
            limits: of answers.
            secrets: where policies' own are; None: no cluster is known.
            clock: by which an address that does not answer is left alone; it only grows.
        """
        self._clock = clock
        self._trials: set[asyncio.Task[None]] = set()
        self._seconds = limits.connect_seconds + limits.read_seconds + 1
        self._own_threads = Threads(OWN_THREADS)
        self._other_threads = Threads(OTHER_THREADS)
        self._access = access
        self._credentials = PolicyCredentials(secrets)
        self._limits = limits
        self._params = {"timeout": f"{math.ceil(limits.read_seconds)}s"}
        self._known = Known(IDLE_SERVER_SECONDS)
        self._budget = AnswerBudget()

    def close(self) -> None:
        """Let the threads end; queries that hang end by their own deadline."""
        for one in self._trials:
            one.cancel()
        self._known.close()
        self._own_threads.close()
        self._other_threads.close()

    async def obstacle(self, prometheus: Prometheus) -> str:
        """Say why a policy's own credentials cannot be had; empty: they can, or it has none."""
        found = await self._credentials.of(prometheus)
        return found.message if isinstance(found, Missing) else ""

    async def query(
        self, prometheus: Prometheus, text: str, at: float | None, read: Read[T]
    ) -> T | Missing:
        """Ask for the value that an expression has, or had at a time.

        Args:
            prometheus: whom to ask.
            text: the expression.
            at: the time; None: now.
            read: makes something of the answer, in the thread that has it: that may take long.
        """
        time = {} if at is None else {"time": f"{at:.3f}"}
        found: T | Missing = await self._evaluate(
            prometheus, lambda api, params: read(api.custom_query(text, params={**params, **time}))
        )
        return found

    async def query_samples(
        self, prometheus: Prometheus, selector: str, span: SampleWindow, read: Read[T]
    ) -> T | Missing:
        """Ask for samples as they are stored."""
        return await self.query(prometheus, f"{selector}[{span.seconds}s]", span.until, read)

    async def query_range(
        self, prometheus: Prometheus, text: str, steps: Steps, read: Read[T]
    ) -> T | Missing:
        """Ask for the values of an expression over time."""
        found: T | Missing = await self._evaluate(
            prometheus,
            lambda api, params: read(
                api.custom_query_range(
                    text,
                    start_time=datetime.fromtimestamp(steps.start, UTC),
                    end_time=datetime.fromtimestamp(steps.end, UTC),
                    step=str(steps.seconds),
                    params=params,
                )
            ),
        )
        return found

    async def _evaluate(
        self, prometheus: Prometheus, call: Callable[[PrometheusConnect, dict[str, str]], Any]
    ) -> Any | Missing:
        """Ask for all of it or an error; of a server that takes no such wish, without it."""
        if not self._known.of(prometheus.url).seen_by(prometheus).is_plain:
            params = {**self._params, **_WHOLE}
            found = await self._ask(prometheus, lambda api: call(api, params))
            if not _is_wish_refused(found):
                return found
            self._known.of(prometheus.url).seen_by(prometheus).is_plain = True
        return await self._ask(prometheus, lambda api: call(api, self._params))

    async def types(self, prometheus: Prometheus, metric: str) -> frozenset[str] | Missing:
        """Ask what the metric's own targets call it; empty where nobody says."""
        found = await self._ask(prometheus, lambda api: api.get_metric_metadata(metric))
        if isinstance(found, Missing):
            return found
        said = {str(one["type"]) for one in found if one["metric_name"] == metric}
        return frozenset(said - _UNTYPED)

    async def declares(
        self, prometheus: Prometheus, target: dict[str, str], metric: str
    ) -> bool | Missing:
        """Ask whether a target, by its labels, exposes a metric, with or without samples."""
        found = await self._ask(prometheus, lambda api: api.get_target_metadata(target, metric))
        return found if isinstance(found, Missing) else bool(found)

    async def _ask(
        self, prometheus: Prometheus, call: Callable[[PrometheusConnect], Any]
    ) -> Any | Missing:
        """Ask with the policy's credentials, and once more if it has newer ones."""
        if not self._access.admits(prometheus):
            said = tenant_refused(prometheus.tenant)
            return Missing(Reason.TENANT_NOT_ALLOWED, said)
        known = await self._credentials.of(prometheus)
        if isinstance(known, Missing):
            return known
        found = await self._asked(prometheus, known, call)
        is_refused = isinstance(found, Missing) and found.reason is Reason.PROVIDER_UNAUTHORIZED
        if not is_refused or known.authorization is None:
            return found
        newer = await self._credentials.renewed(prometheus)
        if isinstance(newer, Missing) or newer == known:
            return found
        return await self._asked(prometheus, newer, call)

    async def _asked(
        self,
        prometheus: Prometheus,
        credentials: Credentials,
        call: Callable[[PrometheusConnect], Any],
    ) -> Any | Missing:
        """Ask, unless the circuit is open; see whether it is to be opened, or closed again."""
        url = prometheus.url
        breaker = self._known.of(url).seen_by(prometheus).breaker
        if breaker.is_open:
            self._try(prometheus, credentials, breaker)
            return left_alone(breaker)
        lane = CallLane(prometheus.namespace, prometheus.identity)
        found = await self._sent(prometheus, lane, credentials, unless_open(breaker, call))
        if not isinstance(found, Missing) or found.reason is not Reason.PROVIDER_UNREACHABLE:
            breaker.close()
            return found
        if not breaker.is_open:
            breaker.why = found.message
        self._try(prometheus, credentials, breaker)
        return left_alone(breaker) if breaker.is_open else found

    def _try(self, prometheus: Prometheus, credentials: Credentials, breaker: Breaker) -> None:
        """Ask a light question, if it is time; nobody waits for it."""
        if breaker.begins_trial(self._clock()):
            task = asyncio.create_task(self._tried(prometheus, credentials, breaker))
            self._trials.add(task)
            task.add_done_callback(self._trials.discard)

    async def _tried(
        self, prometheus: Prometheus, credentials: Credentials, breaker: Breaker
    ) -> None:
        lane = CallLane(f"{prometheus.namespace} trials", prometheus.identity)
        try:
            async with asyncio.timeout(TRIAL_SECONDS):
                found = await self._sent(prometheus, lane, credentials, light)
        except TimeoutError:
            found = left_alone(breaker)
        finally:
            breaker.is_trying = False
        if isinstance(found, Missing) and found.reason is Reason.PROVIDER_UNREACHABLE:
            breaker.open(self._clock())
        else:
            breaker.close()

    async def _sent(
        self,
        prometheus: Prometheus,
        lane: CallLane,
        credentials: Credentials,
        call: Callable[[PrometheusConnect], Any],
    ) -> Any | Missing:
        url, base = prometheus.url, prometheus.url.rstrip("/")
        is_own = self._access.leads_to_own(base)
        threads = self._own_threads if is_own else self._other_threads
        pinned = None if is_own else await self._pinned(base, prometheus.namespace)
        if isinstance(pinned, Missing):
            return pinned
        opening = Opening(base, credentials, pinned)
        try:
            async with threads.turn(lane, self._seconds) as turn:
                address = self._known.of(url)
                api = address.taken(opening) or self._connect(opening)
                session: BoundedSession = api._session
                # Whoever is given up is not used again.
                asking = partial(self._called, prometheus.namespace, api, call)
                found = await turn.run(asking, session.stop, self._seconds)
        except NoTurnError:
            said = f"{url}: earlier questions have not been answered yet"
            return Missing(Reason.PROVIDER_UNREACHABLE, said)
        except TimeoutError:
            return Missing(Reason.PROVIDER_UNREACHABLE, f"{url} did not answer in time")
        if self._known.holds(url, address):
            address.put_back(api)
        else:
            session.close()
        return found

    def _called(
        self, namespace: str, api: PrometheusConnect, call: Callable[[PrometheusConnect], Any]
    ) -> Any:
        """Ask, in a thread, within the budget of all answers."""
        session: BoundedSession = api._session
        with self._budget.part(namespace, monotonic() + self._seconds - 1) as part:
            session.part = part
            try:
                return _call(api, call)
            finally:
                session.forget()

    async def _pinned(self, base: str, namespace: str) -> Pinned | Missing | None:
        """Find out where an address is called; None: where its name leads."""
        if self._access.pin_url is None:
            return None
        found = await self._access.pin_url(base, namespace)
        if isinstance(found, PinnedUrl):
            return found.at
        is_refused = found.kind is FailureKind.REJECTED
        reason = Reason.ADDRESS_NOT_ALLOWED if is_refused else Reason.PROVIDER_UNREACHABLE
        return Missing(reason, f"spec.prometheus.url: {found.message}")

    def _connect(self, opening: Opening) -> PrometheusConnect:
        session = BoundedSession(self._access, self._limits, opening)
        return PrometheusConnect(url=opening.base, session=session, retry=Retry(total=0))


def _call(api: PrometheusConnect, call: Callable[[PrometheusConnect], Any]) -> Any:
    """Ask, in a thread; every way in which it can fail has a name."""
    session: Any = api._session
    try:
        found = call(api)
    except AnswerError as error:
        return error.missing
    except PrometheusApiClientException:
        return _refused(session.answer, session.credentials)
    except (OSError, HTTPError) as error:  # requests' own and unreadable token files are OSErrors
        return Missing(Reason.PROVIDER_UNREACHABLE, f"{api.url}: {cause(error)}"[:500])
    except UNREADABLE as error:
        return Missing(Reason.ANSWER_MALFORMED, f"the answer cannot be read: {error!r}"[:300])
    return _partial(session.envelope) or found


def _is_wish_refused(found: Any | Missing) -> bool:
    """Tell a server that refuses parameters it does not know, as Google's does."""
    return (
        isinstance(found, Missing)
        and found.reason is Reason.QUERY_REFUSED
        and any(name in found.message for name in _WHOLE)
    )


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


def _refused(answer: QueryResponse, credentials: Credentials) -> Missing:
    status, said = answer.status_code, _words(answer)
    if status in _UNAUTHORIZED:
        return Missing(
            Reason.PROVIDER_UNAUTHORIZED,
            f"Prometheus answers {status}{said}: {login_needed(credentials)}",
        )
    if status in _REFUSED:
        return Missing(Reason.QUERY_REFUSED, f"Prometheus refuses the query ({status}){said}")
    if status in _REDIRECTS:
        # Where to is not quoted: it may hold what was sent.
        said = f"{said}: redirects are not followed; name the address that it leads to"
    return Missing(Reason.PROVIDER_ERROR, f"Prometheus answers {status}{said}")


def _words(answer: QueryResponse) -> str:
    """Give the server's own words: `error` of an API answer, else the beginning of the text."""
    try:
        said = answer.json()["error"]
        said = said.get("message", said) if isinstance(said, dict) else said
    except (KeyError, TypeError, ValueError):
        said = answer.content[:200].decode(errors="replace")
    found = " ".join(str(said).split())[:200]
    # A page for a browser says nothing in its first line.
    return f": {found}" if found and not found.startswith("<") else ""
