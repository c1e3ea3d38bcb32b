"""User input -> objects and models; each error has the path of its field.

JSON and YAML, as Kubernetes reads them; only field names of the API are accepted.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rollback_operator.api.safety import MOMENT
from rollback_operator.api.shape import FORMS

Model = TypeVar("Model", bound=BaseModel)


MOST_YAML_NODES = 1_000_000
"""Maximum size of a YAML document with aliases expanded: nine lines can expand to a billion."""


class UnparsableError(ValueError):
    """A text that is neither YAML nor JSON, or has a duplicate key; the message says where."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # either loader
    """YAML as Kubernetes reads it: times stay strings."""


_Loader.yaml_implicit_resolvers = {
    first: [item for item in resolvers if item[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def load_all(text: str) -> list[Any]:
    """Parse a JSON document, or a stream of YAML documents.

    Raises:
        UnparsableError: it is neither, or has a duplicate key, which is ambiguous.
    """
    try:
        return [load_json(text)]
    except UnparsableError:
        raise
    except ValueError:
        pass  # YAML, a superset of JSON except for tabs
    try:
        return list(_yaml_documents(text))
    except UnparsableError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = " ".join(str(error).replace('"<unicode string>", ', "").split())[:300]
        hint = _TABS if _is_indented_by_tab(text, error) else ""
        raise UnparsableError(f"neither YAML nor JSON: {message}{hint}") from None


def load_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is invalid.
        UnparsableError: it has a duplicate key, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise UnparsableError("neither YAML nor JSON: it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = next(name for name, count in names.items() if count > 1)
        raise UnparsableError(f"the key {twice!r} occurs twice")
    return result


def _yaml_documents(text: str) -> Iterator[Any]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            _expect_soundness(node)
            yield loader.construct_document(node)
    finally:
        loader.dispose()


def _expect_soundness(whole: yaml.Node) -> None:
    """Reject duplicate keys, recursive aliases, and aliases that expand beyond the limit."""
    sizes: dict[int, int] = {}
    above: set[int] = set()
    left = [(whole, False)]
    while left:
        node, is_left = left.pop()
        if id(node) in sizes:
            continue
        parts = _parts(node)
        if is_left:
            sizes[id(node)] = size = 1 + sum(sizes[id(item)] for item in parts)
            if size > MOST_YAML_NODES:
                raise UnparsableError(f"its aliases expand to more than {MOST_YAML_NODES} values")
            above.discard(id(node))
            continue
        if id(node) in above:
            line = node.start_mark.line + 1
            raise UnparsableError(f"the value in line {line} contains itself through an alias")
        above.add(id(node))
        left.append((node, True))
        left += [(item, False) for item in parts]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """List the children of a node; merge keys (`<<`) may repeat and be overridden."""
    if not isinstance(node, yaml.MappingNode):
        return list(node.value) if isinstance(node, yaml.SequenceNode) else []
    known = set()
    for key, _ in node.value:
        name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
        if name is not None and name in known and not key.tag.endswith(":merge"):
            line = key.start_mark.line + 1
            raise UnparsableError(f"the key {key.value!r} occurs twice, again in line {line}")
        known.add(name)
    return [item for pair in node.value for item in pair]


_TABS = " (a tab: YAML is indented with spaces)"


def _is_indented_by_tab(text: str, error: Exception) -> bool:
    mark = getattr(error, "problem_mark", None)
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return False
    line = lines[mark.line]
    return "\t" in line[: len(line) - len(line.lstrip())]


def model_as_stored(model: type[Model], raw: Any) -> Model:
    """Parse a model as strictly as the API server: no "60" for 60, no 1 for true.

    Raises:
        ValidationError: a field is missing, wrong, or of another type.
    """
    # In strict mode, pydantic parses enums and times from strings only in JSON.
    text = json.dumps(_whole(raw), default=str)
    return model.model_validate_json(text, strict=True, by_alias=True, by_name=False)


def _whole(raw: Any) -> Any:
    """Convert 60.0 to 60: Kubernetes treats them as equal, and no field is a fraction."""
    if isinstance(raw, Mapping):
        return {str(key): _whole(value) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_whole(item) for item in raw]
    return int(raw) if isinstance(raw, float) and raw.is_integer() else raw


def unknown_keys(model: type[BaseModel], raw: Any, prefix: str = "") -> Iterator[str]:
    """Yield the paths of keys that a model does not have, at any depth."""
    raw = _whole(raw)
    try:
        model.model_validate(raw, by_alias=True, by_name=False, extra="forbid")
    except ValidationError as error:
        for fault in error.errors():
            if fault["type"] == "extra_forbidden":
                yield path_of(raw, fault["loc"], prefix)


def path_of(raw: Any, location: Sequence[int | str], prefix: str = "") -> str:
    """Return a field's path; a location may continue with the name of a union member."""
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


_FORMS = {
    **FORMS,
    MOMENT: "must be a clock time as 22:00, or a date as 2026-12-24T18:00",
}
"""Description of each pattern that users meet."""
_UNQUOTED = {
    "int_type": "must be a whole number, without quotes",
    "bool_type": "must be true or false, without quotes",
}


def fault_of(error: Any) -> str:
    """Describe an error of a ValidationError in words."""
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
    message = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(given, str):
        message = _UNQUOTED.get(error["type"], message)
    if error["type"] == "string_pattern_mismatch":
        message = _FORMS.get(error["ctx"]["pattern"], message)
    return f"{message}{shown}"
