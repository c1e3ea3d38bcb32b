"""What a JSON text takes in memory once it is parsed, counted before anything of it is made.

A small text can become large: `[[],[],...]` takes twenty times its bytes, and one character outside
of the Basic Multilingual Plane makes four bytes of every character of its text.
"""

from rollback_operator.api.user_text.json_text import values_in

VALUE_MEMORY_BYTES = 96
"""What a value takes beside its characters, on average; the densest text stays below it."""
_NARROW = bytes(range(0xF0))
"""Bytes of characters that take two bytes at most, or one."""
_ASCII_BYTES, _PLANE_BYTES, _WIDE_BYTES = 1, 2, 4


def weight_of(text: bytes | bytearray) -> int:
    """Count how many bytes a text, its decoded characters and its values take at most."""
    return len(text) * (1 + 2 * _width(text)) + values_in(text) * VALUE_MEMORY_BYTES


def _width(text: bytes | bytearray) -> int:
    """Tell how many bytes a character takes in memory, in the text's widest string."""
    if text.count(b"\\u") > text.count(b"\\u00"):  # an escape of more than U+00FF
        return _WIDE_BYTES
    if text.isascii():
        return _ASCII_BYTES
    return _WIDE_BYTES if text.translate(None, _NARROW) else _PLANE_BYTES
