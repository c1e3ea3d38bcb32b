"""Asks any Prometheus by its address; every way in which it can fail has a name.

Blocking calls run in a few threads per address, each with a deadline of its own and one around the
await.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from rollback_operator.adapters.prometheus.credentials import Credentials, PolicyCredentials
from rollback_operator.adapters.prometheus.transport import (
    Access,
    Answer,
    AnswerError,
    BoundedSession,
    Limits,
)
from rollback_operator.api.reasons import Reason
from rollback_operator.core.reading import Missing
from rollback_operator.ports.queries import Prometheus
from rollback_operator.ports.secrets import Secrets

PER_ADDRESS = 4
MOST_IDLE = 16
"""Connections to one address that wait for a question: policies' own credentials have their own."""
_REFUSED = (400, 422)
_UNAUTHORIZED = (401, 403)
_REDIRECTS = (301, 302, 303, 307, 308)
_WHOLE = {"partial_response": "false", "deny_partial_response": "1", "max_source_resolution": "0s"}
"""All of the raw data or an error: the first is Thanos' word for it, the second VictoriaMetrics',
the third keeps Thanos from answering with downsampled blocks. Most others ignore them."""
_UNTYPED = frozenset({"unknown", "untyped", ""})


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

    def taken(self, credentials: Credentials) -> PrometheusConnect | None:
        """Take a connection that was opened with these credentials; None: there is none."""
        fitting = [one for one in self.idle if _credentials_of(one) == credentials]
        if fitting:
            self.idle.remove(fitting[-1])
        return fitting[-1] if fitting else None

    def put_back(self, api: PrometheusConnect) -> None:
        """Keep a connection for the next question, in place of the one that has waited longest."""
        self.idle.append(api)
        if len(self.idle) > MOST_IDLE:
            self.idle.pop(0)._session.close()


def _credentials_of(api: PrometheusConnect) -> Credentials:
    session: BoundedSession = api._session
    return session.credentials


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

    def __init__(self, access: Access, limits: Limits, secrets: Secrets | None = None) -> None:
        """Connect to nothing yet.

        Args:
            access: the operator's own credentials.
            limits: of answers.
            secrets: where policies' own are; None: no cluster is known.
        """
        self._access = access
        self._credentials = PolicyCredentials(secrets)
        self._limits = limits
        self._params = {"timeout": f"{math.ceil(limits.read_seconds)}s"}
        self._plain: set[str] = set()
        """Addresses that take no wishes."""
        self._addresses: dict[str, _Address] = {}

    def close(self) -> None:
        """Let the threads end; queries that hang end by their own deadline."""
        for one in self._addresses.values():
            one.threads.shutdown(wait=False, cancel_futures=True)

    async def obstacle(self, prometheus: Prometheus) -> str:
        """Say why a policy's own credentials cannot be had; empty: they can, or it has none."""
        found = await self._credentials.of(prometheus)
        return found.message if isinstance(found, Missing) else ""

    async def query(
        self, prometheus: Prometheus, text: str, at: float | None = None
    ) -> Any | Missing:
        """Ask for the value that an expression has, or had at a time."""
        time = {} if at is None else {"time": f"{at:.3f}"}
        return await self._evaluate(
            prometheus, lambda api, params: api.custom_query(text, params={**params, **time})
        )

    async def query_samples(
        self, prometheus: Prometheus, selector: str, span: Span
    ) -> Any | Missing:
        """Ask for samples as they are stored."""
        return await self.query(prometheus, f"{selector}[{span.seconds}s]", span.until)

    async def query_range(self, prometheus: Prometheus, text: str, steps: Steps) -> Any | Missing:
        """Ask for the values of an expression over time."""
        return await self._evaluate(
            prometheus,
            lambda api, params: api.custom_query_range(
                text,
                start_time=datetime.fromtimestamp(steps.start, UTC),
                end_time=datetime.fromtimestamp(steps.end, UTC),
                step=str(steps.seconds),
                params=params,
            ),
        )

    async def _evaluate(
        self, prometheus: Prometheus, call: Callable[[PrometheusConnect, dict[str, str]], Any]
    ) -> Any | Missing:
        """Ask for all of it or an error; of a server that takes no such wish, without it."""
        if prometheus.url not in self._plain:
            params = {**self._params, **_WHOLE}
            found = await self._ask(prometheus, lambda api: call(api, params))
            if not _is_wish_refused(found):
                return found
            self._plain.add(prometheus.url)
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
        known = await self._credentials.of(prometheus)
        if isinstance(known, Missing):
            return known
        found = await self._asked(prometheus.url, known, call)
        is_refused = isinstance(found, Missing) and found.reason is Reason.PROVIDER_UNAUTHORIZED
        if not is_refused or known.token is None:
            return found
        newer = await self._credentials.renewed(prometheus)
        if isinstance(newer, Missing) or newer == known:
            return found
        return await self._asked(prometheus.url, newer, call)

    async def _asked(
        self, url: str, credentials: Credentials, call: Callable[[PrometheusConnect], Any]
    ) -> Any | Missing:
        address = self._addresses.setdefault(url, _Address())
        async with address.gate:
            api = address.taken(credentials) or self._connect(url, credentials)
            loop = asyncio.get_running_loop()
            try:
                limits = self._limits
                async with asyncio.timeout(limits.connect_seconds + limits.read_seconds + 1):
                    found = await loop.run_in_executor(address.threads, _call, api, call)
            except TimeoutError:
                # The thread may still hold this connection: it is not used again.
                return Missing(Reason.PROVIDER_UNREACHABLE, f"{url} did not answer in time")
            address.put_back(api)
            return found

    def _connect(self, url: str, credentials: Credentials) -> PrometheusConnect:
        base = url.rstrip("/")
        session = BoundedSession(self._access, self._limits, base, credentials)
        return PrometheusConnect(url=base, session=session, retry=Retry(total=0))


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
        return Missing(
            Reason.PROVIDER_UNREACHABLE, f"{api.url}: {type(error).__name__}: {error}"[:500]
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
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


def _refused(answer: Answer, credentials: Credentials) -> Missing:
    status, said = answer.status_code, _words(answer)
    if status in _UNAUTHORIZED:
        return Missing(
            Reason.PROVIDER_UNAUTHORIZED,
            f"Prometheus answers {status}{said}: {_token_needed(credentials)}",
        )
    if status in _REFUSED:
        return Missing(Reason.QUERY_REFUSED, f"Prometheus refuses the query ({status}){said}")
    if status in _REDIRECTS:
        # Where to is not quoted: it may hold what was sent.
        said = f"{said}: redirects are not followed; name the address that it leads to"
    return Missing(Reason.PROVIDER_ERROR, f"Prometheus answers {status}{said}")


def _token_needed(credentials: Credentials) -> str:
    if credentials.token is not None:
        return "put a token that it accepts into the Secret of spec.prometheus.bearerTokenSecretRef"
    return (
        "name a Secret with a token that it accepts in spec.prometheus.bearerTokenSecretRef, or "
        "give the operator one for its own Prometheus (--prometheus-token-file)"
    )


def _words(answer: Answer) -> str:
    """Give the server's own words: `error` of an API answer, else the beginning of the text."""
    try:
        said = answer.json()["error"]
        said = said.get("message", said) if isinstance(said, dict) else said
    except (KeyError, TypeError, ValueError, RecursionError):
        said = answer.content[:200].decode(errors="replace")
    found = " ".join(str(said).split())[:200]
    # A page for a browser says nothing in its first line.
    return f": {found}" if found and not found.startswith("<") else ""
