"""Memory limits for kopf's requests: the initial lists of its watches, and each line of a watch.

kopf uses an aiohttp session; in this session each list is read within the budget of
`response_budget`, and requested again in smaller pages if it takes too much. An object that alone
exceeds the limit of an answer is left out, and the log names it: a policy that needs it reads it
itself, and reports why it cannot.

kopf does not report when it has processed an object. An answer holds its share for a fixed time.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError
from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.adapters.kube.response_budget import (
    ANSWER_BYTES,
    LEAST,
    SHARE_STEPS,
    SMALLER,
    VALUE_BYTES,
    ResponseBudget,
    ResponseShare,
    bounded,
    weight_of,
)
from rollback_operator.api.user_text.json_text import parsed

_log = logging.getLogger(__name__)
HELD_SECONDS = 0.5
LINE_SECONDS = 0.125
"""For an event, which kopf passes to its handler a tenth of a second later. With a longer time, a
tenant who keeps changing a large object would delay the watch for all.
"""
CHUNK_BYTES = 64 * 1024
TABLE_MEDIA_TYPE = "application/json;as=Table;g=meta.k8s.io;v=v1"
"""Lists names and the continue token, and nothing else of the objects."""
_ERROR = 400
NAME_WITHIN_BYTES = 64 * 1024
_NAME = re.compile(rb'"name":"([a-z0-9.-]{1,253})"')


class Bounded(ClientResponse):
    """An answer whose content may have been read before."""

    read_before: bytearray | None = None

    async def json(self, **options: Any) -> Any:
        """Parse the content; large content in a thread."""
        content, self.read_before = self.read_before, None
        if content is None:
            return await super().json(**options)
        return await apart("", len(content) // VALUE_BYTES, lambda: parsed(content))


class ReadLimits:
    """A middleware that limits the reads of a session."""

    def __init__(self, budget: ResponseBudget, held: float = HELD_SECONDS) -> None:
        self._budget = budget
        self._held = held
        self._sizes: dict[str, int] = {}
        """Page sizes of lists that needed smaller pages, by path."""

    async def __call__(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        """Send a request, and read the answer within the budget."""
        query = request.url.query
        if request.method != "GET" or not {"watch", "limit"} & set(query):
            return await send(request)
        if "watch" in query:
            answer = await send(request)
            if answer.status < _ERROR:
                lines = Lines(answer.content, self._budget, LINE_SECONDS, request.url.path)
                answer.content = lines  # type: ignore[assignment]
            return answer
        return await self._page(request, send)

    async def _page(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        path, wanted = request.url.path, int(request.url.query["limit"])
        if "continue" not in request.url.query:
            self._sizes.pop(path, None)
        while True:
            size = self._sizes.get(path, wanted)
            request.url = request.url.update_query(limit=str(size))
            answer = await send(request)
            if answer.status >= _ERROR or not isinstance(answer, Bounded):
                return answer
            answer.read_before = await self._read(answer)
            if answer.read_before is not None:
                return answer
            if size == 1:
                return await self._without_object(request, send)
            self._sizes[path] = max(1, size // SMALLER)

    async def _without_object(
        self, request: ClientRequest, send: ClientHandlerType
    ) -> ClientResponse:
        """Replace a page of one object by an empty page."""
        request.headers["Accept"] = TABLE_MEDIA_TYPE
        request.url = request.url.update_query(includeObject="None")
        answer = await send(request)
        if answer.status >= _ERROR or not isinstance(answer, Bounded):
            return answer
        content = await self._read(answer)
        if content is None:
            raise aiohttp.ClientPayloadError("the names of a page of one object are too large")
        table = parsed(content)
        names = [str((row.get("cells") or ["?"])[0])[:300] for row in table.get("rows") or ()]
        _log.warning("%s: left out, too large: %s", request.url.path, ", ".join(names))
        page: dict[str, Any] = {"metadata": table.get("metadata") or {}, "items": []}
        answer.read_before = bytearray(json.dumps(page).encode())
        return answer

    async def _read(self, answer: ClientResponse) -> bytearray | None:
        part = ResponseShare(self._budget, "")
        try:
            return await bounded(answer, part)
        except BudgetExhaustedError:
            raise aiohttp.ClientPayloadError("the memory for answers is used up") from None
        finally:
            asyncio.get_running_loop().call_later(self._held, part.give_back)


class Lines:
    """The content of a watch, passed on line by line."""

    def __init__(
        self, content: aiohttp.StreamReader, budget: ResponseBudget, held: float, path: str
    ) -> None:
        self._content = content
        self._budget = budget
        self._held = held
        self._path = path

    def __getattr__(self, name: str) -> Any:
        """Delegate everything else to the content."""
        return getattr(self._content, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Yield complete lines, without those that exceed the limit of an answer."""
        line, is_left_out = bytearray(), False
        async for chunk in self._content.iter_chunked(CHUNK_BYTES):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line += end
                if not is_left_out and await self._has_share(line):
                    yield bytes(line) + b"\n"
                line, is_left_out = bytearray(), False
            line += rest
            if len(line) * LEAST > ANSWER_BYTES:
                if not is_left_out:
                    self._report(line)
                line, is_left_out = bytearray(), True
        if line and not is_left_out and await self._has_share(line):
            yield bytes(line)

    async def _has_share(self, line: bytearray) -> bool:
        """Wait for a share for a line; false: it exceeds the limit of an answer."""
        weight = weight_of(line)
        if weight > ANSWER_BYTES:
            self._report(line)
            return False
        part = ResponseShare(self._budget, "")
        while weight > SHARE_STEPS[0]:
            try:
                await part.grow(weight)
                break
            except BudgetExhaustedError:
                _log.warning("a watch waits: other answers use up the memory for answers")
        asyncio.get_running_loop().call_later(self._held, part.give_back)
        return True

    def _report(self, line: bytearray) -> None:
        """Report an event that is left out, by the object's name if its first part has it."""
        match = _NAME.search(line, 0, NAME_WITHIN_BYTES)
        name = match[1].decode() if match else "?"
        _log.warning("%s: an event was left out, too large: %s", self._path, name)
