"""The API server, raw: a method, a path, dictionaries in and out, failures as values.

Typed models are not used: they drop fields that they do not know, and a pod template that loses a
field is another release.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Generic, TypeVar

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError, Holdings
from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.adapters.http.causes import cause
from rollback_operator.adapters.kube import paths
from rollback_operator.adapters.kube.clock import ServerClock
from rollback_operator.adapters.kube.login import log_in
from rollback_operator.adapters.kube.paths import ApiPath, fault_of, namespace_of
from rollback_operator.adapters.kube.room import (
    ANSWER_BYTES,
    MIB,
    ResponseShare,
    Room,
    bounded,
)
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.ports.failure import Failure, FailureKind, asked_wait

JSON_PATCH = "application/json-patch+json"
TIMEOUT_SECONDS = 10.0
PAGE, IDENTITIES = 100, 500
"""Objects of a page: whole, or their metadata alone."""
KEPT_BYTES = 192 * 1024
LIST_BYTES = 40 * MIB
"""Of the objects of all lists that are being read; no namespace has more than it leaves free."""
SMALLER = 8
"""By how much a page is made smaller that takes too much memory."""
VALUE_BYTES = 20
"""Of JSON that make a value, more or less."""
_MOST = f"{ANSWER_BYTES // MIB} MiB"
IDENTITY = ("namespace", "name", "uid", "resourceVersion")
_CONFLICT, _GONE, _INVALID, _TOO_MANY = 409, 404, 422, 429
_ERROR = 400
_SERVER_ERROR = 500
_REQUEST_TIMEOUT = 408


T = TypeVar("T")


class TooLarge(Failure):
    """An answer would take more memory than it may: less has to be asked for at once."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that is asked for page by page, and what is made of each object of it."""

    path: ApiPath
    taken: Callable[[dict[str, Any]], T]
    """Makes what is kept; the object itself is not."""
    query: Mapping[str, str] = field(default_factory=dict)
    free: float = KEPT_BYTES
    """How much an object may take before it counts. What counts is bounded for all lists that are
    being read together: more or less of it is kept. Infinite: what is kept of an object is small,
    whatever the object holds."""
    most: float = inf
    """Objects after which no further page is asked for."""


