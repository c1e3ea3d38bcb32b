"""What the tests of the Compose agent ask of its record."""

from __future__ import annotations

import json
import time
from typing import Any

from lab.compose_stage import SERVICE, AgentProcess, Project, wait_for
from lab.docker_server import Docker
from rollback_operator.adapters.compose.project import REVISION_LABEL

NO_PROMETHEUS = "http://127.0.0.1:9"
QUICK = {"verification": {"timeoutSeconds": 10}}
"""Nothing proves recovery without requests: an undo ends after that time."""
ASKS = {"checklist": [{"name": "Capacity", "onWarned": "RequireApproval"}]}
"""Compose ends a container before it starts the next: that item always warns."""


def ask(project: Project) -> None:
    """Leave a request as the verb does, without waiting for its end."""
    running = project.record["policies"][SERVICE]["status"]["revision"]
    name = f"{SERVICE}-{time.time_ns():x}"
    asked = {"verb": "undo", "name": name, "reason": "a test", "policy": SERVICE, "to": "previous"}
    asked |= {"revision": running["number"], "digest": running["digest"]}
    folder = project.state / "requests"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.undo.json").write_text(json.dumps(asked))


def ended(project: Project) -> list[dict[str, Any]]:
    """The rollbacks that have ended."""
    return [each for each in project.rollbacks if each["status"].get("outcome")]


def waiting(project: Project) -> list[dict[str, Any]]:
    """The rollbacks that wait for a person."""
    asked = (each for each in project.rollbacks if not each["status"].get("outcome"))
    return [each for each in asked if each["status"].get("step") == "AwaitingApproval"]


def evaluates(project: Project, image: str) -> bool:
    """Tell whether the agent has evaluated an image as the running release."""
    status = project.record.get("policies", {}).get(SERVICE, {}).get("status", {})
    return bool(status.get("revision", {}).get("images", [""])[0].startswith(image))


def condition(project: Project, kind: str = "Ready") -> dict[str, str]:
    status = project.record.get("policies", {}).get(SERVICE, {}).get("status", {})
    return next((each for each in status.get("conditions", []) if each["type"] == kind), {})


def await_condition(project: Project, agent: AgentProcess, reason: str) -> str:
    wait_for(reason, 300, lambda: condition(project).get("reason") == reason, lambda: agent.tail)
    return condition(project)["message"]


def await_release(project: Project, agent: AgentProcess) -> None:
    """Wait until a second release of the service is on record."""

    def later() -> list[Any]:
        revisions: list[Any] = project.record["services"]["shop"]["revisions"]
        return revisions[1:]

    wait_for("the release", 300, later, lambda: agent.tail)


def made_since(docker: Docker, since: float) -> int:
    """Count the containers that the agent's override file has made."""
    filters = json.dumps({"label": [REVISION_LABEL], "event": ["create"]})
    listed = docker.ask(
        "GET", "/events", is_json=False, filters=filters, since=str(since), until=str(time.time())
    )
    return len(listed.splitlines())
