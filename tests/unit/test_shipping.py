"""What is shipped is made from what is in git: the image by its Dockerfile, the chart's package."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import helm_python
import pytest
import yaml

from lab.images import builds

ROOT = Path(__file__).parents[2]
CHART = "deploy/helm/rollback-operator"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def in_git(*paths: str) -> set[str]:
    argv = ["git", "ls-files", "-z", "--", *paths]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return {one for one in listed.stdout.split("\0") if one}


def copied() -> set[str]:
    """What the Dockerfile takes from the folder that it is built in."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = re.findall(r"^(?:COPY|ADD)\s+(?!--from)(.+)$", text, re.MULTILINE)
    return {name for line in lines for name in line.split()[:-1]}


def let_in() -> set[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return {one[1:].rstrip("/") for one in lines if one.startswith("!")}


def test_the_dockerfile_takes_what_is_in_git_and_what_the_builder_lets_in() -> None:
    assert copied() == let_in() == set(builds.OPERATOR)
    for name in copied():
        assert in_git(name), f"{name} is not in git"


def test_the_dockerfile_takes_all_that_the_wheel_is_made_of() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {PROJECT["project"]["readme"], *(one.split("/")[0] for one in packages)}
    assert {"pyproject.toml", *needed} == copied()


def test_the_packaged_chart_holds_what_is_in_git(tmp_path: Path) -> None:
    made = Path(helm_python.package(ROOT / CHART, destination=tmp_path))
    name, version = PROJECT["project"]["name"], PROJECT["project"]["version"]
    with tarfile.open(made) as archive:
        held = {one.removeprefix(f"{name}/") for one in archive.getnames()}
    expected = {one.removeprefix(f"{CHART}/") for one in in_git(CHART)} - {".helmignore"}

    assert made.name == f"{name}-{version}.tgz"
    assert held - {".helmignore"} == expected


def test_all_that_is_shipped_has_one_version() -> None:
    chart = yaml.safe_load((ROOT / CHART / "Chart.yaml").read_text())
    assert {chart["version"], chart["appVersion"]} == {PROJECT["project"]["version"]}


# -- make image -----------------------------------------------------------------------------------


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["make", "--no-print-directory", "image", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def builder(folder: Path, name: str) -> Path:
    made = folder / name
    made.write_text('#!/bin/sh\necho "ran $@ at $SOURCE_DATE_EPOCH"\n')
    made.chmod(0o755)
    return made


def test_where_nothing_can_build_an_image_it_says_what_is_missing() -> None:
    done = make("BUILDER=")
    assert done.returncode != 0
    assert "needs a running Docker, or buildah" in done.stdout


@pytest.mark.parametrize("name", ["docker", "buildah"])
def test_the_image_gets_the_name_asked_for_and_the_time_of_the_commit(
    tmp_path: Path, name: str
) -> None:
    image = "registry.example.com/rollback-operator:v1"
    done = make(f"BUILDER={builder(tmp_path, name)}", f"IMAGE={image}", "BASE_IMAGE=own:3.11")
    assert done.returncode == 0, done.stderr
    (ran,) = re.findall(r"^ran build (.*) at (\d+)$", done.stdout, re.MULTILINE)
    options, time = ran
    assert f"--tag {image} " in options
    assert "--build-arg BASE_IMAGE=own:3.11" in options
    assert (f"--timestamp {time} ." in options) == (name == "buildah")
    assert f"{name} push {image}" in done.stdout


def test_what_fails_to_build_is_not_said_to_be_built(tmp_path: Path) -> None:
    made = builder(tmp_path, "docker")
    made.write_text("#!/bin/sh\nexit 3\n")
    done = make(f"BUILDER={made}")
    assert done.returncode != 0
    assert "built" not in done.stdout
