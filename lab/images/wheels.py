"""The wheels that the operator's image is built from without a network, once for each list of them.

They are collected by the pip of the system's Python, which is the one in the base image, with
the machine's own pip settings. The operator's own is made by its Dockerfile.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.binaries import say
from lab.errors import LabError
from lab.images import cache
from lab.images.downloads import require_way_out

PYTHON = "/usr/bin/python3"


def collect(project: Path) -> Path:
    """The folder with every wheel that the project needs to be built and to run."""
    content = tomllib.loads((project / "pyproject.toml").read_text())
    wanted = [*content["project"]["dependencies"], *content["build-system"]["requires"]]
    target = cache.folder() / f"wheels-{cache.key(*wanted)}"
    if target.is_dir():
        return target
    require_way_out("wheels")
    say(f"collecting the wheels of {len(wanted)} dependencies")
    with cache.scratch() as scratch:
        _run([str(_pip()), "wheel", "-w", str(scratch / "wheels"), *wanted])
        return cache.keep(scratch / "wheels", target, "wheels")


def _pip() -> Path:
    """In a virtual environment that only builds; made in place, since it cannot be moved."""
    target = cache.folder() / "builder"
    if not (target / "bin" / "pip").is_file():
        _run([PYTHON, "-m", "venv", "--clear", str(target)])
    return target / "bin" / "pip"


def _run(argv: Sequence[str]) -> None:
    result: subprocess.CompletedProcess[Any] = subprocess.run(
        argv,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-20:])
        raise LabError(f"{' '.join(argv[:3])} failed:\n{tail}")
