"""Late faults without an old pod left, and outages of a dependency of the same shape.

Samples do not tell the two apart: only how soon after the release they begin does. Each pair is one
drawn fault, as the release's own and as the environment's. The sweep counts what an undo without
an answer does to both, from which odds of blame on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.detection.families import plain
from bench.detection.judged import Outcome, judge_world
from bench.detection.scenario import Confounder, Fault, Rollout, Scenario
from bench.detection.world import build
from rollback_operator.model.verdict import BLAME_ODDS

SEEDS = 480_000
"""Where the seeds of the pairs begin; the others of the bench lie below."""
SOONEST, LATEST = 6.0, 900.0
TOTAL_SHARE = 0.92
"""Least share of all requests that fails where the service is down."""
WATCHED = 400.0
"""Seconds that a fault is followed: longer than a question waits while the service is down."""
ANSWERED = 900.0
"""Seconds after a page at which people are supposed to have undone a bad release."""
BOUNDS = (3.0, 5.0, 10.0, 20.0, 100.0)
Pair = tuple[Scenario, Outcome, Scenario, Outcome]


def pairs(count: int, first: int) -> Iterator[tuple[Scenario, Scenario]]:
    """Draw late faults: two of three total, the others a part of all requests."""
    for number in range(count):
        seed = first + SEEDS + number
        dice = random.Random(seed ^ 0x1A7E)
        onset = math.exp(dice.uniform(math.log(SOONEST), math.log(LATEST)))
        least, most = (TOTAL_SHARE, 1.0) if number % 3 else (0.07, 0.9)
        size = round(math.exp(dice.uniform(math.log(least), math.log(most))), 3)
        calm = replace(
            plain(seed),
            rps=round(math.exp(dice.uniform(math.log(2), math.log(100))), 3),
            bursts=0.0,
            rollout=Rollout.FAST,
            horizon=round(onset) + WATCHED,
        )
        own = replace(calm, fault=Fault.ERRORS, size=size, onset=round(onset, 1))
        since = round(build(replace(calm, horizon=1.0)).cast.first_request + onset, 1)
        lasts = dice.choice((0.0, 0.0, 60.0, 300.0))
        other = replace(
            calm, confounder=Confounder.DEPENDENCY, extent=size, since=since, lasts=lasts
        )
        yield own, other


def run(count: int, first: int) -> Iterator[Pair]:
    """Judge each pair."""
    for own, other in pairs(count, first):
        yield own, judge_world(build(own)), other, judge_world(build(other))


def table(judged: Sequence[Pair]) -> list[dict[str, Any]]:
    """Count what is undone without a person, by the odds of blame from which it is."""
    return [_row(judged, bound) for bound in BOUNDS]


def _row(judged: Sequence[Pair], bound: float) -> dict[str, Any]:
    right = [pair for pair in judged if _is_undone(pair[1], bound)]
    wrong = [pair for pair in judged if _is_undone(pair[3], bound)]
    saved = [
        ANSWERED - (pair[1].rolled_back - (pair[1].asked or pair[1].rolled_back))
        for pair in right
        if pair[1].rolled_back is not None
    ]
    return {
        "bound": bound,
        "pairs": len(judged),
        "right": len(right),
        "wrong": len(wrong),
        "minutes": round(sum(saved) / 60, 1),
    }


def _is_undone(outcome: Outcome, bound: float) -> bool:
    return outcome.rolled_back is not None and outcome.blame >= min(bound, BLAME_ODDS)


def asked(judged: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """Count what is undone at once, undone without an answer, only asked, and only reported."""
    return {
        "own": _decided([pair[1] for pair in judged]),
        "other": _decided([pair[3] for pair in judged]),
    }


def _decided(outcomes: Sequence[Outcome]) -> dict[str, int]:
    undone = [each for each in outcomes if each.rolled_back is not None]
    left = [each for each in outcomes if each.rolled_back is None]
    return {
        "releases": len(outcomes),
        "undoneAtOnce": sum(each.asked is None for each in undone),
        "undoneUnanswered": sum(each.asked is not None for each in undone),
        "asked": sum(each.asked is not None for each in left),
        "reported": sum(each.asked is None and each.told is not None for each in left),
        "nothing": sum(each.asked is None and each.told is None for each in left),
    }


def markdown(rows: Sequence[dict[str, Any]], decided: dict[str, dict[str, int]]) -> str:
    """Write both tables."""
    lines = [
        "| undone without an answer from | right | wrong | minutes of outage saved |",
        "| ---: | ---: | ---: | ---: |",
        *(
            f"| {row['bound']:g} : 1 | {row['right']} of {row['pairs']} | "
            f"{row['wrong']} of {row['pairs']} | {row['minutes']:.0f} |"
            for row in rows
        ),
        "",
        "| fault | undone at once | undone without an answer | asked | reported | nothing |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    names = {"own": "of the release", "other": "of its environment"}
    for side, counts in decided.items():
        cells = [str(count) for name, count in counts.items() if name != "releases"]
        lines.append(f"| {names[side]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
