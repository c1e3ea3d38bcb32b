"""Each line of docs/security.md names a test that proves it, and each named test exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.syntax import parsed

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
UNPROVED = ("Assets",)
"""Tables that claim nothing."""


def lines() -> list[tuple[str, str]]:
    """Give each line of a table with the heading that it stands under."""
    found, heading, rows = [], "", 0
    for line in DOC.read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        rows = rows + 1 if line.startswith("| ") else 0
        if rows > 2:  # behind the head and the rule under it
            found.append((heading, line))
    return found


@cache
def named_in(path: str) -> frozenset[str]:
    tree = parsed((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {one.name for one in tree.body if isinstance(one, functions)}
    for one in tree.body:
        if isinstance(one, ast.ClassDef):
            found |= {
                f"{one.name}::{each.name}" for each in one.body if isinstance(each, functions)
            }
    return frozenset(found)


CLAIMS = [one for one in lines() if one[0] not in UNPROVED]
IDS = sorted(set(NAMED.findall(DOC.read_text())))


@pytest.mark.parametrize(("heading", "line"), CLAIMS)
def test_each_line_names_its_test(heading: str, line: str) -> None:
    assert NAMED.search(line), f"{heading}: name the test that proves it: {line}"


@pytest.mark.parametrize(("path", "name"), IDS)
def test_each_named_test_exists(path: str, name: str) -> None:
    assert (ROOT / path).exists(), f"{path} is gone: name the test that proves the line now"
    assert name in named_in(path), f"{path} has no {name}: name the test that proves the line now"


def test_there_are_lines_for_each_actor() -> None:
    headings = [heading for heading, _ in CLAIMS]
    assert len(set(headings)) >= 7
    assert len(CLAIMS) > 40
