"""Every field of both CRDs' specs, found by walking their schemas, and how to put a value there.

A path is written `spec.matrix[].when[].query`; `matchers{}` is the values of a map.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lab import chart

Manifest = dict[str, Any]
_PARTS = re.compile(r"[^.\[\]{}]+|\[\]|\{\}")


@dataclass(frozen=True)
class Field:
    """A field, an item of a list, or the values of a map."""

    kind: str
    path: str
    schema: Mapping[str, Any]
    is_required: bool = False

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.path}"

    @property
    def leaf(self) -> str:
        return self.parts[-1] if self.parts[-1] not in ("[]", "{}") else self.parts[-2]

    @property
    def parts(self) -> list[str]:
        return _PARTS.findall(self.path)

    def is_named_in(self, message: str) -> bool:
        """Tell whether a refusal names this field, or the group that it is in and the field."""
        whole = _pattern(self.path)
        parent = _pattern(self.path.rpartition(".")[0])
        is_whole = re.search(rf"{whole}(?![A-Za-z])", message) is not None
        return is_whole or (re.search(parent, message) is not None and self.leaf in message)


def _pattern(path: str) -> str:
    escaped = re.escape(path)
    return escaped.replace(r"\[\]", r"(\[\d+\])?").replace(r"\{\}", r"(\.[^:]*)?")


@cache
def schema_of(kind: str) -> Mapping[str, Any]:
    """Give the schema of a kind's spec, as the API server has it."""
    for one in chart.crds():
        if one["spec"]["names"]["kind"] == kind:
            (version,) = one["spec"]["versions"]
            found: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
            return found
    raise LookupError(kind)


@cache
def fields_of(kind: str) -> tuple[Field, ...]:
    """Give every field of a kind's spec that holds a value or a list of them."""
    return tuple(_walk(kind, "spec", schema_of(kind), is_required=True))


def _walk(kind: str, path: str, node: Mapping[str, Any], is_required: bool) -> Iterator[Field]:
    if "properties" in node:
        required = node.get("required", ())
        for name, child in node["properties"].items():
            yield from _walk(kind, f"{path}.{name}", child, name in required)
        return
    yield Field(kind, path, node, is_required)
    if node["type"] == "array":
        items = node["items"]
        yield from _walk(kind, f"{path}[]", items, is_required=True)
    elif "additionalProperties" in node:
        yield from _walk(kind, f"{path}{{}}", node["additionalProperties"], is_required=True)


def has(manifest: Mapping[str, Any], field: Field) -> bool:
    """Tell whether a manifest has a value there."""
    return _holder(manifest, field.parts) is not None


def put(manifest: Mapping[str, Any], field: Field, value: Any) -> Manifest:
    """Give the manifest with this value there, in the first place where it has one."""
    made = copy.deepcopy(dict(manifest))
    holder = _holder(made, field.parts)
    assert holder is not None, f"the manifest has no {field.path}"
    container, key = holder
    container[key] = value
    return made


def _holder(node: Any, parts: list[str]) -> tuple[Any, Any] | None:
    """Find what holds the value, and by what: the first item of each list that leads there."""
    first, rest = parts[0], parts[1:]
    keys: list[Any] = [first]
    if first in ("[]", "{}"):
        keys = list(range(len(node)) if first == "[]" else node)
    for key in keys:
        if isinstance(node, Mapping) and key not in node:
            continue
        found = (node, key) if not rest else _holder(node[key], rest)
        if found is not None:
            return found
    return None
