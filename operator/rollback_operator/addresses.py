"""Which outgoing addresses a policy may name, and to which IP addresses a name is pinned.

Every address that a policy or its Secret gives (probe, webhook, mail server, database) goes through
here: parsed strictly, allowed by the operator's owner, resolved once, and called at what it was
resolved to: a name that is answered differently a second later leads nowhere else. Nothing is
called here. What is refused is told by host and port, never by path: that may be a credential.
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
_CLOUD = frozenset({"100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"})
"""Where clouds give out credentials to their machines, beside the link-local addresses."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the IP addresses of a host; raises OSError."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """An address that may be called, at these IP addresses and no others."""

    host: str
    """As it was named: for the Host header, the TLS name and the certificate."""
    port: int
    ips: tuple[str, ...]

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
    is_short: Callable[[str, str], bool] = lambda host, namespace: False
    """Whether a host is a Service's name without `svc`: only as a Service's is it resolved."""


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

    def __init__(self, rules: Rules, resolve: Resolve = resolve) -> None:
        self._rules = rules
        self._resolve = resolve

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
        # Of a namespace dev, what is no Service of it would else be asked of the whole Internet.
        asked = f"{name}.svc" if self._rules.is_short(name, namespace) else name
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                ips = tuple(await self._resolve(asked, port))
        except TimeoutError:
            said = f"{name}: its name was not resolved within {RESOLVE_SECONDS:.0f} s"
            return Failure(FailureKind.UNAVAILABLE, said)
        except (OSError, UnicodeError) as error:
            said = f"{name}: its name cannot be resolved: {getattr(error, 'strerror', None)}"
            return Failure(FailureKind.UNAVAILABLE, said)
        if not ips:
            return Failure(FailureKind.UNAVAILABLE, f"{name}: its name has no address")
        # One bad address is enough: which of them is called is not ours to choose.
        if not all(is_callable(ip, self._rules.is_loopback_allowed) for ip in ips):
            said = (
                f"{name} leads to the operator's own machine or network, or to a cloud's metadata"
            )
            return Failure(FailureKind.REJECTED, said)
        return Pinned(name, port, ips)

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
    return not (
        found.is_link_local or found.is_multicast or found.is_unspecified or found.is_reserved
    )


def _embedded(
    found: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Find the IPv4 address that an IPv6 one stands for."""
    if not isinstance(found, ipaddress.IPv6Address):
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found
