"""How fast a bad release is taken back, and whether a good one is left alone: real node, real load.

    python -m bench.reaction --source prometheus|pods|stage [--runs 20] [--rate 50]
                             [--versions v1.3.0 v1.3.1 v1.4.0] [--output bench/results/race.json]

Per run: 4 replicas under load, a release goes out, and the clock runs from the first request that
failed for a user to the undo that the API server has answered. Figures are multiples of the scrape
interval, so that another machine's can be laid beside them; the load average tells how busy this
one was. Three services are under load side by side and get their releases in turn; one of them gets
good releases only and must not be rolled back.

The source says where evidence comes from: Prometheus alone, the pods' own pages too, or these with
a staged rollout. The result is put beside those of the other sources, run by run: a second call
makes the runs that are left.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.node import ROOT, Results, enter, prepared
from lab import session
from lab.loadgen import Failure, Load
from lab.tickets import TicketService, wait_for

OUTPUT = ROOT / "bench" / "results" / "race.json"
PODS = {"everyMilliseconds": 500}
SOURCES: dict[str, dict[str, Any]] = {
    "prometheus": {"podMetrics": {"everyMilliseconds": 0}},
    "pods": {"podMetrics": PODS},
    "stage": {"podMetrics": PODS, "stage": {"maxSeconds": 120}},
}
SCRAPE_SECONDS = 5.0
HISTORY_SECONDS = 75
BETWEEN_SECONDS = 3
HEALTHY_SECONDS = 20
OUTCOME_SECONDS = 120
BAD = ("v1.3.0", "v1.3.1")
GOOD = "v1.4.0"
Keep = Callable[[str, dict[str, Any]], None]
"""Takes in a run of a version."""
SAFETY = {"cooldownSeconds": 0, "maxRollbacksPerDay": 100, "goodAfterSeconds": 20}

# On a busy node p99 stays above its past: whether that recovers is not measured here.
VERIFICATION = {"timeoutSeconds": 10}


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    runs: int
    rate: float
    folder: Path
    source: str
    """Where evidence comes from."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Whose release goes out: pods that start take the time of all others on the machine."""

    @property
    def policy(self) -> dict[str, Any]:
        """What the policy says beyond the least that it needs."""
        return {
            "safety": SAFETY,
            "verification": VERIFICATION,
            **SOURCES[self.source],
        }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reaction", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--source", choices=SOURCES, required=True)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument(
        "--inside", nargs=2, metavar=("OPERATOR", "SERVICE"), help=argparse.SUPPRESS
    )
    parser.add_argument("--versions", nargs="+", choices=(*BAD, GOOD), default=[*BAD, GOOD])
    arguments = parser.parse_args(argv)
    if arguments.inside is None:
        return enter("bench.reaction", argv)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(arguments.runs, arguments.rate, Path(folder), arguments.source)
        versions: Sequence[str] = arguments.versions
        results = Results(arguments.output)
        found = _measure(plan, prepared(*map(Path, arguments.inside)), results, versions)
    print(json.dumps(found["summary"], indent=1))
    return 0


def _measure(
    plan: Plan, lab: session.Session, results: Results, versions: Sequence[str]
) -> dict[str, Any]:
    began = datetime.now(UTC)
    runs: dict[str, list[dict[str, Any]]] = results.part(plan.source).get("runs", {})
    left = {version: plan.runs - len(runs.get(version, [])) for version in versions}

    def keep(version: str, found: dict[str, Any]) -> None:
        known = runs.setdefault(version, [])
        known.append(found)
        print(f"{version} {len(known)}/{plan.runs}: {found}", flush=True)
        results.change(plan.source, lambda _: _told(plan, began, runs))

    with ThreadPoolExecutor(3) as lanes:
        lines = [
            lanes.submit(
                _good_releases if version == GOOD else _bad_releases,
                _Lane(lab, plan, version, count),
                keep,
            )
            for version, count in left.items()
            if count > 0
        ]
        for line in lines:
            line.result()
    return results.part(plan.source)


