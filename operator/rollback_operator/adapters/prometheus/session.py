"""Queries any Prometheus by its URL; each kind of failure has a reason.

Blocking calls run in threads that all addresses share (`threads`), each with a deadline of its own
and another around the await. The state of an address is dropped after a while without a query.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from rollback_operator.adapters.prometheus.credentials import Credentials, PolicyCredentials
from rollback_operator.adapters.prometheus.known import (
    IDLE_SERVER_SECONDS,
    Breaker,
    Known,
    circuit_fault,
    unless_open,
)
from rollback_operator.adapters.prometheus.refusals import partial_answer, refused
from rollback_operator.adapters.prometheus.threads import CallLane, NoTurnError, Threads
from rollback_operator.adapters.prometheus.transport import (
    Access,
    BoundedSession,
    Limits,
    Opening,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import FailureKind
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.report.readiness import tenant_refused

T = TypeVar("T")
OWN_THREADS = 16
"""For the operator's own Prometheus; no other address can occupy them."""
OTHER_THREADS = 48
"""For all other addresses together."""
TRIAL_SECONDS = 3.0
"""Time in which a healthy server answers the light query."""
_WHOLE = {"partial_response": "false", "deny_partial_response": "1", "max_source_resolution": "0s"}
"""Complete raw data or an error: the first parameter is Thanos', the second VictoriaMetrics', the
third excludes downsampled blocks of Thanos. Most other servers ignore them."""
_UNTYPED = frozenset({"unknown", "untyped", ""})


@dataclass(frozen=True, slots=True)
class Steps:
    """The times of a range query: from `start` to `end`, seconds since the epoch."""

    start: float
    end: float
    seconds: int


@dataclass(frozen=True, slots=True)
class SampleWindow:
    """A period of samples."""

    seconds: int
    until: float | None = None
    """End; None: now, by the server's clock."""


Read = Callable[[Any], T | Missing]
"""Parses an answer, which may have any form."""


