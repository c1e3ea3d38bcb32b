"""The API server, raw: a method, a path, dictionaries in and out, failures as values.

Typed models are not used: they drop unknown fields, and a pod template without a field is another
release.
"""

import asyncio
from collections.abc import Callable, Mapping
from copy import copy
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
from rollback_operator.adapters.kube.projections.outlines import IDENTITY, Outline
from rollback_operator.adapters.kube.refusals import failure_of
from rollback_operator.adapters.kube.response_budget import (
    ANSWER_BYTES,
    MIB,
    SMALLER,
    VALUE_BYTES,
    Oversized,
    ResponseBudget,
    ResponseShare,
    bounded,
)
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.api.v1alpha1 import FIELD_MANAGER
from rollback_operator.model.rights import Right
from rollback_operator.ports.failure import Failure, FailureKind, asked_wait

JSON_PATCH = "application/json-patch+json"
TIMEOUT_SECONDS = 10.0
PAGE, IDENTITIES = 100, 500
"""Objects per page: complete, or metadata only."""
KEPT_BYTES = 192 * 1024
LIST_BYTES = 40 * MIB
"""Limit for the objects of all lists being read; a namespace has at most half of it."""
_MOST = f"{ANSWER_BYTES // MIB} MiB"
_NO_LIST = "the answer is no list"
STREAMS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_ERROR = 400


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TooLarge(Failure):
    """An answer exceeds its memory limit: request less at once."""

    outline: Outline = field(default_factory=Outline)
    """Of an object, or of a list of a single object."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that is read page by page, and the projection of its objects."""

    path: ApiPath
    taken: Callable[[dict[str, Any]], T]
    """Returns the kept part of an object."""
    query: Mapping[str, str] = field(default_factory=dict)
    free: float = KEPT_BYTES
    """Bytes per object that do not count to the limit of all lists. Infinite: little is kept of an
    object, whatever its size."""
    most: float = inf
    """Objects after which no further page is requested."""
    left_out: Callable[[Outline], T] | None = None
    """Returns what stands for an object that alone exceeds the limit. None: the list fails, which
    is right for lists of a single tenant's objects."""


@dataclass(slots=True)
class _Pages:
    """Progress of a list."""

    size: int
    following: str = ""
    weight: float = 0.0
    most: int = 0
    """Size to return to after an object was left out; 0: none was."""

    @property
    def query(self) -> dict[str, str]:
        following = {"continue": self.following} if self.following else {}
        return {"limit": str(self.size), **following}

    def go_on(self, following: str) -> None:
        """Go to the next page, of twice the size where the size was reduced for a single object."""
        self.following = following
        self.size = max(self.size, min(2 * self.size, self.most))

    def without_object(self, outline: Outline) -> dict[str, Any]:
        """Return an empty page for a page whose object is left out."""
        self.most = PAGE
        return {"metadata": outline.page, "items": []}


