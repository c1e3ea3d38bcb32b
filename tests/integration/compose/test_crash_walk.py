"""Killed at every write of an undo, the next agent ends it once, and the record is whole."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.compose_stage import (
    GOOD,
    SERVICE,
    AgentProcess,
    Project,
    load_shop,
    scraping,
    verb,
    wait_for,
)
from lab.docker_server import Docker
from lab.loadgen.load import Load
from lab.prometheus_server import Prometheus
from tests.integration.compose.stage import ask, ended, evaluates, made_since

NEXT = "shop:2.1"
"""It fails no request: the agent itself begins no undo."""
MOST_WRITES = 60
SOME = (8,)
"""Of about twenty writes: around the act."""


def is_at_rest(project: Project, good: str) -> bool:
    """Tell whether the good image serves and no rollback is open."""
    return project.runs() == {good} and len(ended(project)) == len(project.rollbacks)


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param(SOME, id="some"),
        pytest.param(range(1, MOST_WRITES), id="all", marks=pytest.mark.extended),
    ],
)
def test_killed_at_every_write(
    docker: Docker, project: Project, tmp_path: Path, writes: Sequence[int]
) -> None:
    good = load_shop(docker, GOOD)
    load_shop(docker, NEXT, NEXT="1")
    written = project.write(GOOD)
    project.policy(verification={"timeoutSeconds": 120})
    project.up()
    kills, asked, before = 0, 0.0, set[str]()
    armed = Path(f"{project.state}.armed")
    with (
        Prometheus(scraping(project.files.port)) as prometheus,
        Load(f"http://127.0.0.1:{project.files.port}", "-", tmp_path, rate=20),
    ):
        # Each agent ends what the last has left, until it is killed at the next write.
        for fatal in (*writes, MOST_WRITES):
            program = [sys.executable, "-m", "tests.integration.compose.killed"]
            program += [str(fatal), str(project.state)]
            with AgentProcess(project, prometheus.url, program=program) as agent:
                what = f"the end of the undo after {kills} kills"
                wait_for(what, 300, lambda: is_at_rest(project, good), lambda: agent.tail)
                if kills:
                    check(project, before, written)
                    assert made_since(docker, asked) == 1, agent.tail
                wait_for("it", 300, lambda: evaluates(project, GOOD), lambda: agent.tail)
                written = project.write(NEXT)
                project.up()
                wait_for("it", 300, lambda: evaluates(project, NEXT), lambda: agent.tail)
                before, asked = set(project.record["rollbacks"]), time.time()
                armed.touch()
                ask(project)
                until = time.monotonic() + 300
                status = None
                while status is None and time.monotonic() < until:
                    status = agent.poll()
                    is_new = bool(set(project.record["rollbacks"]) - before)
                    if status is None and is_new and is_at_rest(project, good):
                        break
                    time.sleep(0.1)
            armed.unlink()
            if status is None:
                break  # the undo has fewer writes
            assert status == -signal.SIGKILL, agent.tail
            kills += 1
            kept = [each["status"].get("step", "stored") for name, each
                    in project.record["rollbacks"].items() if name not in before]  # fmt: skip
            print(f"killed at write {fatal}: {kept or 'requested'}", flush=True)
    check(project, before, written)
    assert made_since(docker, asked) == 1
    assert kills >= min(6, len(writes))
    print(f"killed at {kills} writes")
    assert verb(project, "history")[0] == 0


def check(project: Project, before: set[str], written: bytes) -> None:
    """One request is one rollback, however often it was begun, and changes nothing else."""
    (rollback,) = (
        each for each in project.rollbacks if each["metadata"]["name"] not in before
    )  # old records are removed
    assert rollback["status"]["outcome"] == "Verified", rollback["status"]
    assert project.files.compose.read_bytes() == written
    assert len(project.containers()) == 1, "no container of an interrupted act is left"
    services = project.record["services"]
    assert services[SERVICE]["restoring"] == 0
