"""kopf's requests, bounded: the lists that its watches begin with, and each line of a watch.

kopf takes a session of aiohttp; in it every list is read with the memory that `room` gives, and
asked for again in smaller pages where it takes too much. An object that alone takes more than an
answer may is left out, and the log names it: a policy that needs it reads it itself, and says why
it cannot.

kopf does not say when it is done with an object. What was read holds its part for a while.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from rollback_operator.adapters.fairness.holdings import BudgetExhaustedError
from rollback_operator.adapters.fairness.slices import apart
from rollback_operator.adapters.kube.room import (
    ANSWER_BYTES,
    LEAST,
    SHARE_STEPS,
    ResponseShare,
    Room,
    bounded,
)
from rollback_operator.adapters.kube.weighing import weight_of
from rollback_operator.api.user_text.json_text import parsed

_log = logging.getLogger(__name__)
SMALLER = 8
HELD_SECONDS = 0.5
LINE_SECONDS = 0.125
"""Of an event: kopf gives it to its handler a tenth of a second later. Held longer, a tenant who
changes a large object again and again would leave the watch behind for everybody.
"""
VALUE_BYTES = 20
"""Of JSON that make a value, more or less."""
CHUNK_BYTES = 64 * 1024
TABLE_MEDIA_TYPE = "application/json;as=Table;g=meta.k8s.io;v=v1"
"""Lists names and how a list goes on, and nothing of the objects."""
_ERROR = 400


class Bounded(ClientResponse):
    """An answer whose content may have been read already."""

    read_before: bytearray | None = None

    async def json(self, **options: Any) -> Any:
        """Parse it; what is large in a thread."""
        content, self.read_before = self.read_before, None
        if content is None:
            return await super().json(**options)
        return await apart("", len(content) // VALUE_BYTES, lambda: parsed(content))


class ReadLimits:
    """Limits what a session reads; to be given to it as a middleware."""

    def __init__(self, room: Room, held: float = HELD_SECONDS) -> None:
        self._room = room
        self._held = held
        self._sizes: dict[str, int] = {}
        """Of the pages of a list, by its path, where they had to be smaller."""

    async def __call__(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        """Send a request, and read what is answered as far as there is room for it."""
        query = request.url.query
        if request.method != "GET" or not {"watch", "limit"} & set(query):
            return await send(request)
        if "watch" in query:
            answer = await send(request)
            if answer.status < _ERROR:
                answer.content = Lines(answer.content, self._room, LINE_SECONDS)  # type: ignore[assignment]
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
                return await self._without_it(request, send)
            self._sizes[path] = max(1, size // SMALLER)

    async def _without_it(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        """Give a page of one object as one of none."""
        request.headers["Accept"] = TABLE_MEDIA_TYPE
        request.url = request.url.update_query(includeObject="None")
        answer = await send(request)
        if answer.status >= _ERROR or not isinstance(answer, Bounded):
            return answer
        content = await self._read(answer)
        if content is None:
            raise aiohttp.ClientPayloadError("the names of a page of one object are too large")
        table = parsed(content)
        names = [str((one.get("cells") or ["?"])[0])[:300] for one in table.get("rows") or ()]
        _log.warning("%s: left out, too large: %s", request.url.path, ", ".join(names))
        page: dict[str, Any] = {"metadata": table.get("metadata") or {}, "items": []}
        answer.read_before = bytearray(json.dumps(page).encode())
        return answer

    async def _read(self, answer: ClientResponse) -> bytearray | None:
        part = ResponseShare(self._room, "")
        try:
            return await bounded(answer, part)
        except BudgetExhaustedError:
            raise aiohttp.ClientPayloadError("there is no room for more answers") from None
        finally:
            asyncio.get_running_loop().call_later(self._held, part.give_back)


class Lines:
    """The content of a watch, given on line by line."""

    def __init__(self, content: aiohttp.StreamReader, room: Room, held: float) -> None:
        self._content = content
        self._room = room
        self._held = held

    def __getattr__(self, name: str) -> Any:
        """Be the content in all else."""
        return getattr(self._content, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Give whole lines; one that would take more than an answer may is left out."""
        line, is_left_out = bytearray(), False
        async for chunk in self._content.iter_chunked(CHUNK_BYTES):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line += end
                if not is_left_out and await self._is_taken(line):
                    yield bytes(line) + b"\n"
                line, is_left_out = bytearray(), False
            line += rest
            if len(line) * LEAST > ANSWER_BYTES:
                line, is_left_out = bytearray(), True
        if line and not is_left_out and await self._is_taken(line):
            yield bytes(line)

    async def _is_taken(self, line: bytearray) -> bool:
        """Wait until there is room for what is made of a line; false: there never is."""
        weight = weight_of(line)
        if weight > ANSWER_BYTES:
            _log.warning("an event of a watch was left out, it is too large")
            return False
        part = ResponseShare(self._room, "")
        while weight > SHARE_STEPS[0]:
            try:
                await part.grow(weight)
                break
            except BudgetExhaustedError:
                _log.warning("a watch waits: other answers hold the memory for them")
        asyncio.get_running_loop().call_later(self._held, part.give_back)
        return True
