"""What a person hands in for a replay: files into models, with the first field that is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollback_operator.api.user_text.documents import (
    Model,
    UnparsableError,
    fault_of,
    load_all,
    model_of,
    path_of,
)


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
        found = load_all(path.read_text(encoding="utf-8"))
    except UnparsableError as error:
        raise BadFileError("", f"{path}: {error}") from None
    except OSError as error:
        raise BadFileError("", f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadFileError("", f"{path}: {error}") from None
    if len(found) > 1:
        raise BadFileError("", f"{path} holds {len(found)} documents where one is expected")
    return found[0] if found else None


def parsed(model: type[Model], raw: Any, prefix: str = "") -> Model:
    """Make a model from parsed JSON or YAML.

    Raises:
        BadFileError: a field is missing or wrong; the first such field is named.
    """
    if not isinstance(raw, Mapping):
        raise BadFileError(prefix, f"must be an object, not {_kind(raw)}")
    try:
        return model_of(model, raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadFileError(path_of(raw, first["loc"], prefix), fault_of(first)) from None


def _kind(value: Any) -> str:
    return {list: "a list", str: "text", type(None): "empty"}.get(type(value), str(type(value)))
