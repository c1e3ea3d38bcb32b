"""Turns the files of a replay into models, or names the first field that is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollback_operator.api.user_text.documents import (
    Model,
    UnparsableError,
    fault_of,
    path_of,
)
from rollback_operator.cli.documents import load_file


class BadFileError(Exception):
    """A file or an option that cannot be used: the field, and what is wrong with it."""

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
        documents = load_file(path)
    except UnparsableError as error:
        raise BadFileError("", str(error)) from None
    if len(documents) > 1:
        raise BadFileError(
            "", f"{path} holds {len(documents)} documents, but must hold a single document"
        )
    return documents[0] if documents else None


def parse_model(model: type[Model], raw: Any, prefix: str = "") -> Model:
    """Make a model from parsed JSON or YAML.

    Raises:
        BadFileError: a field is missing or wrong; the first such field is named.
    """
    if not isinstance(raw, Mapping):
        kinds = {list: "a list", str: "text", type(None): "empty"}
        raise BadFileError(prefix, f"must be an object, not {kinds.get(type(raw), type(raw))}")
    try:
        return model.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadFileError(path_of(raw, first["loc"], prefix), fault_of(first)) from None
