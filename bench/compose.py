"""Failed requests and seconds of a bad image of a Docker Compose service.

    python -m bench.compose [--compose v1] [--runs 5] [--rate 50] [--output FILE]

A real Docker daemon, Compose, Prometheus and the agent. In each run a release that fails every
request is deployed with `up`, as a person does. Counted are the requests that failed, the time from
the first failed request to the last, and the part of it that passed before the agent had decided.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.compose_stage import (
    BAD,
    GOOD,
    AgentProcess,
    Project,
    compose_v2,
    load_shop,
    scraping,
    wait_for,
)
from lab.docker_server import Docker
from lab.loadgen.load import Load
from lab.prometheus_server import Prometheus

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
HISTORY_SECONDS = 75
AFTER_SECONDS = 5


def run(docker: Docker, project: Project, rate: float) -> dict[str, Any]:
    """Deploy a bad release once, and measure."""
    folder = project.files.folder
    good = docker.image_id(GOOD)
    project.write(GOOD)
    project.policy()
    project.up()
    with (
        Prometheus(scraping(project.files.port)) as prometheus,
        AgentProcess(project, prometheus.url) as agent,
        Load(f"http://127.0.0.1:{project.files.port}", "-", folder, rate=rate) as load,
    ):
        time.sleep(HISTORY_SECONDS)
        quiet = len(load.failures())
        project.write(BAD)
        project.up()
        wait_for("the good image", 120, lambda: project.runs() == {good}, lambda: agent.tail)
        wait_for("the record", 30, lambda: project.rollbacks, lambda: agent.tail)
        time.sleep(AFTER_SECONDS)
        failures = load.failures()
        summary = load.stop()
    (rollback,) = project.rollbacks
    answered = [each for each in failures if each.status >= 500]
    decided = datetime.fromisoformat(rollback["spec"]["trigger"]["decidedTime"])
    for container in project.containers():
        docker.ask("DELETE", f"/containers/{container['Id']}", force="1", is_json=False)
    return {
        "failedBefore": quiet,
        "failed": summary.total.failed,
        "failedByTheRelease": len(answered),
        "sent": summary.total.sent,
        "secondsToDecision": round((decided - answered[0].time).total_seconds(), 2),
        "seconds": round((failures[-1].time - answered[0].time).total_seconds(), 2),
        "severity": rollback["spec"]["severity"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--compose", choices=("v1", "v2"), default="v1")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    output = options.output or RESULTS / f"compose-{options.compose}.json"
    runs = []
    with Docker() as docker, tempfile.TemporaryDirectory(prefix="bench-compose-") as folder:
        program = ("docker-compose",) if options.compose == "v1" else compose_v2(docker)
        load_shop(docker, GOOD)
        load_shop(docker, BAD, FAIL="100")
        for number in range(options.runs):
            project = Project(docker, Path(folder, f"bench{number}"), program)
            runs.append(run(docker, project, options.rate))
            print(json.dumps(runs[-1]), flush=True)
    medians = {
        name: statistics.median(each[name] for each in runs)
        for name in ("failed", "failedByTheRelease", "secondsToDecision", "seconds")
    }
    print(json.dumps({"median": medians}))
    written = {"compose": options.compose, "rate": options.rate, "runs": runs, "median": medians}
    output.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
