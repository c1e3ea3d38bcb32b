"""A cluster of kind: made for the demo under a name of its own, and known again by a label."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.demo import context
from lab.demo.context import Context
from lab.demo.removal import LABEL, SELECTOR
from lab.demo.stage import RefusedError
from lab.errors import LabError

NAME = "rollback-demo"
CONTEXT = f"kind-{NAME}"
READY_SECONDS = 180


def require() -> None:
    """See that the program is there; RefusedError with the remedy where it is not."""
    if not shutil.which("kind"):
        raise RefusedError(
            "the program `kind` is not on the PATH, and CLUSTER=kind needs it: "
            "install kind and Docker (or Podman), or use `make demo` (needs neither) or "
            "`make demo CLUSTER=current` (the cluster of your kubeconfig)"
        )


def find() -> Context | None:
    """The demo's cluster, where there is one; RefusedError where somebody else has made it."""
    if NAME not in _output(["get", "clusters"]).split():
        return None
    found = context.named(CONTEXT)
    if not found.find("nodes", f"--selector={SELECTOR}"):
        raise RefusedError(
            f"the kind cluster {NAME} exists, but the demo did not create it, or not completely: "
            f"remove it with `kind delete cluster --name {NAME}` if nobody needs it"
        )
    return found


def create() -> Context:
    """Make the cluster; LabError where that fails."""
    _run(["create", "cluster", "--name", NAME, "--wait", f"{READY_SECONDS}s"])
    made = context.named(CONTEXT)
    made.kubectl("label", "nodes", "--all", f"{LABEL}=demo")
    return made


def load(archive: Path) -> None:
    """Give all nodes the images of an archive."""
    _run(["load", "image-archive", str(archive), "--name", NAME])


def delete() -> None:
    """Remove the cluster with all that is in it."""
    _run(["delete", "cluster", "--name", NAME])


def _run(arguments: Sequence[str]) -> None:
    """Run kind, which tells itself how far it is."""
    if subprocess.run(["kind", *arguments], check=False).returncode != 0:
        raise LabError(f"kind {' '.join(arguments)} failed; see its output above")


def _output(arguments: Sequence[str]) -> str:
    found = subprocess.run(["kind", *arguments], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise LabError(f"kind {' '.join(arguments)} failed: {found.stderr.strip()}")
    return found.stdout
