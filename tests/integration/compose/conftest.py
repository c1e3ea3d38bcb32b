"""A Docker daemon for the session, and a project of its own for each test."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.compose_stage import BAD, GOOD, Project, compose_v2, load_shop
from lab.docker_server import Docker
from lab.errors import LabError


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """Fails where no daemon can run: a silent skip would prove nothing."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: the Compose agent needs a Docker daemon, and a daemon needs root")
    with Docker() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def images(docker: Docker) -> dict[str, str]:
    """The ids of a good and of a bad release."""
    return {GOOD: load_shop(docker, GOOD), BAD: load_shop(docker, BAD, FAIL="100")}


@pytest.fixture(params=["v1", pytest.param("v2", marks=pytest.mark.extended)])
def project(
    docker: Docker, images: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Project]:
    """A project that is taken down at the end, by both of Compose's programs."""
    program = ("docker-compose",) if request.param == "v1" else compose_v2(docker)
    name = "p" + "".join(c for c in tmp_path.name.lower() if c.isalnum())[:40]
    made = Project(docker, tmp_path / name, program)
    yield made
    take_down(made)


def take_down(project: Project) -> None:
    for container in project.containers():
        project.docker.ask("DELETE", f"/containers/{container['Id']}", force="1", is_json=False)
    with contextlib.suppress(LabError):
        project.docker.ask("DELETE", f"/networks/{project.name}_default", is_json=False)
    shutil.rmtree(project.state, ignore_errors=True)
