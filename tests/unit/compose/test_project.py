"""What Compose is asked, and what its answers mean; a shell script stands for it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rollback_operator.adapters.compose.ledger import KnownRevision
from rollback_operator.adapters.compose.project import (
    REVISION_LABEL,
    Compose,
    ComposeFiles,
    Pin,
)
from rollback_operator.ports.failure import Failure, FailureKind

ID = "sha256:" + "a" * 64
REVISION = KnownRevision(
    number=1, revision="abc", image="shop:1.0", image_id=ID, settings="s", created=0.0,
    repo_digest="registry.example.com/shop@sha256:1",
)  # fmt: skip
PINS = [Pin("shop", REVISION)]
Make = Callable[..., Compose]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(script: str, **options: float) -> Compose:
        program = tmp_path / "compose"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{script}\n')
        program.chmod(0o755)
        file = tmp_path / "docker-compose.yml"
        file.write_text("services: {}\n")
        files = ComposeFiles((file,), "proj", ("sale",), socket=tmp_path / "docker.sock")
        return Compose((str(program),), files, tmp_path, **options)

    return made


def asked(tmp_path: Path) -> str:
    return (tmp_path / "asked").read_text().splitlines()[-1]


async def test_resolved(make: Make, tmp_path: Path) -> None:
    compose = make('echo "services: {shop: {image: shop}}"')
    assert await compose.resolved() == {"services": {"shop": {"image": "shop"}}}
    file = tmp_path / "docker-compose.yml"
    assert asked(tmp_path) == f"--project-name proj --file {file} --profile sale config"


@pytest.mark.parametrize("out", ["[", "7", "services: []", "&a [*a]"])
async def test_an_answer_without_services_is_named(make: Make, out: str) -> None:
    failure = await make(f"echo '{out}'").resolved()
    assert isinstance(failure, Failure)
    assert "prints no services" in failure.message


async def test_hash(make: Make, tmp_path: Path) -> None:
    assert await make("echo 'other 12'; echo 'shop 34'").hash_of("shop", is_pinned=True) == "34"
    assert asked(tmp_path).endswith(f"--file {tmp_path}/override.yml config --hash shop")
    assert isinstance(await make("echo nothing").hash_of("shop", is_pinned=False), Failure)


async def test_up_is_of_one_service_and_pulls_no_more_than_it_must(
    make: Make, tmp_path: Path
) -> None:
    compose = make("exit 0")
    assert await compose.restore(PINS, "shop", 3) is None
    wanted = "up --detach --no-deps --no-build --scale shop=3 shop"
    assert asked(tmp_path).endswith(wanted)


async def test_the_override_names_content(make: Make) -> None:
    compose = make("")
    pins = [*PINS, Pin("cart", REVISION, is_local=False)]
    assert await compose.restore(pins, "shop", 1) is None
    services = yaml.safe_load(compose.override.read_text())["services"]
    assert services["shop"] == {"image": ID, "labels": {REVISION_LABEL: "abc"}}
    assert services["cart"]["image"] == "registry.example.com/shop@sha256:1"
    assert compose.unpin({"shop"}) is None
    assert yaml.safe_load(compose.override.read_text())["services"] == {"shop": services["shop"]}
    assert compose.unpin(()) is None
    assert not compose.override.exists()


@pytest.mark.parametrize("text", ["", "[", "services: 7", "7"])
async def test_an_override_that_a_person_has_spoilt_is_removed(make: Make, text: str) -> None:
    compose = make("")
    compose.override.write_text(text)
    assert compose.unpin({"shop"}) is None
    assert not compose.override.exists()


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        ("service shop: bad key", FailureKind.REJECTED, "bad key"),
        ("Cannot connect to the Docker daemon at x", FailureKind.UNAVAILABLE, "daemon does not"),
        (
            "Error while fetching server API version: UnixHTTPConnectionPool(host=localhost): Read "
            "timed out. (read timeout=60)",
            FailureKind.UNAVAILABLE,
            "daemon does not",
        ),
        ("error during connect: Get http://x/containers: EOF", FailureKind.UNAVAILABLE, "start it"),
        ("ERROR: (Connection aborted., reset by peer)", FailureKind.UNAVAILABLE, "start it"),
        ("dial tcp: lookup r: no such host", FailureKind.UNAVAILABLE, "docker load"),
        ("", FailureKind.REJECTED, "it says nothing"),
    ],
)
async def test_refusals(make: Make, said: str, kind: FailureKind, text: str) -> None:
    failure = await make(f"echo '{said}' >&2; exit 1").restore(PINS, "shop", 1)
    assert failure is not None
    assert failure.kind is kind
    assert text in failure.message


async def test_no_program_is_named(make: Make, tmp_path: Path) -> None:
    compose = make("")
    (tmp_path / "compose").unlink()
    failure = await compose.restore(PINS, "shop", 1)
    assert failure is not None
    assert "--compose-command" in failure.message


async def test_a_hanging_program_is_ended(make: Make) -> None:
    failure = await make("sleep 60", up_seconds=0.3).restore(PINS, "shop", 1)
    assert failure is not None
    assert failure.kind is FailureKind.UNAVAILABLE
    assert "did not end" in failure.message


async def test_compose_ends_its_work_although_the_agent_is_cancelled(
    make: Make, tmp_path: Path
) -> None:
    compose = make(f"sleep 0.5; echo said; echo said >&2; touch {tmp_path}/done")
    task = asyncio.create_task(compose.restore(PINS, "shop", 1))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(100):
        if (tmp_path / "done").exists():
            break
        await asyncio.sleep(0.1)
    assert (tmp_path / "done").exists()


KILLED = """
import asyncio, sys
from pathlib import Path
from rollback_operator.adapters.compose.project import Compose, ComposeFiles
folder = Path(sys.argv[1])
files = ComposeFiles((folder / "docker-compose.yml",), "proj")
asyncio.run(Compose((str(folder / "compose"),), files, folder).restore([], "shop", 1))
"""


async def test_compose_ends_its_work_although_the_agent_is_killed(
    make: Make, tmp_path: Path
) -> None:
    """And the next agent begins no second `up` beside it, nor takes its override file away."""
    compose = make(
        f"touch {tmp_path}/begun; until [ -e {tmp_path}/go ]; do sleep 0.1; done\n"
        f"echo said; echo said >&2; touch {tmp_path}/done"
    )
    await _kill_an_agent(tmp_path)
    compose.override.write_text("services: {cart: {}}")
    async with asyncio.timeout(60):
        failure = await compose.restore(PINS, "shop", 1)
    assert failure is not None
    assert failure.kind is FailureKind.UNAVAILABLE
    assert "still runs" in failure.message
    assert compose.unpin(()) is None
    assert compose.override.read_text() == "services: {cart: {}}"
    assert (tmp_path / "asked").read_text().count("up --detach") == 1
    (tmp_path / "go").touch()
    _wait_for(tmp_path / "done")
    while isinstance(failure, Failure):  # until the lock has ended with its process
        await asyncio.sleep(0.1)
        failure = await compose.restore(PINS, "shop", 1)


async def test_an_up_that_hangs_and_outlives_its_agent_is_ended_by_the_next(
    make: Make, tmp_path: Path
) -> None:
    """With all its processes, once it has had the time of any `up`, and not before."""
    hang = f"[ -e {tmp_path}/begun ] && exit 0\ntouch {tmp_path}/begun; sleep 1000; exit"
    patient = make(hang)
    await _kill_an_agent(tmp_path)
    early = await patient.restore(PINS, "shop", 1)
    assert early is not None
    assert "still runs: it is ended after 600 s" in early.message
    failure = await make(hang, up_seconds=0.0).restore(PINS, "shop", 1)
    assert failure is not None
    assert failure.kind is FailureKind.UNAVAILABLE
    assert "did not end within 0 s, and was ended" in failure.message
    async with asyncio.timeout(60):
        while failure is not None:  # until the kernel has ended the lock with its processes
            await asyncio.sleep(0.1)
            failure = await patient.restore(PINS, "shop", 1)
    assert (tmp_path / "asked").read_text().count("up --detach") == 2


async def _kill_an_agent(directory: Path) -> None:
    """Kill an agent while its `up` runs, which goes on."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        KILLED,
        str(directory),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    _wait_for(directory / "begun")
    child.kill()
    await child.wait()


def _wait_for(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} never came")
