"""The installed commands: kubectl-rollback, and kubectl_complete-rollback, which kubectl asks."""

import asyncio
import os
import shutil
import sys
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from rollback_operator.cli.plugin.asked import COLUMNS, Screen
from rollback_operator.cli.plugin.connection import connect
from rollback_operator.cli.plugin.page import Paint
from rollback_operator.cli.plugin.shell import Terminal, main


def run() -> None:
    """Enter from kubectl-rollback."""
    raise SystemExit(main(sys.argv[1:], _terminal()))


def complete() -> None:
    """Enter from kubectl_complete-rollback."""
    raise SystemExit(main(["__complete", *sys.argv[1:]], _terminal()))


def _terminal() -> Terminal:
    is_dumb = os.environ.get("TERM") == "dumb"
    plain = os.environ.get("NO_COLOR") or is_dumb
    return Terminal(
        out=sys.stdout,
        err=sys.stderr,
        shows_colours=sys.stdout.isatty() and not plain,
        now=lambda: datetime.now(UTC),  # noqa: TID251 (the command's own clock)
        sleep=asyncio.sleep,
        connect=connect,
        open_screen=_full_screen if sys.stdout.isatty() and not is_dumb else None,
        columns=shutil.get_terminal_size((COLUMNS, 24)).columns,
    )


def _full_screen(paint: Paint) -> AbstractAsyncContextManager[Screen]:
    from rollback_operator.cli.plugin.screen import full_screen  # noqa: PLC0415 (`watch` alone needs it)

    return full_screen(sys.stdout, paint)
