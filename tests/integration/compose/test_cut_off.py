"""An `up` that was cut off is done by the next agent, to its end."""

from __future__ import annotations

import shlex
import signal
import sys

import pytest

from lab.compose_stage import (
    BAD,
    GOOD,
    SERVICE,
    AgentProcess,
    Project,
    wait_for,
)
from tests.integration.compose.stage import NO_PROMETHEUS, ask, ended, evaluates

NUMBER = 2


@pytest.mark.parametrize("moment", ["create", "die", "start"])
@pytest.mark.extended
def test_an_up_that_is_killed_with_its_agent_is_repeated(
    images: dict[str, str], project: Project, moment: str
) -> None:
    project.write(GOOD)
    text = project.files.compose.read_text().replace(f"127.0.0.1:{project.files.port}:8080", "8080")
    project.files.compose.write_text(text)
    project.policy(verification={"timeoutSeconds": 10})
    project.up("--scale", f"{SERVICE}={NUMBER}")
    command = [sys.executable, "-m", "tests.integration.compose.cut", moment, *project.command]
    options = ["--compose-command", shlex.join(command)]
    with AgentProcess(project, NO_PROMETHEUS, options) as agent:
        wait_for("the good release", 300, lambda: evaluates(project, GOOD), lambda: agent.tail)
        project.files.compose.write_text(text.replace(GOOD, BAD))
        project.up("--scale", f"{SERVICE}={NUMBER}")
        wait_for("the bad release", 300, lambda: evaluates(project, BAD), lambda: agent.tail)
        ask(project)
        assert agent.wait(300) == -signal.SIGKILL, agent.tail
    print([(each["Image"] == images[GOOD], each["State"]["Status"])
           for each in project.containers()])  # fmt: skip
    assert project.record["services"][SERVICE]["restoring"] == NUMBER
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        (rollback,) = wait_for("its end", 300, lambda: ended(project), lambda: agent.tail)
    # Without requests nothing proves recovery.
    assert rollback["status"]["outcome"] in ("Verified", "Unknown"), (
        rollback["status"],
        agent.tail,
    )
    running = [(each["Image"], each["State"]["Running"]) for each in project.containers()]
    assert running == [(images[GOOD], True)] * NUMBER, agent.tail
    assert project.files.compose.read_text() == text.replace(GOOD, BAD)
