"""Untrusted JSON: a value or a ValueError, whatever the text contains."""

import json
import re
from typing import Any

_SURROGATES = re.compile(
    r"\\(?:\\|u[dD](?:[89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[89a-fA-F][0-9a-fA-F]{2}))"
)
"""An escaped backslash, a pair, or half of a pair."""
_HALF = 6
"""Characters of half of a pair."""
STRUCTURE = (b",", b"[", b"{", b":")
"""The characters that precede a value or a key."""
_PIECE_BYTES = 1 << 16


def values_in(text: bytes | bytearray) -> int:
    """Return an upper bound of the number of values in a JSON text, without parsing it."""
    return 1 + sum(map(text.count, STRUCTURE))


def values_outside_strings(text: bytes | bytearray, most: int) -> int:
    """Return a closer upper bound, which does not count the characters of strings.

    It ends early, at a number greater than `most`. Of invalid JSON it counts what precedes the
    fault: a parser makes no more.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")  # then every quote is an end
    values, is_inside = 1, False
    for start in range(0, len(text), _PIECE_BYTES):
        parts = text[start : start + _PIECE_BYTES].split(b'"')
        outside = b"".join(parts[is_inside::2])
        values += sum(map(outside.count, STRUCTURE))
        is_inside ^= len(parts) % 2 == 0
        if values > most:
            break
    return values


def parsed(text: str | bytes | bytearray) -> Any:
    """Parse JSON in UTF-8; half of a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: it is invalid, nested too deeply, or has a number of thousands of digits.
    """
    try:
        return json.loads(encodable(text if isinstance(text, str) else text.decode("utf-8-sig")))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def encodable(text: str) -> str:
    """Replace halves of surrogate pairs, which no other program reads and no model takes."""
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _SURROGATES.sub(lambda it: "\\ufffd" if len(it[0]) == _HALF else it[0], text)


def whole(text: str, most: int) -> int | None:
    """Parse a whole number of ASCII digits; None: invalid, or greater than `most`."""
    if not text.isascii() or not text.isdecimal() or len(text.lstrip("0")) > len(str(most)):
        return None
    number = int(text.lstrip("0") or "0")
    return number if number <= most else None
