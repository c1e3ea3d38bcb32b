"""Untrusted JSON: a value or a ValueError, whatever the text contains."""

import json
from typing import Any


def values_in(text: bytes | bytearray) -> int:
    """Return an upper bound of the number of values in a JSON text, without parsing it."""
    return 1 + sum(map(text.count, (b",", b"[", b"{", b":")))


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
