"""What policies' Secrets hold for the Prometheus that they name.

Kept for half a minute, since a look asks several times a second; read anew at once when Prometheus
refuses what is known, since it may have been renewed. No value is logged, stored or told.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from urllib3.util.ssl_ import create_urllib3_context

from rollback_operator.api.reasons import Reason
from rollback_operator.api.secrets import SecretKeyRef
from rollback_operator.core.reading import Missing
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.ports.queries import Prometheus
from rollback_operator.ports.secrets import Secrets

KNOWN_SECONDS = 30.0
AGAIN_SECONDS = 5.0
"""How long it is known that they cannot be had, and that newer ones are of no use either."""
TOKEN = re.compile(r"[!-~]{1,8192}")
_FIELDS = "spec.prometheus.bearerTokenSecretRef", "spec.prometheus.caSecretRef"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a policy reads its Prometheus with."""

    token: str | None = field(default=None, repr=False)
    authorities: str | None = field(default=None, repr=False)
    """Certificates in PEM."""


NONE = Credentials()
"""A policy that brings none."""


def trusting(authorities: str) -> ssl.SSLContext:
    """Make a context that takes what these have signed, and nothing else.

    Raises:
        ValueError: they are no certificates; the message never shows their text.
    """
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError, TypeError):
        raise ValueError("no certificate in PEM") from None
    return context


@dataclass
class PolicyCredentials:
    """Reads them, and knows them for a while."""

    secrets: Secrets | None
    """None: there is no cluster to read Secrets of."""
    clock: Callable[[], float] = time.monotonic
    _known: dict[Prometheus, tuple[float, Credentials | Missing]] = field(default_factory=dict)
    """When they were read, and what was found."""

    async def of(self, prometheus: Prometheus) -> Credentials | Missing:
        """Give what a policy's references name; Missing says which field cannot be followed."""
        if not prometheus.has_own_credentials:
            return NONE
        read, found = self._known.get(prometheus, (0.0, None))
        if found is not None and self.clock() - read < _lasting(found):
            return found
        return await self._read(prometheus)

    async def renewed(self, prometheus: Prometheus) -> Credentials | Missing:
        """Give what is there now, after what was known has been refused."""
        read, found = self._known.get(prometheus, (0.0, None))
        if found is not None and self.clock() - read < AGAIN_SECONDS:
            return found
        return await self._read(prometheus)

    async def _read(self, prometheus: Prometheus) -> Credentials | Missing:
        read = self.clock()
        found = await self._found(prometheus)
        # What nobody asks for any more is forgotten.
        self._known = {
            key: one for key, one in self._known.items() if read - one[0] < _lasting(one[1])
        }
        self._known[prometheus] = known = read, found
        # Not kept in memory for a policy that is gone.
        asyncio.get_running_loop().call_later(_lasting(found), self._forget, prometheus, known)
        return found

    def _forget(self, prometheus: Prometheus, known: tuple[float, Credentials | Missing]) -> None:
        if self._known.get(prometheus) is known:
            del self._known[prometheus]

    async def _found(self, prometheus: Prometheus) -> Credentials | Missing:
        values: list[str | None] = []
        for path, ref in zip(_FIELDS, (prometheus.token, prometheus.authorities), strict=True):
            value = None if ref is None else await self._value(prometheus.namespace, ref)
            if isinstance(value, Failure):
                return Missing(Reason.CREDENTIALS_UNAVAILABLE, f"{path}: {value.message}")
            values.append(value)
        token, authorities = values
        if token is not None and not TOKEN.fullmatch(token := token.strip()):
            return _unusable(_FIELDS[0], prometheus.token, "holds no bearer token")
        if authorities is not None:
            try:
                trusting(authorities)
            except ValueError as error:
                return _unusable(_FIELDS[1], prometheus.authorities, f"holds {error}")
        return Credentials(token, authorities)

    async def _value(self, namespace: str, ref: SecretKeyRef) -> str | Failure:
        if self.secrets is None:
            return Failure(FailureKind.UNAVAILABLE, "no cluster is known whose Secrets it names")
        return await self.secrets.read(namespace, ref.name, ref.key)


def _lasting(found: Credentials | Missing) -> float:
    return AGAIN_SECONDS if isinstance(found, Missing) else KNOWN_SECONDS


def _unusable(path: str, ref: SecretKeyRef | None, what: str) -> Missing:
    named = f"key {ref.key} of Secret {ref.name}" if ref is not None else "it"
    return Missing(Reason.CREDENTIALS_UNAVAILABLE, f"{path}: {named} {what}")
