"""What a preflight prints: no text of a cluster becomes a command of a runner or a terminal."""

from __future__ import annotations

import json

import pytest

from rollback_operator.advise.deploy_facts import DeployCheck, DeployFinding
from rollback_operator.advise.policy import FindingLevel, PolicyFinding
from rollback_operator.cli.check.deploy_report import (
    DeployReport,
    deploy_annotations,
    deploy_json,
    deploy_text,
    inert,
    worst,
)

HOSTILE = "50% of it\r\n::add-mask::x\n::error::y\x1b[31m ##[command]z, a:b"


def report(*levels: FindingLevel, message: str = "it is so", fault: str = "") -> DeployReport:
    early = tuple(
        DeployFinding(
            DeployCheck.RELEASE, PolicyFinding(level, "spec.template", message, "mend it")
        )
        for level in levels
    )
    return DeployReport("production/shop", early=early, fault=fault)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (report(FindingLevel.PASSED, FindingLevel.NOTE, FindingLevel.WARNING), 0),
        (report(FindingLevel.PASSED, FindingLevel.PROBLEM), 1),
        (report(fault="the API server does not answer"), 2),
    ],
)
def test_the_exit_status_is_that_of_the_worst(shown: DeployReport, status: int) -> None:
    assert shown.status == status
    assert worst([report(), shown]) == status
    assert deploy_json(shown)["result"] == ("Ready", "Problems", "NotChecked")[status]


def test_each_level_is_a_command_of_github() -> None:
    shown = report(
        FindingLevel.PROBLEM, FindingLevel.WARNING, FindingLevel.NOTE, FindingLevel.PASSED
    )

    lines = deploy_annotations(shown, "a,b:c.yaml").splitlines()

    head = "file=a%2Cb%3Ac.yaml,title=Release of production/shop"
    text = "spec.template: it is so. mend it"
    assert lines == [
        f"::error {head}::{text}",
        f"::warning {head}::{text}",
        f"::notice {head}::{text}",
        "Release: spec.template: it is so",
        "production/shop: do not deploy",
    ]


def test_a_fault_is_a_command_of_github() -> None:
    lines = deploy_annotations(report(fault="no\nanswer"), "").splitlines()

    assert lines[0] == "::error title=production/shop::no%0Aanswer"


@pytest.mark.parametrize("level", list(FindingLevel))
def test_a_hostile_message_is_no_command_of_github(level: FindingLevel) -> None:
    lines = deploy_annotations(report(level, message=HOSTILE), "").split("\n")

    assert len(lines) == 2
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert len(commands) == (level is not FindingLevel.PASSED)
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in commands)
    assert not [line for line in lines if line not in commands and "##[" in line]


@pytest.mark.parametrize("level", list(FindingLevel))
def test_a_hostile_message_is_no_command_in_text(level: FindingLevel) -> None:
    for line in deploy_text(report(level, message=f"{'x' * 70} {HOSTILE}")).split("\n"):
        assert not line.lstrip().startswith("::"), line
        assert "##[" not in line
        assert line.isprintable()


def test_a_line_keeps_its_words() -> None:
    assert inert("  a::b (c) ä") == "  a::b (c) ä"
    assert inert("   ::error::x") == "   : :error::x"


def test_programs_are_told_everything() -> None:
    (found,) = deploy_json(report(FindingLevel.PROBLEM))["findings"]

    assert json.loads(json.dumps(found)) == {
        "check": "Release",
        "level": "Problem",
        "field": "spec.template",
        "message": "it is so",
        "remedy": "mend it",
    }
