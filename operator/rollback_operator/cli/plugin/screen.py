"""A whole terminal for frames that replace each other, until a key or a signal ends it."""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live

from rollback_operator.cli.plugin.page import Paint

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END_KEYS = frozenset(b"qQ\x03\x04")
_MOST_KEYS = 64


class FullScreen:
    """The terminal's other page, as `top` uses it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.over = asyncio.Event()

    def show(self, frame: RenderableType) -> None:
        """Replace what is shown."""
        self._live.update(frame, refresh=True)


@asynccontextmanager
async def full_screen(out: TextIO, paint: Paint) -> AsyncIterator[FullScreen]:
    """Show frames on a terminal until q, Ctrl-C or a signal; leaves it as it was."""
    console = Console(
        file=out, no_color=not paint.is_on, markup=False, emoji=False, highlight=False
    )
    loop = asyncio.get_running_loop()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        screen = FullScreen(live)
        for one in _SIGNALS:
            loop.add_signal_handler(one, screen.over.set)
        try:
            with _keys(loop, screen.over):
                yield screen
        finally:
            for one in _SIGNALS:
                loop.remove_signal_handler(one)


@contextmanager
def _keys(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> Iterator[None]:
    """Read keys as they are pressed, where there is a keyboard."""
    if not sys.stdin.isatty():
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        keys = os.read(keyboard, _MOST_KEYS)
        if not keys or _END_KEYS & set(keys):
            loop.remove_reader(keyboard)
            over.set()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
