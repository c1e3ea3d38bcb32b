"""The output of the demo: short lines while it runs, and a summary of the rollback."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab.loadgen.load import Summary

WIDTH = 98


class Story:
    """Short lines with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        first, *rest = textwrap.wrap(text, 92)
        print(f"[{self.seconds:4.0f} s] {first}", flush=True)
        for line in rest:
            print(f"         {line}", flush=True)

    @contextmanager
    def waiting(self, what: str, every: float = 15) -> Iterator[None]:
        """Print a line regularly while a long operation is in progress."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(every):
                self.say(f"... {what}")

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()


@dataclass(frozen=True)
class Rest:
    """The cost of the operator while it watches a healthy release."""

    seconds: float
    mebibytes: float
    writes: int
    renewals: int


@dataclass(frozen=True)
class Account:
    """The observations of a rollback: by customers, in the cluster, in the database."""

    pushed: datetime
    summary: Summary
    rollback: Mapping[str, Any]
    purchases: Sequence[int]
    """Rows before the release, when the rollback had ended, and at the end."""
    rest: Rest

    def tell(self) -> None:
        self._tell_timeline()
        self._tell_decision()
        self._tell_rest()

    def _moments(self) -> list[tuple[str, datetime | None]]:
        steps = {one["name"]: one for one in self.rollback["status"]["steps"]}
        return [
            ("release pushed", self.pushed),
            ("first failed request", self.summary.total.first_failure),
            ("decision", _time(self.rollback["spec"]["trigger"]["decidedTime"])),
            ("undo sent", _time(steps.get("Undo", {}).get("finishedTime"))),
            ("rollout complete", _time(steps.get("RolloutComplete", {}).get("finishedTime"))),
            ("last failed request", self.summary.total.last_failure),
        ]

    def _tell_timeline(self) -> None:
        total, first = self.summary.total, self.summary.total.first_failure
        print("\nTimeline (UTC, and seconds since the first failed request)")
        for what, moment in self._moments():
            if moment is None:
                print(f"  {what:<21} never")
                continue
            since = f"{(moment - first).total_seconds():+8.2f} s" if first else ""
            clock = f"{moment:%H:%M:%S.%f}"[:-3]
            print(f"  {what:<21} {clock}  {since}")
        before, verified, now = self.purchases
        print(
            f"  {total.failed} of {total.sent} requests failed\n"
            f"  purchases in PostgreSQL: {before} before the release, {verified} when the operator "
            f"had verified the rollback, {now} at the end"
        )

    def _tell_decision(self) -> None:
        spec = self.rollback["spec"]
        print("\nDecision of the operator")
        told = f"{spec['severity']}: {spec['trigger']['message']}."
        print(textwrap.fill(told, WIDTH, initial_indent="  ", subsequent_indent="  "))

    def _tell_rest(self) -> None:
        rest, minute = self.rest, 60 / self.rest.seconds
        print(
            f"\nOperator while it watches a healthy release (measured over {rest.seconds:.0f} s)\n"
            f"  resident memory        {rest.mebibytes:.0f} MiB\n"
            f"  writes to the API      {rest.writes * minute:.1f} per minute\n"
            f"  renewals of its Lease  {rest.renewals * minute:.1f} per minute"
        )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
