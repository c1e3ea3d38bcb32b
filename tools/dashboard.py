"""Draw the chart's dashboard from a running Prometheus: docs/dashboard.svg. It is no Grafana.

    python -m tools.dashboard http://127.0.0.1:9090 [--minutes 30] [--output docs/dashboard.svg]

Every panel of dashboard.json stands in its place, with what its queries answer at the moment.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DASHBOARD = ROOT / "deploy" / "helm" / "rollback-operator" / "files" / "dashboard.json"
PICTURE = ROOT / "docs" / "dashboard.svg"
STEPS = 150
UNIT_WIDTH, UNIT_HEIGHT, GAP, HEAD = 48, 30, 6, 34
LEFT, TITLE, LEGEND_ROW, MOST_NAMED = 46, 24, 15, 6
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f")


@dataclass(frozen=True)
class Series:
    """One line of a panel."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Source:
    """A Prometheus, and the time that is drawn."""

    url: str
    start: float
    end: float

    @property
    def step(self) -> float:
        return (self.end - self.start) / STEPS

    def series(self, target: Mapping[str, Any]) -> Iterator[Series]:
        """Ask a panel's query."""
        asked = {"query": target["expr"], "start": self.start, "end": self.end, "step": self.step}
        for one in ask(self.url, "query_range", asked):
            name = target["legendFormat"]
            for label, value in one["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            points = [(at, float(value)) for at, value in one["values"]]
            # NaN (a quantile of nothing) is not drawn.
            yield Series(name, [one for one in points if one[1] == one[1]])


def ask(url: str, way: str, words: Mapping[str, Any]) -> Any:
    """Put a query to Prometheus."""
    address = f"{url}/api/v1/{way}?{urllib.parse.urlencode(words)}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def panel(found: Mapping[str, Any], source: Source) -> Iterator[str]:
    """Draw one panel where the dashboard has it."""
    place = found["gridPos"]
    x, y = place["x"] * UNIT_WIDTH, HEAD + place["y"] * UNIT_HEIGHT
    width, height = place["w"] * UNIT_WIDTH - GAP, place["h"] * UNIT_HEIGHT - GAP
    lines = [one for target in found["targets"] for one in source.series(target) if one.points]
    named = lines[:MOST_NAMED]
    top, left = y + TITLE, x + LEFT
    bottom = y + height - 22 - LEGEND_ROW * ((len(named) + 1) // 2)
    right = x + width - 10
    most = max((value for one in lines for _, value in one.points), default=0.0) or 1.0
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="white" stroke="#ccc"/>'
    yield _text((x + 8, y + 16), found["title"], ' font-weight="bold"')
    for share in (0.0, 0.5, 1.0):
        level = bottom - share * (bottom - top)
        yield f'<path d="M{left} {level:.1f}H{right}" stroke="#eee"/>'
        yield _text((left - 4, level + 4), f"{share * most:.3g}", ' text-anchor="end"')
    for at, anchor, place_x in ((source.start, "start", left), (source.end, "end", right)):
        clock = f"{datetime.fromtimestamp(at, UTC):%H:%M}"
        yield _text((place_x, bottom + 14), clock, f' text-anchor="{anchor}"')
    if not lines:
        yield _text(((left + right) / 2, (top + bottom) / 2), "No data", ' text-anchor="middle"')
    across, up = (right - left) / (source.end - source.start), (bottom - top) / most
    for number, one in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        path, before = "", 0.0
        for at, value in one.points:
            # A series that was gone for a while is no line from where it was to where it is.
            path += "M" if at - before > 1.5 * source.step else "L"
            path += f"{left + across * (at - source.start):.1f} {bottom - up * value:.1f}"
            before = at
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    for number, one in enumerate(named):
        column, row = number % 2, number // 2
        spot = x + 12 + column * (width / 2 - 10), bottom + 30 + row * LEGEND_ROW
        colour = COLOURS[number % len(COLOURS)]
        mark = f'x="{spot[0]:.0f}" y="{spot[1] - 8:.0f}" width="10" height="4"'
        yield f'<rect {mark} fill="{colour}"/>'
        is_last = len(lines) > number + 1 == MOST_NAMED
        more = f" (and {len(lines) - MOST_NAMED} more)" if is_last else ""
        yield _text((spot[0] + 14, spot[1]), f"{one.name}: {one.points[-1][1]:.3g}{more}")


def _text(spot: tuple[float, float], said: str, attributes: str = "") -> str:
    return f'<text x="{spot[0]:.1f}" y="{spot[1]:.1f}"{attributes}>{escape(said)}</text>'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.dashboard", description=__doc__)
    parser.add_argument("prometheus")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--output", type=Path, default=PICTURE)
    options = parser.parse_args(arguments)
    dashboard = json.loads(DASHBOARD.read_text())
    now = float(ask(options.prometheus, "query", {"query": "time()"})[1])
    source = Source(options.prometheus, now - 60 * options.minutes, now)
    width = 24 * UNIT_WIDTH
    height = HEAD + UNIT_HEIGHT * max(
        one["gridPos"]["y"] + one["gridPos"]["h"] for one in dashboard["panels"]
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>',
        _text((8, 22), f"{dashboard['title']} (drawn without Grafana, UTC)", ' font-size="15"'),
        *(part for one in dashboard["panels"] for part in panel(one, source)),
        "</svg>",
    ]
    options.output.write_text("\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
