"""Documents for maintainers name files, symbols and commands that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "rollback_operator"
DOCUMENTS = ["CONTRIBUTING.md", "SECURITY.md", "docs/glossary.md", "docs/testing.md"]
SUFFIXES = r"\.(?:py|md|yaml|toml)"


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_exists(name: str) -> None:
    named = set(re.findall(rf"`([\w./-]+/[\w.-]+{SUFFIXES})`", text_of(name)))
    missing = [one for one in named if not ((ROOT / one).exists() or (PACKAGE / one).exists())]

    assert sorted(missing) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_symbol_is_in_the_file_before_it(name: str) -> None:
    cells = re.findall(r"(`[\w/]+\.py`(?: `\w+`|, `\w+`)+)", text_of(name))
    for cell in cells:
        path, *symbols = re.findall(r"`([^`]+)`", cell)
        source = (PACKAGE / path).read_text()
        assert [one for one in symbols if one not in source] == [], path


@pytest.mark.parametrize("name", [*DOCUMENTS, "README.md"])
def test_every_target_of_make_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of("Makefile"), re.M))
    named = set(re.findall(r"`make ([a-z0-9-]+)", text_of(name)))

    assert sorted(named - targets) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file(name: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", text_of(name))
    base = (ROOT / name).parent

    assert [one for one in links if not (base / one).exists()] == []


def test_help_lists_every_target_in_a_group() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    targets = re.findall(r"^([a-z0-9-]+):", text_of("Makefile"), re.M)

    assert set(re.findall(r"^  make ([a-z0-9-]+) +\S", listed.stdout, re.M)) == set(targets)
