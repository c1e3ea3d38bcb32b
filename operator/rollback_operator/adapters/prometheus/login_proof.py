"""Proof that a server checks logins, before a policy's own query is sent with its login.

The login of a policy stands for its right to read: what the server refuses it, it does not get. A
server without authentication answers whatever the Secret holds, so a login that nobody has is sent
first, of the same kind: a server may check passwords and ignore tokens.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rollback_operator.adapters.prometheus.credentials import LOGIN_KEYS, basic, bearer
from rollback_operator.adapters.prometheus.remembered import Remembered
from rollback_operator.adapters.prometheus.session import Session
from rollback_operator.api.reasons import Reason
from rollback_operator.model.samples import Missing
from rollback_operator.ports.metrics import Prometheus

PROOF_SECONDS = 300.0
"""Lifetime of a proof."""
NO_PROOF_SECONDS = 60.0
"""... of its absence: somebody may be setting up authentication."""
MOST_PROOFS = 10_000
_SILENT = (
    Reason.PROVIDER_UNREACHABLE,
    Reason.CREDENTIALS_UNAVAILABLE,
    Reason.TENANT_NOT_ALLOWED,
    Reason.ADDRESS_NOT_ALLOWED,
)
"""Nothing was sent, or nothing was answered."""


@dataclass
class LoginProof:
    """Asks servers whether they refuse a wrong login, by address, tenant and kind of login."""

    session: Session
    is_needed: Callable[[str, str], bool]
    """Whether own queries need the proof: address, the policy's namespace."""
    clock: Callable[[], float] = time.monotonic
    _known: Remembered[Prometheus, Missing | None] = field(init=False)

    def __post_init__(self) -> None:
        self._known = Remembered(MOST_PROOFS, self.clock)

    async def fault(self, prometheus: Prometheus) -> Missing | None:
        """Give the reason why an own query must not be sent; None: it may be."""
        if not self.is_needed(prometheus.url, prometheus.namespace):
            return None
        if prometheus in self._known:
            return self._known.get(prometheus)
        answer = await self.session.query_as(prometheus, _nobody(prometheus))
        if isinstance(answer, Missing) and answer.reason in _SILENT:
            return answer
        is_refused = isinstance(answer, Missing) and answer.reason is Reason.PROVIDER_UNAUTHORIZED
        detail = f" ({answer.message})" if isinstance(answer, Missing) else ""
        fault = None if is_refused else _unproved(prometheus.url, detail)
        self._known.put(prometheus, fault, PROOF_SECONDS if is_refused else NO_PROOF_SECONDS)
        return fault


def _nobody(prometheus: Prometheus) -> str:
    """Make up a login that no server accepts."""
    if prometheus.basic_auth is None:
        return bearer(secrets.token_urlsafe(24))
    return basic({key: secrets.token_urlsafe(24) for key in LOGIN_KEYS})


def _unproved(url: str, detail: str) -> Missing:
    return Missing(
        Reason.QUERY_NOT_ALLOWED,
        "own queries are sent with the policy's credentials only (ownQueries of the chart), but "
        f"{url} does not refuse a wrong login with 401 or 403{detail}, so they prove no right: "
        "turn authentication on there, or use a Prometheus of this namespace",
    )
