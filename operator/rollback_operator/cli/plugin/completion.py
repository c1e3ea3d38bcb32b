"""Completion: candidates for the next word, and the scripts by which a shell requests them."""

import argparse
from collections.abc import Sequence
from itertools import pairwise

from rollback_operator.cli.plugin.arguments import VERBS
from rollback_operator.cli.plugin.connection import Login

COMPLETION_SECONDS = 3.0
_KINDS = {verb.name: verb.kinds for verb in VERBS}
_LOGIN = {
    "-n": "namespace", "--namespace": "namespace", "--context": "context",
    "--kubeconfig": "kubeconfig", "--as": "user",
}  # fmt: skip
_FLAGS = ("-A", "--all-namespaces", "--dry-run", "--wait", "--once")
_SCRIPTS = {
    "bash": """\
_kubectl_rollback() {
  COMPREPLY=($(kubectl-rollback __complete "${COMP_WORDS[@]:1:COMP_CWORD}" \\
    2>/dev/null | grep -v '^:'))
}
complete -F _kubectl_rollback kubectl-rollback""",
    "zsh": """\
#compdef kubectl-rollback
compadd -- ${(f)"$(kubectl-rollback __complete "${(@)words[2,CURRENT]}" 2>/dev/null \\
  | grep -v '^:')"}""",
    "fish": """\
complete -c kubectl-rollback -f -a \
'(kubectl-rollback __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null \
| string match -v ":*")'""",
}


def script(shell: str) -> str:
    """Return the script that the shell sources."""
    return _SCRIPTS[shell]


def options(whole: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """List the verbs, or the options of the verb, for the position of the last word."""
    verbs = _verbs(whole)
    if len(words) <= 1:
        return list(verbs)
    verb = verbs.get(words[0])
    if verb is None:
        return []
    before = words[-2] if len(words) > 2 else ""  # noqa: PLR2004 (verb, option, value)
    for action in verb._actions:
        if before in action.option_strings and action.choices:
            return [str(choice) for choice in action.choices]
        if not action.option_strings and action.choices:
            return [str(choice) for choice in action.choices]
    if words[-1].startswith("-"):
        return [option for action in verb._actions for option in action.option_strings]
    return []


def wants_name(words: Sequence[str]) -> bool:
    """Report whether the last word is the name of an object."""
    if len(words) <= 1 or not kinds(words) or words[-1].startswith("-"):
        return False
    before = words[-2]
    return not before.startswith("-") or "=" in before or before in _FLAGS


def kinds(words: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of objects that the verb takes."""
    return _KINDS.get(words[0], ())


def login(words: Sequence[str]) -> Login:
    """Parse the cluster options of an incomplete command line."""
    given = {}
    for word, following in pairwise(words):
        name, is_joined, value = word.partition("=")
        if name in _LOGIN:
            given[_LOGIN[name]] = value if is_joined else following
    return Login(**given)


def _verbs(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
