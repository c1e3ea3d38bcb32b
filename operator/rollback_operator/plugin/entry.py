"""The installed commands: kubectl-rollback, and kubectl_complete-rollback, which kubectl asks."""

import asyncio
import os
import sys
from datetime import UTC, datetime

from rollback_operator.plugin.connection import connect
from rollback_operator.plugin.shell import Terminal, main


def run() -> None:
    """Enter from kubectl-rollback."""
    raise SystemExit(main(sys.argv[1:], _terminal()))


def complete() -> None:
    """Enter from kubectl_complete-rollback."""
    raise SystemExit(main(["__complete", *sys.argv[1:]], _terminal()))


def _terminal() -> Terminal:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Terminal(
        out=sys.stdout,
        err=sys.stderr,
        shows_colours=sys.stdout.isatty() and not plain,
        now=lambda: datetime.now(UTC),  # noqa: TID251 (the command's own clock)
        sleep=asyncio.sleep,
        connect=connect,
    )
