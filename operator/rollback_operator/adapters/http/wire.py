"""Bounds what a server sends beside the body: headers, interim answers, chunk frames, surplus.

Callers bound the body only. aiohttp parses all that a read of the socket returns in one callback,
up to 256 KiB: 15,000 interim answers take a tenth of a second, and a server may send them for ever.
"""

from collections import deque
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception

MOST_HEAD_BYTES = 64 * 1024
"""Before and in the headers of the answer, interim answers included."""
MOST_FRAME_BYTES = 64 * 1024
"""Of chunk frames and trailers, beside a byte for each byte of the body."""
MOST_INTERIM_ANSWERS = 8
_PIECE_BYTES = 4096
"""Parsed at once, so that an excess is seen after 200 answers of the smallest size."""
_EXPECTED = (OSError, aiohttp.ClientError)
_INVALID = "the answer is not valid HTTP"


class CountedConnector(aiohttp.TCPConnector):
    """Connects to servers that may send anything."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp has no public parameter to choose the protocol of a connection.
        protocol: type[ResponseHandler] = _CountedResponses
        self._factory = partial(protocol, loop=self._loop)


class _CountedResponses(ResponseHandler):
    """Parses in pieces, and closes the connection as soon as the server sends too much."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._pieces: deque[bytes] = deque()
        self._excess: OSError | None = None
        self._forget()

    def _forget(self) -> None:
        self._fed = self._interim = self._answers = 0
        self._content: Any = None

    @property
    def should_close(self) -> bool:
        """Whether no other request may be sent."""
        return super().should_close or bool(self._pieces)

    def set_response_params(self, **params: Any) -> None:
        """Count anew for the next request."""
        self._forget()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Parse what arrives, until the body's reader is behind."""
        if not data:  # the body's reader goes on
            super().data_received(data)
        steps = range(0, len(data), _PIECE_BYTES)
        self._pieces.extend(data[begin : begin + _PIECE_BYTES] for begin in steps)
        while self._pieces and not self._reading_paused:
            self._parse_next()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Parse the rest: TLS reports the end also while reading is paused."""
        while self._pieces:
            self._parse_next()
        super().connection_lost(exc)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Count an answer."""
        message, content = data
        if 100 <= message.code < 200 and message.code != 101:  # noqa: PLR2004 (HTTP)
            self._interim += 1
        else:
            self._answers += 1
            self._content = content if self._content is None else self._content
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *exc_cause: BaseException) -> None:
        """Keep the first cause, and end the body too: aiohttp leaves its reader waiting."""
        cause = self._excess or exc
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            # An error of the parser is none that a client of aiohttp expects.
            set_exception(body, cause if isinstance(cause, _EXPECTED) else OSError(_INVALID))
        super().set_exception(cause, *exc_cause)

    def _parse_next(self) -> None:
        piece = self._pieces.popleft()
        is_parsed = self._parser is not None
        super().data_received(piece)
        if is_parsed and self._excess is None:
            self._fed += len(piece)
            if excess := self._found_excess():
                self._refuse(OSError(f"the server sends {excess}"))

    def _found_excess(self) -> str:
        if self._content is None:
            if self._interim > MOST_INTERIM_ANSWERS:
                return f"more than {MOST_INTERIM_ANSWERS} interim answers (1xx) before the answer"
            is_long = self._fed > MOST_HEAD_BYTES
            return f"more than {MOST_HEAD_BYTES >> 10} KiB before the body" if is_long else ""
        if self._answers > 1:
            return "more than one answer to a request"
        beside = self._fed - 2 * self._content.total_bytes
        is_framed = beside > MOST_HEAD_BYTES + MOST_FRAME_BYTES
        return "more chunk frames and trailers than body" if is_framed else ""

    def _refuse(self, excess: OSError) -> None:
        self._excess = excess
        self._pieces.clear()
        self.set_exception(excess)
        self._payload = self._parser = None  # what they report at the end hides the cause
        if self.transport is not None:
            self.transport.abort()
