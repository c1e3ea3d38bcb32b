"""JSON that others wrote: a value, or a ValueError, whatever stands there."""

import json
from typing import Any


def values_in(text: bytes | bytearray) -> int:
    """Count how many values a JSON text makes at most, without making any."""
    return 1 + sum(map(text.count, (b",", b"[", b"{", b":")))


def parsed(text: str | bytes | bytearray) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is none, is nested too deeply, or holds a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole(text: str, most: int) -> int | None:
    """Read a whole number of ASCII digits; None: it is none, or more than `most`."""
    if not text.isascii() or not text.isdecimal() or len(text.lstrip("0")) > len(str(most)):
        return None
    found = int(text.lstrip("0") or "0")
    return found if found <= most else None
