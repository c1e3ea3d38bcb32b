"""The examples fit the API, its schema and its models, and the full one is full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rollback_operator.api.crd import custom_resource_definition
from rollback_operator.api.v1alpha1 import RollbackPolicy, RollbackPolicySpec, Trust

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
FULL = next(path for path in EXAMPLES if path.stem == "policy-ticket-service")
OTHER_REMEDIES = {"revision", "container", "image", "replicas", "flag", "restore"} | {
    f"flag.{one}"
    for one in ("name", "value", "configMapRef", "configMapRef.name", "env", "env.container")
}


def _schema() -> dict[str, Any]:
    definition = custom_resource_definition(RollbackPolicy)
    found: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _closed(node: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as `--validate=strict` applies it: a field that it does not know is a fault."""
    found = dict(node)
    if "properties" in node:
        found["properties"] = {name: _closed(each) for name, each in node["properties"].items()}
        found["additionalProperties"] = False
    if "items" in node:
        found["items"] = _closed(node["items"])
    return found


def _paths(node: Mapping[str, Any], path: str = "spec") -> Iterator[str]:
    yield path
    for name, child in node.get("properties", {}).items():
        yield from _paths(child, f"{path}.{name}")
    if "items" in node:
        yield from _paths(node["items"], path)


def _used(node: Any, path: str = "spec") -> Iterator[str]:
    yield path
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _used(child, f"{path}.{name}")
    elif isinstance(node, list):
        for child in node:
            yield from _used(child, path)


QUERY_ONLY = ("query", "name", "below", "changeAbove", "times", "looks")


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_the_schema_and_the_model(path: Path) -> None:
    example = _load(path)
    metadata = example["metadata"]

    schema = _closed(_schema())
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(example, schema)
    policy = RollbackPolicy.model_validate(example)

    assert policy.key == (metadata["namespace"], metadata["name"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_tells_its_reader_what_it_is_for(path: Path) -> None:
    lines = path.read_text().splitlines()

    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= 110


def test_the_schema_check_sees_a_misspelt_field() -> None:
    example = _load(FULL)
    example["spec"]["safety"]["watchSecond"] = 60

    with pytest.raises(jsonschema.ValidationError, match="watchSecond"):
        jsonschema.validate(example["spec"], _closed(_schema()["properties"]["spec"]))


TRUST = {"spec.trust"} | {f"spec.trust.{name}" for name in Trust.model_fields}
"""`kubectl rollback trust` writes it: no policy begins with it."""


OTHER_SERVERS = {
    f"spec.prometheus.{name}"
    for name in ("basicAuthSecretRef", "basicAuthSecretRef.name", "tenant")
}
"""A request has one login, and the example's server no tenants."""


def test_the_full_example_has_every_field() -> None:
    known = set(_paths(_schema()["properties"]["spec"]))
    missing = known - set(_used(_load(FULL)["spec"]))

    assert (
        missing
        == {f"spec.remedies.{name}" for name in OTHER_REMEDIES}
        | {f"spec.matrix.when.{name}" for name in QUERY_ONLY}
        | {"spec.database.history.query", "spec.database.history.table"}
        | {path for path in known if path.startswith("spec.database.rollbackMigrations")}
        | TRUST
        | OTHER_SERVERS
    )


def test_the_full_example_shows_the_defaults() -> None:
    """What its comments promise: leaving a value out changes nothing."""
    spec = RollbackPolicy.model_validate(_load(FULL)).spec
    bare = RollbackPolicySpec(target_ref=spec.target_ref, mode=spec.mode)

    assert spec.matrix == bare.matrix
    assert spec.safety.model_copy(update={"freeze": []}) == bare.safety
    assert spec.verification.timeout_seconds == bare.verification.timeout_seconds
    assert spec.suspend == bare.suspend
    assert spec.signals.labels == bare.signals.labels
    assert spec.signals.purchase_routes == bare.signals.purchase_routes
    assert spec.signals.requests.metric == bare.signals.requests.metric
    assert spec.signals.errors.metric == bare.signals.errors.metric
    assert [each.model_copy(update={"severities": None}) for each in spec.remedies] == bare.remedies


def test_every_field_that_people_write_is_explained() -> None:
    schema = _schema()["properties"]["spec"]

    assert list(_unexplained(schema, "spec")) == []


def _unexplained(node: Mapping[str, Any], path: str) -> Iterator[str]:
    if "description" not in node:
        yield path
    for name, child in node.get("properties", {}).items():
        yield from _unexplained(child, f"{path}.{name}")
    # A list's items need words of their own only where they have fields.
    for name, child in node.get("items", {}).get("properties", {}).items():
        yield from _unexplained(child, f"{path}[].{name}")
