"""The context of a command: its options, the cluster and the terminal; how it prints a result."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import yaml

from rollback_operator.cli.plugin.connection import DONE, ClusterClient, Connection, Login
from rollback_operator.cli.plugin.page import Paint, TextPage
from rollback_operator.cli.plugin.record import Record

if TYPE_CHECKING:  # only `watch` needs it; the operator's image does not contain it
    from rich.console import RenderableType

REFRESH_SECONDS = 1.0
"""Interval at which `watch` and `undo --wait` read the cluster."""

Answer = tuple[str, int]
"""The printed text and the exit status."""
COLUMNS = 80
"""Width of a frame that is printed to a pipe."""


class Screen(Protocol):
    """A full-screen terminal that shows a frame at a time."""

    over: asyncio.Event
    """Set when the user ends the view."""

    def show(self, frame: "RenderableType") -> None:
        """Show a frame in place of the previous frame."""


OpenScreen = Callable[[Paint], AbstractAsyncContextManager[Screen]]


@dataclass(frozen=True, slots=True)
class Terminal:
    """The parts of the process that a command uses: streams, colours, clock and connection."""

    out: TextIO
    err: TextIO
    shows_colours: bool
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    connect: Callable[[Login], AbstractAsyncContextManager[Connection]]
    open_screen: OpenScreen | None = None
    """Opens a full-screen view; None: the output is not a terminal."""
    columns: int = COLUMNS


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The options of a command and the cluster that it asks."""

    given: dict[str, Any]
    cluster: ClusterClient
    namespace: str
    paint: Paint
    terminal: Terminal

    @property
    def now(self) -> datetime:
        """The current time."""
        return self.terminal.now()

    @property
    def name(self) -> str:
        """The object's name; empty if it is omitted."""
        return str(self.given.get("name", ""))

    @property
    def reason(self) -> str:
        """The reason that is stored with a decision."""
        return str(self.given.get("reason") or "")

    @property
    def shape(self) -> tuple[bool, bool]:
        """Return whether namespaces are shown, and whether all columns are."""
        return bool(self.given.get("all_namespaces")), self.given.get("output") == "wide"

    @property
    def scope(self) -> str:
        """The namespace that is listed; empty: all namespaces."""
        return "" if self.given.get("all_namespaces") else self.namespace

    def listed(self, records: Sequence[Record], draw: Callable[[TextPage], None]) -> Answer:
        """Print several objects."""
        output = self.given.get("output")
        if output in ("json", "yaml"):
            whole = {"apiVersion": "v1", "kind": "List", "items": [item.raw for item in records]}
            return _written(whole, output), DONE
        if output == "name":
            return "\n".join(map(_name, records)), DONE
        if not records:
            if self.shape[0]:
                return "Nothing found in the cluster.", DONE
            return f"Nothing found in namespace {self.namespace}. All namespaces: -A", DONE
        return self.drawn(draw), DONE

    def shown(self, record: Record, draw: Callable[[TextPage], None]) -> Answer:
        """Print one object."""
        output = self.given.get("output")
        if output in ("json", "yaml"):
            return _written(dict(record.raw), output), DONE
        if output == "name":
            return _name(record), DONE
        return self.drawn(draw), DONE

    def result(self, record: Record, text: str) -> Answer:
        """Print what was done to an object, or the object itself with -o."""
        return self.shown(record, lambda page: page.line(text))

    def drawn(self, draw: Callable[[TextPage], None]) -> str:
        """Print for a person."""
        page = TextPage(self.paint)
        draw(page)
        return page.text()


def _written(whole: dict[str, Any], output: str) -> str:
    if output == "json":
        return json.dumps(whole, indent=2, ensure_ascii=False)
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True).rstrip("\n")


def _name(record: Record) -> str:
    return f"{record.text('kind').lower()}.rollback.tickettoken.io/{record.name}"
