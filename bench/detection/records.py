"""One line of results for each scenario: written as they come, so that a run can be resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import rollback_operator
from bench.detection.baselines import decisions
from bench.detection.judged import Outcome, judge_world
from bench.detection.limits import Limit, is_undecidable, limit, truth
from bench.detection.replayed import replay
from bench.detection.scenario import Scenario, Truth, parse
from bench.detection.world import build

JUDGES = (
    "model",
    "stats",
    "evidence",
    "judge",
    "remedies",
    "releases",
    "decide",
    "report",
    "reconcile",
    "observe",
    "backtest",
)
REPLAYED = 50
"""One scenario in so many is replayed as `backtest` would, too: it looks each second, and takes
three times as long."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was true and what was decided."""

    scenario: Scenario
    truth: Truth
    limit: Limit | None
    outcome: Outcome
    first_request: float
    old_left: float
    """When the last old pod went, from the template's change."""
    is_undecidable: bool
    """Whether samples cannot show that a fault is the environment's."""
    baselines: dict[str, float | None] = field(default_factory=dict)
    replayed: Outcome | None = None
    """What `backtest` makes of the same samples; None where files cannot tell the scenario."""

    @property
    def is_rolled_back(self) -> bool:
        """Tell whether the release was taken back."""
        return self.outcome.rolled_back is not None

    def line(self, of: str) -> str:
        """Write it as one line of JSON, with what it is a result of."""
        return json.dumps(
            {
                "of": of,
                "scenario": self.scenario.line(),
                "truth": self.truth,
                "limit": None if self.limit is None else asdict(self.limit),
                "outcome": self.outcome.fields(),
                "firstRequest": self.first_request,
                "oldLeft": self.old_left,
                "undecidable": self.is_undecidable,
                "baselines": self.baselines,
                "replayed": None if self.replayed is None else self.replayed.fields(),
            },
            separators=(",", ":"),
        )


def read(line: str) -> Record:
    """Read what `Record.line` wrote."""
    found = json.loads(line)
    known = found["limit"]
    return Record(
        parse(found["scenario"]),
        Truth(found["truth"]),
        None if known is None else Limit(**known),
        Outcome(**found["outcome"]),
        found["firstRequest"],
        found["oldLeft"],
        found["undecidable"],
        found["baselines"],
        None if found["replayed"] is None else Outcome(**found["replayed"]),
    )


def make(scenario: Scenario) -> Record:
    """Draw a scenario, judge it, and ask the baselines."""
    world = build(scenario)
    return Record(
        scenario,
        truth(world),
        limit(world),
        judge_world(world),
        world.cast.first_request,
        world.cast.last_old,
        is_undecidable(world),
        decisions(world),
        replay(world) if scenario.seed % REPLAYED == 0 else None,
    )


def fingerprint() -> str:
    """Tell the judge and the bench that a result is of from all others."""
    found = hashlib.sha256()
    for folder in (Path(rollback_operator.__file__).parent, Path(__file__).parent):
        for source in sorted(folder.rglob("*.py")):
            if folder.name == "detection" or source.parent.name in JUDGES:
                found.update(source.read_bytes())
    return found.hexdigest()[:12]


def run(scenarios: Iterable[Scenario], jobs: int, path: Path) -> Iterator[Record]:
    """Judge all scenarios that `path` holds no result of, and add theirs to it.

    Results of another judge, or of another bench, are none.
    """
    done: set[str] = set()
    made = fingerprint()
    if path.exists():
        for line in path.read_text().splitlines():
            if json.loads(line)["of"] == made:
                known = read(line)
                done.add(known.scenario.line())
                yield known
    left = [one for one in scenarios if one.line() not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for one in _each(left, jobs):
            file.write(one.line(made) + "\n")
            file.flush()
            yield one


def _each(left: list[Scenario], jobs: int) -> Iterator[Record]:
    if jobs == 1:
        yield from map(make, left)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap_unordered(make, left, chunksize=4)
