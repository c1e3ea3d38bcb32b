"""What the benches on a real node have in common: built outside, measured inside, kept at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab import images, session
from lab.tickets import install_operator

ROOT = Path(__file__).resolve().parent.parent
Document = dict[str, Any]


def enter(module: str, argv: Sequence[str]) -> int:
    """Build what a node cannot build, then run the bench again inside of one."""
    archives = [str(images.build(name)) for name in ("rollback-operator", "ticket-service")]
    inside = [sys.executable, "-m", module, *argv, "--inside", *archives]
    return subprocess.call([sys.executable, "-m", "lab", "run", "node", "--", *inside], cwd=ROOT)


def prepared(operator: Path, service: Path) -> session.Session:
    """Give the node both images and the operator."""
    lab = session.current()
    lab.import_image(service)
    install_operator(lab, operator)
    return lab


class Results:
    """A JSON file to which lanes that run at once add what they find, run by run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._document: Document = json.loads(path.read_text()) if path.exists() else {}

    def part(self, name: str) -> Document:
        """Give what is known under a name; empty if nothing is."""
        found: Document = self._document.get(name, {})
        return found

    def change(self, name: str, changed: Callable[[Document], Document]) -> None:
        """Change the part under a name, and write the file whole."""
        with self._lock:
            self._document[name] = changed(self.part(name))
            scratch = self.path.with_suffix(".new")
            scratch.write_text(json.dumps(self._document, indent=1) + "\n")
            scratch.replace(self.path)
