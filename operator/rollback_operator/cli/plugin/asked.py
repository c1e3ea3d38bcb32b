"""What was asked for, of whom; how an answer is printed."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from rollback_operator.cli.plugin.cluster import DONE, ClusterClient
from rollback_operator.cli.plugin.page import Paint, TextPage
from rollback_operator.cli.plugin.record import Record

if TYPE_CHECKING:  # only `watch` needs it; the operator's image does without
    from rich.console import RenderableType

REFRESH_SECONDS = 1.0
"""How often the view that a person watches, or a rollback that a person waits for, is read anew."""

Answer = tuple[str, int]
"""What is printed, and the exit status."""
COLUMNS = 80
"""As wide as what is drawn for a pipe."""


class Screen(Protocol):
    """A terminal for frames that replace each other."""

    over: asyncio.Event
    """Set once somebody has ended the view."""

    def show(self, frame: "RenderableType") -> None:
        """Replace what is shown."""


OpenScreen = Callable[[Paint], AbstractAsyncContextManager[Screen]]


@dataclass(frozen=True, slots=True)
class Live:
    """What a command that stays needs of the process."""

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    say: Callable[[str], None]
    open_screen: OpenScreen | None = None
    """None: what is printed goes to no terminal."""
    columns: int = COLUMNS


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What was asked for, and whom."""

    given: dict[str, Any]
    cluster: ClusterClient
    namespace: str
    paint: Paint
    live: Live

    @property
    def now(self) -> datetime:
        """The time."""
        return self.live.now()

    @property
    def name(self) -> str:
        """The object's name, empty if none was given."""
        return str(self.given.get("name", ""))

    @property
    def reason(self) -> str:
        """Why, for the record."""
        return str(self.given.get("reason") or "")

    @property
    def shape(self) -> tuple[bool, bool]:
        """Tell whether namespaces are shown, and whether all columns are."""
        return bool(self.given.get("all_namespaces")), self.given.get("output") == "wide"

    @property
    def scope(self) -> str:
        """The namespace that is listed; empty: all of them."""
        return "" if self.given.get("all_namespaces") else self.namespace

    def listed(self, found: Sequence[Record], draw: Callable[[TextPage], None]) -> Answer:
        """Print several objects."""
        output = self.given.get("output")
        if output in ("json", "yaml"):
            whole = {"apiVersion": "v1", "kind": "List", "items": [one.raw for one in found]}
            return _written(whole, output), DONE
        if output == "name":
            return "\n".join(_name(one) for one in found), DONE
        if not found:
            if self.shape[0]:
                return "Nothing found in the cluster.", DONE
            return f"Nothing found in namespace {self.namespace}. All namespaces: -A", DONE
        return self.drawn(draw), DONE

    def shown(self, found: Record, draw: Callable[[TextPage], None]) -> Answer:
        """Print one object."""
        output = self.given.get("output")
        if output in ("json", "yaml"):
            return _written(dict(found.raw), output), DONE
        if output == "name":
            return _name(found), DONE
        return self.drawn(draw), DONE

    def said(self, found: Record, text: str) -> Answer:
        """Print what was done to an object, or the object where that was asked for."""
        return self.shown(found, lambda page: page.line(text))

    def drawn(self, draw: Callable[[TextPage], None]) -> str:
        """Print for people."""
        page = TextPage(self.paint)
        draw(page)
        return page.text()


def _written(whole: dict[str, Any], output: str) -> str:
    if output == "json":
        return json.dumps(whole, indent=2, ensure_ascii=False)
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True).rstrip("\n")


def _name(found: Record) -> str:
    return f"{found.text('kind').lower()}.rollback.tickettoken.io/{found.name}"
