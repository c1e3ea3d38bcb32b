"""Killed at every write of an undo, the next agent ends it once, and the record is whole."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence

import pytest

from lab.compose_stage import (
    BAD,
    GOOD,
    AgentProcess,
    Project,
    verb,
    wait_for,
)

NO_PROMETHEUS = "http://127.0.0.1:9"
MOST_WRITES = 60
SOME = (4, 8)
"""Of about twenty writes: while the intent is stored, and around the act."""


def ask(project: Project) -> None:
    """Leave a request as the verb does, without waiting for its end."""
    running = project.record["policies"]["shop"]["status"]["revision"]
    name = f"shop-{time.time_ns():x}"
    asked = {"verb": "undo", "name": name, "reason": "a test", "policy": "shop", "to": "previous"}
    asked |= {"revision": running["number"], "digest": running["digest"]}
    folder = project.state / "requests"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.undo.json").write_text(json.dumps(asked))


def open_rollbacks(project: Project) -> list[str]:
    return [name for name, each in project.record["rollbacks"].items()
            if not each["status"].get("outcome")]  # fmt: skip


def runs(project: Project, image: str) -> bool:
    """Tell whether the agent has evaluated an image as the running release."""
    status = project.record.get("policies", {}).get("shop", {}).get("status", {})
    return bool(status.get("revision", {}).get("images", [""])[0].startswith(image))


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param(SOME, id="some"),
        pytest.param(range(1, MOST_WRITES), id="all", marks=pytest.mark.extended),
    ],
)
def test_killed_at_every_write(
    images: dict[str, str], project: Project, writes: Sequence[int]
) -> None:
    project.write(GOOD)
    project.policy(verification={"timeoutSeconds": 10})
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        wait_for("the good release on record", 300, lambda: runs(project, GOOD), lambda: agent.tail)
    kills = 0
    for fatal in writes:
        written = project.write(BAD)
        project.up()
        with AgentProcess(project, NO_PROMETHEUS) as agent:
            wait_for(
                "the bad release on record, and nothing open",
                300,
                lambda: runs(project, BAD) and not open_rollbacks(project),
                lambda: agent.tail,
            )
            seen = set(project.record["rollbacks"])
        ask(project)
        program = [sys.executable, "-m", "tests.integration.compose.killed"]
        program += [str(fatal), str(project.state)]
        with AgentProcess(project, NO_PROMETHEUS, program=program) as dying:
            until = time.monotonic() + 200
            status = None
            while status is None and time.monotonic() < until:
                status = dying.poll()
                if (
                    status is None
                    and project.runs() == {images[GOOD]}
                    and not open_rollbacks(project)
                ):
                    break
                time.sleep(0.1)
        json.dumps(project.record)  # it is whole
        if status is None:
            break  # the undo has fewer writes
        assert status == -signal.SIGKILL, dying.tail
        kills += 1
        kept = [each["status"].get("step", "stored") for name, each
                in project.record["rollbacks"].items() if name not in seen]  # fmt: skip
        print(f"killed at write {fatal}: {kept or 'requested'}", flush=True)
        with AgentProcess(project, NO_PROMETHEUS) as agent:
            wait_for(
                f"the good image after a kill at write {fatal}",
                300,
                lambda: project.runs() == {images[GOOD]},
                lambda: agent.tail,
            )
            # Else the next agent would rightly continue it against the next release.
            wait_for("its end", 300, lambda: not open_rollbacks(project), lambda: agent.tail)
            # One request, one rollback, however often it was begun.
            assert len(set(project.record["rollbacks"]) - seen) == 1  # old records are removed
        assert project.files.compose.read_bytes() == written
        containers = project.containers()
        assert len(containers) == 1, "no container of an interrupted act is left"
    assert kills >= min(6, len(writes))
    print(f"killed at {kills} writes")
    assert verb(project, "history")[0] == 0