class Session:
    """Queries any Prometheus by its URL."""

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
            limits: bounds of an answer.
            secrets: policies' own credentials; None: there is no cluster.
            clock: the monotonic clock of the circuit breakers.
        """
        self._clock = clock
        self._trials: set[asyncio.Task[None]] = set()
        self._seconds = limits.connect_seconds + limits.read_seconds + 1
        self._own_threads = Threads(OWN_THREADS)
        self._other_threads = Threads(OTHER_THREADS)
        self._access = access
        self.credentials = PolicyCredentials(secrets)
        self._limits = limits
        self._params = {"timeout": f"{math.ceil(limits.read_seconds)}s"}
        self._known = Known(IDLE_SERVER_SECONDS)
        self._budget = AnswerBudget()

    def close(self) -> None:
        """Close all connections; hanging queries end at their own deadlines."""
        for trial in self._trials:
            trial.cancel()
        self._known.close()
        self._own_threads.close()
        self._other_threads.close()

    async def query(
        self, prometheus: Prometheus, text: str, at: float | None, read: Read[T]
    ) -> T | Missing:
        """Evaluate an expression, now or at a time.

        Args:
            prometheus: the server and the credentials.
            text: the expression.
            at: the time; None: now.
            read: parses the answer, in the thread of the call, since that may take long.
        """
        time = {} if at is None else {"time": f"{at:.3f}"}
        value: T | Missing = await self._evaluate(
            prometheus, lambda api, params: read(api.custom_query(text, params={**params, **time}))
        )
        return value

    async def query_samples(
        self, prometheus: Prometheus, selector: str, span: SampleWindow, read: Read[T]
    ) -> T | Missing:
        """Read raw samples."""
        return await self.query(prometheus, f"{selector}[{span.seconds}s]", span.until, read)

    async def query_range(
        self, prometheus: Prometheus, text: str, steps: Steps, read: Read[T]
    ) -> T | Missing:
        """Evaluate an expression over time."""
        values: T | Missing = await self._evaluate(
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
        return values

    async def _evaluate(
        self, prometheus: Prometheus, call: Callable[[PrometheusConnect, dict[str, str]], Any]
    ) -> Any | Missing:
        """Query with the parameters for complete data; without them if the server rejects them.

        A query of the operator's own decides: a refusal quotes what it refuses, which may be a
        policy's text, and the decision applies to all policies that read this server.
        """
        if not self._known.of(prometheus.url).seen_by(prometheus).is_plain:
            params = {**self._params, **_WHOLE}
            answer = await self._ask(prometheus, lambda api: call(api, params))
            if not _is_parameter_refused(answer):
                return answer
            own = await self._ask(prometheus, partial(_light_query, params=params))
            if not _is_parameter_refused(own):
                return answer
            self._known.of(prometheus.url).seen_by(prometheus).is_plain = True
        return await self._ask(prometheus, lambda api: call(api, self._params))

    async def query_as(self, prometheus: Prometheus, authorization: str) -> Any | Missing:
        """Send the light query with another login than the policy's."""
        if not self._access.admits(prometheus):
            return Missing(Reason.TENANT_NOT_ALLOWED, tenant_refused(prometheus.tenant))
        known = await self.credentials.of(prometheus)
        if isinstance(known, Missing):
            return known
        other = replace(known, authorization=authorization)
        return await self._through_breaker(prometheus, other, _light_query)

    async def types(self, prometheus: Prometheus, metric: str) -> frozenset[str] | Missing:
        """Read a metric's types in the metadata of its targets; empty if unknown."""
        rows = await self._ask(prometheus, lambda api: api.get_metric_metadata(metric))
        if isinstance(rows, Missing):
            return rows
        types = {str(row["type"]) for row in rows if row["metric_name"] == metric}
        return frozenset(types - _UNTYPED)

    async def declares(
        self, prometheus: Prometheus, target: dict[str, str], metric: str
    ) -> bool | Missing:
        """Whether a target, selected by labels, exposes a metric, with or without samples."""
        rows = await self._ask(prometheus, lambda api: api.get_target_metadata(target, metric))
        return rows if isinstance(rows, Missing) else bool(rows)

    async def _ask(
        self, prometheus: Prometheus, call: Callable[[PrometheusConnect], Any]
    ) -> Any | Missing:
        """Query with the policy's credentials; after a refusal, once more if they were renewed."""
        if not self._access.admits(prometheus):
            return Missing(Reason.TENANT_NOT_ALLOWED, tenant_refused(prometheus.tenant))
        known = await self.credentials.of(prometheus)
        if isinstance(known, Missing):
            return known
        answer = await self._through_breaker(prometheus, known, call)
        is_refused = isinstance(answer, Missing) and answer.reason is Reason.PROVIDER_UNAUTHORIZED
        if not is_refused or known.authorization is None:
            return answer
        newer = await self.credentials.renewed(prometheus)
        if isinstance(newer, Missing) or newer == known:
            return answer
        return await self._through_breaker(prometheus, newer, call)

    async def _through_breaker(
        self,
        prometheus: Prometheus,
        credentials: Credentials,
        call: Callable[[PrometheusConnect], Any],
    ) -> Any | Missing:
        """Query unless the circuit is open; close it on an answer, begin a trial without any."""
        url = prometheus.url
        breaker = self._known.of(url).seen_by(prometheus).breaker
        if breaker.is_open:
            self._try(prometheus, credentials, breaker)
            return circuit_fault(breaker)
        lane = CallLane(prometheus.namespace, prometheus.identity)
        answer = await self._sent(prometheus, lane, credentials, unless_open(breaker, call))
        if not isinstance(answer, Missing) or answer.reason is not Reason.PROVIDER_UNREACHABLE:
            breaker.close()
            return answer
        if not breaker.is_open:
            breaker.why = answer.message
        self._try(prometheus, credentials, breaker)
        return circuit_fault(breaker) if breaker.is_open else answer

    def _try(self, prometheus: Prometheus, credentials: Credentials, breaker: Breaker) -> None:
        """Start the light query in the background, if it is due."""
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
                answer = await self._sent(prometheus, lane, credentials, _light_query)
        except TimeoutError:
            answer = circuit_fault(breaker)
        finally:
            breaker.is_trying = False
        if isinstance(answer, Missing) and answer.reason is Reason.PROVIDER_UNREACHABLE:
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
                # After a time-out the session is not put back.
                asking = partial(self._called, prometheus.namespace, api, call)
                answer = await turn.run(asking, session.stop, self._seconds)
        except NoTurnError:
            text = f"{url}: earlier queries are still unanswered"
            return Missing(Reason.PROVIDER_UNREACHABLE, text)
        except TimeoutError:
            return Missing(Reason.PROVIDER_UNREACHABLE, f"{url} did not answer in time")
        if self._known.holds(url, address):
            address.put_back(api)
        else:
            session.close()
        return answer

    def _called(
        self, namespace: str, api: PrometheusConnect, call: Callable[[PrometheusConnect], Any]
    ) -> Any:
        """Query, in a thread, within the memory budget of all answers."""
        session: BoundedSession = api._session
        with self._budget.part(namespace, monotonic() + self._seconds - 1) as part:
            session.part = part
            try:
                return _call(api, call)
            finally:
                session.forget()

    async def _pinned(self, base: str, namespace: str) -> Pinned | Missing | None:
        """Pin an address; None: it is resolved by name."""
        if self._access.pin_url is None:
            return None
        url = await self._access.pin_url(base, namespace)
        if isinstance(url, PinnedUrl):
            return url.at
        is_refused = url.kind is FailureKind.REJECTED
        reason = Reason.ADDRESS_NOT_ALLOWED if is_refused else Reason.PROVIDER_UNREACHABLE
        return Missing(reason, f"spec.prometheus.url: {url.message}")

    def _connect(self, opening: Opening) -> PrometheusConnect:
        session = BoundedSession(self._access, self._limits, opening)
        return PrometheusConnect(url=opening.base, session=session, retry=Retry(total=0))


def _light_query(api: PrometheusConnect, params: dict[str, str] | None = None) -> Any:
    return api.custom_query("time()", params=params)


def _call(api: PrometheusConnect, call: Callable[[PrometheusConnect], Any]) -> Any:
    """Query, in a thread; each kind of failure has a reason."""
    session: Any = api._session
    try:
        answer = call(api)
    except AnswerError as error:
        return error.missing
    except PrometheusApiClientException:
        return refused(session.answer, session.credentials)
    except (OSError, HTTPError) as error:  # requests' exceptions and unreadable token files
        return Missing(Reason.PROVIDER_UNREACHABLE, f"{api.url}: {cause(error)}"[:500])
    except UNREADABLE as error:
        return Missing(Reason.ANSWER_MALFORMED, f"the answer cannot be read: {error!r}"[:300])
    return partial_answer(session.envelope) or answer


def _is_parameter_refused(answer: Any | Missing) -> bool:
    """Whether a server rejects unknown parameters, as Google's does."""
    return (
        isinstance(answer, Missing)
        and answer.reason is Reason.QUERY_REFUSED
        and any(name in answer.message for name in _WHOLE)
    )
