"""A Docker daemon for the session, and a project of its own for each test."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.compose_stage import BAD, GOOD, Project, load_shop
from lab.docker_server import Docker
from lab.errors import LabError

V2 = os.environ.get("COMPOSE_V2", "")
"""Path of a docker-compose of version 2, which Debian 12 does not have; empty: not tested."""


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """Fails where no daemon can run: a silent skip would prove nothing."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: the Compose agent needs a Docker daemon, and a daemon needs root")
    with Docker() as daemon:
        yield daemon


def programs() -> list[Sequence[str]]:
    """List the Compose programs that are here."""
    return [("docker-compose",), *([(V2,)] if V2 else [])]


@pytest.fixture(scope="session")
def images(docker: Docker) -> dict[str, str]:
    """The ids of a good and of a bad release."""
    return {GOOD: load_shop(docker, GOOD), BAD: load_shop(docker, BAD, FAIL="100")}


@pytest.fixture(params=programs(), ids=lambda each: "v2" if each != ("docker-compose",) else "v1")
def project(
    docker: Docker, images: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Project]:
    """A project that is taken down at the end."""
    name = "p" + "".join(c for c in tmp_path.name.lower() if c.isalnum())[:40]
    made = Project(docker, tmp_path / name, request.param)
    yield made
    take_down(made)


def take_down(project: Project) -> None:
    for container in project.containers():
        project.docker.ask("DELETE", f"/containers/{container['Id']}", force="1", is_json=False)
    with contextlib.suppress(LabError):
        project.docker.ask("DELETE", f"/networks/{project.name}_default", is_json=False)
    shutil.rmtree(project.state, ignore_errors=True)
