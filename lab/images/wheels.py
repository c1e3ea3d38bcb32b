"""The wheels of the operator's image: its dependencies once for each list, its own each time.

They are collected by the pip of the system's Python, which is the one in the base image, with
the machine's own pip settings.
"""

from __future__ import annotations

import os
import shutil
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
SOURCES = ("pyproject.toml", "README.md", "operator")


def key(project: Path) -> str:
    return cache.key(*(project / name for name in SOURCES))


def collect(project: Path, target: Path) -> None:
    """Fill the folder with the project's wheel and every wheel that it needs."""
    content = tomllib.loads((project / "pyproject.toml").read_text())
    needed = content["project"]["dependencies"]
    builders = content["build-system"]["requires"]
    shutil.copytree(_dependencies(needed), target)
    tools = _tools(builders)
    with cache.scratch() as scratch:
        for name in SOURCES:
            # A copy: a build must not leave its traces in the checkout.
            if (project / name).is_dir():
                shutil.copytree(project / name, scratch / name)
            else:
                shutil.copy(project / name, scratch / name)
        _pip(tools, ["wheel", "--no-deps", "--no-build-isolation", "-w", str(target), str(scratch)])


def _dependencies(needed: Sequence[str]) -> Path:
    target = cache.folder() / f"wheels-{cache.key(*needed)}"
    if target.is_dir():
        return target
    require_way_out("wheels")
    say(f"collecting the wheels of {len(needed)} dependencies")
    tools = _tools([])
    with cache.scratch() as scratch:
        _pip(tools, ["wheel", "-w", str(scratch / "wheels"), *needed])
        return cache.keep(scratch / "wheels", target, "wheels")


def _tools(builders: Sequence[str]) -> Path:
    """A virtual environment that only builds; made in place, since it cannot be moved."""
    target = cache.folder() / "builder"
    if not (target / "bin" / "pip").is_file():
        _run([PYTHON, "-m", "venv", "--clear", str(target)])
    marker = target / f"has-{cache.key(*builders)}"
    if builders and not marker.exists():
        require_way_out("the build backend")
        _pip(target, ["install", *builders])
        marker.touch()
    return target


def _pip(tools: Path, arguments: Sequence[str]) -> None:
    _run([str(tools / "bin" / "pip"), "--disable-pip-version-check", *arguments])


def _run(argv: Sequence[str]) -> None:
    result: subprocess.CompletedProcess[Any] = subprocess.run(
        argv,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-20:])
        raise LabError(f"{' '.join(argv[:3])} failed:\n{tail}")
