"""Every field of both CRDs has its attacks: a new field without any fails here, and a gone one."""

from __future__ import annotations

import pytest

from tests.hostile import carriers
from tests.hostile.attacks import FORMS, Form, Must, attacks_on
from tests.hostile.fields import Field, fields_of, has

KINDS = ("RollbackPolicy", "Rollback")
ALL = [one for kind in KINDS for one in fields_of(kind)]
CARRIERS = {
    "RollbackPolicy": carriers.policies(),
    "Rollback": [*carriers.requests("tess"), *carriers.plans(), carriers.decided("tess")],
}


def test_each_has_attacks() -> None:
    new = [field.key for field in ALL if not attacks_on(field)]
    assert not new, (
        f"{', '.join(new)} is new: say in FORMS of tests/hostile/attacks.py what it holds (a name, "
        "an address, a pattern, a text); if nothing there fits, add a Form with what is to be tried"
    )


def test_each_is_in_a_carrier() -> None:
    lacking = [
        field.key for field in ALL if not any(has(each, field) for each in CARRIERS[field.kind])
    ]
    assert not lacking, (
        f"{', '.join(lacking)} is in none of the manifests of tests/hostile/carriers.py: put it "
        "into one, with a value that the API server takes"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_case_is_for_a_field_that_is_gone(kind: str) -> None:
    texts = {one.path for one in fields_of(kind)}
    gone = sorted(set(FORMS[kind]) - texts)
    assert not gone, f"there is no such field of {kind}: take it out of FORMS ({', '.join(gone)})"


def test_each_has_the_form_that_its_name_says() -> None:
    """A reference to an object is tried as one, whoever has said what the field holds."""
    wrong = [field.key for field in ALL if not _has_its_form(field)]
    assert not wrong


def _has_its_form(field: Field) -> bool:
    form, path = FORMS[field.kind].get(field.path), field.path
    if path.endswith("Ref.name") and form is not Form.NAME:
        return False
    if path.endswith(("SecretRef.key", ".secretRef.key")) and form is not Form.KEY:
        return False
    if path.rpartition(".")[2] in ("url", "host") and form not in (Form.URL, Form.HOST):
        return False
    return field.schema.get("format") != "date-time" or form is Form.TIME


def test_a_name_is_refused_whatever_leads_out_of_its_namespace() -> None:
    (field,) = (one for one in fields_of("RollbackPolicy") if one.path == "spec.targetRef.name")
    refused = [str(one.value) for one in attacks_on(field) if one.must is Must.BE_REFUSED]
    assert any("/" in one for one in refused)
    assert any(".." in one for one in refused)
    assert any("%2" in one for one in refused)
