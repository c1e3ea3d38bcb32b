"""What a person hands in: JSON or YAML into models, with the field that is wrong, or is not known.

A key that this version does not know is ignored and told: a file may be newer than the program.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rollback_operator.documents import Loader, field_path, told

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
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise BadFileError("", f"{path} is neither JSON nor YAML: {error}") from None
    except (ValueError, RecursionError) as error:  # a date that is none, brackets without end
        raise BadFileError("", f"{path} cannot be read: {error}") from None


def parsed(model: type[Model], raw: Any, prefix: str = "") -> Model:
    """Make a model from parsed JSON or YAML.

    Raises:
        BadFileError: a field is missing or wrong; the first such field is named.
    """
    if not isinstance(raw, Mapping):
        raise BadFileError(prefix, f"must be an object, not {_kind(raw)}")
    try:
        return model.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadFileError(field_path(raw, first["loc"], prefix), told(first)) from None


def _kind(value: Any) -> str:
    return {list: "a list", str: "text", type(None): "empty"}.get(type(value), str(type(value)))