def _told(
    plan: Plan, began: datetime, runs: Mapping[str, Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    return {
        "command": f"python -m bench.reaction --source {plan.source} --runs {plan.runs} "
        f"--rate {plan.rate:g}",
        "began": began.isoformat(timespec="seconds"),
        "minutes": round((datetime.now(UTC) - began).total_seconds() / 60, 1),
        "cores": os.cpu_count(),
        "scrapeSeconds": SCRAPE_SECONDS,
        "requestsPerSecond": plan.rate,
        "summary": {name: _summary(name, found) for name, found in list(runs.items())},
        "runs": {name: list(found) for name, found in list(runs.items())},
    }


@dataclass(frozen=True)
class _Lane:
    """The releases of one version, on a service of its own."""

    lab: session.Session
    plan: Plan
    version: str
    runs: int

    @contextmanager
    def service(self) -> Iterator[tuple[TicketService, Load]]:
        """Make the service, and wait until it has a past."""
        tickets = TicketService(self.lab, f"reaction-{self.version.replace('.', '-')}")
        tickets.deploy("v1.2.3")
        tickets.apply_policy(self.plan.policy)
        folder = self.plan.folder / tickets.namespace
        folder.mkdir()
        with tickets.load(self.plan.rate, folder) as load:
            time.sleep(HISTORY_SECONDS)
            yield tickets, load


def _bad_releases(lane: _Lane, keep: Keep) -> None:
    with lane.service() as (tickets, load):
        for _ in range(lane.runs):
            keep(lane.version, _bad_release(tickets, load, lane.version, lane.plan.turn))
            time.sleep(BETWEEN_SECONDS)


def _bad_release(
    tickets: TicketService, load: Load, version: str, turn: threading.Lock
) -> dict[str, Any]:
    known = {one["metadata"]["name"] for one in tickets.rollbacks()}

    def fresh() -> list[dict[str, Any]]:
        return [one for one in tickets.rollbacks() if one["metadata"]["name"] not in known]

    def ended() -> dict[str, Any] | None:
        return next((one for one in fresh() if one.get("status", {}).get("outcome")), None)

    def whole() -> bool:
        return any("finishedTime" in _step(one, "RolloutComplete") for one in fresh())

    with turn:
        released = datetime.now(UTC)
        # One that has not been there before: what has been taken back once is not staged again.
        tickets.release_with(version, {"NUMBER": str(len(known))})
        wait_for(f"the pods from before {version}", OUTCOME_SECONDS, whole)
    record = wait_for(f"the end of the rollback of {version}", OUTCOME_SECONDS, ended)
    failures = [one for one in load.failures() if one.time >= released]
    undo = datetime.fromisoformat(_step(record, "Undo")["finishedTime"])
    first = failures[0].time
    return {
        "undoSeconds": round((undo - first).total_seconds(), 2),
        "lastFailureSeconds": round((failures[-1].time - first).total_seconds(), 2),
        "intervals": round((undo - first).total_seconds() / SCRAPE_SECONDS, 2),
        "lastFailureIntervals": round(
            (failures[-1].time - first).total_seconds() / SCRAPE_SECONDS, 2
        ),
        "failedRequests": len(failures),
        "severity": record["spec"]["severity"],
        "outcome": record["status"]["outcome"],
        "rollbacks": len(fresh()),
        "load": round(os.getloadavg()[0], 1),
    }


def _step(rollback: Mapping[str, Any], name: str) -> dict[str, Any]:
    steps = rollback.get("status", {}).get("steps", [])
    return next((one for one in steps if one["name"] == name), {})


def _good_releases(lane: _Lane, keep: Keep) -> None:
    with lane.service() as (tickets, load):
        for number in range(lane.runs):
            before = len(tickets.rollbacks())
            with lane.plan.turn:
                released = datetime.now(UTC)
                # One that has not been there before: what is known to be good is never held.
                tickets.release_with(GOOD, {"NUMBER": str(number)})
                tickets.wait_rolled_out()
                rolled_out = datetime.now(UTC)
            time.sleep(HEALTHY_SECONDS)
            status = tickets.policy()["status"]
            keep(
                GOOD,
                {
                    "rollbacks": len(tickets.rollbacks()) - before,
                    "image": tickets.image(),
                    "verdict": status["verdict"],
                    "rolledOutSeconds": round((rolled_out - released).total_seconds(), 1),
                    "heldSeconds": held_seconds(status, released),
                    "failedRequests": len(_since(load.failures(), released)),
                    "load": round(os.getloadavg()[0], 1),
                },
            )
            time.sleep(BETWEEN_SECONDS)


def held_seconds(status: Mapping[str, Any], released: datetime) -> float:
    """How long a policy has held the release that went out then; 0: not at all."""
    hold = status.get("hold") or {}
    since, until = hold.get("pausedTime"), hold.get("releasedTime")
    if since is None or until is None or datetime.fromisoformat(since) < released:
        return 0.0
    return round((datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds(), 1)


def _since(failures: Sequence[Failure], moment: datetime) -> list[Failure]:
    return [one for one in failures if one.time >= moment]


def _summary(name: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    failed = [one["failedRequests"] for one in runs]
    common = {
        "runs": len(runs),
        "failedRequestsMedian": statistics.median(failed),
        "failedRequestsMax": max(failed),
    }
    if name == GOOD:
        spreads = {key: _spread(runs, key) for key in ("rolledOutSeconds", "heldSeconds")}
        return {**common, **spreads, "rollbacks": sum(one["rollbacks"] for one in runs)}
    intervals = [one["intervals"] for one in runs]
    return {
        **common,
        "intervalsMedian": statistics.median(intervals),
        "intervalsMax": max(intervals),
        "undoSeconds": _spread(runs, "undoSeconds"),
        "lastFailureSeconds": _spread(runs, "lastFailureSeconds"),
        "failedRequests": _spread(runs, "failedRequests"),
        "rollbacks": sum(one["rollbacks"] for one in runs),
        "verified": sum(one["outcome"] == "Verified" for one in runs),
        "severities": {
            kind: sum(one["severity"] == kind for one in runs)
            for kind in sorted({one["severity"] for one in runs})
        },
    }


def _spread(runs: Sequence[dict[str, Any]], key: str) -> dict[str, float]:
    values = [one[key] for one in runs]
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
