"""A sample of the scenarios through everything: OpenMetrics, a real Prometheus, the command line.

    python -m bench.detection whole-path [--count 40]

Samples become blocks (`promtool tsdb create-blocks-from openmetrics`) of a Prometheus on loopback,
`rollback-operator backtest --batch` judges them over its HTTP API, and each decision must be that
of the replay in memory. Back-fill knows no stale markers: see docs of promtool.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.detection.judged import Outcome
from bench.detection.past import is_replayable
from bench.detection.replayed import POLICY, replay, rollouts, span
from bench.detection.scenario import Scenario, worse
from bench.detection.world import T0, Series, World, build
from lab.prometheus_server import Prometheus

SAME_SECONDS = 0.5
METRICS = ("http_requests", "http_request_errors")


@dataclass(frozen=True, slots=True)
class Pair:
    """One scenario, judged both ways."""

    scenario: Scenario
    memory: Outcome
    path: Outcome

    @property
    def is_same(self) -> bool:
        """Tell whether both decided the same at the same time."""
        mine, theirs = self.memory.rolled_back, self.path.rolled_back
        if (mine is None) != (theirs is None):
            return False
        is_as_early = mine is None or abs(mine - (theirs or 0.0)) <= SAME_SECONDS
        return is_as_early and self.memory.severity == self.path.severity


def namespace(scenario: Scenario) -> str:
    """Keep scenarios apart within one Prometheus."""
    return f"scenario-{scenario.seed}"


def compare(scenarios: Sequence[Scenario]) -> list[Pair]:
    """Judge scenarios both ways; those that files cannot tell are left out."""
    worlds = [build(one) for one in scenarios if is_replayable(one)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Prometheus() as prometheus:
            prometheus.stop()
            (folder / "samples.txt").write_text("\n".join(open_metrics(worlds)) + "\n")
            _backfill(prometheus, folder / "samples.txt")
            prometheus.start()
            found = _backtest(worlds, prometheus.url, folder)
    pairs = []
    for world, path in zip(worlds, found, strict=True):
        memory = replay(world)
        if memory is not None:
            pairs.append(Pair(world.scenario, memory, path))
    return pairs


def open_metrics(worlds: Sequence[World]) -> Iterator[str]:
    """Write all samples as OpenMetrics, each metric in one piece."""
    for name, side in zip(METRICS, ("requests", "errors"), strict=True):
        yield f"# TYPE {name} counter"
        for world in worlds:
            chosen: tuple[Series, ...] = world.requests if side == "requests" else world.errors
            for one in chosen:
                labels = (
                    f'namespace="{namespace(world.scenario)}",pod="{one.pod}",'
                    f'instance="{one.pod}:8080",route="{one.route}"'
                )
                for at, value in zip(one.times, one.values, strict=True):
                    yield f"{name}_total{{{labels}}} {value:.0f} {T0 + at:.3f}"
    yield "# EOF"


def _backfill(prometheus: Prometheus, samples: Path) -> None:
    subprocess.run(
        [
            str(prometheus.promtool),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "--quiet",
            str(samples),
            str(prometheus.data_directory),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _backtest(worlds: Sequence[World], url: str, folder: Path) -> list[Outcome]:
    cases = folder / "cases.jsonl"
    with cases.open("w") as file:
        for world in worlds:
            clock = span(world.scenario)
            case = {
                "policy": POLICY,
                "rollouts": {**rollouts(world), "namespace": namespace(world.scenario)},
                "prometheus": url,
                "start": _rfc3339(clock.start),
                "end": _rfc3339(clock.end),
                "step": clock.step,
            }
            file.write(json.dumps(case) + "\n")
    command = [sys.executable, "-m", "rollback_operator", "backtest", "--batch", str(cases)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in printed.splitlines()]
    return [_outcome(world.scenario, line) for world, line in zip(worlds, lines, strict=True)]


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _outcome(scenario: Scenario, line: dict[str, Any]) -> Outcome:
    outcome = Outcome(scenario.seed)
    for one in line["decisions"]:
        now = datetime.fromisoformat(one["time"]).timestamp() - T0
        if now >= 0:
            outcome.final = one["verdict"]
            outcome.severity_later = worse(outcome.severity_later, one["severity"])
            if one["action"] == "Rollback" and outcome.rolled_back is None:
                outcome.rolled_back, outcome.severity = now, one["severity"]
                outcome.reason, outcome.message = one["reason"], one["message"]
    if outcome.rolled_back is None:
        outcome.severity = outcome.severity_later
    return outcome
