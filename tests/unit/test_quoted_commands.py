"""Every command that a message quotes works as it is printed: it is parsed from the source.

A quoted command ends with punctuation. Who copies it at night has neither to guess a name or a
namespace, nor to find out which option is missing.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import rollback_operator
from rollback_operator.cli.plugin.arguments import parse
from tests.syntax import parsed

ROOT = Path(rollback_operator.__file__).parent
HELP = ROOT / "cli" / "plugin" / "arguments.py"
PROGRAM = "kubectl rollback"
ENDS = r"`|\n|;|, |: | \(|\)|\. |  |$"
QUOTED = re.compile(rf"kubectl [a-z-].*?(?={ENDS})")
NAMESPACED = ("-n", "-A", "--all-namespaces")
NAME = r"\S+"
FORMS = [
    rf"rollout (resume|restart|status|history) deployment/{NAME} -n {NAME}",
    rf"rollout undo deployment/{NAME} -n {NAME}( --to-revision=\d+)?",
    rf"scale deployment/{NAME} -n {NAME} --replicas=(\d+|N)",
    rf"describe (1|{NAME} {NAME}) -n {NAME}",
    rf"logs deployment/{NAME} -n {NAME}( --since=10m --tail=100)?",
    rf"logs job/{NAME} -n {NAME}",
    r"set env",
    rf"patch {NAME} {NAME} -n {NAME} --type merge -p {NAME}",
    rf"annotate lease {NAME} -n {NAME} {NAME}=REASON",
    rf"edit rollbackpolicy {NAME} -n {NAME}",
    rf"get (deployments|namespaces|rollbackpolicies)( -n {NAME}| -A)?",
    rf"argo rollouts (undo|abort) {NAME} -n {NAME}",
    rf"delete rbk {NAME} -n {NAME}",
    r"cluster-info",
    r"auth can-i --list",
    r"-n monitoring port-forward service/prometheus 9090",
]
"""Of kubectl itself, as `kubectl <verb> --help` has them."""


def texts(tree: ast.AST) -> Iterator[str]:
    """Write out all strings but the docstrings; `1` stands for what is filled in."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.JoinedStr):
        parts = [one.value if isinstance(one, ast.Constant) else "1" for one in tree.values]
        yield "".join(str(one) for one in parts)
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield re.sub(r"\{\w+\}", "1", tree.value)
    for one in ast.iter_child_nodes(tree):
        yield from texts(one)


def commands(text: str) -> list[str]:
    return [one.rstrip(".") for one in QUOTED.findall(text)]


def quoted() -> Iterator[object]:
    for path in sorted(ROOT.rglob("*.py")):
        if path != HELP:
            name = path.relative_to(ROOT)
            for text in texts(parsed(path.read_text())):
                yield from (pytest.param(one, id=f"{name}-{one}") for one in commands(text))


def wrong(command: str) -> str:
    """Tell what is wrong with a command; empty: it works as it is printed."""
    if command in (PROGRAM, f"{PROGRAM} completion --help"):
        return ""
    if not command.startswith(f"{PROGRAM} "):
        is_known = any(re.fullmatch(f"kubectl {one}", command) for one in FORMS)
        return "" if is_known else "no form of kubectl's known here"
    words = shlex.split(command.removeprefix(PROGRAM))
    try:
        given = parse(words)
    except SystemExit:
        return "the plugin refuses it"
    if not set(words) & set(NAMESPACED):
        return "it names no namespace"
    is_one = given["verb"] in ("undo", "approve", "reject", "trust", "suspend", "resume")
    if is_one and not given["name"] and not given.get("all_namespaces"):
        return "it does not say of what"
    return ""


@pytest.mark.parametrize("command", list(quoted()))
def test_a_quoted_command_works_as_it_is_printed(command: str) -> None:
    assert wrong(command) == ""


@pytest.mark.parametrize(
    "command",
    [
        "kubectl rollback undo",
        "kubectl rollback undo shop -n production",
        "kubectl rollback approve shop --reason x",
        "kubectl rollback resume -n production",
        "kubectl rollback explain shop -n production says why",
        "kubectl rollout resume deployment/shop",
    ],
)
def test_what_does_not_work_is_found(command: str) -> None:
    assert wrong(command)


def test_commands_are_found_in_sentences() -> None:
    said = "no (`kubectl rollback status -A`): kubectl rollout undo deployment/a -n b. So"
    assert commands(said) == [
        "kubectl rollback status -A", "kubectl rollout undo deployment/a -n b",
    ]  # fmt: skip


def examples() -> Iterator[str]:
    tree = parsed(HELP.read_text())
    for text in texts(tree):
        for line in re.findall(r"^  (kubectl rollback .*)$", text, re.M):
            yield re.split(r" {2,}| > ", line)[0]


@pytest.mark.parametrize("example", sorted(set(examples())))
def test_examples_of_the_help_are_parsed(example: str) -> None:
    assert parse(shlex.split(example.removeprefix(PROGRAM)))["verb"]
