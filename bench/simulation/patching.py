"""JSON patch (RFC 6902) as far as the operator uses it: test, add, replace, remove; no arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class PatchError(Exception):
    """A test that failed, or a path that is not there: nothing of the patch is applied."""


def apply(document: dict[str, Any], operations: Iterable[Mapping[str, Any]]) -> None:
    """Apply operations in place; after a PatchError the document is of no use."""
    for one in operations:
        parent, name = _place(document, one["path"], one["op"])
        match one["op"]:
            case "test":
                # As the API server does it: what is not there equals null.
                if parent.get(name) != one["value"]:
                    raise PatchError(f"testing {one['path']}: not as expected")
            case "add":
                parent[name] = one["value"]
            case "replace":
                if name not in parent:
                    raise PatchError(f"replacing {one['path']}: it is not there")
                parent[name] = one["value"]
            case "remove":
                if name not in parent:
                    raise PatchError(f"removing {one['path']}: it is not there")
                del parent[name]
            case other:
                raise NotImplementedError(other)


def _place(document: dict[str, Any], path: str, op: str) -> tuple[dict[str, Any], str]:
    *above, name = [
        part.replace("~1", "/").replace("~0", "~") for part in path.removeprefix("/").split("/")
    ]
    place: Any = document
    for part in above:
        if not isinstance(place, dict) or part not in place:
            raise PatchError(f"{op} {path}: no {part}")
        place = place[part]
    if not isinstance(place, dict):
        raise NotImplementedError(f"{op} {path}: within an array")
    return place, name
