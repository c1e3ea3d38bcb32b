"""Where modules may live and what they may be called: names that would shadow something else."""

import ast
import operator
import sys
import sysconfig
from collections import defaultdict
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.syntax import parsed

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "operator"
PACKAGE = SOURCE / "rollback_operator"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Parsed once, as tests are collected: CPython 3.11's parser raises SystemError ("AST constructor
# recursion depth mismatch") where another thread of a test parses at the same time.
TREES = {module: parsed(module.read_text()) for module in MODULES}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "shared"}


def test_the_source_root_is_no_package() -> None:
    # An __init__.py here would make this folder the module `operator` for whoever runs in the root.
    assert not (SOURCE / "__init__.py").exists()
    assert [one.name for one in SOURCE.glob("*.py")] == []


def test_operator_is_the_standard_library_s() -> None:
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))
    assert operator.add(1, 2) == 3


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_what_it_is_for_and_is_not_too_long(module) -> None:
    assert module.stem not in VAGUE
    lines = module.read_text().splitlines()
    assert not lines or lines[0].startswith('"""')
    assert len(lines) < 400


def test_no_top_level_name_is_that_of_a_dependency_or_of_the_standard_library() -> None:
    taken = set(packages_distributions()) | set(sys.stdlib_module_names)
    own = {one.name for one in SOURCE.iterdir() if one.is_dir() and one.name != "__pycache__"}
    assert own == {"rollback_operator"}
    folders = {one.name for one in ROOT.iterdir() if one.is_dir() and not one.name.startswith(".")}
    tops = {name for name in folders if list((ROOT / name).glob("*.py"))}
    assert not (tops & taken)


def test_every_package_has_its_init() -> None:
    folders = {one.parent for one in MODULES}
    assert [one for one in folders if not (one / "__init__.py").exists()] == []


ROOMS = sorted({one.parent for one in MODULES if one.parent != PACKAGE})
MOST_MODULES = 16


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_says_what_it_is_for_and_is_not_too_large(room) -> None:
    charter = (room / "__init__.py").read_text()
    assert charter.startswith('"""')
    modules = [one for one in room.glob("*.py") if one.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


def test_no_class_name_is_in_two_modules() -> None:
    # `_Part` and `Part` are the same word to a reader: a leading underscore does not count.
    modules: dict[str, list[str]] = defaultdict(list)
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                modules[node.name.lstrip("_")].append(str(module.relative_to(PACKAGE)))
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}


def test_a_constant_has_one_value_wherever_its_name_occurs() -> None:
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name, value = node.targets[0].id, _value(node.value)
                if name.isupper() and not name.startswith("_") and len(name) > 1:
                    values[name][value].append(str(module.relative_to(PACKAGE)))
    assert {name: dict(found) for name, found in values.items() if len(found) > 1} == {}


def _value(node: ast.expr) -> str:
    text = ast.unparse(node)
    try:
        return str(eval(text, {"__builtins__": {}}))  # arithmetic on literals
    except (NameError, AttributeError, TypeError):
        return text
