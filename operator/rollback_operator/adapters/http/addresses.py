"""Validates the outgoing addresses of policies, and pins each name to IP addresses.

Every address of a policy or its Secret (probe, webhook, mail server, database, Prometheus) passes
here: parsed strictly, allowed by the operator's owner, resolved once, and called at the result, so
that a later DNS answer changes nothing. A Service of the policy's namespace is not resolved by DNS,
since its tenant may point it anywhere; it is called at its pods, as the API server lists them. This
module calls nothing. A refusal names host and port, never the path, which may be a credential.
"""

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rollback_operator.adapters.http.lookups import RESOLVE_SECONDS, Lookups, LookupsBusyError
from rollback_operator.ports.failure import Failure, FailureKind

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*)"
    r"(:(?P<port>[0-9]{1,5}))?(?P<target>/[!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
"""Strict, so that every parser sees the same host: in `http://a\\.b` the check could read another
host than the client."""
_HOST = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,252}|[0-9a-f:.]+", re.IGNORECASE | re.ASCII)
_PORTS = {"http": 80, "https": 443}
_HIGHEST_PORT = 65535
_CLOUD = frozenset(
    {
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
        "fd00:42::42",  # Scaleway
        "fd00:c1::a9fe:a9fe",  # Oracle Cloud
    }
)
"""Metadata services of clouds, in addition to the link-local addresses."""
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")

Resolve = Callable[[str, int, str], Awaitable[Sequence[str]]]
"""Resolves a host to IP addresses, for a namespace; raises OSError or UnicodeError."""


@dataclass(frozen=True, slots=True)
class Backends:
    """The pods behind a port of a Service."""

    port: int
    """Port of the pods."""
    ips: tuple[str, ...]


Find = Callable[[str, str, int], Awaitable[Backends | Failure]]
"""Finds the pods behind a Service by namespace, name and port."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """An allowed address, and the only IP addresses to call it at."""

    host: str
    """As written: for the Host header, the TLS name and the certificate."""
    port: int
    """As written."""
    ips: tuple[str, ...]
    pod_port: int | None = None
    """Port of the pods behind a Service."""

    @property
    def called_port(self) -> int:
        """Port of the connection."""
        return self.pod_port or self.port

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PinnedUrl:
    """An allowed URL."""

    scheme: str
    at: Pinned
    target: str
    """Path and query; never shown, since they may hold a credential."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.at}"


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of the operator's owner."""

    allows: Callable[[str, str], bool]
    """Whether a policy may call a host: host, the policy's namespace."""
    is_loopback_allowed: bool = False
    service_of: Callable[[str, str], str | None] = lambda host, namespace: None
    """The Service of a namespace that a host names; None: a host of the owner's list."""


async def unseen(namespace: str, service: str, port: int) -> Backends | Failure:
    """Find no pods, for commands without a cluster."""
    text = f"no cluster is known in which Service {service} of namespace {namespace} could be found"
    return Failure(FailureKind.UNAVAILABLE, text)


class Addresses:
    """Validates and pins addresses."""

    def __init__(self, rules: Rules, resolve: Resolve | None = None, find: Find = unseen) -> None:
        """Resolve nothing yet.

        Args:
            rules: of the operator's owner.
            resolve: None: lookups that nobody else shares.
            find: finds the pods behind a Service.
        """
        self._rules = rules
        self._resolve = resolve or Lookups().resolve
        self._find = find

    async def pin_url(self, url: str, namespace: str) -> PinnedUrl | Failure:
        """Pin a URL; reject credentials, and any form that parsers could read differently."""
        parts = _URL.fullmatch(url)
        if parts is None:
            text = "the address is not of the form http(s)://host[:port][/path], without user@"
            return Failure(FailureKind.REJECTED, text)
        scheme = parts["scheme"].lower()
        port = int(parts["port"]) if parts["port"] else _PORTS[scheme]
        pinned = await self.pin(parts["host"].strip("[]"), port, namespace)
        if isinstance(pinned, Failure):
            return pinned
        return PinnedUrl(scheme, pinned, (parts["target"] or "/").partition("#")[0])

    async def pin(self, host: str, port: int, namespace: str) -> Pinned | Failure:
        """Pin a host and a port.

        Rejected: it is not allowed. Unavailable: its name cannot be resolved now.
        """
        refusal = self._refusal(host, port, namespace)
        if refusal is not None:
            return Failure(FailureKind.REJECTED, refusal)
        name = host.lower()
        service = self._rules.service_of(name, namespace)
        if service is None:
            backends = await self._resolved(name, port, namespace)
        else:
            backends = await self._find(namespace, service, port)
        if isinstance(backends, Failure):
            return Failure(backends.kind, f"{name}: {backends.message}", backends.retry_after)
        # A single forbidden address is enough, since the client may connect to any of them.
        if not all(is_callable(ip, self._rules.is_loopback_allowed) for ip in backends.ips):
            text = (
                f"{name} leads to the operator's own machine or network, or to a cloud's metadata"
            )
            return Failure(FailureKind.REJECTED, text)
        return Pinned(name, port, backends.ips, None if service is None else backends.port)

    async def _resolved(self, name: str, port: int, namespace: str) -> Backends | Failure:
        try:
            ips = tuple(await self._resolve(name, port, namespace))
        except LookupsBusyError:
            text = f"its name was not resolved: other names of namespace {namespace} do not answer"
            return Failure(FailureKind.UNAVAILABLE, text)
        except TimeoutError:
            text = f"its name was not resolved within {RESOLVE_SECONDS:.0f} s"
            return Failure(FailureKind.UNAVAILABLE, text)
        except (OSError, UnicodeError) as error:
            text = f"its name cannot be resolved: {getattr(error, 'strerror', None)}"
            return Failure(FailureKind.UNAVAILABLE, text)
        if not ips:
            return Failure(FailureKind.UNAVAILABLE, "its name has no address")
        return Backends(port, ips)

    def _refusal(self, host: str, port: int, namespace: str) -> str | None:
        if not _HOST.fullmatch(host) or not 0 < port <= _HIGHEST_PORT:
            return "the host or the port of the address is malformed"
        if not self._rules.allows(host, namespace):
            return (
                f"{host.lower()} is not allowed: it is neither a Service of namespace {namespace} "
                f"(<service>.{namespace}.svc) nor among the operator's allowed hosts"
            )
        return None


def family_of(ip: str) -> socket.AddressFamily:
    """Return the address family of an IP address."""
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def is_callable(ip: str, is_loopback_allowed: bool = False) -> bool:
    """Whether an IP address may be called at all."""
    try:
        address = _embedded(ipaddress.ip_address(ip.partition("%")[0]))
    except ValueError:
        return False
    if str(address) in _CLOUD:
        return False
    if address.is_loopback:
        return is_loopback_allowed
    if isinstance(address, ipaddress.IPv4Address):
        is_special = address in _THIS_NETWORK
    else:
        is_special = address.is_site_local or address.teredo is not None
    return not (
        is_special
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )


def _embedded(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Extract the IPv4 address that an IPv6 address embeds."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
