"""Policies from files: JSON or YAML, each fault with its field, keys that nobody knows told.

The API server would refuse or drop them later; here all of it is said at once.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel, ValidationError

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
    model_in,
    path_of,
    unknown_keys,
)
from rollback_operator.api.v1alpha1 import API_VERSION, RollbackPolicy

STANDARD_INPUT = Path("-")
_NOT_OURS = ("apiVersion", "kind", "metadata", "status")


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """What is wrong in a file, and where."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """One policy of a file."""

    policy: RollbackPolicy | None
    faults: tuple[DocumentFault, ...] = ()
    unknown: tuple[str, ...] = ()
    """Keys that no field has: the API server drops them."""


def read(path: Path, namespace: str, standard_input: TextIO = sys.stdin) -> tuple[Document, ...]:
    """Read all policies of a file; other objects in it are left alone.

    Args:
        path: of a YAML stream or a JSON document; `-`: standard input.
        namespace: of a policy that names none.
        standard_input: what `-` stands for.
    """
    try:
        is_given = path == STANDARD_INPUT
        text = standard_input.read() if is_given else path.read_text(encoding="utf-8")
        raw = load_all(text)
    except OSError as error:
        return (_bad("", f"{path}: {error.strerror or error}"),)
    except UnicodeDecodeError as error:
        return (_bad("", f"{path} is neither YAML nor JSON, but no UTF-8: {error}"),)
    except UnparsableError as error:
        return (_bad("", f"{path}: {error}"),)
    objects = [one for each in raw if each is not None for one in _listed(each)]
    wrong = next((one for one in objects if not isinstance(one, Mapping)), None)
    if wrong is not None:
        return (_bad("", f"{path} holds {type(wrong).__name__} where an object is expected"),)
    found = [one for one in objects if one.get("kind", RollbackPolicy.KIND) == RollbackPolicy.KIND]
    if not found:
        kinds = ", ".join(sorted({str(one.get("kind")) for one in objects}))
        but = f", only {kinds}" if kinds else ""
        return (_bad("kind", f"{path} holds no {RollbackPolicy.KIND}{but}"),)
    return tuple(_document(one, namespace) for one in found)


def _listed(one: Any) -> list[Any]:
    """Open a List, as `kubectl get -o yaml` prints one."""
    is_list = isinstance(one, Mapping) and str(one.get("kind", "")).endswith("List")
    items = one.get("items") if is_list else None
    return items if isinstance(items, list) else [one]


def _document(raw: Mapping[str, Any], namespace: str) -> Document:
    version = raw.get("apiVersion")
    if version != API_VERSION:
        return _bad("apiVersion", f"must be {API_VERSION}, not {version!r}")
    if "kind" not in raw:
        return _bad("kind", f"is missing: it must be {RollbackPolicy.KIND}")
    metadata = raw.get("metadata")
    if isinstance(metadata, Mapping):
        raw = {**raw, "metadata": {"namespace": namespace, **metadata}}
    unknown = tuple(unknown_keys(type_of_spec(), raw.get("spec"), "spec")) + tuple(
        str(one) for one in raw if one not in (*_NOT_OURS, "spec")
    )
    try:
        policy = model_as_stored(RollbackPolicy, raw)
    except ValidationError as error:
        faults = tuple(
            DocumentFault(path_of(raw, one["loc"]), fault_of(one)) for one in error.errors()
        )
        return Document(None, faults, unknown)
    faults = tuple(_misnamed(policy))
    return Document(None if faults else policy, faults, unknown)


def _misnamed(policy: RollbackPolicy) -> Iterator[DocumentFault]:
    """Tell which names the API server would not take."""
    forms = {"name": (OBJECT_FORM, LONGEST_NAME), "namespace": (DNS_LABEL_FORM, LONGEST_LABEL)}
    for field, given in zip(forms, reversed(policy.key), strict=True):
        form, most = forms[field]
        if len(given) > most or not re.fullmatch(form, given):
            yield DocumentFault(f"metadata.{field}", f"{FORMS[form]} (it is {given[:100]!r})")


def type_of_spec() -> type[BaseModel]:
    """Give the model of a policy's spec."""
    found = model_in(RollbackPolicy.model_fields["spec"].annotation)
    assert found is not None
    return found


def _bad(path: str, message: str) -> Document:
    return Document(None, (DocumentFault(path, message),))
