"""Untrusted JSON: a value or a ValueError, whatever the text contains."""

import json
from typing import Any

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
    """Parse JSON.

    Raises:
        ValueError: it is invalid, nested too deeply, or has a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole(text: str, most: int) -> int | None:
    """Parse a whole number of ASCII digits; None: invalid, or greater than `most`."""
    if not text.isascii() or not text.isdecimal() or len(text.lstrip("0")) > len(str(most)):
        return None
    number = int(text.lstrip("0") or "0")
    return number if number <= most else None
