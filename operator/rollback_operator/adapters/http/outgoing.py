"""HTTP calls to pinned addresses: no redirect, no proxy, no cookie, bounded in time and size.

Failures name host, port and cause, never path, headers or body: a webhook's path is its password.
"""

import asyncio
import re
import ssl
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from rollback_operator.adapters.http.addresses import Pinned, PinnedUrl, family_of
from rollback_operator.adapters.http.causes import cause
from rollback_operator.adapters.http.tls import verified
from rollback_operator.adapters.http.wire import CountedConnector
from rollback_operator.ports.failure import Failure, FailureKind

CHUNK_BYTES = MOST_BODY_BYTES = 65536
_TARGET = re.compile(r"/[!-~]*")
"""The path is sent unchanged, and a pod's probe may have any text for a path."""
_PLAIN = frozenset({"", "identity"})
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_ZLIB = 47
"""wbits of zlib for gzip or zlib, by the header of the data."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a pinned URL."""

    url: PinnedUrl
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = 10.0
    """Deadline of the whole call: connect, send, answer."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer of any status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """The first 64 KiB at most."""


class _PinnedResolver(AbstractResolver):
    """Resolves to the addresses that were checked, without a query."""

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
                family=family_of(ip),
                proto=0,
                flags=0,
            )
            for ip in self._pinned.ips
        ]

    async def close(self) -> None:
        return None


class Unpacking:
    """Decompresses an answer, in pieces of at most a chunk, however small the input."""

    def __init__(self, encoding: str) -> None:
        """Choose the decompressor.

        Raises:
            ValueError: no request asks for this encoding.
        """
        known = encoding.strip().lower()
        if known not in _PLAIN | _COMPRESSED:
            raise ValueError(f"the answer is encoded as {known[:40]}, which was not asked for")
        self._unpacker = zlib.decompressobj(_ANY_ZLIB) if known in _COMPRESSED else None

    def of(self, chunk: bytes) -> Iterator[bytes]:
        """Decompress a chunk.

        Raises:
            ValueError: it is not compressed in this encoding.
        """
        if self._unpacker is None:
            yield chunk
            return
        try:
            while chunk:
                yield self._unpacker.decompress(chunk, CHUNK_BYTES)
                chunk = self._unpacker.unconsumed_tail
        except zlib.error:
            raise ValueError("the answer cannot be unpacked") from None


def guarded_session(
    connector: CountedConnector,
    accept: str = "*/*",
    connect_seconds: float | None = None,
) -> aiohttp.ClientSession:
    """Open a session without cookies, proxies, netrc and automatic decompression."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        headers={"Accept": accept, "Accept-Encoding": "identity"},
        trust_env=False,
        auto_decompress=False,  # a few bytes can become a gigabyte
    )


async def send(request: Request, tls: ssl.SSLContext | None = None) -> HttpResponse | Failure:
    """Send a request.

    Unavailable: no answer in time. Every status, an error's included, is an answer.
    """
    at = request.url.at
    if not _TARGET.fullmatch(request.url.target):
        text = f"{at}: the path has spaces, line breaks or characters that are not ASCII"
        return Failure(FailureKind.REJECTED, text)
    try:
        async with asyncio.timeout(request.seconds):
            return await _sent(request, tls)
    except TimeoutError:
        text = f"{at} did not answer within {request.seconds:.0f} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The text of an error may quote the address, and with it a credential.
        text = f"{at}: {cause(error)}"
    return Failure(FailureKind.UNAVAILABLE, text[:300])


async def _sent(request: Request, tls: ssl.SSLContext | None) -> HttpResponse:
    at = request.url.at
    connector = CountedConnector(
        resolver=_PinnedResolver(at), ssl=tls or verified(), use_dns_cache=False
    )
    async with (
        guarded_session(connector) as session,
        session.request(
            request.method,
            # Unchanged: a signature or a token in it must not be re-encoded.
            URL(f"{request.url.scheme}://{_host(at)}:{at.port}{request.url.target}", encoded=True),
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
        ) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = await _start_of(response.content)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding in _COMPRESSED:
            body = next(Unpacking(encoding).of(body), b"")
        return HttpResponse(response.status, headers, body)


async def _start_of(content: aiohttp.StreamReader) -> bytes:
    body = b""
    async for chunk in content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) >= MOST_BODY_BYTES:
            break
    return body[:MOST_BODY_BYTES]


def _host(at: Pinned) -> str:
    return f"[{at.host}]" if ":" in at.host else at.host
