"""Draws a replay as SVG: error rates and odds over time, with rollouts and decisions.

Matplotlib comes with the extra `plot` and is imported only to draw.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_operator.cli.backtest.case import CaseResult
from rollback_operator.cli.backtest.entry import Action, Entry
from rollback_operator.cli.backtest.files import BadFileError
from rollback_operator.cli.backtest.tracks import hash_of
from rollback_operator.model.samples import CounterSeries, Missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BINS = 180
LEAST_ODDS, MOST_ODDS = 1e-3, 1e12
MOST_DECISIONS = 12
LINE_INCHES = 0.2
OLD, NEW = "#4c78a8", "#e45756"
COLOURS = (OLD, NEW, "#72b7b2", "#b279a2", "#f58518")
GREY, INK, AMBER = "#888", "#222", "#b07000"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text remains text
    "svg.hashsalt": "backtest",  # the same replay gives the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "lines.linewidth": 1.6,
    "date.converter": "concise",
    "text.color": INK,
}
Point = tuple[float, float]
_TOP: dict[str, Any] = {"xycoords": ("data", "axes fraction")}


def require_matplotlib() -> None:
    """Check that the extra `plot` is installed, before a replay that may take minutes.

    Raises:
        BadFileError: it is not.
    """
    if find_spec("matplotlib") is None:
        raise BadFileError(
            "plot", "needs matplotlib: install the extra `plot` (pip install '.[plot]')"
        )


def draw(result: CaseResult, path: Path) -> None:
    """Draw a replay that has kept its evaluations into a file.

    Raises:
        BadFileError: the file cannot be written.
    """
    from matplotlib import rc_context  # noqa: PLC0415 (an extra)
    from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)

    shown = result.replayed.decisions[-MOST_DECISIONS:]
    list_height = LINE_INCHES * max(1, len(shown))
    with rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 5.6 + list_height), layout="constrained")
        heights = [2.5, 2.5, list_height]
        rates, odds, listed = figure.subplots(3, 1, height_ratios=heights)
        odds.sharex(rates)
        rates.xaxis_date()
        rates.tick_params(labelbottom=False)
        name = f"{result.rollouts.namespace}/{result.rollouts.deployment}"
        figure.suptitle(f"{name}, {_utc(result.span.start):%Y-%m-%d}, UTC")
        _draw_rates(result, rates)
        _draw_odds(result, odds)
        _draw_decisions(shown, (rates, odds, listed))
        try:
            figure.savefig(path, format="svg", metadata={"Date": None})
        except OSError as error:
            raise BadFileError("plot", f"{path}: {error}") from None


def _draw_rates(result: CaseResult, axes: "Axes") -> None:
    axes.set_title("failed requests")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    rollouts, end = result.rollouts.rollouts, result.span.end
    hashes = [rollout.template_hash for rollout in rollouts if rollout.time <= end]
    top = 0.01
    for template_hash, colour in zip(
        list(dict.fromkeys(hashes))[-len(COLOURS) :], COLOURS, strict=False
    ):
        points = list(_rates(result, template_hash))
        top = max([top, *(value for _, value in points)])
        label = f"revision {_label(result, template_hash)}"
        _line(axes, points, 3 * _width(result), color=colour, label=label, gid=label)
    axes.set_xlim(_day(result.span.start), _day(max(result.span.end, result.span.start + 1)))
    axes.set_ylim(0, min(1.02, 1.1 * top))
    if hashes:
        axes.legend(loc="lower left", ncols=len(COLOURS), bbox_to_anchor=(0.2, 1), frameon=False)
    for rollout in rollouts:
        if result.span.start <= rollout.time <= result.span.end:
            name = result.rollouts.label_of(rollout.template_hash, rollout.time)
            axes.axvline(_day(rollout.time), color=GREY, linestyle=":", linewidth=1)
            axes.annotate(f" rollout {name}", (_day(rollout.time), 1), color=GREY, va="top", **_TOP)


def _draw_odds(result: CaseResult, axes: "Axes") -> None:
    axes.set_title("odds that the release is worse")
    axes.set_yscale("log")
    axes.set_ylim(LEAST_ODDS, MOST_ODDS)
    safety = result.policy.spec.safety
    limits = (("Suspect", safety.suspect_odds, AMBER), ("Bad", safety.bad_odds, NEW))
    for name, value, colour in limits:
        axes.axhline(value, color=colour, linestyle="--", linewidth=1)
        axes.text(
            _day(result.span.end),
            value,
            f"{name} {value:g} : 1",
            color=colour,
            ha="right",
            va="bottom",
        )
    points = [
        (entry.time, min(MOST_ODDS, max(LEAST_ODDS, entry.leading.odds)))
        for entry in result.replayed.evaluations
        if entry.leading is not None
    ]
    _line(axes, points, 600.0, color=INK, gid="odds")


def _draw_decisions(shown: Sequence[Entry], panels: tuple["Axes", "Axes", "Axes"]) -> None:
    rates, odds, listed = panels
    listed.axis("off")
    begin, end = odds.get_xlim()
    free = 0.0
    for number, entry in enumerate(shown, 1):
        colour = {Action.ROLLBACK: NEW, Action.NONE: GREY}.get(entry.action, AMBER)
        for panel in (rates, odds) if entry.action is not Action.NONE else ():
            panel.axvline(_day(entry.time), color=colour, linewidth=1)
        # A mark that would cover another moves aside; the line still shows the time.
        mark = max(_day(entry.time), free)
        free = mark + 0.02 * (end - begin)
        circle = {"boxstyle": "circle", "facecolor": colour, "edgecolor": "none"}
        odds.annotate(
            str(number), (mark, 1), color="white", ha="center", size=7, bbox=circle, **_TOP
        )
        severity = "" if entry.severity == "None" else f" {entry.severity}"
        action = "" if entry.action is Action.NONE else f", {entry.action}"
        text = f"{_utc(entry.time):%H:%M:%S}  {entry.verdict}{severity}{action}: {entry.reason}"
        listed.text(0, 1 - number / len(shown), f"{number}  {text}", color=colour)


def _line(axes: "Axes", points: Sequence[Point], longest: float, **style: Any) -> None:
    """Draw values over time, interrupted where they are missing for longer than a time."""
    drawn: list[Point] = []
    for number, (time, value) in enumerate(points):
        if number and time - points[number - 1][0] > longest:
            drawn.append((_day(time), math.nan))
        drawn.append((_day(time), value))
    axes.plot([time for time, _ in drawn], [value for _, value in drawn], **style)


def _day(time: float) -> float:
    """Convert a time to matplotlib's unit, days since 1970."""
    return time / 86400


