"""What policies' Secrets hold for the Prometheus that they name.

Kept for half a minute, since a look asks several times a second; read anew at once when Prometheus
refuses what is known, since it may have been renewed. No value is logged, stored or told.
"""

import asyncio
import base64
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from urllib3.util.ssl_ import create_urllib3_context

from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import SecretKeyRef, SecretRef
from rollback_operator.model.samples import Missing
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.queries import Prometheus
from rollback_operator.ports.secrets import Secrets

KNOWN_CREDENTIALS_SECONDS = 30.0
MISSING_CREDENTIALS_SECONDS = 5.0
"""How long it is known that they cannot be had, and that newer ones are of no use either."""
LONGEST_LOGIN = 4096
"""Of a user's name, and of a password."""
_TOKEN = re.compile(r"[!-~]{1,8192}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN_FIELD = "spec.prometheus.bearerTokenSecretRef"
_BASIC_FIELD = "spec.prometheus.basicAuthSecretRef"
_CA_FIELD = "spec.prometheus.caSecretRef"
_LOGINS = {
    "Bearer": ("bearerTokenSecretRef", "a token"),
    "Basic": ("basicAuthSecretRef", "a username and password"),
}
LOGIN_KEYS = ("username", "password")
"""Of a Secret of type kubernetes.io/basic-auth."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a policy reads its Prometheus with."""

    authorization: str | None = field(default=None, repr=False)
    """The value of the header of this name; None: the policy brings no login."""
    authorities: str | None = field(default=None, repr=False)
    """Certificates in PEM."""
    tenant: str = ""


NONE = Credentials()
"""A policy that brings none."""


def bearer(token: str) -> str:
    """Make the header's value for a token.

    Raises:
        ValueError: it is none; the message never shows its text.
    """
    if not _TOKEN.fullmatch(token := token.strip()):
        raise ValueError("holds no bearer token")
    return f"Bearer {token}"


def basic(values: Mapping[str, str]) -> str:
    """Make the header's value for a user's name and password (RFC 7617).

    Raises:
        ValueError: they cannot be sent; the message names the key and never shows its text.
    """
    login = []
    for key in LOGIN_KEYS:
        if key not in values:
            raise ValueError(f"has no key {key}: it takes {' and '.join(LOGIN_KEYS)}")
        value = values[key].rstrip("\r\n")  # an editor leaves a line's end behind it
        if not value or len(value) > LONGEST_LOGIN:
            raise ValueError(f"has a key {key} that is {'empty' if not value else 'too long'}")
        if _UNSAFE.search(value):
            raise ValueError(
                f"has a line break or another control character in its key {key}: write it in one "
                "line, as --from-literal does"
            )
        login.append(value)
    if ":" in login[0]:
        raise ValueError(
            "has a colon in its key username, where basic authentication takes none: the password "
            "belongs into the key password"
        )
    return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"


def login_needed(credentials: Credentials) -> str:
    """Say what to do where a server has refused them."""
    sent = (credentials.authorization or "").partition(" ")[0]
    field, what = _LOGINS.get(sent, ("", ""))
    if field:
        return f"put {what} that it accepts into the Secret of spec.prometheus.{field}"
    return (
        "name a Secret with a token or password that it accepts in spec.prometheus."
        "bearerTokenSecretRef or basicAuthSecretRef, or give the operator one for its own "
        "Prometheus (--prometheus-token-file, --prometheus-basic-auth-folder)"
    )


def trusting(authorities: str) -> ssl.SSLContext:
    """Make a context that takes what these have signed, and nothing else.

    Raises:
        ValueError: they are no certificates; the message never shows their text.
    """
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError, TypeError):
        raise ValueError("holds no certificate in PEM") from None
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
            return Credentials(tenant=prometheus.tenant)
        read, found = self._known.get(prometheus, (0.0, None))
        if found is not None and self.clock() - read < _lasting(found):
            return found
        return await self._read(prometheus)

    async def renewed(self, prometheus: Prometheus) -> Credentials | Missing:
        """Give what is there now, after what was known has been refused."""
        read, found = self._known.get(prometheus, (0.0, None))
        if found is not None and self.clock() - read < MISSING_CREDENTIALS_SECONDS:
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
        try:
            authorization = await self._login(prometheus)
            authorities = await self._authorities(prometheus)
        except _CannotBeHadError as error:
            return Missing(Reason.CREDENTIALS_UNAVAILABLE, str(error))
        return Credentials(authorization, authorities, prometheus.tenant)

    async def _login(self, prometheus: Prometheus) -> str | None:
        if (ref := prometheus.basic_auth) is not None:
            found = await self._values(prometheus.namespace, ref)
            try:
                return basic(found)
            except ValueError as error:
                raise _CannotBeHadError(f"{_BASIC_FIELD}: Secret {ref.name} {error}") from None
        if prometheus.token is None:
            return None
        token = await self._value(_TOKEN_FIELD, prometheus.namespace, prometheus.token)
        try:
            return bearer(token)
        except ValueError as error:
            raise _unusable(_TOKEN_FIELD, prometheus.token, error) from None

    async def _authorities(self, prometheus: Prometheus) -> str | None:
        if prometheus.authorities is None:
            return None
        found = await self._value(_CA_FIELD, prometheus.namespace, prometheus.authorities)
        try:
            trusting(found)
        except ValueError as error:
            raise _unusable(_CA_FIELD, prometheus.authorities, error) from None
        return found

    async def _value(self, field: str, namespace: str, ref: SecretKeyRef) -> str:
        found = await self._port(field).read(namespace, ref.name, ref.key)
        if isinstance(found, Failure):
            raise _CannotBeHadError(f"{field}: {found.message}")
        return found

    async def _values(self, namespace: str, ref: SecretRef) -> Mapping[str, str]:
        # All at once: while a Secret is renewed, no name is sent with another's password.
        found = await self._port(_BASIC_FIELD).read_all(namespace, ref.name)
        if isinstance(found, Failure):
            raise _CannotBeHadError(f"{_BASIC_FIELD}: {found.message}")
        return found

    def _port(self, field: str) -> Secrets:
        if self.secrets is None:
            raise _CannotBeHadError(f"{field}: no cluster is known whose Secrets it names")
        return self.secrets


class _CannotBeHadError(Exception):
    """A field of a policy cannot be followed; which, and why."""


def _lasting(found: Credentials | Missing) -> float:
    return MISSING_CREDENTIALS_SECONDS if isinstance(found, Missing) else KNOWN_CREDENTIALS_SECONDS


def _unusable(field: str, ref: SecretKeyRef, what: ValueError) -> _CannotBeHadError:
    return _CannotBeHadError(f"{field}: key {ref.key} of Secret {ref.name} {what}")
