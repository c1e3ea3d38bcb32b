"""Text that a person wrote -> objects and models, each fault with the path of its field.

JSON and YAML, as Kubernetes reads them; fields by the names that the API has, no others.
"""

import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


class UnparsableError(ValueError):
    """A text that is neither YAML nor JSON; says where it ceases to be one."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # either one
    """YAML as Kubernetes reads it: times stay the text that they are."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def load_all(text: str) -> list[Any]:
    """Parse a JSON document, or a stream of YAML documents.

    Raises:
        UnparsableError: it is neither.
    """
    try:
        return [json.loads(text)]
    except ValueError:
        pass  # then it is YAML, of which JSON is nearly a part: tabs are not
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnparsableError(" ".join(str(error).split())[:300]) from None


def model_of(model: type[Model], raw: Any) -> Model:
    """Make a model from an object whose fields have the API's names.

    Raises:
        ValidationError: a field is missing or wrong.
    """
    return model.model_validate(raw, by_alias=True, by_name=False)


def unknown_keys(model: type[BaseModel], raw: Any, prefix: str = "") -> Iterator[str]:
    """Name the keys that a model does not know, at any depth."""
    if not isinstance(raw, Mapping):
        return
    known = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, value in raw.items():
        path = f"{prefix}.{key}" if prefix else str(key)
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


_SHAPES = {
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def fault_of(error: Any) -> str:
    """Say what is wrong with a field: one of a ValidationError's errors, in words."""
    if error["type"] == "missing":
        return "is missing"
    given = error.get("input")
    if error["type"] in _SHAPES:
        return f"must be {_SHAPES[error['type']]}"
    if error["type"] == "string_type" and isinstance(given, int | float):
        return f"must be a string: write {json.dumps(str(given))}, in quotes"
    if error["type"] == "too_short":
        return f"must hold at least {error['ctx']['min_length']}"
    shown = "" if isinstance(given, dict | list) else f" (it is {str(given)[:100]!r})"
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{said}{shown}"
