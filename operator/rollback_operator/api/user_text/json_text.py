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


def values_in(text: bytes | bytearray) -> int:
    """Return an upper bound of the number of values in a JSON text, without parsing it."""
    return 1 + sum(map(text.count, (b",", b"[", b"{", b":")))


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
