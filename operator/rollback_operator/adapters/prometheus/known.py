"""Recently queried Prometheus servers: connections to each, and its circuit breaker.

The breaker keeps a server that does not answer from costing every caller a time-out. Closed, all
queries are sent. After an unanswered query a light query follows beside it, and only if that is
unanswered too the circuit opens, so that a policy's slow query stops nobody else. Open, nothing is
sent; after a rest the light query is tried again (half-open) without a caller that waits for it.
Times are those of a monotonic clock.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_api_client import PrometheusConnect

from rollback_operator.adapters.prometheus.connections import AnswerError
from rollback_operator.adapters.prometheus.transport import BoundedSession, Opening
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import LONGEST_REST_SECONDS, Missing
from rollback_operator.ports.metrics import Prometheus

MOST_IDLE = 16
"""Idle connections to an address; policies with credentials of their own have their own."""
MOST_ADDRESSES = 256
"""The least recently used address is dropped first."""
IDLE_SERVER_SECONDS = 300.0
"""After so long without a query an address is dropped."""
FIRST_REST_SECONDS = 2.0


@dataclass
class Breaker:
    """The circuit breaker of an address."""

    rest: float = 0.0
    """Length of the rest after the last failure; 0: closed."""
    due: float = 0.0
    """Time of the next trial."""
    is_trying: bool = False
    """The light query is running."""
    why: str = ""
    """Fault that opened it; the text stays the same while open, since a new text is an Event."""

    @property
    def is_open(self) -> bool:
        """Whether queries are rejected."""
        return self.rest > 0

    def begins_trial(self, now: float) -> bool:
        """Begin the light query if it is due; the caller that gets True sends it."""
        if self.is_trying or (self.is_open and now < self.due):
            return False
        self.is_trying = True
        return True

    def close(self) -> None:
        """Record that the server answers, with any status."""
        self.rest = 0.0

    def open(self, now: float) -> None:
        """Record that the light query was not answered either."""
        self.rest = min(LONGEST_REST_SECONDS, max(FIRST_REST_SECONDS, 2 * self.rest))
        self.due = now + self.rest


def circuit_fault(breaker: Breaker) -> Missing:
    """Report the fault that opened the circuit."""
    return Missing(Reason.PROVIDER_UNREACHABLE, breaker.why)


def unless_open(
    breaker: Breaker, call: Callable[[PrometheusConnect], Any]
) -> Callable[[PrometheusConnect], Any]:
    """Skip a call that waited for a thread while another call opened the circuit."""

    def asked(api: PrometheusConnect) -> Any:
        if breaker.is_open:
            raise AnswerError(Reason.PROVIDER_UNREACHABLE, circuit_fault(breaker).message)
        return call(api)

    return asked


@dataclass
class ServerState:
    """State of a server for a set of credentials."""

    breaker: Breaker = field(default_factory=Breaker)
    is_plain: bool = False
    """It rejects unknown query parameters."""


@dataclass
class KnownServer:
    """State of a Prometheus server, and its idle connections."""

    used: float
    """Time of the last query."""
    idle: list[PrometheusConnect] = field(default_factory=list)
    seen: dict[Prometheus | None, ServerState] = field(default_factory=dict)
    """By identity; None: all policies without credentials and tenant. A gateway may leave a tenant
    unanswered, or route it to another server, and answer all others."""

    def seen_by(self, prometheus: Prometheus) -> ServerState:
        """Return the state for the identity of a query."""
        return self.seen.setdefault(None if prometheus.is_read_alike else prometheus, ServerState())

    def taken(self, opening: Opening) -> PrometheusConnect | None:
        """Take an idle connection with this opening; None: there is none."""
        fitting = [api for api in self.idle if _opening_of(api) == opening]
        if fitting:
            self.idle.remove(fitting[-1])
        return fitting[-1] if fitting else None

    def put_back(self, api: PrometheusConnect) -> None:
        """Keep a connection for the next query; the oldest is closed if there are too many."""
        self.idle.append(api)
        if len(self.idle) > MOST_IDLE:
            self.idle.pop(0)._session.close()

    def close(self) -> None:
        """Close the connections."""
        for api in self.idle:
            api._session.close()
        self.idle.clear()


class Known:
    """Recently queried addresses, limited in number and in age."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._servers: dict[str, KnownServer] = {}
        """Least recently used first."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._servers)

    def of(self, url: str) -> KnownServer:
        """Return the state of an address, and mark it as used."""
        loop = asyncio.get_running_loop()
        server = self._servers.pop(url, None) or KnownServer(0.0)
        server.used = loop.time()
        self._servers[url] = server
        if len(self._servers) > MOST_ADDRESSES:
            self._servers.pop(next(iter(self._servers))).close()
        if self._timer is None:
            self._timer = loop.call_later(self._idle_seconds, self._drop, loop)
        return server

    def holds(self, url: str, address: KnownServer) -> bool:
        """Whether the address is still known by this state."""
        return self._servers.get(url) is address

    def close(self) -> None:
        """Drop all."""
        if self._timer is not None:
            self._timer.cancel()
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop unused addresses; the timer runs only while an address is known."""
        self._timer = None
        while self._servers:
            url, first = next(iter(self._servers.items()))
            due = first.used + self._idle_seconds
            if due > loop.time():
                self._timer = loop.call_at(due, self._drop, loop)
                return
            self._servers.pop(url).close()


def _opening_of(api: PrometheusConnect) -> Opening:
    session: BoundedSession = api._session
    return session.opening
