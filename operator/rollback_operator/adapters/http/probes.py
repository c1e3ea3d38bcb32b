"""Functional probes and pods' health endpoints over HTTP, each sent once.

`addresses` restricts the destination, `outgoing` bounds the answer. The value of a header reaches
its server and nothing else.
"""

import re
import ssl
from collections.abc import Callable, Mapping

from rollback_operator.adapters.fairness.gates import Gate
from rollback_operator.adapters.http.addresses import Addresses, Pinned, PinnedUrl, is_callable
from rollback_operator.adapters.http.outgoing import MOST_BODY_BYTES, Request, send
from rollback_operator.adapters.http.tls import unverified
from rollback_operator.api.verification import HttpProbe
from rollback_operator.model.pod import Endpoint
from rollback_operator.ports.cluster import Secrets
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.rollback.probing import ProbeResponse, Reply, Silence

AT_ONCE, EACH = 64, 8
"""Concurrent requests in total, and per namespace."""
HEALTH_SECONDS = 2.0
MOST_HEADERS = 16
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,127}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te"})
"""Headers that frame or route a message; a Secret that sets them could smuggle a request."""


class HttpProbes:
    """The Probes port."""

    def __init__(
        self,
        addresses: Addresses,
        secrets: Secrets,
        is_pod_address: Callable[[str], bool] = is_callable,
    ) -> None:
        self._addresses = addresses
        self._secrets = secrets
        self._is_pod_address = is_pod_address
        self._gate = Gate(AT_ONCE, EACH)
        self._unverified = unverified()

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        """Pin the address, read the headers, and send."""
        pinned = await self._addresses.pin_url(probe.url, namespace)
        if isinstance(pinned, Failure):
            return _silence(pinned)
        headers: Mapping[str, str] = {}
        if probe.headers_secret_ref is not None:
            read = await self._headers(namespace, probe.headers_secret_ref.name)
            if isinstance(read, Failure):
                return _silence(read)
            headers = read
        body = None if probe.body is None else probe.body.encode()
        if body is not None and "content-type" not in {name.lower() for name in headers}:
            headers = {**headers, "Content-Type": "application/json"}
        request = Request(pinned, str(probe.method), headers, body, float(probe.timeout_seconds))
        return await self._sent(namespace, request, None)

    async def ask(self, namespace: str, address: str, endpoint: Endpoint) -> Reply:
        """Request as the kubelet does: without certificate checks, with the probe's headers."""
        if not self._is_pod_address(address):
            return Silence("the pod has no address of its own", is_final=True)
        url = PinnedUrl(endpoint.scheme, Pinned(address, endpoint.port, (address,)), endpoint.path)
        headers = {name: value for name, value in endpoint.headers if _is_header(name, value)}
        request = Request(url, headers=headers, seconds=HEALTH_SECONDS)
        return await self._sent(namespace, request, self._unverified)

    async def _headers(self, namespace: str, name: str) -> Mapping[str, str] | Failure:
        values = await self._secrets.read_all(namespace, name)
        if isinstance(values, Failure):
            return values
        # Editors append a line break to a token.
        headers = {key: value.rstrip("\r\n") for key, value in values.items()}
        bad = next((key for key, value in headers.items() if not _is_header(key, value)), None)
        if bad is not None:
            text = f"key {bad} of Secret {name} is malformed or not allowed as a header"
            return Failure(FailureKind.REJECTED, text)
        if len(headers) > MOST_HEADERS:
            text = f"Secret {name} has {len(headers)} keys; {MOST_HEADERS} headers are allowed"
            return Failure(FailureKind.REJECTED, text)
        return headers

    async def _sent(self, namespace: str, request: Request, tls: ssl.SSLContext | None) -> Reply:
        async with self._gate.turn(namespace):
            answer = await send(request, tls)
        if isinstance(answer, Failure):
            return _silence(answer)
        return ProbeResponse(answer.status, answer.body, len(answer.body) < MOST_BODY_BYTES)


def _is_header(name: str, value: str) -> bool:
    is_named = _NAME.fullmatch(name) is not None and name.lower() not in _OURS
    return is_named and _VALUE.fullmatch(value) is not None


def _silence(failure: Failure) -> Silence:
    return Silence(failure.message, failure.kind is not FailureKind.UNAVAILABLE)
