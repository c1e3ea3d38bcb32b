"""How long the data-loss report of a large table takes, and how long its locks are held.

    python -m bench.data_loss [--rows 1000000] [--output bench/results/data_loss.json]

A real PostgreSQL with a table of tickets. While the report is made, a session beside it reads and
writes the table all the time, and another looks at the locks of ours every millisecond.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import psycopg

from lab.postgres_server import Postgres
from rollback_operator.adapters.postgres.down import TRY_LOCK_SECONDS, TRY_SECONDS
from tests.integration.test_migrations_down import Database, measure, spec

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "bench" / "results" / "data_loss.json"
CASES = {
    "drop a column": "ALTER TABLE tickets DROP COLUMN seat",
    "drop the table": "DROP TABLE tickets",
    "change a type": "ALTER TABLE tickets ALTER COLUMN name TYPE varchar(20)",
    "update every row": "UPDATE tickets SET seat = NULL",
    "declared": "ALTER TABLE tickets DROP COLUMN seat",
}
"""The last counts what `drops` names, and tries nothing."""
LOCKS = """
SELECT mode, granted FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE a.application_name = 'rollback-operator' AND l.locktype = 'relation'
    AND l.relation = 'tickets'::regclass
"""


class Beside:
    """What other sessions see while the report is made."""

    def __init__(self, database: Database) -> None:
        self._dsn = database.dsn(database.owner)
        self._is_over = threading.Event()
        self.longest_wait = 0.0
        self.held: dict[str, float] = {}
        self._threads = [threading.Thread(target=each) for each in (self._sell, self._look)]

    def __enter__(self) -> Beside:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for one in self._threads:
            one.join()

    def _sell(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._is_over.is_set():
                began = time.perf_counter()
                connection.execute("UPDATE tickets SET name = 'sold' WHERE id = 1")
                self.longest_wait = max(self.longest_wait, time.perf_counter() - began)

    def _look(self) -> None:
        since: dict[str, float] = {}
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._is_over.is_set():
                now = time.perf_counter()
                modes = {mode for mode, granted in connection.execute(LOCKS).fetchall() if granted}
                for mode in set(since) - modes:
                    del since[mode]
                for mode in modes:
                    began = since.setdefault(mode, now)
                    self.held[mode] = max(self.held.get(mode, 0.0), now - began)
                time.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    with Postgres() as server:
        found = {name: _case(server, name, sql, asked.rows) for name, sql in CASES.items()}
    kept = {
        "command": f"python -m bench.data_loss --rows {asked.rows}",
        "lockTimeoutSeconds": TRY_LOCK_SECONDS,
        "trySeconds": TRY_SECONDS,
        "cases": found,
    }
    asked.output.write_text(json.dumps(kept, indent=1) + "\n")
    print(asked.output.read_text())


def _case(server: Postgres, name: str, statements: str, rows: int) -> dict[str, Any]:
    database = Database(server)
    database.sells(rows, seats=rows // 3)
    database.run_as_owner("ANALYZE tickets")
    known = {"name": "002_seats", "sql": statements, "drops": ["public.tickets.seat"]}
    policy = spec(terms={"migrations": [known]}) if name == "declared" else spec(statements)
    with Beside(database) as beside:
        began = time.perf_counter()
        report = asyncio.run(measure(database, policy))
        seconds = time.perf_counter() - began
    losses = [
        f"{one.place} {one.how} {one.values}{' (estimate)' if one.is_estimated else ''}"
        for one in report.losses
    ]
    return {
        "seconds": round(seconds, 3),
        "losses": losses,
        "unknown": report.unknown,
        "fault": report.fault,
        "longestWaitOfAnotherSession": round(beside.longest_wait, 3),
        "locksHeldSeconds": {mode: round(held, 3) for mode, held in beside.held.items()},
    }


if __name__ == "__main__":
    main()
