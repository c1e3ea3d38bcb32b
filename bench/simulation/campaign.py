"""Many simulations, one seed after the other, until so many steps have been made. Resumable."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.simulation.actors import ACTORS, draw
from bench.simulation.scenario import KINDS
from bench.simulation.world import Result, quiet, simulate

COLUMNS = ("runs", "steps", "wanted", "done", "lost", "double", "healthy", "broken")
AHEAD = 3
"""Seeds a process that are run ahead: results come in the order of their seeds."""


def run(first: int, steps: int, journal: Path, jobs: int = 1) -> Iterator[dict[str, Any]]:
    """Run seeds from `first` on; those that the journal holds are not run again.

    Args:
        first: the first seed.
        steps: how many steps all runs together are to make.
        journal: one line a run is appended to it.
        jobs: processes that run seeds at the same time, at idle priority.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    known = {one["seed"]: one for one in read(journal)}
    made = 0
    with journal.open("a") as file:
        for one in _made(itertools.count(first), known, jobs):
            if one["seed"] not in known:
                file.write(json.dumps(one) + "\n")
                file.flush()
            made += one["steps"]
            yield one
            if made >= steps:
                return


def _made(
    seeds: Iterator[int], known: Mapping[int, dict[str, Any]], jobs: int
) -> Iterator[dict[str, Any]]:
    """Give the records of seeds in their order, some of them made ahead."""
    if jobs == 1:
        yield from (known.get(seed) or one_run(seed) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=_begin) as pool:
        ahead: deque[Future[dict[str, Any]] | dict[str, Any]] = deque()
        try:
            while True:
                while len(ahead) < AHEAD * jobs:
                    seed = next(seeds)
                    ahead.append(known.get(seed) or pool.submit(one_run, seed))
                one = ahead.popleft()
                yield one.result() if isinstance(one, Future) else one
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    os.nice(19)
    quiet()


def one_run(seed: int) -> dict[str, Any]:
    """Run a seed, and give what is kept of it."""
    return record(simulate(draw(seed)))


def record(result: Result) -> dict[str, Any]:
    """Give what is kept of a run."""
    found = asdict(result)
    del found["trace"]
    return {**found, "broken": list(result.broken)}


def read(journal: Path) -> list[dict[str, Any]]:
    """Read a journal; a line that was cut off is not counted."""
    found = []
    for line in journal.read_text().splitlines() if journal.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def summary(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Add up runs by the kind of fault."""
    records = list(records)
    seeds = [one["seed"] for one in records]
    table = {kind: _row([one for one in records if one["fault"] == kind]) for kind in KINDS}
    actors = {name: _row([one for one in records if one["actor"] == name]) for name in ACTORS}
    failed = [
        {name: one[name] for name in ("seed", "fault", "actor", "broken")}
        for one in records
        if one["broken"]
    ]
    return {
        "seeds": [min(seeds, default=0), max(seeds, default=0)],
        "hours": round(sum(one["seconds"] for one in records) / 3600, 1),
        "total": _row(records),
        "passes": sum(one["passes"] for one in records),
        "longest_pass": max((one["longest"] for one in records), default=0.0),
        "faults": {kind: row for kind, row in table.items() if row["runs"]},
        "actors": {name: row for name, row in actors.items() if row["runs"]},
        "failed": failed,
    }


def _row(records: list[dict[str, Any]]) -> dict[str, int]:
    row = {"runs": len(records)}
    for name in ("steps", "wanted", "done", "lost", "double", "healthy"):
        row[name] = sum(one[name] for one in records)
    return {**row, "broken": sum(bool(one["broken"]) for one in records)}


def markdown(found: dict[str, Any]) -> str:
    """Show a summary as a table."""
    first, last = found["seeds"]
    lines = [
        f"Seeds {first} to {last}, {found['hours']} hours of virtual time; {found['passes']:,} "
        f"passes, the longest {found['longest_pass']:.0f} s.",
    ]
    for title in ("fault", "actor"):
        lines += ["", f"| {title} | " + " | ".join(COLUMNS) + " |"]
        lines.append("| --- |" + " ---: |" * len(COLUMNS))
        lines += [
            f"| {name} | " + " | ".join(f"{row[one]:,}" for one in COLUMNS) + " |"
            for name, row in (*found[f"{title}s"].items(), ("all", found["total"]))
        ]
    return "\n".join(lines) + "\n"
