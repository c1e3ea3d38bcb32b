"""A replay as SVG: error rates of the revisions, odds on a log scale, rollouts and decisions."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

from rollback_operator.cli.backtest.case import Ran
from rollback_operator.cli.backtest.entry import Action, Entry
from rollback_operator.cli.backtest.files import BadFileError
from rollback_operator.cli.backtest.tracks import hash_of
from rollback_operator.model.samples import CounterSeries, Missing
from rollback_operator.model.verdict import Thresholds

WIDTH, LEFT, RIGHT = 960, 70, 20
RATES_TOP, RATES_HEIGHT = 76, 190
MARKS_TOP = 304
ODDS_TOP, ODDS_HEIGHT = 344, 190
LINE_HEIGHT = 18
MOST_BINS = 180
LEAST_ODDS, MOST_ODDS = 1e-3, 1e12
MOST_DECISIONS = 12
OLD, NEW = "#4c78a8", "#e45756"
COLOURS = (OLD, NEW, "#72b7b2", "#b279a2", "#f58518")
GREY, INK = "#888", "#222"
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """A field with its own vertical scale, over the time of the replay."""

    start: float
    end: float
    top: float
    height: float
    least: float
    most: float

    def x(self, time: float) -> float:
        """Place a time."""
        span = max(self.end - self.start, 1e-9)
        return LEFT + (WIDTH - LEFT - RIGHT) * (time - self.start) / span

    def y(self, value: float) -> float:
        """Place a value."""
        share = (value - self.least) / (self.most - self.least)
        return self.top + self.height * (1 - min(1.0, max(0.0, share)))

    def line(self, points: Iterable[Point], colour: str) -> str:
        """Draw a line through values over time."""
        placed = " ".join(f"{self.x(time):.1f},{self.y(value):.1f}" for time, value in points)
        return f'<polyline points="{placed}" fill="none" stroke="{colour}" stroke-width="1.8"/>'


def draw(ran: Ran, path: Path) -> None:
    """Draw a replay into a file.

    Raises:
        BadFileError: it cannot be written.
    """
    try:
        path.write_text(plot(ran))
    except OSError as error:
        raise BadFileError("plot", f"{path}: {error}") from None


def plot(ran: Ran) -> str:
    """Draw a replay that has kept its looks."""
    span = ran.span
    rates = {one: list(_rates(ran, one)) for one in _hashes(ran)}
    top = max([0.01, *(value for points in rates.values() for _, value in points)])
    upper = Panel(span.start, span.end, RATES_TOP, RATES_HEIGHT, 0.0, min(1.0, 1.1 * top))
    lower = Panel(
        span.start,
        span.end,
        ODDS_TOP,
        ODDS_HEIGHT,
        math.log10(LEAST_ODDS),
        math.log10(MOST_ODDS),
    )
    told = ran.found.decisions[-MOST_DECISIONS:]
    height = ODDS_TOP + ODDS_HEIGHT + 62 + LINE_HEIGHT * len(told)
    name = f"{ran.rollouts.namespace}/{ran.rollouts.deployment}"
    day = datetime.fromtimestamp(span.start, UTC)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(LEFT, 24, f"{name}, {day:%Y-%m-%d}, UTC", size=16),
        *_legend(ran, list(rates)),
        *_frame(upper, "failed requests", [(tick, f"{100 * tick:g} %") for tick in _ticks(upper)]),
        *(
            upper.line(part, _colour(ran, one))
            for one, points in rates.items()
            for part in _unbroken(points, 3 * _width(ran))
        ),
        *_frame(lower, "odds that it is worse", [(n, f"1e{n}") for n in range(-3, 13, 3)]),
        *_thresholds(ran, lower),
        *(lower.line(part, INK) for part in _unbroken(list(_odds(ran.found.looks)), 600.0)),
        *_rollouts(ran, (upper, lower)),
        *_decisions(told, (upper, lower)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


# -- what is drawn ---------------------------------------------------------------------------------


def _hashes(ran: Ran) -> list[str]:
    shown = [one.template_hash for one in ran.rollouts.rollouts if one.time <= ran.span.end]
    return list(dict.fromkeys(shown))[-len(COLOURS) :]


def _rates(ran: Ran, template_hash: str) -> Iterator[Point]:
    """Give a revision's error rate in each part of the time in which it served."""
    counters = ran.history.counters
    if isinstance(counters, Missing):
        return
    width = _width(ran)
    deployment = ran.rollouts.deployment
    requests, errors = (
        _binned([one for one in side if hash_of(one.pod, deployment) == template_hash], ran, width)
        for side in (counters.requests, counters.errors)
    )
    for number in sorted(requests):
        if requests[number] > 0:
            time = min(ran.span.end, ran.span.start + (number + 0.5) * width)
            yield time, min(1.0, errors.get(number, 0.0) / requests[number])


def _width(ran: Ran) -> float:
    """Give the length of a part of the time over which a rate is taken."""
    return max(ran.span.step, (ran.span.end - ran.span.start) / MOST_BINS, 15.0)


def _unbroken(points: Sequence[Point], longest: float) -> Iterator[list[Point]]:
    """Cut a line where nothing is known for some time."""
    part: list[Point] = []
    for point in points:
        if part and point[0] - part[-1][0] > longest:
            yield part
            part = []
        part.append(point)
    if part:
        yield part


def _binned(series: Sequence[CounterSeries], ran: Ran, width: float) -> dict[int, float]:
    found: dict[int, float] = {}
    for one in series:
        before = None
        for time, value in one.samples:
            if not math.isfinite(value):
                continue
            if before is not None and ran.span.start < time <= ran.span.end:
                number = int((time - ran.span.start) / width)
                amount = value if value < before else value - before
                found[number] = found.get(number, 0.0) + amount
            before = value
    return found


