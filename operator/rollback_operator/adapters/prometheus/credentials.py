"""Credentials in policies' Secrets for the Prometheus that they name.

Cached for half a minute, since a watch queries several times a second; read again at once when
Prometheus refuses them, since they may have been renewed. No value is logged, stored or shown.
"""

import base64
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from urllib3.util.ssl_ import create_urllib3_context

from rollback_operator.adapters.prometheus.remembered import Remembered
from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import SecretKeyRef
from rollback_operator.model.samples import Missing
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure
from rollback_operator.ports.metrics import Prometheus

V = TypeVar("V")
KNOWN_CREDENTIALS_SECONDS = 30.0
MISSING_CREDENTIALS_SECONDS = 5.0
"""Cache time of a failure, and the shortest time between two reads after a refusal."""
MOST_KNOWN_CREDENTIALS = 10_000
LONGEST_LOGIN = 4096
"""Of a username, and of a password."""
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
"""Keys of a Secret of type kubernetes.io/basic-auth."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials of a policy for its Prometheus."""

    authorization: str | None = field(default=None, repr=False)
    """Value of the Authorization header; None: the policy has no login."""
    authorities: str | None = field(default=None, repr=False)
    """CA certificates in PEM."""
    tenant: str = ""


NONE = Credentials()
"""Of a policy without credentials."""


def bearer(token: str) -> str:
    """Build the header value for a token.

    Raises:
        ValueError: it is malformed; the message never shows its text.
    """
    if not _TOKEN.fullmatch(token := token.strip()):
        raise ValueError("holds no bearer token")
    return f"Bearer {token}"


def basic(values: Mapping[str, str]) -> str:
    """Build the header value for a username and password (RFC 7617).

    Raises:
        ValueError: a value is malformed; the message names the key and never shows its text.
    """
    login = []
    for key in LOGIN_KEYS:
        if key not in values:
            raise ValueError(f"has no key {key}: it takes {' and '.join(LOGIN_KEYS)}")
        value = values[key].rstrip("\r\n")  # editors append a line break
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
    """Advise on credentials that a server refused."""
    sent = (credentials.authorization or "").partition(" ")[0]
    field, what = _LOGINS.get(sent, ("", ""))
    if field:
        return f"put {what} that it accepts into the Secret of spec.prometheus.{field}"
    return (
        "name a Secret with a token or password that it accepts in spec.prometheus."
        "bearerTokenSecretRef or basicAuthSecretRef, or set the operator's own login "
        "(--prometheus-token-file, --prometheus-basic-auth-folder)"
    )


def trusting(authorities: str) -> ssl.SSLContext:
    """Create a context that trusts these CA certificates only.

    Raises:
        ValueError: they are not certificates; the message never shows their text.
    """
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError, TypeError):
        raise ValueError("holds no certificate in PEM") from None
    return context


@dataclass
class PolicyCredentials:
    """Reads and caches credentials."""

    secrets: Secrets | None
    """None: there is no cluster to read Secrets from."""
    clock: Callable[[], float] = time.monotonic
    _known: Remembered[Prometheus, tuple[float, Credentials | Missing]] = field(init=False)
    """With the time of the read."""

    def __post_init__(self) -> None:
        self._known = Remembered(MOST_KNOWN_CREDENTIALS, self.clock)

    async def of(self, prometheus: Prometheus) -> Credentials | Missing:
        """Return a policy's credentials; Missing names the field that has no usable value."""
        if not prometheus.has_own_credentials:
            return Credentials(tenant=prometheus.tenant)
        known = self._known.get(prometheus)
        return known[1] if known is not None else await self._read(prometheus)

    async def renewed(self, prometheus: Prometheus) -> Credentials | Missing:
        """Return the current credentials, after a refusal of the cached credentials."""
        known = self._known.get(prometheus)
        if known is not None and self.clock() - known[0] < MISSING_CREDENTIALS_SECONDS:
            return known[1]
        return await self._read(prometheus)

    async def _read(self, prometheus: Prometheus) -> Credentials | Missing:
        began = self.clock()
        read = await self._resolved(prometheus)
        is_missing = isinstance(read, Missing)
        seconds = MISSING_CREDENTIALS_SECONDS if is_missing else KNOWN_CREDENTIALS_SECONDS
        self._known.put(prometheus, (began, read), seconds)
        return read

    async def _resolved(self, prometheus: Prometheus) -> Credentials | Missing:
        try:
            authorization = await self._login(prometheus)
            authorities = await self._authorities(prometheus)
        except _UnusableError as error:
            return Missing(Reason.CREDENTIALS_UNAVAILABLE, str(error))
        return Credentials(authorization, authorities, prometheus.tenant)

    async def _login(self, prometheus: Prometheus) -> str | None:
        if (ref := prometheus.basic_auth) is not None:
            # Both keys in one read: a username must not be combined with a renewed password.
            read = await self._port(_BASIC_FIELD).read_all(prometheus.namespace, ref.name)
            values = _readable(_BASIC_FIELD, read)
            try:
                return basic(values)
            except ValueError as error:
                raise _UnusableError(f"{_BASIC_FIELD}: Secret {ref.name} {error}") from None
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
        authorities = await self._value(_CA_FIELD, prometheus.namespace, prometheus.authorities)
        try:
            trusting(authorities)
        except ValueError as error:
            raise _unusable(_CA_FIELD, prometheus.authorities, error) from None
        return authorities

    async def _value(self, field: str, namespace: str, ref: SecretKeyRef) -> str:
        return _readable(field, await self._port(field).read(namespace, ref.name, ref.key))

    def _port(self, field: str) -> Secrets:
        if self.secrets is None:
            raise _UnusableError(f"{field}: no cluster is known whose Secrets it names")
        return self.secrets


class _UnusableError(Exception):
    """A field of a policy has no usable value; its text names field and reason."""


def _readable(field: str, read: V | Failure) -> V:
    if isinstance(read, Failure):
        raise _UnusableError(f"{field}: {read.message}")
    return read


def _unusable(field: str, ref: SecretKeyRef, what: ValueError) -> _UnusableError:
    return _UnusableError(f"{field}: key {ref.key} of Secret {ref.name} {what}")
