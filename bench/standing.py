"""Whether a release is left standing that is not to blame: real node, real load, real failures.

    python -m bench.standing [--runs 20] [--series healthy sparse outage]
                             [--output bench/results/standing.json]

Three series, in lanes beside each other, each with services in namespaces of their own:

healthy   a good release at 50 requests a second
sparse    a good release at 0.5 requests a second, while 1 request in 21 fails on every version
outage    a good release at 25 requests a second; 20 s later the database begins to fail 30 % of the
          requests of both versions

None of them is to be rolled back. What fails is the database itself (lab/weakness.py): the service
answers 500, its counters and probes are as in any outage. Each run is written as it ends; a second
call goes on where the first one was broken off.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.node import ROOT, Document, Results, enter, prepared
from bench.reaction import held_seconds
from lab import session
from lab.errors import LabError
from lab.loadgen import Load
from lab.tickets import TicketService
from lab.weakness import Weakness

OUTPUT = ROOT / "bench" / "results" / "standing.json"
LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Series:
    """What happens in each run, and for how long it is watched."""

    says: str
    rate: float
    """Requests a second."""
    past_seconds: int
    """How long the release before has served."""
    watched_seconds: int
    """How long the release is watched, from its push on."""
    lanes: int
    replicas: int = 4
    share: float = 0.0
    """Of all requests, how many fail on every version, all the time."""
    outage_share: float = 0.0
    outage_after: int = 0
    """Seconds after the release's push."""
    is_fresh: bool = False
    """Each run has a service of its own: what failed in one would be the past of the next."""
    safety: dict[str, int] = field(default_factory=dict)


