"""The identity of an object whose JSON would take too much memory if it were parsed.

The watches and lists pass on an object that is too large as its identity with a mark, so that what
knows the object learns that it changed, or is gone, and never waits for it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IDENTITY = ("namespace", "name", "uid", "resourceVersion")
TOO_LARGE_MARK = "tooLargeToRead"
"""A field that no object of the API server has: unknown fields are pruned."""
MOST_TEXT = 4096
"""Bytes of a text; a longer text is not an identity, nor a continue token."""
_TOKEN = re.compile(rb'"(?:[^"\\\\]++|\\\\.)*+"?|[\[\]{}]', re.DOTALL)  # possessive: linear
_PAGE, _ITEM, _EVENT = ("metadata",), ("items", "", "metadata"), ("object", "metadata")
_KIND = ("apiVersion", "kind")
_WANTED = {
    ("type",),
    (*_PAGE, "continue"),
    *((*place, key) for place in (_PAGE, _ITEM, _EVENT) for key in IDENTITY),
    *((*place[:-1], key) for place in (_PAGE, _ITEM, _EVENT) for key in _KIND),
}
_DEEPEST = 4
_OPEN = (b"{", b"[")


@dataclass(frozen=True, slots=True)
class Outline:
    """What an answer with one object, or an event, says about the object, without its content."""

    identity: dict[str, Any] = field(default_factory=dict)
    """Metadata with the keys of `IDENTITY`; empty: there is none."""
    page: Mapping[str, str] = field(default_factory=dict)
    """Texts of the metadata of the list."""
    kind: Mapping[str, str] = field(default_factory=dict)
    """apiVersion and kind of the object."""
    event: str = ""
    """Type of the event."""

    @property
    def name(self) -> str:
        """Namespace and name."""
        return "/".join(self.identity[key] for key in IDENTITY[:2] if key in self.identity)

    @property
    def is_page(self) -> bool:
        """Report whether it names the object of a list, and where the list goes on."""
        return bool(self.identity) and "resourceVersion" in self.page

    @property
    def stub(self) -> dict[str, Any]:
        """The object without its content, marked."""
        return {**self.kind, "metadata": self.identity, TOO_LARGE_MARK: True}

    @property
    def line(self) -> bytes:
        """The event, with the stub of its object."""
        return json.dumps({"type": self.event, "object": self.stub}).encode()

    @property
    def list(self) -> bytes:
        """The page, with the stub of its object."""
        return json.dumps({"metadata": dict(self.page), "items": [self.stub]}).encode()


def is_stub(raw: Mapping[str, Any]) -> bool:
    """Report whether an object is passed on without its content."""
    return TOO_LARGE_MARK in raw


def outline_of(content: bytes | bytearray) -> Outline:
    """Read an object, a list of a single object, or an event; the content may be cut off."""
    texts = _texts(content)
    at = next((place for place in (_ITEM, _EVENT, _PAGE) if (*place, "name") in texts), _PAGE)
    identity = {key: texts[*at, key] for key in IDENTITY if (*at, key) in texts}
    above = at[:-1]
    return Outline(
        identity if "name" in identity else {},
        {key[1]: text for key, text in texts.items() if key[:-1] == _PAGE},
        {key: texts[*above, key] for key in _KIND if (*above, key) in texts},
        texts.get(("type",), ""),
    )


def _texts(content: bytes | bytearray) -> dict[tuple[str, ...], str]:
    """Collect the texts at the places of metadata."""
    texts: dict[tuple[str, ...], str] = {}
    keys, depth = [""] * (_DEEPEST + 1), 0
    for match in _TOKEN.finditer(content):
        token = match[0]
        if token in _OPEN:
            depth += 1
            if depth <= _DEEPEST:
                keys[depth] = ""
        elif token[:1] != b'"':
            depth -= 1
        elif 0 < depth <= _DEEPEST:
            if content[match.end() : match.end() + 1] == b":":
                keys[depth] = _text(token)
            elif (place := tuple(keys[1 : depth + 1])) in _WANTED:
                texts.setdefault(place, _text(token))
    return texts


def _text(token: bytes) -> str:
    if len(token) > MOST_TEXT:
        return ""
    try:
        return str(json.loads(token))
    except ValueError:  # cut off
        return ""