@dataclass(slots=True)
class _Pages:
    """How far a list has been read."""

    size: int
    following: str = ""
    weight: float = 0.0

    @property
    def query(self) -> dict[str, str]:
        following = {"continue": self.following} if self.following else {}
        return {"limit": str(self.size), **following}


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
        self.room = Room()
        self._kept = Holdings(LIST_BYTES, free=0)

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
        listing = Listing(path, lambda one: _identity(one["metadata"]), free=inf)
        return await self._list(listing, _Pages(IDENTITIES), accept)

    async def list_of(self, listing: Listing[T]) -> list[T] | Failure:
        """List what is made of objects, page by page: no number or size of them fills the memory.

        One object that takes more than an answer may is a failure.
        """
        return await self._list(listing, _Pages(PAGE), "application/json")

    async def _list(self, listing: Listing[T], pages: _Pages, accept: str) -> list[T] | Failure:
        try:
            return await self._paged(listing, pages, accept)
        finally:
            self._kept.drop((namespace_of(listing.path), id(pages)))

    async def _paged(self, listing: Listing[T], pages: _Pages, accept: str) -> list[T] | Failure:
        found: list[T] = []
        holder = namespace_of(listing.path), id(pages)
        while True:
            query = {**listing.query, **pages.query}
            with self.room.part(namespace_of(listing.path)) as part:
                page = await self._read("GET", listing.path, _ApiCall(part, query, accept))
                if isinstance(page, TooLarge) and pages.size > 1:
                    # A hundred objects of a megabyte: ask for fewer at once.
                    pages.size = max(1, pages.size // SMALLER)
                    continue
                if isinstance(page, Failure):
                    return page
                if "items" not in page:
                    said = f"GET {listing.path}: the answer is no list"
                    return Failure(FailureKind.UNAVAILABLE, said)
                items = page["items"] or ()  # where there is nothing, the server says null
                pages.weight += max(0.0, part.size - listing.free * len(items)) if items else 0.0
                if not self._kept.hold(holder, int(pages.weight)):
                    most = LIST_BYTES // 2 // MIB
                    said = f"GET {listing.path}: its objects take more than {most} MiB, or than "
                    said += "other lists that are being read leave"
                    return TooLarge(FailureKind.UNAVAILABLE, said)
                found += [listing.taken(one) for one in items]
                pages.following = (page.get("metadata") or {}).get("continue") or ""
                del page, items
            if not pages.following or len(found) >= listing.most:
                return found

    async def get_text(self, path: ApiPath, **query: str) -> bytes | Failure:
        """Read a log. How much comes back is for the query to bound."""
        # A refusal is a Status object, whatever is asked for; a log is of no type that has a name.
        with self.room.part(namespace_of(path)) as part:
            asked = _ApiCall(part, query, "application/json, */*;q=0.5")
            found = await self._content("GET", path, asked)
        self._measure("GET", found.kind if isinstance(found, Failure) else "OK")
        return found if isinstance(found, Failure) else bytes(found)

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
        with self.room.part(namespace_of(path)) as part:
            return await self._read(method, path, _ApiCall(part, query or {}, accept, body))

    async def _read(
        self, method: str, path: ApiPath, asked: "_ApiCall"
    ) -> dict[str, Any] | Failure:
        content = await self._content(method, path, asked)
        call = f"{method} {path}"
        found = (
            content
            if isinstance(content, Failure)
            else await _parsed(call, content, asked.part.owner)
        )
        self._measure(method, found.kind if isinstance(found, Failure) else "OK")
        return found

    async def _content(self, method: str, path: ApiPath, asked: "_ApiCall") -> bytearray | Failure:
        if fault := fault_of(path):
            return Failure(FailureKind.REJECTED, fault)
        headers = {"Accept": asked.accept}
        if asked.body is not None:
            headers["Content-Type"] = JSON_PATCH if method == "PATCH" else "application/json"
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list(asked.query.items()),
            header_params=headers,
            body=asked.body,
            auth_settings=["BearerToken"],
        )
        return await self._answer(f"{method} {path}", request, asked.part)

    async def _answer(self, call: str, request: Any, part: ResponseShare) -> bytearray | Failure:
        asked = None if self._clock is None else self._clock.own()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS + 1):
                answer = await self._api.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
                content = await bounded(answer.response, part)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Failure(FailureKind.UNAVAILABLE, f"{call}: {cause(error)}")
        except BudgetExhaustedError:
            said = "other answers hold the memory that there is for answers"
            return Failure(FailureKind.UNAVAILABLE, f"{call}: {said}")
        except ApiException as error:  # raised by some versions instead of an answer
            return failure_of(call, int(error.status or 0), str(error.body or ""), None)
        if content is None:
            said = f"{call}: the answer takes more than {_MOST} of memory"
            return TooLarge(FailureKind.UNAVAILABLE, said)
        if answer.status >= _ERROR:
            retry = asked_wait(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            body_text = content.decode(errors="replace")
            return failure_of(call, answer.status, body_text, retry)
        # A refusal may come from whoever stands between, who has another clock.
        if self._clock is not None and asked is not None and (date := answer.headers.get("Date")):
            self._clock.hear(date, asked)
        return content


@dataclass(frozen=True, slots=True)
class _ApiCall:
    """What a call asks for, and the part of the memory that its answer takes."""

    part: ResponseShare
    query: Mapping[str, str]
    accept: str
    body: Any = None


def _identity(metadata: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is large: who owns which fields."""
    return {key: metadata[key] for key in IDENTITY if key in metadata}


async def _parsed(call: str, content: bytearray, namespace: str) -> dict[str, Any] | Failure:
    return await apart(namespace, len(content) // VALUE_BYTES, partial(_object, call, content))


def _object(call: str, content: bytearray) -> dict[str, Any] | Failure:
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
