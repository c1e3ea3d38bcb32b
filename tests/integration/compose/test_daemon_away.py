"""The Docker daemon goes away: the agent says so, keeps its record, and goes on."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.compose_stage import (
    BAD,
    GOOD,
    AgentProcess,
    Project,
    load_shop,
    verb,
    wait_for,
)
from lab.docker_server import Docker
from tests.integration.compose.stage import (
    NO_PROMETHEUS,
    QUICK,
    ask,
    await_condition,
    await_release,
    ended,
    evaluates,
    made_since,
)

ALWAYS = "    restart: always\n"
NEXT = "shop:2.1"
"""It fails no request: the agent itself begins no undo."""


@pytest.mark.extended
def test_a_daemon_that_goes_away(docker: Docker, images: dict[str, str], project: Project) -> None:
    project.write(GOOD, extra="    restart: always\n")
    project.policy(**QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        await_condition(project, agent, "SingleReplica")
        docker.stop()
        try:
            wait_for("a word", 150, lambda: "does not answer" in agent.tail, lambda: agent.tail)
            assert str(docker.socket) in agent.tail
        finally:
            docker.start()
        project.write(BAD, extra="    restart: always\n")
        project.up()
        await_release(project, agent)
        verb(project, "undo", "--to", "previous", "--reason", "a test")
        assert project.runs() == {images[GOOD]}


@pytest.mark.parametrize("writes", range(1, 7))
@pytest.mark.extended
def test_a_daemon_that_goes_away_between_two_steps(
    docker: Docker, images: dict[str, str], project: Project, writes: int
) -> None:
    project.write(GOOD, extra="    restart: always\n")
    project.policy(**QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        wait_for("it", 150, lambda: evaluates(project, GOOD), lambda: agent.tail)
        project.write(BAD, extra="    restart: always\n")
        project.up()
        wait_for("it", 150, lambda: evaluates(project, BAD), lambda: agent.tail)
        with ThreadPoolExecutor() as pool:
            undo = pool.submit(verb, project, "undo", "--to", "previous", "--reason", "a test")
            wait_for(
                f"write {writes}",
                150,
                lambda: any(
                    int(each["metadata"]["resourceVersion"]) >= writes for each in project.rollbacks
                ),
                lambda: agent.tail,
            )
            (before,) = project.rollbacks
            docker.stop()
            time.sleep(3)
            docker.start()
            _, out, err = undo.result()
        (rollback,) = project.rollbacks
        print(f"away at write {writes}, step {before['status'].get('step')}: {out}{err}")
        assert rollback["status"]["outcome"] in ("Verified", "Unknown"), (out, err, agent.tail)
        assert project.runs() == {images[GOOD]}, agent.tail
        assert len(project.containers()) == 1


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(
            tuple(
                f"{how} {moment}"
                for moment in ("config", "up", "die", "create", "start")
                for how in ("STOP", "KILL")
            ),
            id="until the end of the up",
        ),
        pytest.param(("STOP Verify", "KILL Verify"), id="during verification"),
    ],
)
@pytest.mark.extended
def test_a_daemon_that_hangs_or_is_killed_at_a_moment_of_an_undo(
    docker: Docker, project: Project, tmp_path: Path, rounds: Sequence[str]
) -> None:
    """It is back after the agent has named its silence: each undo is done once, to its end."""
    good = load_shop(docker, GOOD)
    load_shop(docker, NEXT, NEXT="1")
    mark = tmp_path / "away"
    program = [sys.executable, "-m", "tests.integration.compose.away", str(mark), *project.command]
    options = ["--compose-command", shlex.join(program)]
    project.write(GOOD, extra=ALWAYS)
    project.policy(**QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS, options) as agent:
        for order in rounds:
            wait_for("the good release", 300, lambda: evaluates(project, GOOD), lambda: agent.tail)
            project.write(NEXT, extra=ALWAYS)
            project.up()
            wait_for("the release", 300, lambda: evaluates(project, NEXT), lambda: agent.tail)
            begun = time.time()
            undo_while_away(project, agent, order, mark)
            assert project.runs() == {good}, (order, agent.tail)
            assert len(project.containers()) == 1, order
            # A daemon that is killed forgets its events.
            assert made_since(docker, begun) <= 1, (order, agent.tail)


def undo_while_away(project: Project, agent: AgentProcess, order: str, mark: Path) -> None:
    """Ask for an undo, send the daemon away at its moment, and back; wait for the undo's end."""
    how, moment = order.split()
    docker, before, begun = project.docker, set(project.record["rollbacks"]), time.time()
    printed = agent.log.stat().st_size

    def said() -> str:
        return agent.log.read_bytes()[printed:].decode(errors="replace")

    def made() -> list[Any]:
        return [each for each in project.rollbacks if each["metadata"]["name"] not in before]

    def verifies() -> bool:
        return bool(made()) and made()[0]["status"].get("step") == "Verify"

    if moment != "Verify":
        mark.with_suffix(".order").write_text(f"{order} {docker.pid}")
    ask(project)
    if moment == "Verify":
        wait_for("its verification", 300, verifies, said)
        docker.send(how)
    else:
        wait_for(order, 300, mark.exists, said)
        mark.unlink()
    try:
        wait_for("a word", 300, lambda: "does not answer" in said(), said)
        assert not made()[0]["status"].get("outcome"), (order, made(), said())
    finally:
        docker.come_back()
    wait_for(f"its end after {order}", 300, lambda: made()[0] in ended(project), said)
    assert "load it by hand" not in said(), "no registry has anything to do with it"
    print(f"{order}: {time.time() - begun:.0f} s\n{said()}", flush=True)
    (rollback,) = made()
    assert rollback["status"]["outcome"] in ("Verified", "Unknown"), (order, rollback, said())
