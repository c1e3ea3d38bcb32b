"""Which outgoing addresses a policy may name, and to which IP addresses a name is pinned.

Every address that a policy or its Secret gives (probe, webhook, mail server, database, Prometheus)
goes through here: parsed strictly, allowed by the operator's owner, resolved once, and called at
what it was resolved to: a name that is answered differently a second later leads nowhere else. A
Service of the policy's namespace is not asked of DNS: its owner is the tenant, who may lead it
anywhere. It is called at its pods, as the API server knows them. Nothing is called here. What is
refused is told by host and port, never by path: that may be a credential.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rollback_operator.ports.failure import Failure, FailureKind

RESOLVE_SECONDS = 3.0
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*)"
    r"(:(?P<port>[0-9]{1,5}))?(?P<target>/[!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
"""Plain enough for every parser to see the same host: with `http://a\\.b` the check would read one
and the client call another."""
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
"""Where clouds give out credentials to their machines, beside the link-local addresses."""
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the IP addresses of a host; raises OSError."""


@dataclass(frozen=True, slots=True)
class Backends:
    """The pods behind a port of a Service."""

    port: int
    """At which the pods are called."""
    ips: tuple[str, ...]


Find = Callable[[str, str, int], Awaitable[Backends | Failure]]
"""Gives the pods behind a Service: its namespace, its name, its port."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """An address that may be called, at these IP addresses and no others."""

    host: str
    """As it was named: for the Host header, the TLS name and the certificate."""
    port: int
    """As it was named."""
    ips: tuple[str, ...]
    pod_port: int | None = None
    """The pods' own, behind a Service."""

    @property
    def called_port(self) -> int:
        """Give the port that is connected to."""
        return self.pod_port or self.port

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PinnedUrl:
    """An HTTP address that may be called."""

    scheme: str
    at: Pinned
    target: str
    """Path and query; may hold a credential, so it is shown to nobody."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.at}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator's owner allows."""

    allows: Callable[[str, str], bool]
    """Whether a policy may have a host called: host, the policy's namespace."""
    is_loopback_allowed: bool = False
    service_of: Callable[[str, str], str | None] = lambda host, namespace: None
    """Which Service of a namespace a host names; None: it is a host that the owner has listed."""


async def unseen(namespace: str, service: str, port: int) -> Backends | Failure:
    """Find no pods: there is no cluster to ask."""
    said = f"no cluster is known in which Service {service} of namespace {namespace} could be found"
    return Failure(FailureKind.UNAVAILABLE, said)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver.

    Raises:
        OSError: the name is not known, or nobody could be asked.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Addresses:
    """Checks and pins."""

    def __init__(self, rules: Rules, resolve: Resolve = resolve, find: Find = unseen) -> None:
        """Ask nobody yet.

        Args:
            rules: what is allowed.
            resolve: for the hosts that the owner has listed.
            find: for Services.
        """
        self._rules = rules
        self._resolve = resolve
        self._find = find

    async def pin_url(self, url: str, namespace: str) -> PinnedUrl | Failure:
        """Pin an HTTP address: no credentials, no fragment, nothing that two parsers read apart."""
        found = _URL.fullmatch(url)
        if found is None:
            said = "the address is not of the form http(s)://host[:port][/path], without user@"
            return Failure(FailureKind.REJECTED, said)
        scheme = found["scheme"].lower()
        port = int(found["port"]) if found["port"] else _PORTS[scheme]
        pinned = await self.pin(found["host"].strip("[]"), port, namespace)
        if isinstance(pinned, Failure):
            return pinned
        return PinnedUrl(scheme, pinned, (found["target"] or "/").partition("#")[0])

    async def pin(self, host: str, port: int, namespace: str) -> Pinned | Failure:
        """Pin a host and a port.

        Rejected: it may not be called. Unavailable: its name cannot be resolved now.
        """
        refusal = self._refusal(host, port, namespace)
        if refusal is not None:
            return Failure(FailureKind.REJECTED, refusal)
        name = host.lower()
        service = self._rules.service_of(name, namespace)
        if service is None:
            found = await self._resolved(name, port)
        else:
            found = await self._find(namespace, service, port)
        if isinstance(found, Failure):
            return Failure(found.kind, f"{name}: {found.message}", found.retry_after)
        # One bad address is enough: which of them is called is not ours to choose.
        if not all(is_callable(ip, self._rules.is_loopback_allowed) for ip in found.ips):
            said = (
                f"{name} leads to the operator's own machine or network, or to a cloud's metadata"
            )
            return Failure(FailureKind.REJECTED, said)
        return Pinned(name, port, found.ips, None if service is None else found.port)

    async def _resolved(self, name: str, port: int) -> Backends | Failure:
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                ips = tuple(await self._resolve(name, port))
        except TimeoutError:
            said = f"its name was not resolved within {RESOLVE_SECONDS:.0f} s"
            return Failure(FailureKind.UNAVAILABLE, said)
        except (OSError, UnicodeError) as error:
            said = f"its name cannot be resolved: {getattr(error, 'strerror', None)}"
            return Failure(FailureKind.UNAVAILABLE, said)
        if not ips:
            return Failure(FailureKind.UNAVAILABLE, "its name has no address")
        return Backends(port, ips)

    def _refusal(self, host: str, port: int, namespace: str) -> str | None:
        if not _HOST.fullmatch(host) or not 0 < port <= _HIGHEST_PORT:
            return "the host or the port of the address is malformed"
        if not self._rules.allows(host, namespace):
            return (
                f"{host.lower()} may not be called: it is no Service of namespace {namespace}, "
                f"named as <service>.{namespace}.svc, and not among the operator's allowed hosts"
            )
        return None


def is_callable(ip: str, is_loopback_allowed: bool = False) -> bool:
    """Tell whether an IP address may be called at all, whoever asks for it."""
    try:
        found = _embedded(ipaddress.ip_address(ip.partition("%")[0]))
    except ValueError:
        return False
    if str(found) in _CLOUD:
        return False
    if found.is_loopback:
        return is_loopback_allowed
    if isinstance(found, ipaddress.IPv4Address):
        is_special = found in _THIS_NETWORK
    else:
        is_special = found.is_site_local or found.teredo is not None
    return not (
        is_special
        or found.is_link_local
        or found.is_multicast
        or found.is_unspecified
        or found.is_reserved
    )


def _embedded(
    found: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Find the IPv4 address that an IPv6 one stands for."""
    if not isinstance(found, ipaddress.IPv6Address):
        return found
    if any(found in one for one in _NAT64):
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found
