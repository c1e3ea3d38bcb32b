"""What each floor of the judge costs and buys: development releases with it and without it.

    python -m bench.detection floors [--each 40]

Each line changes a single limit of `judge/vetoes.py`, in this process only, and judges the same
releases again: rollbacks of releases that are not bad, and seconds until the bad are taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from bench.detection import families
from bench.detection.judged import judge_world
from bench.detection.limits import limit, truth
from bench.detection.scenario import Fault, Scenario, Truth
from bench.detection.world import build
from rollback_operator.judge import vetoes

FLOORS: Mapping[str, Mapping[str, int]] = {
    "all floors": {},
    "10 requests": {"LEAST_REQUESTS": 10},
    "5 requests": {"LEAST_REQUESTS": 5},
    "5 errors": {"LEAST_ERRORS": 5},
    "3 errors": {"LEAST_ERRORS": 3},
    "one sample": {"LEAST_SAMPLES": 1},
    "one pod": {"LEAST_PODS": 1},
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What was right and what was decided, with the seconds from the fault on."""

    truth: Truth
    is_bad: bool
    seconds: float | None
    """None: not taken back."""


def drawn(each: int) -> list[Scenario]:
    """Draw the releases: bad, healthy, confounded, and with a start that is known."""
    rows = families.ROWS
    return [
        *(families.bad(200_000 + number) for number in range(each)),
        *(families.plain(number) for number in range(each)),
        *(families.confounded(100_000 + n, rows[n % len(rows)]) for n in range(2 * each)),
        *(families.starting(480_000 + number) for number in range(each)),
    ]


def sweep(scenarios: Sequence[Scenario]) -> dict[str, Any]:
    """Judge all releases once for each floor."""
    lines = [_line(name, list(_judged(scenarios, change))) for name, change in FLOORS.items()]
    return {"releases": len(scenarios), "floors": lines}


def _judged(scenarios: Sequence[Scenario], change: Mapping[str, int]) -> Iterator[Judged]:
    usual = {name: getattr(vetoes, name) for name in change}
    try:
        for name, value in change.items():
            setattr(vetoes, name, value)
        for scenario in scenarios:
            world = build(scenario)
            outcome, known = judge_world(world), limit(world)
            back = outcome.rolled_back
            since = known.since if known is not None else 0.0
            seconds = None if back is None else back - since
            yield Judged(truth(world), scenario.fault is not Fault.NONE, seconds)
    finally:
        for name, value in usual.items():
            setattr(vetoes, name, value)


def _line(name: str, judged: Sequence[Judged]) -> dict[str, Any]:
    bad = [each for each in judged if each.truth is Truth.ROLLBACK]
    taken = [each.seconds for each in bad if each.seconds is not None]
    healthy = [each for each in judged if each.truth is Truth.NO_ROLLBACK]
    return {
        "floors": name,
        "healthy": len(healthy),
        "wrong": sum(each.seconds is not None for each in healthy),
        "bad": len(bad),
        "caught": len(taken),
        "medianSeconds": round(median(taken), 1) if taken else None,
        "meanSeconds": round(mean(taken), 1) if taken else None,
    }


def table(swept: Mapping[str, Any]) -> str:
    """Write the lines as a table of Markdown."""
    head = ["floors", "wrong rollbacks", "bad releases taken back", "seconds, median / mean"]
    rows = [
        [
            str(line["floors"]),
            f"{line['wrong']} of {line['healthy']}",
            f"{line['caught']} of {line['bad']}",
            f"{line['medianSeconds']} / {line['meanSeconds']}",
        ]
        for line in swept["floors"]
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
