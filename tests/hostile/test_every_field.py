"""Every field of both CRDs has its attacks: a new field without any fails here, and a gone one."""

from __future__ import annotations

import pytest

from tests.hostile import carriers
from tests.hostile.attacks import FORMS, Form, Must, attacks_on
from tests.hostile.fields import Field, fields_of, has

pytestmark = pytest.mark.xdist_group("every-field")
KINDS = ("RollbackPolicy", "Rollback")
ALL = [one for kind in KINDS for one in fields_of(kind)]
CARRIERS = {
    "RollbackPolicy": carriers.policies(),
    "Rollback": [*carriers.requests("tess"), *carriers.plans(), carriers.decided("tess")],
}


@pytest.mark.parametrize("field", ALL, ids=lambda one: one.key)
def test_has_attacks(field: Field) -> None:
    assert attacks_on(field), (
        f"{field.key} is new: say in FORMS of tests/hostile/attacks.py what it holds (a name, an "
        "address, a pattern, a text); if nothing there fits, add a Form with what is to be tried"
    )


@pytest.mark.parametrize("field", ALL, ids=lambda one: one.key)
def test_is_in_a_carrier(field: Field) -> None:
    assert any(has(one, field) for one in CARRIERS[field.kind]), (
        f"{field.key} is in none of the manifests of tests/hostile/carriers.py: put it into one, "
        "with a value that the API server takes"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_case_is_for_a_field_that_is_gone(kind: str) -> None:
    texts = {one.path for one in fields_of(kind)}
    gone = sorted(set(FORMS[kind]) - texts)
    assert not gone, f"there is no such field of {kind}: take it out of FORMS ({', '.join(gone)})"


@pytest.mark.parametrize("field", ALL, ids=lambda one: one.key)
def test_has_the_form_that_its_name_says(field: Field) -> None:
    """A reference to an object is tried as one, whoever has said what the field holds."""
    form, path = FORMS[field.kind].get(field.path), field.path
    if path.endswith("Ref.name"):
        assert form is Form.NAME
    if path.endswith(("SecretRef.key", ".secretRef.key")):
        assert form is Form.KEY
    if path.rpartition(".")[2] in ("url", "host"):
        assert form in (Form.URL, Form.HOST)
    if field.schema.get("format") == "date-time":
        assert form is Form.TIME


@pytest.mark.parametrize("field", ALL, ids=lambda one: one.key)
def test_is_bounded(field: Field) -> None:
    """What has no bound in the schema has none in the operator's memory either."""
    schema = field.schema
    match schema["type"]:
        case "string":
            assert "enum" in schema or "maxLength" in schema
        case "array":
            assert "maxItems" in schema
        case "object":
            assert "maxProperties" in schema


def test_a_name_is_refused_whatever_leads_out_of_its_namespace() -> None:
    (field,) = (one for one in fields_of("RollbackPolicy") if one.path == "spec.targetRef.name")
    refused = [str(one.value) for one in attacks_on(field) if one.must is Must.BE_REFUSED]
    assert any("/" in one for one in refused)
    assert any(".." in one for one in refused)
    assert any("%2" in one for one in refused)
