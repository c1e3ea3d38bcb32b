"""Base of the kinds, their metadata and conditions, and the CRD of a kind.

Pydantic emits JSON Schema 2020; the API server requires OpenAPI 3.0 without references and type
unions (KEP-2335). A model without a structural form raises an error.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BeforeValidator, Field

from rollback_operator.api.shape import Model

GROUP = "rollback.tickettoken.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/open-step"
HOLD_FINALIZER = f"{GROUP}/held-rollout"
"""Set on a policy only while it holds a rollout, which is resumed before the deletion."""
BOUNDS_FINALIZER = f"{GROUP}/raised-bounds"
"""Set on a Rollback while it raises an autoscaler's bounds: only its status has the original
bounds."""
OWNER_FINALIZER = f"{GROUP}/suspended-owner"
"""Set on a Rollback while it suspends the GitOps owner: only its status has the original state."""
TRAFFIC_FINALIZER = f"{GROUP}/stopped-traffic"
"""Set on a Rollback while it stops the traffic: only its status has the original state."""
FIELD_MANAGER = "rollback-operator"
LONGEST_REASON = 1024
"""Maximum length of a person's reason, in characters."""


class Condition(Model):
    """Condition of the object, in the standard Kubernetes form."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Type of the condition, in CamelCase."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """metadata.generation for which the condition was set."""
    last_transition_time: AwareDatetime
    """Time of the last change of `status`."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Reason for the last transition, in CamelCase."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Human-readable explanation."""


def _own(annotations: Any) -> Any:
    if not isinstance(annotations, dict):
        return annotations
    return {key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")}


LENDING_FIELDS = (
    ("database", "rollbackMigrations"),
    ("database", "onCorruption"),
    ("safety", "gitOps"),
)
"""Fields of a policy's spec that may add rights to those of a manual request (`model/rights`)."""


def _lending_time(entries: Any) -> datetime | None:
    """Return the time by which these fields had their values; None: it is not recorded.

    The API server renews the time of a client with each of its changes: that of the field may be
    older, and is not newer.
    """
    times = [
        str(entry["time"])
        for entry in (entries if isinstance(entries, list) else ())
        if entry.get("time") and not entry.get("subresource") and _owns(entry, LENDING_FIELDS)
    ]
    return datetime.fromisoformat(max(times)) if times else None


def _owns(entry: Mapping[str, Any], paths: Iterable[Iterable[str]]) -> bool:
    for path in paths:
        fields = entry.get("fieldsV1")
        for name in ("spec", *path):
            fields = fields.get(f"f:{name}") if isinstance(fields, Mapping) else None
        if isinstance(fields, Mapping):
            return True
    return False


class ObjectMeta(Model):
    """Object metadata that the operator uses."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    finalizers: list[str] = []
    annotations: Annotated[dict[str, str], BeforeValidator(_own)] = {}
    """Annotations of this API group. Other annotations are discarded on read."""
    lending_time: Annotated[
        AwareDatetime | None,
        BeforeValidator(_lending_time),
        Field(validation_alias="managedFields"),
    ] = None
    """Of a policy: when `LENDING_FIELDS` had their values at the latest, in whole seconds."""


class Resource(Model):
    """Base of the kinds of this API group."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT: ClassVar[str]
    COLUMNS: ClassVar[tuple[dict[str, Any], ...]]
    RULES: ClassVar[tuple[dict[str, Any], ...]] = ()
    """CEL rules of the whole object."""

    metadata: ObjectMeta

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name


_KEPT = (
    "description",
    "type",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "format",
)


class NotStructuralError(TypeError):
    """A model has no structural schema; the message contains the path of the field."""


def custom_resource_definition(kind: type[Resource]) -> dict[str, Any]:
    """Return the CRD of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": kind.PLURAL,
                "singular": kind.KIND.lower(),
                "shortNames": [kind.SHORT],
                "categories": ["rollback-operator"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [dict(column) for column in kind.COLUMNS],
                    "schema": {"openAPIV3Schema": _root(kind)},
                }
            ],
        },
    }


def _root(kind: type[Resource]) -> dict[str, Any]:
    full = kind.model_json_schema(by_alias=True, mode="validation")
    definitions = full.get("$defs", {})
    spec, status = (
        structural(full["properties"][part], definitions, path=part) for part in ("spec", "status")
    )
    rules = {"x-kubernetes-validations": list(kind.RULES)} if kind.RULES else {}
    return {
        "type": "object",
        "description": (kind.__doc__ or "").strip(),
        **rules,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }


def structural(
    node: Mapping[str, Any], definitions: Mapping[str, Any], path: str = ""
) -> dict[str, Any]:
    """Convert a node of a pydantic JSON schema to its structural form.

    Raises:
        NotStructuralError: a union other than `X | None`, a tuple, or a node without a type.
    """
    node = _resolved(node, definitions, path)
    schema = {key: node[key] for key in _KEPT if key in node}
    schema |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    if "const" in node:
        schema["enum"] = [node["const"]]
    match schema.get("type"):
        case "object":
            schema |= _object(node, definitions, path)
        case "array":
            if "items" not in node:
                raise NotStructuralError(f"{path}: an array needs items of one type")
            schema["items"] = structural(node["items"], definitions, f"{path}[]")
        case "string" | "integer" | "boolean":
            pass
        case other:
            raise NotStructuralError(f"{path}: type {other!r} has no structural form")
    if schema.get("format") == "date-time":
        schema["maxLength"] = 64  # bounds the cost of CEL rules over it
    return _unwrapped(schema)


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    merged = dict(node)
    while "$ref" in merged or "anyOf" in merged:
        if "$ref" in merged:
            name = merged.pop("$ref").rsplit("/", 1)[-1]
            # Keys beside the reference, such as a field's description, override the type's.
            merged = dict(definitions[name]) | merged
            continue
        options = [option for option in merged.pop("anyOf") if option.get("type") != "null"]
        if len(options) != 1:
            raise NotStructuralError(f"{path}: a union has no structural form")
        merged = dict(options[0]) | merged
    return merged


def _object(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    if "properties" not in node:
        values = node.get("additionalProperties")
        if not isinstance(values, Mapping):
            raise NotStructuralError(f"{path}: a map needs values of one type")
        return {"additionalProperties": structural(values, definitions, f"{path}.*")}
    made: dict[str, Any] = {
        "properties": {
            name: structural(child, definitions, f"{path}.{name}")
            for name, child in node["properties"].items()
        }
    }
    if node.get("required"):
        made["required"] = sorted(node["required"])
    return made


def _unwrapped(node: dict[str, Any]) -> dict[str, Any]:
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    return node
