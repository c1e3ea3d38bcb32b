"""Many simulations, one seed after the other, until so many steps have been made. Resumable."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.simulation.scenario import KINDS, draw
from bench.simulation.world import Result, simulate

COLUMNS = ("runs", "steps", "wanted", "done", "lost", "double", "healthy", "broken")


def run(first: int, steps: int, journal: Path) -> Iterator[dict[str, Any]]:
    """Run seeds from `first` on; those that the journal holds are not run again.

    Args:
        first: the first seed.
        steps: how many steps all runs together are to make.
        journal: one line a run is appended to it.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    known = {one["seed"]: one for one in read(journal)}
    made, seed = 0, first
    with journal.open("a") as file:
        while made < steps:
            one = known.get(seed)
            if one is None:
                one = record(simulate(draw(seed)))
                file.write(json.dumps(one) + "\n")
                file.flush()
            made += one["steps"]
            seed += 1
            yield one


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
    failed = [
        {"seed": one["seed"], "fault": one["fault"], "broken": one["broken"]}
        for one in records
        if one["broken"]
    ]
    return {
        "seeds": [min(seeds, default=0), max(seeds, default=0)],
        "hours": round(sum(one["seconds"] for one in records) / 3600, 1),
        "total": _row(records),
        "faults": {kind: row for kind, row in table.items() if row["runs"]},
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
        f"Seeds {first} to {last}, {found['hours']} hours of virtual time.",
        "",
        "| fault | " + " | ".join(COLUMNS) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    rows = [*found["faults"].items(), ("all", found["total"])]
    lines += [
        f"| {name} | " + " | ".join(f"{row[one]:,}" for one in COLUMNS) + " |" for name, row in rows
    ]
    return "\n".join(lines) + "\n"
