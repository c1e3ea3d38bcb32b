"""The table of the runbook: no empty cell, no test that does not exist or did not run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools import runbook

TEST = "tests/integration/test_rollback.py::test_an_image_is_pinned"
CLASS = "tests/integration/test_admission.py::TestApprovals::test_are_refused_otherwise"
ROW = {"section": "a", "step": "b", "command": "c", "here": "d", "tests": [TEST]}


def faults(**changes: Any) -> list[str]:
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not None}
    return runbook.parsed({"row": [row]})[1]


def test_the_page_is_complete_and_fresh() -> None:
    rows, wrong = runbook.parsed(tomllib.loads(runbook.ROWS.read_text()))

    assert wrong == []
    assert runbook.PAGE.read_text() == runbook.page(rows)
    assert len({row.section for row in rows}) >= 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"section": ""}, "row 1 (b): section is empty"),
        ({"step": "  "}, "row 1 (a): step is empty"),
        ({"here": None}, "here is empty"),
        ({"command": None}, "command is empty"),
        ({"tests": []}, "it names no test"),
        ({"tests": [""]}, "it names no test"),
        ({"planned": True}, "unknown key planned"),
        ({"tests": [f"{TEST}_at_all"]}, "there is no such test"),
        ({"tests": [TEST.partition("::")[0]]}, "there is no such test"),
        ({"tests": ["tests/integration/test_nothing.py::test_a"]}, "there is no such file"),
        ({"tests": ["tests/unit/test_runbook.py::test_a"]}, "does not run on real servers"),
        ({"tests": ["tests/e2e/../unit/test_docs.py::test_a"]}, "does not run on real servers"),
        ({"tests": [CLASS.replace("TestApprovals::", "")]}, "there is no such test"),
    ],
)
def test_a_row_that_is_not_whole_is_named(changes: dict[str, Any], words: str) -> None:
    assert [each for each in faults(**changes) if words in each], faults(**changes)


def test_a_test_of_a_class_is_known() -> None:
    assert faults(tests=[TEST, CLASS]) == []


def report(tmp_path: Path, *cases: str) -> Path:
    path = tmp_path / "report.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def case(name: str, inner: str = "", where: str = "tests.integration.test_rollback") -> str:
    return f'<testcase classname="{where}" name="{name}">{inner}</testcase>'


PINNED = "test_an_image_is_pinned"


@pytest.mark.parametrize(
    ("cases", "result"),
    [
        ([case(PINNED)], ""),
        ([case(f"{PINNED}[a]"), case(f"{PINNED}[b]")], ""),
        ([case(f"{PINNED}[a]"), case(f"{PINNED}[b]", "<skipped/>")], "skipped"),
        ([case(PINNED, "<failure/>")], "failure"),
        ([case(PINNED, "<error/>")], "error"),
        ([case("test_another")], "did not run"),
    ],
)
def test_a_test_that_did_not_pass_proves_nothing(
    tmp_path: Path, cases: list[str], result: str
) -> None:
    rows, _ = runbook.parsed({"row": [ROW]})

    wrong = runbook.unproved(rows, [report(tmp_path, *cases)])

    assert wrong == ([f"{TEST}: {result}"] if result else [])


def test_a_test_of_a_class_is_found_in_a_report(tmp_path: Path) -> None:
    rows, _ = runbook.parsed({"row": [{**ROW, "tests": [CLASS]}]})
    where = "tests.integration.test_admission.TestApprovals"

    written = report(tmp_path, case("test_are_refused_otherwise[x]", where=where))

    assert runbook.unproved(rows, [written]) == []
