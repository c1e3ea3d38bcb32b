"""Each document of docs/scenarios is run as it stands there by tests/e2e/test_scenarios.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs" / "scenarios").glob("*.md"))
TESTS = (ROOT / "tests" / "e2e" / "test_scenarios.py").read_text()


def test_each_document_is_run() -> None:
    run = re.findall(r'follows\(shop, "([a-z-]+)"\)', TESTS)
    assert sorted(run) == [one.stem for one in DOCUMENTS]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.stem)
def test_no_block_of_commands_is_left_out(document: Path) -> None:
    opened = re.findall(r"^\s*(?:```|~~~)(.*)$", document.read_text(), re.M)
    assert opened[::2] == ["sh"] * (len(opened) // 2)