def _odds(looks: Sequence[Entry]) -> Iterator[Point]:
    for one in looks:
        if one.leading is not None:
            odds = min(MOST_ODDS, max(LEAST_ODDS, one.leading.odds))
            yield one.time, math.log10(odds)


# -- how it is drawn -------------------------------------------------------------------------------


def _legend(ran: Ran, hashes: Sequence[str]) -> Iterator[str]:
    x = float(LEFT)
    for one in hashes:
        said = f"revision {_labels(ran, one)}"
        yield (
            f'<line x1="{x:.0f}" y1="44" x2="{x + 22:.0f}" y2="44" '
            f'stroke="{_colour(ran, one)}" stroke-width="3"/>'
        )
        yield _text(x + 28, 48, said)
        x += 50 + 7 * len(said)


def _labels(ran: Ran, template_hash: str) -> str:
    """Name a revision by all the numbers that it had."""
    known = [one for one in ran.rollouts.rollouts if one.template_hash == template_hash]
    names = [ran.rollouts.label_of(template_hash, one.time) for one in known]
    return " and ".join(dict.fromkeys(map(str, names)))


def _colour(ran: Ran, template_hash: str) -> str:
    return COLOURS[_hashes(ran).index(template_hash) % len(COLOURS)]


def _ticks(panel: Panel) -> list[float]:
    raw = panel.most / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= raw)
    return [step * number for number in range(int(panel.most / step) + 1)]


def _frame(panel: Panel, title: str, ticks: Iterable[tuple[float, str]]) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, panel.top + panel.height
    yield _text(LEFT, panel.top - 8, title, colour=GREY)
    for value, said in ticks:
        y = panel.y(value)
        yield _rule((LEFT, y), (right, y), "#e5e5e5")
        yield _text(LEFT - 6, y + 4, said, anchor="end")
    step = next(
        (one for one in _STEPS if (panel.end - panel.start) / one <= 10),  # noqa: PLR2004
        _STEPS[-1],
    )
    time = math.ceil(panel.start / step) * step
    form = "%H:%M" if step >= 60 else "%H:%M:%S"  # noqa: PLR2004
    while time <= panel.end:
        x = panel.x(time)
        yield _rule((x, bottom), (x, bottom + 5), GREY)
        said = datetime.fromtimestamp(time, UTC).strftime(form)
        yield _text(x, bottom + 18, said, anchor="middle")
        time += step
    yield _rule((LEFT, panel.top), (LEFT, bottom), GREY)
    yield _rule((LEFT, bottom), (right, bottom), GREY)


def _thresholds(ran: Ran, panel: Panel) -> Iterator[str]:
    safety = ran.policy.spec.safety
    odds = Thresholds(safety.suspect_odds, safety.bad_odds)
    for said, value, colour in (("Suspect", odds.suspect, "#f58518"), ("Bad", odds.bad, NEW)):
        y = panel.y(math.log10(value))
        yield _rule((LEFT, y), (WIDTH - RIGHT, y), colour, dash="6 3")
        yield _text(WIDTH - RIGHT - 4, y - 4, f"{said} {value:g} : 1", anchor="end", colour=colour)


def _rollouts(ran: Ran, panels: Sequence[Panel]) -> Iterator[str]:
    for one in ran.rollouts.rollouts:
        if not ran.span.start <= one.time <= ran.span.end:
            continue
        for panel in panels:
            x = panel.x(one.time)
            yield _rule((x, panel.top), (x, panel.top + panel.height), GREY, dash="2 3")
        name = ran.rollouts.label_of(one.template_hash, one.time)
        yield _text(panels[0].x(one.time) + 4, panels[0].top + 12, f"rollout {name}", colour=GREY)


def _decisions(told: Sequence[Entry], panels: Sequence[Panel]) -> Iterator[str]:
    bottom = panels[-1].top + panels[-1].height
    free = 0.0
    for number, one in enumerate(told, 1):
        colour = {Action.ROLLBACK: NEW, Action.NONE: GREY}.get(one.action, "#b07000")
        x = panels[0].x(one.time)
        for panel in panels if one.action is not Action.NONE else ():
            yield _rule((x, panel.top), (x, panel.top + panel.height), colour)
        # Marks that would lie on each other are moved aside; the line shows the time.
        mark = max(x, free)
        free = mark + 17
        y = MARKS_TOP
        yield f'<circle cx="{mark:.1f}" cy="{y:.0f}" r="8" fill="{colour}"/>'
        yield _text(mark, y + 4, str(number), anchor="middle", colour="white")
        time = datetime.fromtimestamp(one.time, UTC)
        severity = "" if one.severity == "None" else f" {one.severity}"
        action = "" if one.action is Action.NONE else f", {one.action}"
        said = f"{number}  {time:%H:%M:%S}  {one.verdict}{severity}{action}: {one.reason}"
        yield _text(LEFT, bottom + 44 + LINE_HEIGHT * number, said, colour=colour)


def _rule(begin: Point, end: Point, colour: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{begin[0]:.1f}" y1="{begin[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{colour}"{dashed}/>'
    )


def _text(x: float, y: float, said: str, **style: str | int) -> str:
    anchor = f' text-anchor="{style["anchor"]}"' if "anchor" in style else ""
    size = f' font-size="{style["size"]}"' if "size" in style else ""
    colour = f' fill="{style["colour"]}"' if "colour" in style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{anchor}{size}{colour}>{escape(said)}</text>'
