"""Python's backtracking engine meets no pattern of a policy, and no long text of anybody."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.user_text.expression import MOST_SIZE, expression, is_glob_match
from tests.growth import growth
from tests.syntax import parsed

PACKAGE = Path(__file__).parents[2] / "operator" / "rollback_operator"
CONSTANTS_ONLY = {
    "adapters/http/addresses.py",  # a policy's URLs and hosts, bounded by the CRD
    "adapters/channels/senders.py",  # characters of a secret
    "adapters/http/probes.py",  # headers' names and values, as many characters as they may have
    "adapters/prometheus/credentials.py",  # a token
    "adapters/prometheus/queries.py",
    "api/matrix.py",
    "api/user_text/json_text.py",  # escapes of a fixed length
    "api/shape.py",
    "api/verification.py",
    "rollback/probing.py",
    "rollback/approval_notice.py",  # our own message, linear
    "remedies/refusals.py",  # answers of the API server, bounded
    "adapters/http/outgoing.py",
    "adapters/kube/paths.py",
    "cli/plugin/page.py",  # codes of colours
    "advise/migrations.py",  # names of files, and files of at most 1 MiB in linear time
    "adapters/kube/projections/needs.py",
    "adapters/kube/projections/outlines.py",  # tokens of JSON, possessive: linear
    "adapters/kube/target/pod_tools.py",  # an amount of at most 17 characters
    "cli/compose/command.py",  # names of the user's own files
    "cli/compose/words.py",  # our own messages, linear
    "runtime/settings.py",
}
"""May compile and match patterns of their own that take linear time, or texts that are short."""
BY_FORM = {
    ("cli/documents.py", "re.fullmatch"),
    ("adapters/kube/paths.py", "re.fullmatch"),
    ("cli/compose/words.py", "re.compile"),  # the terms of its own table
}
"""By a form that the models give names: no author's, and of a text whose length is bounded."""
ESCAPING = {"re.escape"}
"""Matches nothing."""


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _constants(tree: ast.Module) -> set[str]:
    """Names that a module gives strings that stand in it."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and _is_constant(node.value, found):
            found |= {one.id for one in node.targets if isinstance(one, ast.Name)}
    return found


def _is_constant(node: ast.expr, names: set[str]) -> bool:
    match node:
        case ast.Constant(value=str() | bytes()):
            return True
        case ast.Name(id=name):
            return name in names
        case ast.JoinedStr(values=values):
            return all(
                isinstance(one, ast.Constant)
                or (isinstance(one, ast.FormattedValue) and _is_constant(one.value, names))
                for one in values
            )
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _is_constant(left, names) and _is_constant(right, names)
    return False


def faults(path: str, source: str) -> list[str]:
    """Where a module uses Python's regular expressions in a way that it may not."""
    tree = parsed(source)
    names = _constants(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("re", "fnmatch", "glob"):
            found.append(f"{path}:{node.lineno}: from {node.module}")
        if isinstance(node, ast.Import):
            wrong = [one for one in node.names if one.name in ("fnmatch", "regex") or one.asname]
            found += [f"{path}:{node.lineno}: import {one.name}" for one in wrong]
        if isinstance(node, ast.Call) and _dotted(node.func).startswith("re."):
            is_own = path in CONSTANTS_ONLY and node.args and _is_constant(node.args[0], names)
            is_by_form = (path, _dotted(node.func)) in BY_FORM
            if _dotted(node.func) not in ESCAPING and not is_own and not is_by_form:
                found.append(f"{path}:{node.lineno}: {_dotted(node.func)}")
    return found


def test_no_module_matches_with_a_pattern_that_is_not_its_own() -> None:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        path = str(file.relative_to(PACKAGE))
        found += faults(path, file.read_text())
    assert not found, "match what others wrote by rollback_operator.api.user_text.expression"


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.fullmatch(operand, value)",
        "import re\nre.compile(pattern)",
        "import re as r\n",
        "from re import fullmatch",
        "from fnmatch import fnmatchcase",
        "import re\nre.compile(f'{prefix}.*')",
        "import re\nre.sub(A + b, '', text)",
    ],
)
def test_the_test_sees_it(source: str) -> None:
    assert faults("api/shape.py", source)


def test_its_list_holds_no_module_that_needs_no_place_there() -> None:
    for path in CONSTANTS_ONLY:
        source = (PACKAGE / path).read_text()
        assert faults("elsewhere.py", source), path


def test_an_expression_is_taken_as_prometheus_takes_it() -> None:
    """Anchored at both ends, and a dot is any character."""
    assert expression("5..").matches("503")
    assert not expression("5..").matches("5031")
    assert not expression("5").matches("503")
    assert expression("a|b").matches("b")
    assert not expression("a|b").matches("ab")
    assert expression("a.b").matches("a\nb")
    assert expression("").matches("")
    assert expression("(?i)get").matches("GET")
    assert expression("ü.").matches("üß")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?=a)b", "invalid perl operator"),
        (r"(a)\1", "invalid escape"),
        ("(a", "missing )"),
        ("a{1001}", "repetition"),
        ("((a{99}){99}){99}", "repetition"),
        (r"\pL{9}", f"{MOST_SIZE} at most"),
        ("\ud800", "half a character"),
    ],
)
def test_what_re2_does_not_take_is_refused_with_the_reason(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(")", r"\)")):
        expression(pattern)


@given(st.text(max_size=40), st.text(max_size=200))
def test_whatever_is_written_it_matches_or_is_refused(pattern: str, text: str) -> None:
    try:
        found = expression(pattern)
    except ValueError:
        return
    assert found.matches(text) in (True, False)


def test_half_a_character_in_a_text_is_matched_as_what_stands_for_it() -> None:
    assert expression("a.").matches("a\ud800")


@pytest.mark.parametrize(
    "pattern", ["(a|aa)" * 30 + "b", "(a+)+b", "(.*a){20}b", "(a|b)*a(a|b){99}b"]
)
def test_time_grows_with_the_text_and_no_faster(pattern: str) -> None:
    """Python's own engine would take longer than the universe is old for any of these."""
    found = expression(pattern)

    def match(length: int) -> None:
        assert not found.matches("a" * length + "c")

    assert growth(match, 2000, 8000) < 8


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("shop-*", "shop-web", True),
        ("shop-*", "web-shop-", False),
        ("*", "a.b", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("[ab]x", "bx", True),
        ("[!ab]x", "bx", False),
        ("[!ab]x", "cx", True),
        ("[a-c]x", "bx", True),
        ("[", "[", True),
        ("a.c", "abc", False),
        ("[z-a]", "z", False),
        ("", "", True),
        ("*a" * 60 + "b", "a" * 250, False),
    ],
)
def test_names_are_matched_by_a_shell_s_patterns(pattern: str, name: str, is_match: bool) -> None:
    assert is_glob_match(pattern, name) is is_match
