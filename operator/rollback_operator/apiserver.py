"""The API server, raw: a method, a path, dictionaries in and out, failures as values.

Typed models are not used: they drop fields that they do not know, and a pod template that loses a
field is another release.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from rollback_operator import paths
from rollback_operator.api.json_text import parsed
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.clock import ServerClock
from rollback_operator.login import log_in
from rollback_operator.paths import ApiPath, fault_of
from rollback_operator.ports.failure import Failure, FailureKind, asked_wait
from rollback_operator.slices import apart

JSON_PATCH = "application/json-patch+json"
TIMEOUT_SECONDS = 10.0
PAGE = 500
SMALLER = 8
"""By how much a page is made smaller that holds too many bytes."""
MOST_BYTES = 32 * 1024 * 1024
"""Of one answer: a tenant may make thousands of objects, each of a megabyte."""
VALUE_BYTES = 20
"""Of JSON that make a value, more or less."""
IDENTITY = ("namespace", "name", "uid", "resourceVersion")
_CONFLICT, _GONE, _INVALID, _TOO_MANY = 409, 404, 422, 429
_ERROR = 400
_SERVER_ERROR = 500
_REQUEST_TIMEOUT = 408


class TooLarge(Failure):
    """An answer holds more bytes than are taken: less has to be asked for at once."""


class ApiServer:
    """One connection pool to the API server."""

    def __init__(
        self,
        api: client.ApiClient,
        measure: Callable[[str, str], None],
        clock: ServerClock | None = None,
    ) -> None:
        self._api: Any = api  # its own signatures are wider than what it takes
        self._measure = measure
        self._clock = clock

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None,
        measure: Callable[[str, str], None],
        clock: ServerClock | None = None,
    ) -> "ApiServer":
        """Connect with the pod's service account, or with a kubeconfig file where one is named.

        Args:
            kubeconfig: None: the service account.
            measure: told the verb and the result of each call.
            clock: told the time of each answer; None: nobody asks for the time.

        Raises:
            kubernetes.aio.config.ConfigException: neither is usable; the message says why.
        """
        return cls(await log_in(kubeconfig), measure, clock)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, path: ApiPath, **query: str) -> dict[str, Any] | Failure:
        """Read an object or a list."""
        return await self._call("GET", path, query=query)

    async def get_metadata(self, path: ApiPath) -> dict[str, Any] | Failure:
        """Read an object's metadata, and nothing else of it."""
        accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        return await self._call("GET", path, accept=accept)

    async def list_metadata(self, path: ApiPath) -> list[dict[str, Any]] | Failure:
        """List what tells all objects of a kind apart, page by page: there may be ten thousand.

        Of each: namespace, name, uid and resourceVersion.
        """
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        return await self._list(path, lambda one: _identity(one["metadata"]), accept)

    async def list_objects(self, path: ApiPath) -> list[dict[str, Any]] | Failure:
        """List whole objects, page by page: no number or size of them makes an answer too large."""
        return await self._list(path, lambda one: one)

    async def _list(
        self,
        path: ApiPath,
        taken: Callable[[dict[str, Any]], dict[str, Any]],
        accept: str = "application/json",
    ) -> list[dict[str, Any]] | Failure:
        found: list[dict[str, Any]] = []
        size = PAGE
        query = {"limit": str(size)}
        while True:
            page = await self._call("GET", path, query=query, accept=accept)
            if isinstance(page, TooLarge) and size > 1:
                # Some hundred annotations of 256 KiB fill a page: ask for fewer objects at once.
                size = max(1, size // SMALLER)
                query["limit"] = str(size)
                continue
            if isinstance(page, Failure):
                return page
            if "items" not in page:
                return Failure(FailureKind.UNAVAILABLE, f"GET {path}: the answer is no list")
            # Where there is nothing, the server says null.
            found += [taken(one) for one in page["items"] or ()]
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return found
            query["continue"] = following

    async def get_text(self, path: ApiPath, **query: str) -> bytes | Failure:
        """Read a log. How much comes back is for the query to bound."""
        # A refusal is a Status object, whatever is asked for; a log is of no type that has a name.
        found = await self._content("GET", path, None, query, "application/json, */*;q=0.5")
        self._measure("GET", found.kind if isinstance(found, Failure) else "OK")
        return found

    async def create(
        self, path: ApiPath, body: dict[str, Any], **query: str
    ) -> dict[str, Any] | Failure:
        """Create an object."""
        return await self._call(
            "POST",
            path,
            body=body,
            query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Warn", **query},
        )

    async def update(self, path: ApiPath, body: dict[str, Any]) -> dict[str, Any] | Failure:
        """Replace an object, guarded by the resourceVersion in it."""
        return await self._call("PUT", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def patch(
        self, path: ApiPath, operations: list[dict[str, Any]]
    ) -> dict[str, Any] | Failure:
        """Apply a JSON patch, whole or not at all."""
        return await self._call(
            "PATCH", path, body=operations, query={"fieldManager": FIELD_MANAGER}
        )

    async def may(self, attributes: dict[str, str]) -> bool | Failure:
        """Ask whether whoever runs this has a right, by a review; nothing is changed."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        raw = await self.create(paths.whole_cluster(paths.ACCESS_REVIEWS), body)
        return raw if isinstance(raw, Failure) else bool(raw.get("status", {}).get("allowed"))

    async def delete(self, path: ApiPath, resource_version: str) -> dict[str, Any] | Failure:
        """Delete an object if it is the one that was read."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"resourceVersion": resource_version},
        }
        return await self._call("DELETE", path, body=body)

    async def _call(
        self,
        method: str,
        path: ApiPath,
        body: Any = None,
        query: dict[str, str] | None = None,
        accept: str = "application/json",
    ) -> dict[str, Any] | Failure:
        content = await self._content(method, path, body, query, accept)
        call = f"{method} {path}"
        found = content if isinstance(content, Failure) else await _parsed(call, content)
        self._measure(method, found.kind if isinstance(found, Failure) else "OK")
        return found

    async def _content(
        self, method: str, path: ApiPath, body: Any, query: dict[str, str] | None, accept: str
    ) -> bytes | Failure:
        if fault := fault_of(path):
            return Failure(FailureKind.REJECTED, fault)
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = JSON_PATCH if method == "PATCH" else "application/json"
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        return await self._answer(f"{method} {path}", request)

    async def _answer(self, call: str, request: Any) -> bytes | Failure:
        asked = None if self._clock is None else self._clock.own()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS + 1):
                answer = await self._api.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
                content = await _bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Failure(FailureKind.UNAVAILABLE, f"{call}: {_words(error)}")
        except ApiException as error:  # raised by some versions instead of an answer
            return failure_of(call, int(error.status or 0), str(error.body or ""), None)
        if len(content) > MOST_BYTES:
            said = f"{call}: the answer exceeds {MOST_BYTES >> 20} MiB"
            return TooLarge(FailureKind.UNAVAILABLE, said)
        if answer.status >= _ERROR:
            retry = asked_wait(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            body_text = content.decode(errors="replace")
            return failure_of(call, answer.status, body_text, retry)
        # A refusal may come from whoever stands between, who has another clock.
        if self._clock is not None and asked is not None and (date := answer.headers.get("Date")):
            self._clock.hear(date, asked)
        return bytes(content)


async def _bounded(answer: Any) -> bytes:
    """Read an answer; of one that is too large, a little more than it may hold."""
    content = bytearray()
    async for chunk in answer.response.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            answer.response.close()
            break
    return bytes(content)


def _identity(metadata: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is large: who owns which fields."""
    return {key: metadata[key] for key in IDENTITY if key in metadata}


async def _parsed(call: str, content: bytes) -> dict[str, Any] | Failure:
    return await apart(len(content) // VALUE_BYTES, partial(_object, call, content))


def _object(call: str, content: bytes) -> dict[str, Any] | Failure:
    try:
        found = parsed(content)
    except ValueError:
        return Failure(FailureKind.UNAVAILABLE, f"{call}: the answer is not JSON")
    if not isinstance(found, dict):
        return Failure(FailureKind.UNAVAILABLE, f"{call}: the answer is no object")
    return found


def failure_of(call: str, status: int, content: str, retry_after: float | None) -> Failure:
    """Tell what a refusal means for the caller.

    Args:
        call: method and path.
        status: of HTTP; 0 if there was none.
        content: the body: a Status object, or whatever stands between us and the server.
        retry_after: seconds that the server asks for.
    """
    message, reason, has_details = content[:400], "", True
    try:
        said_by = parsed(content)
        message, reason = str(said_by.get("message", "")), str(said_by.get("reason", ""))
        has_details = bool(said_by.get("details"))
    except (ValueError, AttributeError):
        pass
    said = f"{call}: {status} {reason} {message}".strip()
    if status == _CONFLICT:
        kind = FailureKind.EXISTS if reason == "AlreadyExists" else FailureKind.CONFLICT
    elif status == _GONE:
        kind = FailureKind.GONE
    elif status == _INVALID and call.startswith("PATCH ") and not has_details:
        # A failed `test`: what makes an object invalid is told in the details, field by field.
        kind = FailureKind.CONFLICT
    elif status in (_REQUEST_TIMEOUT, _TOO_MANY, 401) or status >= _SERVER_ERROR or not status:
        kind = FailureKind.UNAVAILABLE
    else:
        kind = FailureKind.REJECTED
    return Failure(kind, said, retry_after)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()
