"""Figures -> a table in Markdown and a plot in SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.detection.figures import OURS, judges, knowable
from bench.detection.records import Record

WIDTH, HEIGHT, LEFT, TOP = 760, 420, 70, 40
COLOURS = ("#1b6ca8", "#c0392b", "#8e8e8e", "#d68910", "#6c3483", "#117a65", "#7b7d7d", "#2e4053")
LEAST, MOST = 0.5, 1000.0


def markdown(found: Mapping[str, Any]) -> str:
    """Write the tables."""
    parts = [
        "# How well releases are judged",
        "",
        f"{found['releases']} releases, {found['hoursWatched']} hours watched, seeds from "
        f"{found['firstSeed']}; made by `{found['command']}`.",
        "",
        *_quality(found["quality"]),
        *_times(found["times"]),
        *_severity(found["severity"]),
        *_rows(found["confounders"]),
        *_further(found["further"]),
        *_people(found),
    ]
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
        *("| " + " | ".join(_cell(one) for one in line) + " |" for line in lines),
        "",
    ]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _false(one: Mapping[str, Any]) -> str:
    return (
        f"{one['perThousand']:.2f} (< {one['upperBound']:.2f}; "
        f"{one['rolledBack']} of {one['releases']})"
        if one["releases"]
        else "-"
    )


def _quality(found: Mapping[str, Any]) -> list[str]:
    lines = [
        (
            name,
            _percent(one["precision"]),
            _percent(one["recall"]),
            _percent(one["recallWithPeople"]),
            f"{one['missed']} of {one['badKnowable']}",
            _false(one["falsePlain"]),
            _false(one["falseConfounded"]),
            f"{one['bothFail']['rolledBack']} of {one['bothFail']['releases']}",
            f"{one['undecidable']['rolledBack']} of {one['undecidable']['releases']}",
        )
        for name, one in found.items()
    ]
    head = (
        "judge",
        "precision P1+P2",
        "recall P1+P2, undone without a person",
        "recall P1+P2, undone or reported to people",
        "not undone",
        "false per 1,000 plain (95 % bound)",
        "false per 1,000 confounded (95 % bound)",
        "rolled back when both fail",
        "of those that no sample tells apart",
    )
    late = [
        (
            name,
            f"{row['late']['undone']} of {row['late']['releases']}",
            f"{row['late']['reached']} of {row['late']['releases']}",
            f"{row['reportedPlain']} of {row['falsePlain']['releases']}",
            f"{row['reportedConfounded']} of {row['falseConfounded']['releases']}",
        )
        for name, row in found.items()
    ]
    late_head = (
        "judge",
        "late faults undone",
        "late faults undone or reported",
        "plain releases reported or undone",
        "confounded releases reported or undone",
    )
    return [
        "## Right and wrong",
        "",
        "Precision counts every rollback of a healthy release, also where both revisions fail; "
        "recall counts faults that begin late, when no old pod is left to compare with.",
        "",
        *_table(head, lines),
        *_table(late_head, late),
    ]


def _times(found: Mapping[str, Any]) -> list[str]:
    lines = [
        (
            name,
            *(
                _two(one[severity][figure])
                for severity in ("P1", "P2")
                for figure in ("overLimitWithFloors", "scrapes", "seconds")
            ),
            _two(one["P1FromHundredRps"]["scrapes"]),
        )
        for name, one in found.items()
    ]
    head = (
        "judge",
        "P1 T/T_limit",
        "P1 scrapes",
        "P1 s",
        "P2 T/T_limit",
        "P2 scrapes",
        "P2 s",
        "P1 scrapes, from 100/s, samples not missing",
    )
    return ["## Time to the decision, median / p99", "", *_table(head, lines)]


def _two(one: Mapping[str, Any]) -> str:
    return f"{_cell(one['median'])} / {_cell(one['p99'])}"


def _severity(found: Mapping[str, Any]) -> list[str]:
    names = ("P1", "P2", "P3", "P4", "None")
    lines = [(true, *(line[name] for name in names)) for true, line in found.items()]
    return ["## Severity: true (rows), stated (columns)", "", *_table(("true", *names), lines)]


def _rows(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, one in found.items():
        lines.append((name, *(_decided(one[side]) for side in ("alone", "beside"))))
    head = ("confounder", "alone", "with a real fault beside it")
    return ["## Confounders: what was decided", "", *_table(head, lines)]


def _further(families: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, family in families.items():
        gone = family["letGo"]
        let_go = f"{gone['good']} good, {gone['bad']} bad" if any(gone.values()) else "-"
        lines.append((name, _decided(family["good"]), _decided(family["bad"]), let_go))
    head = ("family", "good releases", "bad releases", "hold ended, rollout went on")
    return ["## Further families: what was decided", "", *_table(head, lines)]


def _decided(one: Mapping[str, int]) -> str:
    words = {"Rollback": "rolled back", "Asked": "asked", "Told": "told", "NoVerdict": "no verdict"}
    said = [f"{one[name]} {word}" for name, word in words.items() if one[name]]
    said += [f"{one['Nothing']} nothing"] if one["Nothing"] else []
    return f"{one['of']}: " + ", ".join(said) if one["of"] else "-"


def _people(found: Mapping[str, Any]) -> list[str]:
    lines = [(name, _decided(one)) for name, one in found["forPeople"].items()]
    lines.append(("not to be known within 15 minutes", _decided(found["unknowable"])))
    shares = [(name, one["releases"], _percent(one["share"])) for name, one in _no_verdict(found)]
    return [
        "## For people to judge",
        "",
        *_table(("what", "decided"), lines),
        "## Ended without a verdict",
        "",
        *_table(("releases", "of", "share"), shares),
    ]


def _no_verdict(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(found["noVerdict"].items())


def sizes(found: Mapping[str, Any]) -> str:
    """Write the table of the throughput."""
    ages = [one for one in found["sizes"][0] if one.startswith("to")]
    lines = [
        (
            one["pods"],
            one["routes"],
            *(
                f"{one[age]['milliseconds']} ms, {one[age]['policiesPerSecondAndCore']:.0f}/s "
                f"(x {one[age]['ratio']}), {one[age]['watchesPerCore']:.0f} releases a core"
                for age in ages
            ),
            one["queriesPerLook"],
        )
        for one in found["sizes"]
    ]
    return "\n".join(_table(("pods", "routes", *ages, "queries a look"), lines))


def plot(records: Sequence[Record]) -> str:
    """Draw how the times to decision are spread, as multiples of the limit, for each judge."""
    counted = [one for one in knowable(records) if one.limit and not one.limit.by_kubernetes]
    lines = [_head(len(counted))]
    for number, judge in enumerate(judges()):
        ratios = sorted(
            (time - one.limit.since) / one.limit.floored
            for one in counted
            if one.limit and (time := judge.when(one)) is not None and time > one.limit.since
        )
        lines.append(_curve(ratios, len(counted), judge.name, number))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _head(count: int) -> str:
    inner_w, inner_h = WIDTH - LEFT - 20, HEIGHT - TOP - 60
    ticks = []
    for value in (1, 2, 3, 5, 10, 30, 100, 300):
        x = _x(value)
        ticks.append(
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + inner_h}" stroke="#ddd"/>'
            f'<text x="{x:.1f}" y="{TOP + inner_h + 16}" text-anchor="middle">{value}</text>'
        )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        ticks.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + inner_w}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{LEFT}" y="20" font-size="14">Bad releases rolled back by T / T_limit '
        f"({count} releases)</text>"
        + "".join(ticks)
        + f'<text x="{LEFT + inner_w / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
        "time since the first bad request, multiples of the limit with floors (log)</text>"
    )


def _x(ratio: float) -> float:
    span = math.log(min(MOST, max(LEAST, ratio)) / LEAST) / math.log(MOST / LEAST)
    return LEFT + span * (WIDTH - LEFT - 20)


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - 60)


def _curve(ratios: Sequence[float], count: int, name: str, number: int) -> str:
    colour = COLOURS[number % len(COLOURS)]
    step = max(1, len(ratios) // 300)
    points = [(_x(ratio), _y((index + 1) / count)) for index, ratio in enumerate(ratios)][::step]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    width = 2.5 if name == OURS else 1.2
    y = TOP + 14 + 15 * number
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        f'<line x1="{WIDTH - 245}" y1="{y + 150}" x2="{WIDTH - 225}" y2="{y + 150}" '
        f'stroke="{colour}" stroke-width="{width}"/>'
        f'<text x="{WIDTH - 220}" y="{y + 154}">{escape(name)}</text>'
    )