SERIES = {
    "healthy": Series(
        "a good release",
        rate=50,
        past_seconds=75,
        watched_seconds=45,
        lanes=1,
        safety={"goodAfterSeconds": 20},
    ),
    "sparse": Series(
        "a good release while 1 request in 21 fails on every version",
        rate=0.5,
        # A past is one from 100 requests on; ten errors, below which nothing is bad, take as long
        # as a release is watched.
        past_seconds=270,
        watched_seconds=420,
        lanes=20,
        replicas=2,
        share=1 / 21,
        safety={"goodAfterSeconds": 300},
    ),
    "outage": Series(
        "the database begins to fail 30 % on both versions 20 s after a good release",
        rate=25,
        past_seconds=75,
        watched_seconds=80,
        lanes=3,
        outage_share=0.3,
        outage_after=20,
        is_fresh=True,
    ),
}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.standing", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each series")
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument(
        "--inside", nargs=2, metavar=("OPERATOR", "SERVICE"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args(argv)
    if arguments.inside is None:
        return enter("bench.standing", argv)
    results = Results(arguments.output)
    lab = prepared(*map(Path, arguments.inside))
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            _Lane(lab, Path(folder), results, name, number)
            for name in arguments.series
            for number in range(SERIES[name].lanes)
        ]
        with ThreadPoolExecutor(len(lines)) as lanes:
            done = [lanes.submit(one.run, _share_of(arguments.runs, results, one)) for one in lines]
            for one in done:
                one.result()
    wrong = 0
    for name in arguments.series:
        found = results.part(name)["summary"]
        wrong += found["rolledBack"]
        print(f"{name}: {found}")
    return 1 if wrong else 0


def _share_of(runs: int, results: Results, lane: _Lane) -> int:
    """Share the runs that are left out among a series' lanes."""
    left = max(0, runs - len(results.part(lane.name).get("runs", [])))
    return left // lane.series.lanes + (lane.number < left % lane.series.lanes)


@dataclass(frozen=True)
class _Lane:
    """Runs of a series, one after the other."""

    lab: session.Session
    folder: Path
    results: Results
    name: str
    number: int

    @property
    def series(self) -> Series:
        return SERIES[self.name]

    def run(self, runs: int) -> None:
        """Make so many runs; each is kept at once."""
        if self.series.is_fresh:
            for number in range(runs):
                with self._service(f"-{number}") as shop:
                    self._keep(shop.run(number))
        elif runs:
            with self._service() as shop:
                for number in range(runs):
                    self._keep(shop.run(number))

    @contextmanager
    def _service(self, suffix: str = "") -> Iterator[_Shop]:
        """A service that has served for long enough to be compared with."""
        series, namespace = self.series, f"standing-{self.name}-{self.number}{suffix}"
        tickets = TicketService(self.lab, namespace, series.replicas, cpu_request="10m")
        tickets.deploy("v1.2.3")
        safety = {"cooldownSeconds": 0, "maxRollbacksPerDay": 100, **series.safety}
        tickets.apply_policy({"safety": safety})
        weakness = Weakness(self.lab.database_url, namespace)
        weakness.fails(series.share)
        folder = self.folder / namespace
        folder.mkdir()
        with tickets.load(series.rate, folder) as load:
            time.sleep(series.past_seconds)
            yield _Shop(series, tickets, weakness, load)
        self.lab.kubectl("delete", "namespace", namespace, "--wait=false")

    def _keep(self, found: Document) -> None:
        def changed(known: Document) -> Document:
            runs = [*known.get("runs", []), found]
            return _told(self.name, str(known.get("began", found["released"])), runs)

        self.results.change(self.name, changed)
        print(f"{self.name} {len(self.results.part(self.name)['runs'])}: {found}", flush=True)


@dataclass(frozen=True)
class _Shop:
    series: Series
    tickets: TicketService
    weakness: Weakness
    load: Load

    def run(self, number: int) -> Document:
        """Push a release that has not been there before, and watch what becomes of it."""
        series, tickets = self.series, self.tickets
        before = {one["metadata"]["name"] for one in tickets.rollbacks()}
        released = datetime.now(UTC)
        tickets.release_with("v1.4.0", {"NUMBER": str(number)})
        seen = _Seen(released)
        if series.outage_share:
            self._watch(seen, released + timedelta(seconds=series.outage_after))
            self.weakness.fails(series.outage_share)
        self._watch(seen, released + timedelta(seconds=series.watched_seconds))
        made = [one for one in tickets.rollbacks() if one["metadata"]["name"] not in before]
        failed = [one.time for one in self.load.failures() if one.time >= released]
        seconds = (datetime.now(UTC) - released).total_seconds()
        return {
            "released": released.isoformat(timespec="seconds"),
            "watchedSeconds": round(seconds, 1),
            "rolledOutSeconds": seen.rolled_out,
            "heldSeconds": held_seconds(seen.status, released),
            "requests": round(series.rate * seconds),
            "failedRequests": len(failed),
            "verdicts": dict(seen.verdicts),
            "verdict": seen.status.get("verdict"),
            "message": seen.message,
            "rollbacks": _messages(one for one in made if not _is_question(one)),
            "asked": _messages(one for one in made if _is_question(one)),
            "load": round(os.getloadavg()[0], 1),
        }

    def _watch(self, seen: _Seen, until: datetime) -> None:
        while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
            time.sleep(min(LOOK_SECONDS, left))
            try:
                seen.look(self.tickets)
            except LabError as error:
                print(f"{self.tickets.namespace}: {error}", flush=True)


def _is_question(rollback: Document) -> bool:
    """Tell whether people were only asked: nothing but the wait for an answer has begun."""
    steps = {step["name"] for step in rollback.get("status", {}).get("steps", [])}
    return bool(rollback["spec"].get("requiresApproval")) and steps <= {"AwaitingApproval"}


def _messages(rollbacks: Iterable[Document]) -> list[str]:
    return [str(each["spec"]["trigger"]["message"]) for each in rollbacks]


@dataclass
class _Seen:
    """What a policy has said of a release since it was pushed."""

    released: datetime
    status: Document = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    """How many looks have found each."""
    rolled_out: float | None = None

    def look(self, tickets: TicketService) -> None:
        """Take in what policy and Deployment show now."""
        self.status = tickets.policy().get("status", {})
        self.verdicts[str(self.status.get("verdict"))] += 1
        found = tickets.deployment()
        status, wanted = found["status"], found["spec"]["replicas"]
        counts = [status.get(one, 0) for one in ("updatedReplicas", "availableReplicas")]
        is_whole = [*counts, status.get("replicas", 0)] == [wanted] * 3
        is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
        if self.rolled_out is None and is_whole and is_seen:
            self.rolled_out = round((datetime.now(UTC) - self.released).total_seconds(), 1)

    @property
    def message(self) -> str:
        """What it says now, in words."""
        conditions = self.status.get("conditions", [])
        return next((str(one["message"]) for one in conditions if one["type"] == "Healthy"), "")


def _told(name: str, began: str, runs: list[Document]) -> Document:
    series = SERIES[name]
    requests = sum(one["requests"] for one in runs)
    return {
        "command": f"python -m bench.standing --series {name}",
        "what": series.says,
        "began": began,
        "cores": os.cpu_count(),
        "requestsPerSecond": series.rate,
        "replicas": series.replicas,
        "watchedSeconds": series.watched_seconds,
        "summary": {
            "runs": len(runs),
            "rolledBack": sum(bool(one["rollbacks"]) for one in runs),
            "asked": sum(bool(one.get("asked")) for one in runs),
            "held": sum(one["heldSeconds"] > 0 for one in runs),
            "failedShare": round(sum(one["failedRequests"] for one in runs) / requests, 4),
            "lastVerdicts": dict(Counter(one["verdict"] for one in runs)),
        },
        "runs": runs,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