class ApiServer:
    """One connection pool to the API server."""

    def __init__(
        self,
        api: client.ApiClient,
        measure: Callable[[str, str], None],
        clock: ServerClock | None = None,
    ) -> None:
        self._api: Any = api  # its annotations do not match its behaviour
        self._measure = measure
        self._clock = clock
        self._may_write: Callable[[], bool] = lambda: True
        self.response_budget = ResponseBudget()
        self._kept = Holdings(LIST_BYTES, free=0)

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None,
        measure: Callable[[str, str], None],
        clock: ServerClock | None = None,
    ) -> "ApiServer":
        """Connect with the pod's service account, or with a kubeconfig file.

        Args:
            kubeconfig: None: the service account.
            measure: receives the verb and the result of each call.
            clock: receives the time of each answer.

        Raises:
            kubernetes.aio.config.ConfigException: neither is usable, with the reason.
        """
        return cls(await log_in(kubeconfig), measure, clock)

    def fenced(self, may_write: Callable[[], bool]) -> "ApiServer":
        """Return the same server, on the same connections, for a process that writes on a lease.

        A process that is stopped (SIGSTOP, a paused virtual machine) wakes between any two
        instructions, when another leader may act already. Hence one rule for every write, asked
        just before it is sent: a write is refused while `may_write` is false.
        """
        view = copy(self)
        view._may_write = may_write
        return view

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, path: ApiPath, **query: str) -> dict[str, Any] | Failure:
        """Read an object or a list."""
        return await self._call("GET", path, query=query)

    async def get_metadata(self, path: ApiPath) -> dict[str, Any] | Failure:
        """Read the metadata of an object, without the rest."""
        accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        return await self._call("GET", path, accept=accept)

    async def list_metadata(self, path: ApiPath) -> list[dict[str, Any]] | Failure:
        """List namespace, name, uid and resourceVersion of all objects of a kind, page by page."""
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        listing = Listing(
            path,
            lambda item: _without_managed_fields(item["metadata"]),
            free=inf,
            left_out=lambda outline: outline.identity,
        )
        return await self._list(listing, _Pages(IDENTITIES), accept)

    async def list_of(self, listing: Listing[T]) -> list[T] | Failure:
        """List the projections of objects, page by page, within the memory limit.

        One object that exceeds the limit of an answer is a failure, unless the listing says what
        stands for it.
        """
        return await self._list(listing, _Pages(PAGE), "application/json")

    async def _list(self, listing: Listing[T], pages: _Pages, accept: str) -> list[T] | Failure:
        try:
            return await self._list_pages(listing, pages, accept)
        finally:
            self._kept.drop((namespace_of(listing.path), id(pages)))

    async def _list_pages(
        self, listing: Listing[T], pages: _Pages, accept: str
    ) -> list[T] | Failure:
        listed: list[T] = []
        holder = namespace_of(listing.path), id(pages)
        while True:
            query = {**listing.query, **pages.query}
            with self.response_budget.part(namespace_of(listing.path)) as part:
                page = await self._read("GET", listing.path, _ApiCall(part, query, accept))
                if isinstance(page, TooLarge) and pages.size > 1:
                    # For example a hundred objects of a megabyte.
                    pages.size = max(1, pages.size // SMALLER)
                    continue
                if isinstance(page, TooLarge) and listing.left_out and page.outline.is_page:
                    listed.append(listing.left_out(page.outline))
                    page = pages.without_object(page.outline)
                if isinstance(page, Failure):
                    return page
                if "items" not in page:
                    return Failure(FailureKind.UNAVAILABLE, f"GET {listing.path}: {_NO_LIST}")
                items = page["items"] or ()  # the server answers null for an empty list
                pages.weight += max(0.0, part.size - listing.free * len(items)) if items else 0.0
                if not self._kept.hold(holder, int(pages.weight)):
                    most = LIST_BYTES // 2 // MIB
                    message = f"GET {listing.path}: its objects take more than {most} MiB, "
                    message += "or more than concurrent lists leave"
                    return TooLarge(FailureKind.UNAVAILABLE, message)
                listed += [listing.taken(item) for item in items]
                pages.go_on((page.get("metadata") or {}).get("continue") or "")
                del page, items
            if not pages.following or len(listed) >= listing.most:
                return listed

    async def get_text(self, path: ApiPath, **query: str) -> bytes | Failure:
        """Read a log; the query bounds its length."""
        # A refusal is a Status object, whatever the request; a log has no media type.
        with self.response_budget.part(namespace_of(path)) as part:
            asked = _ApiCall(part, query, "application/json, */*;q=0.5")
            text = await self._content("GET", path, asked)
        self._measure("GET", text.kind if isinstance(text, Failure) else "OK")
        return text if isinstance(text, Failure) else bytes(text)

    async def socket(self, path: ApiPath, query: list[tuple[str, str]]) -> Any:
        """Open a web socket to a stream of a pod.

        Raises:
            aiohttp.ClientError: it is refused, or not sent.
        """
        if fault_of(path) or not self._may_write():
            raise aiohttp.ClientError("not sent: an invalid path, or the lease has run out")
        _, url, headers, *_ = await self._api.param_serialize(
            "GET", path, query_params=query, auth_settings=["BearerToken"]
        )
        pool = self._api.rest_client.pool_manager
        return await pool.ws_connect(url, headers=headers, protocols=STREAMS, max_msg_size=MIB)

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
        self, path: ApiPath, operations: list[dict[str, Any]], **query: str
    ) -> dict[str, Any] | Failure:
        """Apply a JSON patch, whole or not at all."""
        return await self._call(
            "PATCH", path, body=operations, query={"fieldManager": FIELD_MANAGER, **query}
        )

    async def may(self, namespace: str, right: Right, name: str = "") -> bool | Failure:
        """Ask for a right of this client's account, by a review that any account may request."""
        attributes = {
            "namespace": namespace,
            "verb": right.verb,
            "group": right.group,
            "resource": right.resource,
            "subresource": right.subresource,
            "name": name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        raw = await self.create(paths.whole_cluster(paths.ACCESS_REVIEWS), body)
        return raw if isinstance(raw, Failure) else bool(raw.get("status", {}).get("allowed"))

    async def delete(self, path: ApiPath, resource_version: str) -> dict[str, Any] | Failure:
        """Delete an object if it is unchanged since it was read."""
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
        with self.response_budget.part(namespace_of(path)) as part:
            return await self._read(method, path, _ApiCall(part, query or {}, accept, body))

    async def _read(
        self, method: str, path: ApiPath, asked: "_ApiCall"
    ) -> dict[str, Any] | Failure:
        content = await self._content(method, path, asked)
        raw: dict[str, Any] | Failure
        if isinstance(content, Failure):
            raw = content
        else:
            parse = partial(_parsed_object, f"{method} {path}", content)
            raw = await apart(asked.part.owner, len(content) // VALUE_BYTES, parse)
        self._measure(method, raw.kind if isinstance(raw, Failure) else "OK")
        return raw

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
        if method != "GET" and not self._may_write():
            message = "not sent, since the lease of this replica has run out"
            return Failure(FailureKind.UNAVAILABLE, f"{method} {path}: {message}")
        content = await self._answer(f"{method} {path}", request, asked.part)
        if not isinstance(content, Oversized):
            return content
        message = f"{method} {path}: the answer takes more than {_MOST} of memory"
        is_page = asked.query.get("limit", "1") != "1"  # it is requested again
        outline = Outline() if is_page else await content.outline(asked.part.owner)
        return TooLarge(FailureKind.UNAVAILABLE, message, outline=outline)

    async def _answer(
        self, call: str, request: Any, part: ResponseShare
    ) -> bytearray | Oversized | Failure:
        asked = None if self._clock is None else self._clock.own()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS + 1):
                answer = await self._api.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
                content = await bounded(answer.response, part)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Failure(FailureKind.UNAVAILABLE, f"{call}: {cause(error)}")
        except BudgetExhaustedError:
            message = "concurrent answers use up the memory for answers"
            return Failure(FailureKind.UNAVAILABLE, f"{call}: {message}")
        except ApiException as error:  # raised by some versions instead of an answer
            return failure_of(call, int(error.status or 0), str(error.body or ""), None)
        if isinstance(content, Oversized):
            return content
        if answer.status >= _ERROR:
            retry = asked_wait(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            body_text = content.decode(errors="replace")
            return failure_of(call, answer.status, body_text, retry)
        # A refusal may come from an intermediary, which has another clock.
        if self._clock is not None and asked is not None and (date := answer.headers.get("Date")):
            self._clock.hear(date, asked)
        return content


@dataclass(frozen=True, slots=True)
class _ApiCall:
    """A request, and the memory share of its answer."""

    part: ResponseShare
    query: Mapping[str, str]
    accept: str
    body: Any = None


def _without_managed_fields(metadata: dict[str, Any]) -> dict[str, Any]:
    """Drop managedFields, which are large."""
    return {key: metadata[key] for key in IDENTITY if key in metadata}


def _parsed_object(call: str, content: bytearray) -> dict[str, Any] | Failure:
    try:
        raw = parsed(content)
    except ValueError:
        return Failure(FailureKind.UNAVAILABLE, f"{call}: the answer is not JSON")
    if not isinstance(raw, dict):
        return Failure(FailureKind.UNAVAILABLE, f"{call}: the answer is no object")
    return raw
