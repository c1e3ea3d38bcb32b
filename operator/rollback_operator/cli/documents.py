"""Reads policies from files, JSON or YAML: each fault with its field, and all unknown keys.

The API server would refuse or drop them in turn; here all are reported at once.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from rollback_operator.api.shape import (
    DNS_LABEL_FORM,
    FORMS,
    LONGEST_LABEL,
    LONGEST_NAME,
    OBJECT_FORM,
)
from rollback_operator.api.user_text.documents import (
    UnparsableError,
    fault_of,
    load_all,
    model_as_stored,
    path_of,
    unknown_keys,
)
from rollback_operator.api.v1alpha1 import API_VERSION, RollbackPolicy, RollbackPolicySpec

STANDARD_INPUT = Path("-")
MOST_FILE_BYTES = 8 * 1024 * 1024
"""Of policies and manifests, which people write: parsed, YAML takes more than a hundred times as
much memory. A thousand large manifests fit."""
_NOT_CHECKED = ("apiVersion", "kind", "metadata", "status")


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """A fault in a file, with its field."""

    path: str
    """The field, empty for the file as a whole."""
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """A policy as far as it can be parsed, and all that is wrong with it."""

    policy: RollbackPolicy | None
    faults: tuple[DocumentFault, ...] = ()
    unknown: tuple[str, ...] = ()
    """Keys that no field has: the API server drops them."""


def load_file(
    path: Path, standard_input: TextIO | None = None, most: int | None = None
) -> list[Any]:
    """Parse all documents of a file.

    Args:
        path: of a YAML stream or a JSON document.
        standard_input: what `-` stands for; None: a file of this name.
        most: bytes of the file; None: no limit.

    Raises:
        UnparsableError: the file cannot be read or parsed; the message names it.
    """
    try:
        return load_all(_text_of(path, standard_input, most))
    except OSError as error:
        raise UnparsableError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        message = f"{path} is neither YAML nor JSON: it is not UTF-8: {error}"
        raise UnparsableError(message) from None
    except UnparsableError as error:
        raise UnparsableError(f"{path}: {error}") from None


def _text_of(path: Path, standard_input: TextIO | None, most: int | None) -> str:
    # One more than allowed shows that a file is too long, however long it is: /dev/zero.
    length = -1 if most is None else most + 1
    if standard_input is not None and path == STANDARD_INPUT:
        text = standard_input.read(length)
        is_too_long = most is not None and len(text) > most
    else:
        with path.open("rb") as file:
            content = file.read(length)
        is_too_long = most is not None and len(content) > most
        text = "" if is_too_long else content.decode()
    if is_too_long and most is not None:
        raise UnparsableError(f"is longer than {most // 1024**2} MiB: pass single manifests")
    return text


def objects_in(path: Path, standard_input: TextIO) -> list[Mapping[str, Any]]:
    """Read all objects of a file of manifests, those of Lists too.

    Args:
        path: of a YAML stream or a JSON document; `-` is the standard input.
        standard_input: what `-` stands for.

    Raises:
        UnparsableError: it cannot be read or parsed, is too long, or holds something else.
    """
    loaded = load_file(path, standard_input, MOST_FILE_BYTES)
    objects = [item for each in loaded if each is not None for item in _items(each)]
    wrong = next((item for item in objects if not isinstance(item, Mapping)), None)
    if wrong is not None:
        raise UnparsableError(f"{path} holds {type(wrong).__name__} where an object is expected")
    return objects


def read_policies(
    path: Path, namespace: str, standard_input: TextIO = sys.stdin
) -> tuple[Document, ...]:
    """Read all policies of a file; other objects in it are skipped.

    Args:
        path: of a YAML stream or a JSON document; `-` is the standard input.
        namespace: of a policy that names none.
        standard_input: what `-` stands for.
    """
    try:
        objects = objects_in(path, standard_input)
    except UnparsableError as error:
        return (_faulty("", str(error)),)
    policies = [item for item in objects if item.get("kind", RollbackPolicy.KIND) == _KIND]
    if not policies:
        kinds = ", ".join(sorted({str(item.get("kind")) for item in objects}))
        others = f", only {kinds}" if kinds else ""
        return (_faulty("kind", f"{path} holds no {_KIND}{others}"),)
    return tuple(document_of(item, namespace) for item in policies)


_KIND = RollbackPolicy.KIND


def _items(raw: Any) -> list[Any]:
    """Open a List, as `kubectl get -o yaml` prints it."""
    is_list = isinstance(raw, Mapping) and str(raw.get("kind", "")).endswith("List")
    items = raw.get("items") if is_list else None
    return items if isinstance(items, list) else [raw]


def document_of(raw: Mapping[str, Any], namespace: str) -> Document:
    """Parse a policy.

    Args:
        raw: the object.
        namespace: of a policy that names none.
    """
    version = raw.get("apiVersion")
    if version != API_VERSION:
        return _faulty("apiVersion", f"must be {API_VERSION}, not {version!r}")
    if "kind" not in raw:
        return _faulty("kind", f"is missing: it must be {_KIND}")
    metadata = raw.get("metadata")
    if isinstance(metadata, Mapping):
        raw = {**raw, "metadata": {"namespace": namespace, **metadata}}
    unknown = tuple(unknown_keys(RollbackPolicySpec, raw.get("spec"), "spec")) + tuple(
        str(key) for key in raw if key not in (*_NOT_CHECKED, "spec")
    )
    try:
        policy = model_as_stored(RollbackPolicy, raw)
    except ValidationError as error:
        faults = tuple(
            DocumentFault(path_of(raw, each["loc"]), fault_of(each)) for each in error.errors()
        )
        return Document(None, faults, unknown)
    faults = tuple(wrong_names(*policy.key))
    return Document(None if faults else policy, faults, unknown)


def wrong_names(namespace: str, name: str) -> Iterator[DocumentFault]:
    """Yield the faults of an object's name and namespace, for which the API server refuses it."""
    forms = (
        ("name", name, OBJECT_FORM, LONGEST_NAME),
        ("namespace", namespace, DNS_LABEL_FORM, LONGEST_LABEL),
    )
    for field, text, form, longest in forms:
        if len(text) > longest or not re.fullmatch(form, text):
            yield DocumentFault(f"metadata.{field}", f"{FORMS[form]} (it is {text[:100]!r})")


def _faulty(path: str, message: str) -> Document:
    return Document(None, (DocumentFault(path, message),))
