"""The command line: `rollback-operator COMMAND`."""

import argparse
import sys
from collections.abc import Sequence

from rollback_operator import __version__
from rollback_operator.commands import backtest, check, crd, operate, release

COMMANDS = (operate, check, backtest, release, crd)


def parser() -> argparse.ArgumentParser:
    """Make the parser; each command adds its own."""
    made = argparse.ArgumentParser(
        prog="rollback-operator",
        description="Takes a bad release of a Kubernetes Deployment back before people notice.",
    )
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for one in COMMANDS:
        one.add(commands)
    return made


def main(arguments: Sequence[str]) -> int:
    """Run one command; gives the exit status."""
    given = vars(parser().parse_args(arguments))
    command = given.pop("command")
    status: int = command(given)
    return status


def run() -> None:
    """Enter from the installed script."""
    raise SystemExit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
