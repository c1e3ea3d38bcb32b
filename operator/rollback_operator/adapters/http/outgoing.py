"""One HTTP call to a pinned address: no redirect, no proxy, no cookie, bounded in time and size.

Failures name host and port and what went wrong, never path, headers or body: a webhook's path is
its password.
"""

import asyncio
import re
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from rollback_operator.adapters.http.addresses import Pinned, PinnedUrl
from rollback_operator.adapters.http.causes import cause
from rollback_operator.ports.failure import Failure, FailureKind

MOST_BODY_BYTES = 65536
_TARGET = re.compile(r"/[!-~]*")
"""It is sent as it is written, and a pod's own probe may have any text for a path."""
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_ZLIB = 47
"""zlib's word for gzip or zlib, whichever the header says."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send."""

    url: PinnedUrl
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = 10.0
    """For all of it: connecting, sending, answering."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes
    """At most the first 64 KiB."""


class _PinnedResolver(AbstractResolver):
    """Gives the addresses that were found when the host was checked, and asks nobody."""

    def __init__(self, pinned: Pinned) -> None:
        self._pinned = pinned

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        if host != self._pinned.host:
            raise OSError(None, "not the host that was checked")
        return [
            ResolveResult(
                hostname=host,
                host=ip,
                port=self._pinned.called_port,
                family=_family(ip),
                proto=0,
                flags=0,
            )
            for ip in self._pinned.ips
        ]

    async def close(self) -> None:
        return None


async def send(request: Request, tls: ssl.SSLContext | None = None) -> HttpResponse | Failure:
    """Send a request.

    Unavailable: nobody answered, in time or at all. Any status, also of an error, is an answer.
    """
    at = request.url.at
    if not _TARGET.fullmatch(request.url.target):
        said = f"{at}: the path holds what no path may: spaces, line ends or not ASCII"
        return Failure(FailureKind.REJECTED, said)
    try:
        async with asyncio.timeout(request.seconds):
            return await _sent(request, tls)
    except TimeoutError:
        said = f"{at} did not answer within {request.seconds:.0f} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The text of an error may quote the address, and with it a credential.
        said = f"{at}: {cause(error)}"
    return Failure(FailureKind.UNAVAILABLE, said[:300])


async def _sent(request: Request, tls: ssl.SSLContext | None) -> HttpResponse:
    at = request.url.at
    connector = aiohttp.TCPConnector(
        resolver=_PinnedResolver(at), ssl=tls if tls is not None else True, use_dns_cache=False
    )
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            # What is unpacked is bounded here: a few bytes can become a gigabyte.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        ) as session,
        session.request(
            request.method,
            # As it was written: a signature or a token in it must not be re-encoded.
            URL(f"{request.url.scheme}://{_host(at)}:{at.port}{request.url.target}", encoded=True),
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
        ) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = await _start_of(response.content)
        if headers.get("content-encoding", "").strip().lower() in _COMPRESSED:
            body = _unpacked(body)
        return HttpResponse(response.status, headers, body)


async def _start_of(content: aiohttp.StreamReader) -> bytes:
    read = b""
    async for chunk in content.iter_chunked(MOST_BODY_BYTES):
        read += chunk
        if len(read) >= MOST_BODY_BYTES:
            break
    return read[:MOST_BODY_BYTES]


def _unpacked(body: bytes) -> bytes:
    """Unpack the beginning of an answer that is packed although nobody asked for it.

    Raises:
        ValueError: it cannot be unpacked.
    """
    try:
        return zlib.decompressobj(_ANY_ZLIB).decompress(body, MOST_BODY_BYTES)
    except zlib.error:
        raise ValueError("the answer cannot be unpacked") from None


def _host(at: Pinned) -> str:
    return f"[{at.host}]" if ":" in at.host else at.host


def _family(ip: str) -> int:
    return 10 if ":" in ip else 2
