"""Memory limits for kopf's requests: the initial lists of its watches, and each line of a watch.

kopf uses an aiohttp session; in this session each list is read within the budget of
`response_budget`, and requested again in smaller pages if it takes too much. An object that alone
exceeds the limit of an answer is passed on without its content (`outlines`), and the log names it.

kopf does not report when it has processed an object. An answer holds its share for a fixed time.
"""

import asyncio
import logging
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
    Oversized,
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
_ERROR = 400


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
        self._regrown: set[str] = set()
        """Paths of lists whose pages grow again, since a single object was too large."""

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
            self._regrown.discard(path)
        while True:
            size = self._sizes.get(path, wanted)
            request.url = request.url.update_query(limit=str(size))
            answer = await send(request)
            if answer.status >= _ERROR or not isinstance(answer, Bounded):
                return answer
            content = await self._read(answer)
            if isinstance(content, Oversized) and size > 1:
                self._sizes[path] = max(1, size // SMALLER)
                continue
            if isinstance(content, Oversized):
                outline = await content.outline("")
                if not outline.is_page:
                    raise aiohttp.ClientPayloadError(f"{path}: an object is too large to be named")
                _log.warning("%s: left out, too large: %s", path, outline.name)
                self._regrown.add(path)
                content = bytearray(outline.list)
            elif path in self._regrown:
                self._sizes[path] = min(2 * size, wanted)
            answer.read_before = content
            return answer

    async def _read(self, answer: ClientResponse) -> bytearray | Oversized:
        part = ResponseShare(self._budget, "")
        try:
            return await bounded(answer, part)
        except BudgetExhaustedError:
            raise aiohttp.ClientPayloadError("the memory for answers is used up") from None
        finally:
            asyncio.get_running_loop().call_later(self._held, part.give_back)


class Lines:
    """The content of a watch, passed on line by line.

    An event that exceeds the limit of an answer is passed on without the content of its object: the
    object may be known, and is not what it was, or is gone.
    """

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
        """Yield complete lines."""
        line, is_cut_off = bytearray(), False
        async for chunk in self._content.iter_chunked(CHUNK_BYTES):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line += b"" if is_cut_off else end
                if passed := await self._passed(line):
                    yield passed + b"\n"
                line, is_cut_off = bytearray(), False
            line += b"" if is_cut_off else rest
            is_cut_off = len(line) * LEAST > ANSWER_BYTES
        if line and (passed := await self._passed(line)):
            yield passed

    async def _passed(self, line: bytearray) -> bytes:
        """Return a line once there is a share for it; empty: it is too large, and names nothing."""
        weight = weight_of(line)
        if weight > ANSWER_BYTES or len(line) * LEAST > ANSWER_BYTES:
            outline = await Oversized(line).outline("")
            _log.warning(
                "%s: an event was left out, too large: %s %s",
                self._path,
                outline.event,
                outline.name,
            )
            return outline.line if outline.identity else b""
        part = ResponseShare(self._budget, "")
        while weight > SHARE_STEPS[0]:
            try:
                await part.grow(weight)
                break
            except BudgetExhaustedError:
                _log.warning("a watch waits: other answers use up the memory for answers")
        asyncio.get_running_loop().call_later(self._held, part.give_back)
        return bytes(line)
