"""The operator killed at each step of the corruption scenario and of a down migration.

    python -m bench.kills [--twice] [--output bench/results/kills.md]

A row for each kill: the database, the image and the replicas before the release and after the end
of its rollback, on a real API server (KWOK) and a real PostgreSQL. The walks are those of
tests/integration; --twice kills both before a write is sent and before it is answered, otherwise by
turns. The exit code is 1 if a walk left anything wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from lab.postgres_server import Postgres
from tests.integration.operator_process import Zygote
from tests.integration.stand import Stand
from tests.integration.test_crash_walk import AT_ONCE, UNDO, Walk
from tests.integration.test_migration_crashes import (
    BY_JOB,
    CUTS,
    JOB_CUTS,
    JobWalk,
    MigrationWalk,
)
from tests.integration.test_traffic_crashes import SelectorWalk, TrafficWalk
from tests.integration.tickets import Tickets
from tests.integration.writes import CutPoint, Point, kind, twice

OUTPUT = Path(__file__).parent / "results" / "kills.md"
HEAD = (
    "| killed | write | before the release | after the end | outcome |\n"
    "| --- | --- | --- | --- | --- |"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    cutting = twice if asked.twice else by_turns
    with tempfile.TemporaryDirectory() as made, Postgres() as server, Zygote() as zygote:
        folder = Path(made)
        with Stand(folder) as stand:
            common = (stand, zygote, folder, UNDO)
            report = KillReport(asked.output, f"python -m bench.kills{' --twice' * asked.twice}")

            def traffic(walk: type[TrafficWalk]) -> Iterator[Walk]:
                for point, number, is_before in cutting(walk.CUTS):
                    yield walk(*common, number, is_before, point, tickets=Tickets(server))

            def migrations(
                walk: type[MigrationWalk], cuts: Iterable[Point], terms: object = None
            ) -> Iterator[Walk]:
                for point, number, is_before in cutting(cuts):
                    yield walk(*common, number, is_before, point, server=server, terms=terms)

            report.walk("Migration rolled back by SQL", migrations(MigrationWalk, CUTS))
            title = "Migration rolled back by a Job that does nothing"
            report.walk(title, migrations(JobWalk, JOB_CUTS, BY_JOB))
            title = "Database corruption, traffic stopped by "
            report.walk(f"{title}the Service", traffic(SelectorWalk))
            report.walk(f"{title}replicas", traffic(TrafficWalk))
    return int(report.is_wrong)


class KillReport:
    """The table, written after each walk: whatever ends the bench, what it has shown is kept."""

    def __init__(self, output: Path, command: str) -> None:
        self._output = output
        self._parts = [f"# Kills\n\n`{command}`"]
        self.is_wrong = False

    def walk(self, title: str, walks: Iterable[Walk]) -> None:
        """Walk side by side; the rows are in the order of the ends."""
        self._parts.append(f"## {title}\n\n{HEAD}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in as_completed([pool.submit(each.go) for each in walks]):
                walk = done.result()
                self.is_wrong |= bool(walk.faults) or walk.cut.at is None
                self._parts[-1] += f"\n{row(walk)}"
                self._output.write_text("\n\n".join(self._parts) + "\n")


def by_turns(points: Iterable[Point]) -> list[CutPoint]:
    """Cut each point once: before it is sent and before it is answered by turns."""
    return [(*point, place % 2 == 0) for place, point in enumerate(points)]


def row(walk: Walk) -> str:
    write = f"not reached: {walk.point}" if walk.cut.at is None else kind(walk.cut.at)
    moment = "before it is sent" if walk.is_before else "before it is answered"
    before, after = (*walk.states, "", "")[:2]
    outcome = "; ".join(walk.faults).replace("\n", " ")[:300] or "as it has to be"
    return f"| {moment} | {write} | {before} | {after} | {outcome} |"


if __name__ == "__main__":
    sys.exit(main())
