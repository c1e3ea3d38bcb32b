"""What a person hands in: JSON or YAML into models, with the field that is wrong, or is not known.

A key that this version does not know is ignored and told: a file may be newer than the program.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rollback_operator.documents import model_in, path_of

Model = TypeVar("Model", bound=BaseModel)


class BadFileError(Exception):
    """A file that cannot be used: which field of it, and what is wrong there."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def read_file(path: Path) -> Any:
    """Read a file that holds one JSON or YAML document.

    Raises:
        BadFileError: it cannot be read or parsed; the message names the file.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFileError("", f"{path}: {error}") from None
    try:
        return json.loads(text)
    except ValueError:
        pass  # then it is YAML, of which JSON is nearly a part
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise BadFileError("", f"{path} is neither JSON nor YAML: {error}") from None
    except ValueError as error:  # a date that is none
        raise BadFileError("", f"{path} cannot be read: {error}") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # either one
    """YAML as Kubernetes reads it: times stay the text that they are."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def parsed(model: type[Model], raw: Any, prefix: str = "") -> Model:
    """Make a model from parsed JSON or YAML.

    Raises:
        BadFileError: a field is missing or wrong; the first such field is named.
    """
    if not isinstance(raw, Mapping):
        raise BadFileError(prefix, f"must be an object, not {_kind(raw)}")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadFileError(path_of(raw, first["loc"], prefix), _told(first)) from None


def unknown_keys(model: type[BaseModel], raw: Any, prefix: str = "") -> Iterator[str]:
    """Name the keys that a model does not know, at any depth."""
    if not isinstance(raw, Mapping):
        return
    known = {
        name: field.annotation
        for own, field in model.model_fields.items()
        for name in (own, field.alias or own)
    }
    for key, value in raw.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if key not in known:
            yield path
            continue
        inner = model_in(known[key])
        if inner is None:
            continue
        if isinstance(value, list):
            for index, one in enumerate(value):
                yield from unknown_keys(inner, one, f"{path}[{index}]")
        else:
            yield from unknown_keys(inner, value, path)


def _told(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    given = error.get("input")
    shown = "" if isinstance(given, dict | list) else f" (it is {given!r})"
    return f"{error['msg']}{shown}"


def _kind(value: Any) -> str:
    return {list: "a list", str: "text", type(None): "empty"}.get(type(value), str(type(value)))
