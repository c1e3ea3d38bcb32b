"""The record of which rights a run has used, held against what the chart gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools import rights

RECORD: dict[str, Any] = json.loads(rights.RECORD.read_text())


def test_every_right_is_used_and_none_is_missing() -> None:
    assert rights.faults(RECORD) == []


def test_the_page_is_that_of_the_record() -> None:
    assert rights.PAGE.read_text() == rights.page(RECORD)


def test_each_value_is_explained_and_gives_something() -> None:
    assert set(rights.PURPOSES) == set(rights.FEATURES)
    given = rights.granted()
    assert all(given.values()), given
    assert set(rights.NOT_RUN) <= {one for listed in given.values() for one in listed}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            {"used": {k: v for k, v in RECORD["used"].items() if k != "patch deployments.apps"}},
            "given and not used: patch deployments.apps",
            id="unused",
        ),
        pytest.param(
            {"used": {**RECORD["used"], "delete pods": 1}},
            "used and not given by the chart: delete pods",
            id="used by another right",
        ),
        pytest.param({"refused": ["list secrets"]}, "refused: list secrets", id="missing"),
    ],
)
def test_a_right_too_many_or_too_few_is_a_fault(change: dict[str, Any], said: str) -> None:
    assert said in rights.faults({**RECORD, **change})


def test_what_an_audit_log_shows_is_counted() -> None:
    def event(verb: str, decision: str, **what: str) -> dict[str, Any]:
        marks = {"authorization.k8s.io/decision": decision}
        return {"verb": verb, "objectRef": what, "annotations": marks}

    log = [
        event("get", "allow", resource="pods", subresource="log"),
        event("get", "allow", resource="pods", subresource="log"),
        event("list", "forbid", resource="secrets"),
        event("create", "allow", resource="selfsubjectaccessreviews"),
        {"verb": "get", "annotations": {}},
    ]
    assert rights.used(log) == ({"get pods/log": 2}, ["list secrets"])
