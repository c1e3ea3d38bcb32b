"""Bad input of every kind ends in a message that names the field and the remedy."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.compose_stage import (
    BAD,
    FOLDER,
    GOOD,
    SERVICE,
    AgentProcess,
    Project,
    load_shop,
    verb,
    wait_for,
)
from lab.docker_server import Docker
from tests.integration.compose.conftest import take_down
from tests.integration.compose.stage import (
    NO_PROMETHEUS,
    QUICK,
    await_condition,
    await_release,
    evaluates,
)


def refused(project: Project, *options: str) -> str:
    """Start the agent, and return what it says when it refuses."""
    with AgentProcess(project, NO_PROMETHEUS, options) as agent:
        assert agent.wait(300) == 2, agent.tail
    return agent.tail


def age(project: Project) -> None:
    """Make the files older than half a minute: what differs is not about to be deployed."""
    for path in project.files.folder.glob("*.yml"):
        os.utime(path, (time.time() - 60, time.time() - 60))


def test_refused_at_the_start(project: Project) -> None:
    project.write(GOOD)
    project.policy(**QUICK)
    assert "has no service nothing, only shop" in refused(project, "--service", "nothing")
    project.policy(remedies=[{"type": "Scale", "replicas": 3}])
    assert "spec.remedies[0].type" in refused(project)
    project.policy(**QUICK)
    project.files.compose.write_text("services: {shop: {image: 7, nonsense: true}}\n")
    said = refused(project)
    assert "nonsense" in said or "image" in said, "what Compose says"
    project.files.compose.write_text("services: [")
    assert "docker-compose.yml" in refused(project)


@pytest.mark.extended
def test_options(project: Project, tmp_path: Path) -> None:
    project.write(GOOD)
    status, _, err = verb(project, "status")
    assert (status, "nothing is on record" in err) == (2, True)
    status, _, err = verb(project, "undo")
    assert (status, "--reason" in err) == (2, True)
    status, _, err = verb(project, "status", file=tmp_path / "none.yml")
    assert (status, "there is no such file" in err) == (2, True)
    status, _, err = verb(project)
    assert (status, "--policy: is required" in err) == (2, True)
    status, _, err = verb(project, "undo", "--to", "x", "--reason", "y")
    assert (status, "neither a revision's number nor previous" in err) == (2, True)


@pytest.mark.extended
def test_edited_but_not_deployed_is_refused_before_an_undo(
    images: dict[str, str], project: Project
) -> None:
    project.write(GOOD)
    project.policy(**QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        await_condition(project, agent, "SingleReplica")
        project.write(BAD)
        project.up()
        await_release(project, agent)
        project.write(BAD, extra="    environment: {SECRET: changed}\n")
        age(project)
        message = await_condition(project, agent, "RolloutOwner")
        assert "would not only change the image of service shop" in message
        status, out, _ = verb(project, "undo", "--to", "previous", "--reason", "a test")
        assert status == 1, out
        assert "would not only change the image" in out
    assert project.runs() == {images[BAD]}


@pytest.mark.extended
def test_a_variable_that_the_agent_lacks(project: Project) -> None:
    project.write("shop:${TAG}")
    project.policy(**QUICK)
    age(project)
    project.up(TAG="1.0")
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        message = await_condition(project, agent, "RolloutOwner")
    assert "variable" in message


@pytest.mark.extended
def test_a_container_with_the_labels_of_its_image(docker: Docker, project: Project) -> None:
    """`docker commit` keeps Compose's labels, and Compose takes such a container for its own."""
    project.write(GOOD)
    project.policy(**QUICK)
    project.up()
    (own,) = project.containers()
    docker.ask("POST", "/commit", container=own["Id"], repo="shop", tag="debug")
    name = f"{project.name}-debug"
    run = ["docker", "run", "--detach", "--network", "none", "--name", name, "shop:debug"]
    subprocess.run(run, env=docker.environment, check=True, capture_output=True)
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        message = await_condition(project, agent, "RolloutOwner")
        assert f"{name} (not started by Compose: its labels are those of its image)" in message
        docker.ask("DELETE", f"/containers/{name}", force="1", is_json=False)
        await_condition(project, agent, "SingleReplica")
    assert [each["image"] for each in project.record["services"][SERVICE]["revisions"]] == [GOOD]


