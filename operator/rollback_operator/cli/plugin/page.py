"""Text for a terminal or a pipe: tables, sections, and colours on a terminal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rollback_operator.cli.plugin.record import shown

_OWN = re.compile(r"(\x1b\[(?:0|1|2|31|32|33)m)")
_CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
_COLOURS = {
    **dict.fromkeys(("Healthy", "Good", "Verified", "Passed", "True", "Approve"), "green"),
    **dict.fromkeys(("Bad", "Failed", "NotRecovered", "P1", "P2", "Blocked", "Refused"), "red"),
    **dict.fromkeys(
        ("Suspect", "Warned", "Unknown", "Abandoned", "P3", "NoVerdict", "Rejected", "Suspended"),
        "yellow",
    ),
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_GAP = "   "


def colour_of(word: str) -> str:
    """Name the colour of a word by its meaning; empty: it has none."""
    return _COLOURS.get(word, "")


def inert(text: str) -> str:
    """Escape what a terminal obeys, except the colours of this page."""
    parts = _OWN.split(text)
    return "".join(part if place % 2 else shown(part) for place, part in enumerate(parts))


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours words on a terminal, and leaves them unchanged in a pipe."""

    is_on: bool

    def word(self, text: str) -> str:
        """Colour a word by its meaning."""
        return self.as_(colour_of(text), text)

    def as_(self, colour: str, text: str) -> str:
        """Colour a text."""
        code = _CODES.get(colour)
        return f"\x1b[{code}m{text}\x1b[0m" if self.is_on and code else text


@dataclass
class TextPage:
    """Lines that are printed together at the end."""

    paint: Paint
    lines: list[str] = field(default_factory=list)

    def line(self, text: str = "") -> None:
        """Add a line."""
        self.lines.append(text.rstrip())

    def head(self, text: str) -> None:
        """Start a section."""
        if self.lines:
            self.line()
        self.line(self.paint.as_("bold", text))

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Add names and values; an empty value is left out."""
        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            first, *rest = value.splitlines() or [""]
            self.line(f"  {name:<{width}}  {self.paint.word(first)}")
            for line in rest:
                self.line(f"  {'':<{width}}  {line}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table in the format of kubectl."""
        whole = [header, *rows]
        widths = [max(len(row[place]) for row in whole) for place in range(len(header))]
        for row in whole:
            cells = [
                self.paint.word(cell) + " " * (width - len(cell))
                for cell, width in zip(row, widths, strict=True)
            ]
            self.line(_GAP.join(cells))

    def rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Add rows without a header, indented; the last cell may be long."""
        if not rows:
            return
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
        for *cells, last in rows:
            shown = [
                self.paint.word(cell) + " " * (width - len(cell))
                for cell, width in zip(cells, widths, strict=True)
            ]
            self.line("  " + "  ".join([*shown, last]))

    def text(self) -> str:
        """Return the whole page."""
        return "\n".join(self.lines)


def age(since: datetime | None, now: datetime) -> str:
    """Format an age as kubectl does: 45s, 12m, 5h, 3d."""
    return span((now - since).total_seconds()) if since is not None else "-"


def span(seconds: float) -> str:
    """Format a duration in the largest unit that is precise enough."""
    whole = max(0, round(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 2 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    return f"{whole // _DAY}d"


def clock(time: datetime | None) -> str:
    """Format a point in time, in UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time is not None else ""
