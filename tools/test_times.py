"""Records how long each tier of tests takes, from the log of a run of `make test`.

    make test 2>&1 | tee test.log
    python tools/test_times.py warm test.log    # or cold: .venv and the caches were empty

Writes bench/results/test-times.json and the last column of docs/testing.md. A run with a failure
is not recorded. For a list of the slowest tests, run with `PYTEST_ADDOPTS=--durations=25`.

    {"warm": {"date": "2026-12-01", "cores": 2, "seconds": 1501.0, "tiers": {
        "unit": {"seconds": 310.0, "pytestSeconds": 290.5, "passed": 5120,
                 "slowest": [{"seconds": 12.3, "test": "tests/unit/test_x.py::test_y"}]}}}}

`seconds` is from the line `== TIER TIME` that a tier begins with to the next; `pytestSeconds` and
`passed` are the sums of pytest's own last lines; a tier without pytest has neither.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "test-times.json"
DOCUMENT = ROOT / "docs" / "testing.md"
MOST_SLOWEST = 25

_MARK = re.compile(r"^== ([a-z0-9-]+) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$", re.MULTILINE)
_SUMMARY = re.compile(r"^=*\s*(\d+ (?:passed|failed|skipped|error).*) in ([\d.]+)s\b", re.MULTILINE)
_SLOW = re.compile(r"^([\d.]+)s (?:call|setup|teardown) +(\S.*)$", re.MULTILINE)


class NotRecordedError(Exception):
    """The log is not that of a whole run that passed."""


def times(log: str) -> dict[str, Any]:
    """Read a log of `make test`: the tiers from their marks, ended by that of `test` itself."""
    marks = list(_MARK.finditer(log))
    if not marks or marks[-1][1] != "test":
        raise NotRecordedError("the log does not end with the mark of `make test`: it did not pass")
    began, ended = _time(marks[0]), _time(marks[-1])
    return {
        "date": f"{began:%Y-%m-%d}",
        "seconds": (ended - began).total_seconds(),
        "tiers": dict(_tiers(log, marks)),
    }


def _tiers(log: str, marks: list[re.Match[str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for mark, following in pairwise(marks):
        seconds = (_time(following) - _time(mark)).total_seconds()
        yield mark[1], {"seconds": seconds, **_of_pytest(log[mark.end() : following.start()])}


def _of_pytest(log: str) -> dict[str, Any]:
    summaries = list(_SUMMARY.finditer(log))
    if any(re.search(r"\d+ (?:failed|error)", summary[1]) for summary in summaries):
        raise NotRecordedError("tests have failed: " + "; ".join(each[1] for each in summaries))
    if not summaries:
        return {}
    passed = [int(number) for each in summaries for number in re.findall(r"(\d+) passed", each[1])]
    slow = sorted(((float(each[1]), each[2].strip()) for each in _SLOW.finditer(log)), reverse=True)
    return {
        "pytestSeconds": round(sum(float(each[2]) for each in summaries), 2),
        "passed": sum(passed),
        "slowest": [{"seconds": took, "test": test} for took, test in slow[:MOST_SLOWEST]],
    }


def _time(mark: re.Match[str]) -> datetime:
    return datetime.fromisoformat(mark[2])


def filled(document: str, tiers: dict[str, Any]) -> str:
    """Put minutes into the last cell of each row of a table that begins with a tier's command."""

    def row(hit: re.Match[str]) -> str:
        tier = tiers.get(hit[2])
        return hit[0] if tier is None else f"{hit[1]} {tier['seconds'] / 60:.1f} min |"

    return re.sub(r"^(\| `make ([a-z0-9-]+)` \|.*\|)[^|\n]*\|$", row, document, flags=re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Record a run."""
    match arguments:
        case ["warm" | "cold" as label, log]:
            try:
                run = {"cores": os.cpu_count(), **times(Path(log).read_text())}
            except NotRecordedError as error:
                print(f"not recorded: {error}")
                return 1
        case _:
            print(__doc__)
            return 2
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**known, label: run}, indent=1) + "\n")
    if label == "warm":
        whole = {"test": {"seconds": run["seconds"]}}
        DOCUMENT.write_text(filled(DOCUMENT.read_text(), {**run["tiers"], **whole}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
