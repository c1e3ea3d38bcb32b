"""What the tests of the Compose agent ask of its record."""

from __future__ import annotations

import json
import time
from typing import Any

from lab.compose_stage import SERVICE, Project

NO_PROMETHEUS = "http://127.0.0.1:9"


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


def evaluates(project: Project, image: str) -> bool:
    """Tell whether the agent has evaluated an image as the running release."""
    status = project.record.get("policies", {}).get(SERVICE, {}).get("status", {})
    return bool(status.get("revision", {}).get("images", [""])[0].startswith(image))
