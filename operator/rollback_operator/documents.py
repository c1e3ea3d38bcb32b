"""Policies from files: JSON or YAML, each fault with its field, keys that nobody knows told.

The API server would refuse or drop them later; here all of it is said at once.
"""

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from rollback_operator.api.v1alpha1 import API_VERSION, RollbackPolicy

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
        raw = list(yaml.load_all(path.read_text(), Loader=_Loader))
    except OSError as error:
        return (_bad("", f"{path}: {error.strerror or error}"),)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        return (_bad("", f"{path} is neither YAML nor JSON: {said[:300]}"),)
    objects = [one for one in raw if one is not None]
    wrong = next((one for one in objects if not isinstance(one, Mapping)), None)
    if wrong is not None:
        return (_bad("", f"{path} holds {type(wrong).__name__} where an object is expected"),)
    found = [one for one in objects if one.get("kind", RollbackPolicy.KIND) == RollbackPolicy.KIND]
    if not found:
        return (_bad("kind", f"{path} holds no {RollbackPolicy.KIND}"),)
    return tuple(_document(one, namespace) for one in found)


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: times stay the text that they are."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
        return Document(RollbackPolicy.model_validate(raw), unknown=unknown)
    except ValidationError as error:
        faults = tuple(Fault(path_of(raw, one["loc"]), _told(one)) for one in error.errors())
        return Document(None, faults, unknown)


def type_of_spec() -> type[BaseModel]:
    """Give the model of a policy's spec."""
    found = model_in(RollbackPolicy.model_fields["spec"].annotation)
    assert found is not None
    return found


def unknown_keys(model: type[BaseModel], raw: Any, prefix: str) -> Iterator[str]:
    """Name the keys that a model does not know, at any depth."""
    if not isinstance(raw, Mapping):
        return
    known = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, value in raw.items():
        path = f"{prefix}.{key}"
        if key not in known:
            yield path
            continue
        inner = model_in(known[key])
        if inner is not None:
            several = value if isinstance(value, list) else [value]
            for index, one in enumerate(several):
                at = f"{path}[{index}]" if isinstance(value, list) else path
                yield from unknown_keys(inner, one, at)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the model in a field's type: itself, in a list, or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, tuple, Union, types.UnionType, Annotated):
        found = (model_in(one) for one in get_args(annotation))
        return next((one for one in found if one is not None), None)
    return None


def path_of(raw: Any, location: Sequence[int | str], prefix: str = "") -> str:
    """Write a field's path; a location may go on to name the alternative that was tried."""
    path, value = prefix, raw
    for part in location:
        if isinstance(value, Mapping) and isinstance(part, str):
            path += f".{part}" if path else part
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            path += f"[{part}]"
            value = value[part] if part < len(value) else None
        else:
            break
    return path


def _told(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    given = error.get("input")
    shown = "" if isinstance(given, dict | list) else f" (it is {str(given)[:100]!r})"
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{said}{shown}"


def _bad(path: str, message: str) -> Document:
    return Document(None, (Fault(path, message),))