@pytest.mark.extended
def test_only_settings_change(project: Project) -> None:
    project.write(GOOD)
    project.policy(**QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        await_condition(project, agent, "SingleReplica")
        project.write(GOOD, extra="    environment: {FAIL: '100'}\n")
        project.up()
        message = await_condition(project, agent, "RolloutOwner")
    assert "changes the settings of the service and not its image" in message


@pytest.mark.extended
def test_anchors_several_files_extends_and_profiles(project: Project) -> None:
    base, more = project.files.folder / "base.yml", project.files.folder / "more.yml"
    base.write_text("version: '2.4'\nservices: {web: {image: shop:0.9, environment: {A: '1'}}}\n")
    project.files.compose.write_text(f"""\
version: "2.4"
x-labels: &labels {{prometheus.io/port: "8080"}}
services:
  {SERVICE}:
    extends: {{file: base.yml, service: web}}
    image: {GOOD}
    labels: *labels
    profiles: [sale]
""")
    more.write_text(f"version: '2.4'\nservices: {{{SERVICE}: {{environment: {{B: '2'}}}}}}\n")
    project.policy(**QUICK)
    files = ["-f", str(project.files.compose), "-f", str(more), "--profile", "sale"]
    age(project)
    project.docker.compose([*project.command, *files], project.files.folder, "up", "-d", SERVICE)
    options = ["-f", str(more), "--profile", "sale"]
    with AgentProcess(project, NO_PROMETHEUS, options) as agent:
        await_condition(project, agent, "SingleReplica")
    # Without the second file it is another configuration, and without its profile no service.
    with AgentProcess(project, NO_PROMETHEUS, ["--profile", "sale"]) as agent:
        message = await_condition(project, agent, "RolloutOwner")
        assert str(more) in message, "the files that it was started with"


@pytest.mark.extended
def test_build_only_without_a_digest(docker: Docker, project: Project) -> None:
    """A release is an image, not a tag: the image before has no name any more, and is kept."""
    load_shop(docker, "shop-base:1")
    load_shop(docker, "shop-base:2", FAIL="100")
    containerfile = project.files.folder / "Dockerfile"
    project.files.compose.write_text(f"version: '3.8'\nservices: {{{SERVICE}: {{build: .}}}}\n")
    project.policy(**QUICK)
    containerfile.write_text("FROM shop-base:1\n")
    project.up("--build")
    (first,) = project.runs()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        await_condition(project, agent, "SingleReplica")
        containerfile.write_text("FROM shop-base:2\n")
        project.up("--build")
        await_release(project, agent)
        docker.ask("DELETE", "/images/shop-base:1", force="1", is_json=False)
        docker.ask("POST", "/images/prune", filters=json.dumps({"dangling": ["true"]}))
        verb_status, out, err = verb(project, "undo", "--to", "previous", "--reason", "a test")
        assert project.runs() == {first}, (verb_status, out, err, agent.tail)


@pytest.mark.extended
def test_a_registry_that_does_not_answer(docker: Docker, project: Project) -> None:
    """The good image is here: nothing is pulled, although its registry is nowhere."""
    good = load_shop(docker, "registry.invalid/shop:1.0", LOCAL="1")
    load_shop(docker, "registry.invalid/shop:2.0", FAIL="100", LOCAL="1")
    project.write("registry.invalid/shop:1.0")
    project.policy(**QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        await_condition(project, agent, "SingleReplica")
        project.write("registry.invalid/shop:2.0")
        project.up()
        await_release(project, agent)
        verb(project, "undo", "--to", "previous", "--reason", "a test")
        assert project.runs() == {good}, agent.tail


@pytest.mark.extended
def test_an_image_that_is_gone_is_named_and_nothing_is_done(
    docker: Docker, images: dict[str, str], project: Project
) -> None:
    lost = load_shop(docker, "shop:lost", LOST="1")
    project.write("shop:lost")
    project.policy(**QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        await_condition(project, agent, "SingleReplica")
        project.write(BAD)
        project.up()
        await_release(project, agent)
        docker.ask("DELETE", f"/images/{lost}", force="1", is_json=False)
        status, out, _ = verb(project, "undo", "--to", "previous", "--reason", "a test")
        assert status == 1
        assert "missing: Image" in out
    assert project.runs() == {images[BAD]}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.extended
def test_a_full_disk(docker: Docker, images: dict[str, str], small_disk: Path) -> None:
    project = Project(docker, small_disk / "fulldisk", ("docker-compose",))
    try:
        project.write(GOOD)
        project.policy(**QUICK)
        project.up()
        with AgentProcess(project, NO_PROMETHEUS) as agent:
            await_condition(project, agent, "SingleReplica")
            project.write(BAD)
            project.up()
            wait_for(
                "it",
                150,
                lambda: project.record["services"]["shop"]["revisions"][1:],
                lambda: agent.tail,
            )
            filler = small_disk / "filler"
            fill(filler)
            status, _, err = verb(project, "undo", "--to", "previous", "--reason", "a test")
            assert (status, "No space left on device" in err) == (2, True)
            assert project.runs() == {images[BAD]}
            filler.unlink()
            verb(project, "undo", "--to", "previous", "--reason", "a test")
            assert project.runs() == {images[GOOD]}
    finally:
        take_down(project)


@pytest.mark.parametrize(
    "kinds",
    [
        ("endless",),
        pytest.param(("huge", "informational", "patterns"), marks=pytest.mark.extended),
    ],
)
def test_a_hostile_page(
    docker: Docker, images: dict[str, str], project: Project, kinds: Sequence[str]
) -> None:
    project.write(GOOD)
    project.policy(podMetrics={"port": 8080}, **QUICK)
    project.up()
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        await_condition(project, agent, "SingleReplica")
        for kind in kinds:
            hostile = load_shop(docker, f"shop:{kind}", PAGE=kind)
            project.write(f"shop:{kind}")
            project.up()
            assert project.runs() == {hostile}
            wait_for(
                f"a verdict on {kind}",
                300,
                lambda kind=kind: evaluates(project, f"shop:{kind}"),
                lambda: agent.tail,
            )
            time.sleep(10)  # of reading its page twice a second
        status = Path(f"/proc/{agent.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        assert peak < 400, f"{peak:.0f} MiB"
        good = number_of(project, images[GOOD])
        verb(project, "undo", "--to", str(good), "--reason", "a test")
        assert project.runs() == {images[GOOD]}, agent.tail


def number_of(project: Project, image: str) -> int:
    revisions = project.record["services"][SERVICE]["revisions"]
    return int(next(each["number"] for each in revisions if each["imageId"] == image))


@pytest.mark.extended
def test_several_containers(images: dict[str, str], project: Project) -> None:
    """An undo keeps their number, also where the file says another."""
    project.write(GOOD)
    text = project.files.compose.read_text().replace(f"127.0.0.1:{project.files.port}:8080", "8080")
    project.files.compose.write_text(text)
    project.policy(**QUICK)
    project.up("--scale", "shop=3")
    with AgentProcess(project, NO_PROMETHEUS) as agent:
        wait_for("it", 150, lambda: evaluates(project, GOOD), lambda: agent.tail)
        project.files.compose.write_text(text.replace(GOOD, BAD))
        project.up("--scale", "shop=3")
        wait_for("it", 150, lambda: evaluates(project, BAD), lambda: agent.tail)
        verb(project, "undo", "--to", "previous", "--reason", "a test")
        running = [each["Image"] for each in project.containers() if each["State"]["Running"]]
        assert running == [images[GOOD]] * 3, agent.tail
    assert project.files.compose.read_text() == text.replace(GOOD, BAD)


@pytest.mark.extended
def test_the_project_name_of_the_variables(project: Project) -> None:
    """Compose takes it from .env: the agent looks for the same containers."""
    project.write(GOOD)
    project.policy(**QUICK)
    (project.files.folder / ".env").write_text("COMPOSE_PROJECT_NAME=named\n")
    project.up()
    named = project.files.folder / FOLDER / "named" / "ledger.json"
    try:
        with AgentProcess(project, NO_PROMETHEUS) as agent:
            wait_for(
                "it",
                150,
                lambda: named.exists() and f'"image":"{GOOD}"' in named.read_text(),
                lambda: agent.tail,
            )
    finally:
        project.docker.compose(project.command, project.files.folder, "down")
