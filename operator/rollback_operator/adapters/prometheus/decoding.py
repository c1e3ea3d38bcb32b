"""An answer's bytes -> JSON: unpacked piece by piece, its values counted before they are made."""

import zlib
from collections.abc import Iterator
from json import JSONDecoder
from typing import Any

from rollback_operator.api.user_text.json_text import parsed

CHUNK_BYTES = 65536
SAMPLE_VALUE_BYTES = 64
"""What a value of JSON takes in memory, on average of a sample's: list, time and number."""
_ANY_ZLIB = 47
"""zlib's word for gzip or zlib, whichever the header says."""
_RESULT = '"result":['
_DECODER = JSONDecoder()


class Unpacking:
    """Unpacks an answer; however little came in, no more than a chunk comes out at once."""

    def __init__(self, encoding: str) -> None:
        """Begin.

        Raises:
            ValueError: this encoding was not asked for.
        """
        known = encoding.strip().lower()
        if known not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ValueError(f"the answer is encoded as {known[:40]}, which was not asked for")
        is_packed = known not in ("", "identity")
        self._unpacker = zlib.decompressobj(_ANY_ZLIB) if is_packed else None

    def of(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack what came.

        Raises:
            ValueError: it cannot be unpacked.
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


def decoded(body: bytes) -> Any:
    """Parse an answer, series by series where it has any: other threads go on in between.

    Raises:
        ValueError: it is no JSON.
    """
    text = body.decode()
    begin = text.find(_RESULT)
    if begin < 0:
        return parsed(text)
    begin += len(_RESULT)
    try:
        series, end = _listed(text, begin)
    except (IndexError, RecursionError):
        raise ValueError("a list does not end, or is nested too deeply") from None
    whole = parsed(text[:begin] + text[end:])
    found = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(found, dict) or found.get("result") != []:
        return parsed(text)  # the list is another one
    found["result"] = series
    return whole


def _listed(text: str, at: int) -> tuple[list[Any], int]:
    """Parse what a list holds; gives where its end stands."""
    found: list[Any] = []
    at = _past_blanks(text, at)
    while text[at] != "]":
        if found:
            if text[at] != ",":
                raise ValueError("a list goes on without a comma")
            at = _past_blanks(text, at + 1)
        one, at = _DECODER.raw_decode(text, at)
        found.append(one)
        at = _past_blanks(text, at)
    return found, at


def _past_blanks(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