def _utc(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)


def _label(result: CaseResult, template_hash: str) -> str:
    """Name a revision by all the numbers that it had."""
    names = [
        result.rollouts.label_of(template_hash, rollout.time)
        for rollout in result.rollouts.rollouts
        if rollout.template_hash == template_hash
    ]
    return " and ".join(dict.fromkeys(map(str, names)))


def _rates(result: CaseResult, template_hash: str) -> Iterator[Point]:
    """Yield a revision's error rate in each interval in which it served requests."""
    counters = result.history.counters
    if isinstance(counters, Missing):
        return
    width = _width(result)
    deployment = result.rollouts.deployment
    requests, errors = (
        _binned(
            [each for each in side if hash_of(each.pod, deployment) == template_hash], result, width
        )
        for side in (counters.requests, counters.errors)
    )
    for number in sorted(requests):
        if requests[number] > 0:
            time = min(result.span.end, result.span.start + (number + 0.5) * width)
            yield time, min(1.0, errors.get(number, 0.0) / requests[number])


def _width(result: CaseResult) -> float:
    """Return the length of the interval over which a rate is taken."""
    return max(result.span.step, (result.span.end - result.span.start) / MOST_BINS, 15.0)


def _binned(series: Sequence[CounterSeries], result: CaseResult, width: float) -> dict[int, float]:
    sums: dict[int, float] = {}
    for each in series:
        before = None
        for time, value in each.samples:
            if not math.isfinite(value):
                continue
            if before is not None and result.span.start < time <= result.span.end:
                number = int((time - result.span.start) / width)
                increase = value if value < before else value - before
                sums[number] = sums.get(number, 0.0) + increase
            before = value
    return sums
