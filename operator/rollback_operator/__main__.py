"""The command line: `rollback-operator COMMAND`."""

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Sequence

from rollback_operator import __version__

COMMANDS = {
    "run": "run",
    "check": "check.command",
    "preflight": "check.preflight",
    "backtest": "backtest.command",
    "compose": "compose.command",
    "release": "release",
    "crd": "crd",
}
"""Which module of cli/ holds which command."""
_INTERRUPTED = 130
"""What a shell gives for a command that Ctrl-C has ended."""


def parser(names: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """Make the parser; each command adds its own."""
    made = argparse.ArgumentParser(
        prog="rollback-operator",
        description="Takes a bad release of a Kubernetes Deployment back before people notice.",
    )
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        importlib.import_module(f"rollback_operator.cli.{COMMANDS[name]}").add(commands)
    return made


def main(arguments: Sequence[str]) -> int:
    """Run one command; gives the exit status."""
    # Only what is asked for is loaded: a Kubernetes client costs a third of a second.
    asked = [one for one in arguments[:1] if one in COMMANDS]
    given = vars(parser(asked or COMMANDS).parse_args(arguments))
    command = given.pop("command")
    status: int = command(given)
    return status


def run() -> None:
    """Enter from the installed script."""
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    raise SystemExit(status)


if __name__ == "__main__":
    run()
