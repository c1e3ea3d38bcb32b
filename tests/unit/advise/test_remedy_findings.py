"""Remedies that can never be reached are told before a release is bad."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.advise.findings import find
from rollback_operator.advise.policy import FindingLevel
from rollback_operator.api.v1alpha1 import MatrixRule
from tests.builders import make_policy, make_workload
from tests.unit.advise.test_findings import make_survey

UNDO = {"type": "Undo", "to": "LastKnownGood"}
FLAG = {
    "type": "DisableFlag",
    "flag": {"name": "NEW", "value": "false", "configMapRef": {"name": "flags"}},
}
PIN = {"type": "PinImage", "container": "ticket-service", "image": "ticket-service:v1"}
REPORT = [
    {
        "severity": "P1",
        "when": [{"signal": "ErrorRate", "above": "0.5"}],
        "response": "Report",
    }
]


def investigate(signal: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    row = {"severity": "P3", "when": [signal], "response": "Investigate", "withinSeconds": 600}
    return [row | more]


LATENCY = {"signal": "LatencyRatio", "above": "2.0"}
RESTARTS = {"signal": "Restarts", "atLeast": "3"}
NEVER: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "behind an undo for all": (
        {"remedies": [UNDO, PIN]},
        "spec.remedies[1]",
        ("never used", "spec.remedies[0] is used first", "place it first"),
    ),
    "behind two that share its severities": (
        {
            "remedies": [
                UNDO | {"severities": ["P1"]},
                PIN | {"severities": ["P2"]},
                UNDO | {"to": "Previous", "severities": ["P1", "P2"]},
            ]
        },
        "spec.remedies[2]",
        ("spec.remedies[0] and spec.remedies[1] are used first",),
    ),
    "of a severity that is only reported": (
        {"remedies": [UNDO | {"severities": ["P4"]}, UNDO]},
        "spec.remedies[0].severities",
        ("never used", "P4", "response: Rollback"),
    ),
    "of a severity that is only investigated": (
        {"remedies": [UNDO | {"severities": ["P3"]}, UNDO]},
        "spec.remedies[0].severities",
        ("P3",),
    ),
    "on a timeout that no such signal has": (
        {
            "matrix": investigate(RESTARTS, onTimeout="Rollback"),
            "remedies": [UNDO | {"severities": ["P3"]}],
        },
        "spec.remedies[0].severities",
        ("P3",),
    ),
    "of a severity without a row": (
        {"matrix": REPORT, "remedies": [UNDO | {"severities": ["P2"]}]},
        "spec.remedies[0].severities",
        ("P2",),
    ),
    "none is left for a row that acts": (
        {"remedies": [UNDO | {"severities": ["P1"]}]},
        "spec.matrix[1]",
        ("no remedy applies to P2", "would not act"),
    ),
    "a container that the target has not": (
        {"remedies": [PIN | {"container": "ap"}]},
        "spec.remedies[0].container",
        ("has no container ap", "use one of: ticket-service"),
    ),
    "a revision that is not there": (
        {"remedies": [UNDO | {"to": "Revision", "revision": 77}]},
        "spec.remedies[0].revision",
        ("no revision 77", "use one of: "),
    ),
}
REACHED: dict[str, dict[str, Any]] = {
    "the default": {},
    "an undo behind a flag": {"remedies": [FLAG, UNDO]},
    "one for each severity": {
        "remedies": [PIN | {"severities": ["P1"]}, UNDO | {"severities": ["P1", "P2"]}]
    },
    "a proposal": {
        "matrix": investigate(RESTARTS, propose=True),
        "remedies": [UNDO | {"severities": ["P3"]}],
    },
    "on the timeout of a latency": {
        "matrix": investigate(LATENCY, onTimeout="Rollback"),
        "remedies": [UNDO | {"severities": ["P3"]}],
    },
    "the default remedy of a policy that only reports": {"matrix": REPORT},
}


def found_in(spec: dict[str, Any]) -> dict[str, str]:
    if "matrix" in spec:
        spec = spec | {"matrix": [MatrixRule.model_validate(one) for one in spec["matrix"]]}
    survey = make_survey(policy=make_policy(**spec), workload=make_workload())
    return {
        one.path: f"{one.message} {one.remedy}"
        for one in find(survey)
        if one.level is FindingLevel.PROBLEM
        and one.path.startswith(("spec.remedies", "spec.matrix"))
    }


@pytest.mark.parametrize("case", NEVER)
def test_what_is_never_reached_is_told(case: str) -> None:
    spec, path, said = NEVER[case]

    found = found_in(spec)

    assert list(found) == [path]
    assert [one for one in said if one not in found[path]] == []


@pytest.mark.parametrize("case", REACHED)
def test_of_what_is_reached_nothing_is_said(case: str) -> None:
    assert found_in(REACHED[case]) == {}


def test_of_a_target_that_was_not_looked_at_nothing_is_claimed() -> None:
    policy = make_policy(remedies=[PIN | {"container": "ap"}])
    survey = make_survey(policy=policy, workload=None, unseen="no cluster")

    assert not [one for one in find(survey) if one.path.startswith("spec.remedies")]
