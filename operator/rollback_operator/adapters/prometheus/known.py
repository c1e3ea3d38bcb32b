"""What is known of each Prometheus that has been asked lately, and connections to it."""

import asyncio
from dataclasses import dataclass, field

from prometheus_api_client import PrometheusConnect

from rollback_operator.adapters.prometheus.breaker import Breaker
from rollback_operator.adapters.prometheus.transport import BoundedSession, Opening
from rollback_operator.ports.metrics import Prometheus

MOST_IDLE = 16
"""Connections to one address that wait for a question: policies' own credentials have their own."""
MOST_ADDRESSES = 256
"""Of which something is known: what has not been asked for longest goes first."""
IDLE_SERVER_SECONDS = 300.0
"""After which nothing is kept of an address."""


@dataclass
class ServerState:
    """How a server behaves to who brings the same credentials."""

    breaker: Breaker = field(default_factory=Breaker)
    is_plain: bool = False
    """It takes no wishes."""


@dataclass
class KnownServer:
    """What is known of one Prometheus, and connections to it that wait for a question."""

    used: float
    """When it was last asked."""
    idle: list[PrometheusConnect] = field(default_factory=list)
    seen: dict[Prometheus | None, ServerState] = field(default_factory=dict)
    """None: by all who bring neither credentials nor a tenant of their own. A gateway may keep one
    tenant's questions unanswered, or lead them to another server, and answer everybody else's."""

    def seen_by(self, prometheus: Prometheus) -> ServerState:
        """Give what whoever asks has seen of it."""
        return self.seen.setdefault(None if prometheus.is_read_alike else prometheus, ServerState())

    def taken(self, opening: Opening) -> PrometheusConnect | None:
        """Take a connection that was opened in this way; None: there is none."""
        fitting = [one for one in self.idle if _opening_of(one) == opening]
        if fitting:
            self.idle.remove(fitting[-1])
        return fitting[-1] if fitting else None

    def put_back(self, api: PrometheusConnect) -> None:
        """Keep a connection for the next question, in place of the one that has waited longest."""
        self.idle.append(api)
        if len(self.idle) > MOST_IDLE:
            self.idle.pop(0)._session.close()

    def close(self) -> None:
        """Close the connections."""
        for one in self.idle:
            one._session.close()
        self.idle.clear()


class Known:
    """Addresses that have been asked lately: so many, and none for long."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._found: dict[str, KnownServer] = {}
        """The one that has waited longest comes first."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._found)

    def of(self, url: str) -> KnownServer:
        """Give what is known of an address that is being asked."""
        loop = asyncio.get_running_loop()
        found = self._found.pop(url, None) or KnownServer(0.0)
        found.used = loop.time()
        self._found[url] = found
        if len(self._found) > MOST_ADDRESSES:
            self._found.pop(next(iter(self._found))).close()
        if self._timer is None:
            self._timer = loop.call_later(self._idle_seconds, self._drop, loop)
        return found

    def holds(self, url: str, address: KnownServer) -> bool:
        """Tell whether it has not been dropped meanwhile."""
        return self._found.get(url) is address

    def close(self) -> None:
        """Drop all."""
        if self._timer is not None:
            self._timer.cancel()
        for one in self._found.values():
            one.close()
        self._found.clear()

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop what nobody has asked; come back for the next one, and not at all without any."""
        self._timer = None
        while self._found:
            url, first = next(iter(self._found.items()))
            due = first.used + self._idle_seconds
            if due > loop.time():
                self._timer = loop.call_at(due, self._drop, loop)
                return
            self._found.pop(url).close()


def _opening_of(api: PrometheusConnect) -> Opening:
    session: BoundedSession = api._session
    return session.opening
