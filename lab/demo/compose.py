"""`make demo-compose`: roll back a bad release of a Compose service, on a Docker daemon of its own.

The sample service sells tickets from a real PostgreSQL; a real Prometheus scrapes it. Exit status 0
only if the good release serves again, the agent had verified that, and the Compose file is as its
user has written it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lab import images
from lab.compose_stage import AgentProcess, Project, scraping, verb, wait_for
from lab.docker_server import Docker, free_subnet, loadable
from lab.errors import LabError
from lab.loadgen.load import Load
from lab.ports import free_ports
from lab.postgres_server import Postgres
from lab.prometheus_server import Prometheus
from lab.story import Story

GOOD, BAD = "v1.2.3", "v1.3.0"
SERVICE, TOKEN = "ticket-service", "lab-token"
RATE = 50
HISTORY_SECONDS = 75


class Tickets(Project):
    """The sample service in a Compose file."""

    service = SERVICE

    def __init__(self, docker: Docker, folder: Path) -> None:
        super().__init__(docker, folder, ("docker-compose",))
        self.metrics_port = free_ports(1)[0]
        self.subnet = free_subnet()
        self.gateway = str(self.subnet[1])

    def describe(self, release: str, database: str) -> bytes:
        """Write the user's file."""
        self.files.compose.write_text(f"""\
# The user's own file. The agent never writes it.
version: "3.8"
x-common: &common
  restart: unless-stopped
  stop_grace_period: 5s
services:
  {SERVICE}:
    <<: *common
    image: localhost/{SERVICE}:{release}
    ports: ["127.0.0.1:{self.files.port}:8080", "127.0.0.1:{self.metrics_port}:9102"]
    labels: {{prometheus.io/port: "9102"}}
    environment: {{DATABASE_URL: "{database}", API_TOKEN: {TOKEN}}}
networks:
  default: {{ipam: {{config: [{{subnet: {self.subnet}, gateway: {self.gateway}}}]}}}}
""")
        return self.files.compose.read_bytes()


def main() -> int:
    story = Story()
    try:
        with ExitStack() as stack:
            return play(story, stack)
    except LabError as error:
        story.say(f"The demo has FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        story.say("Interrupted: all that the demo started has ended.")
        return 130


def play(story: Story, stack: ExitStack) -> int:
    """Play the story; the exit status."""
    story.say("Building the sample service's images (a few minutes the first time).")
    archive = images.build("ticket-service")
    story.say("Starting a Docker daemon of its own; the machine's own is left alone.")
    docker = stack.enter_context(Docker())
    docker.load(loadable(archive, docker.directory / "images.tar"))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rollback-demo-")))
    project = Tickets(docker, folder / "tickets")
    postgres = stack.enter_context(Postgres(listen="0.0.0.0"))
    database = postgres.url_at(project.gateway, postgres.port)
    prometheus = stack.enter_context(Prometheus(scraping(project.metrics_port, SERVICE, 5)))
    project.describe(GOOD, database)
    project.policy()
    story.say(f"Deploying {SERVICE} {GOOD}: docker-compose up -d.")
    project.up()
    agent = stack.enter_context(AgentProcess(project, prometheus.url))
    shown = f"rollback-operator compose -f {project.files.compose.name} --policy policy.yaml"
    story.say(f"Starting the agent: {shown}.")
    wait_for("the service", 60, lambda: _answers(project), lambda: agent.tail)
    load = stack.enter_context(
        Load(f"http://127.0.0.1:{project.files.port}", TOKEN, folder, rate=RATE)
    )
    story.say(
        f"Sending {RATE} requests a second. A release is compared with the time before it, at "
        f"least a minute, so {GOOD} now serves for {HISTORY_SECONDS} s."
    )
    with story.waiting(f"{GOOD} serves"):
        time.sleep(HISTORY_SECONDS)
    if failures := load.failures():
        raise LabError(f"{GOOD} already fails {len(failures)} requests: {failures[-1]}")
    story.say(f"The user writes {BAD} into the file and runs up. It fails every purchase.")
    written, pushed = project.describe(BAD, database), load.now()
    project.up()
    rollback = _await_end(story, project, agent)
    recovered = load.now()
    story.say("Watching for 20 s whether purchases work again.")
    time.sleep(20)
    late = [each for each in load.failures() if each.time > recovered]
    failures, summary = load.failures(), load.stop()
    _tell(story, project, rollback)
    faults = _faults(project, rollback, written)
    failed = [each for each in failures if each.time >= pushed]
    if failed:
        seconds = (failed[-1].time - failed[0].time).total_seconds()
        story.say(
            f"{summary.total.failed} of {summary.total.sent} requests failed, within {seconds:.1f} "
            "s from the first to the last."
        )
    if late:
        faults.append(f"{len(late)} requests failed after the rollback")
    if faults:
        raise LabError("; ".join(faults))
    story.say(
        f"{BAD} was rolled back, {GOOD} serves, and the user's file is byte for byte as it was."
    )
    return 0


def _await_end(story: Story, project: Tickets, agent: AgentProcess) -> Mapping[str, Any]:
    shown_steps: set[str] = set()

    def look() -> Mapping[str, Any] | None:
        for rollback in project.rollbacks:
            for step in rollback["status"].get("steps", []):
                if "finishedTime" in step and step["name"] not in shown_steps:
                    shown_steps.add(step["name"])
                    story.say(f"{step['name']}: {step.get('message', '')}")
            if rollback["status"].get("outcome"):
                return rollback
        return None

    ended: Mapping[str, Any] = wait_for("the rollback's end", 300, look, lambda: agent.tail)
    story.say(f"{ended['metadata']['name']} has ended: {ended['status']['outcome']}.")
    return ended


def _tell(story: Story, project: Tickets, rollback: Mapping[str, Any]) -> None:
    for arguments in (["explain", rollback["metadata"]["name"]], ["status"]):
        print(f"\n$ rollback-operator compose -f docker-compose.yml {' '.join(arguments)}")
        print(verb(project, *arguments)[1])
    print(f"$ cat {project.state.relative_to(project.files.folder)}/override.yml")
    print((project.state / "override.yml").read_text())


def _faults(project: Tickets, rollback: Mapping[str, Any], written: bytes) -> list[str]:
    faults = []
    if rollback["status"]["outcome"] != "Verified":
        faults.append(f"the rollback ended as {rollback['status']['outcome']}")
    good = project.docker.image_id(f"localhost/{SERVICE}:{GOOD}")
    if project.runs() != {good}:
        faults.append(f"not {GOOD} runs, but {project.runs()}")
    if project.files.compose.read_bytes() != written:
        faults.append("the user's file was changed")
    return faults


def _answers(project: Tickets) -> bool:
    return bool(project.record.get("services")) and bool(project.runs())


if __name__ == "__main__":
    sys.exit(main())
