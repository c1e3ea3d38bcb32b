"""Policies from files: JSON or YAML, each fault with its field, keys that nobody knows told.

The API server would refuse or drop them later; here all of it is said at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rollback_operator.api.v1alpha1 import API_VERSION, RollbackPolicy
from rollback_operator.parsing import (
    UnparsableError,
    fault_of,
    load_all,
    model_in,
    model_of,
    path_of,
    unknown_keys,
)

_NOT_OURS = ("apiVersion", "kind", "metadata", "status")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a file, and where."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """One policy of a file."""

    policy: RollbackPolicy | None
    faults: tuple[Fault, ...] = ()
    unknown: tuple[str, ...] = ()
    """Keys that no field has: the API server drops them."""


def read(path: Path, namespace: str) -> tuple[Document, ...]:
    """Read all policies of a file; other objects in it are left alone.

    Args:
        path: of a YAML stream or a JSON document.
        namespace: of a policy that names none.
    """
    try:
        raw = load_all(path.read_text())
    except OSError as error:
        return (_bad("", f"{path}: {error.strerror or error}"),)
    except (UnparsableError, UnicodeDecodeError) as error:
        return (_bad("", f"{path} is neither YAML nor JSON: {error}"),)
    objects = [one for one in raw if one is not None]
    wrong = next((one for one in objects if not isinstance(one, Mapping)), None)
    if wrong is not None:
        return (_bad("", f"{path} holds {type(wrong).__name__} where an object is expected"),)
    found = [one for one in objects if one.get("kind", RollbackPolicy.KIND) == RollbackPolicy.KIND]
    if not found:
        return (_bad("kind", f"{path} holds no {RollbackPolicy.KIND}"),)
    return tuple(_document(one, namespace) for one in found)


def _document(raw: Mapping[str, Any], namespace: str) -> Document:
    version = raw.get("apiVersion")
    if version != API_VERSION:
        return _bad("apiVersion", f"must be {API_VERSION}, not {version!r}")
    metadata = raw.get("metadata")
    if isinstance(metadata, Mapping):
        raw = {**raw, "metadata": {"namespace": namespace, **metadata}}
    unknown = tuple(unknown_keys(type_of_spec(), raw.get("spec"), "spec")) + tuple(
        str(one) for one in raw if one not in (*_NOT_OURS, "spec")
    )
    try:
        return Document(model_of(RollbackPolicy, raw), unknown=unknown)
    except ValidationError as error:
        faults = tuple(Fault(path_of(raw, one["loc"]), fault_of(one)) for one in error.errors())
        return Document(None, faults, unknown)


def type_of_spec() -> type[BaseModel]:
    """Give the model of a policy's spec."""
    found = model_in(RollbackPolicy.model_fields["spec"].annotation)
    assert found is not None
    return found


def _bad(path: str, message: str) -> Document:
    return Document(None, (Fault(path, message),))
