"""The record of a service around an `up`; a shell script stands for Compose, a table for Docker."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollback_operator.adapters.compose.engine import Engine
from rollback_operator.adapters.compose.ledger import Ledger, LedgerState, ServiceRecord
from rollback_operator.adapters.compose.project import REVISION_LABEL, Compose, ComposeFiles
from rollback_operator.adapters.compose.revisions import ServicePlace
from rollback_operator.adapters.compose.workloads import ComposeWorkloads
from rollback_operator.api.v1alpha1 import Rollback
from rollback_operator.cli.compose.wiring import Setup, wire
from rollback_operator.cli.compose.words import ComposeWords
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.remedies.progress import LEAST_BOUND_SECONDS
from rollback_operator.runtime.workqueue import PASS_SECONDS
from tests.builders import make_rollback
from tests.unit.compose.builders import T0, image, raw

GOOD, BAD = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HASH, OTHER_HASH = "h", "other"
NAMES = ("shop", "cart")
SCRIPT = f"""#!/bin/sh
case "$*" in
*--hash*) for last; do :; done; echo "$last {HASH}";;
*) echo "$*" >> asked; test ! -e fails && touch worked;;
esac
"""


class Containers(Engine):
    """The containers of services, as a test sets them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "docker.sock")
        self.worked = folder / "worked"
        self.then: dict[str, list[dict[str, Any]]] = {}
        """Once Compose has worked."""
        self.of: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
        self.images: dict[str, dict[str, Any]] = {}

    async def containers(self, project: str, service: str) -> list[Any] | Failure:
        return list((self.then if self.worked.exists() else {}).get(service, self.of[service]))

    async def image(self, name: str) -> Any | Failure:
        return self.images.get(name, image())

    async def tag(self, image: str, repository: str, tag: str) -> Failure | None:
        return None

    async def untag(self, name: str) -> Failure | None:
        return None


@dataclass
class Stage:
    """A project with two services, and agents that watch it by turns."""

    folder: Path
    engine: Containers = field(init=False)
    _ledger: Ledger | None = None

    def __post_init__(self) -> None:
        self.engine = Containers(self.folder)
        program = self.folder / "compose"
        program.write_text(SCRIPT)
        program.chmod(0o755)
        (self.folder / "docker-compose.yml").write_text("services: {}\n")
        state = LedgerState(services={name: ServiceRecord(uid=name) for name in NAMES})
        assert self.ledger.store(state) is None

    @property
    def ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger.open(self.folder / "state")
        return self._ledger

    def agent(self) -> ComposeWorkloads:
        """Start an agent, after the end of the last."""
        self.end()
        files = ComposeFiles((self.folder / "docker-compose.yml",), "proj")
        compose = Compose((str(self.folder / "compose"),), files, self.folder / "state")
        places = {("proj", name): ServicePlace("proj", name, name) for name in NAMES}
        return ComposeWorkloads(self.engine, compose, self.ledger, places, lambda: T0 + 600)

    def end(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def pinned(self) -> dict[str, Any]:
        text = (self.folder / "state" / "override.yml").read_text()
        return dict(yaml.safe_load(text)["services"])

    def made(self, image_id: str, second: int, number: int = 1, **changes: Any) -> dict[str, Any]:
        """Describe a container that Compose has made."""
        labels = {
            "com.docker.compose.config-hash": HASH,
            "com.docker.compose.container-number": str(number),
            "com.docker.compose.project.working_dir": str(self.folder),
            **changes.pop("labels", {}),
        }
        known = raw(image_id, second, labels=labels, **changes)
        unique = hashlib.sha256(f"{image_id}{second}{number}".encode()).hexdigest()
        return {**known, "Id": unique}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.end()


ENDED = {
    "Status": "exited",
    "Running": False,
    "ExitCode": 137,
    "FinishedAt": "2025-12-01T12:01:00Z",
}
CREATED = {"Status": "created", "Running": False, "StartedAt": "0001-01-01T00:00:00Z"}


async def read(agent: ComposeWorkloads, service: str = "shop") -> Deployment:
    seen = await agent.inspect("proj", service)
    assert isinstance(seen, Workload), seen
    return seen.deployment


async def bad_after_good(
    stage: Stage, agent: ComposeWorkloads, service: str = "shop", number: int = 1
) -> Rollback:
    """Let a bad release follow a good release; gives an undo of it."""
    numbers = range(1, number + 1)
    stage.engine.of[service] = [stage.made(GOOD, 0, each) for each in numbers]
    good = await read(agent, service)
    stage.engine.of[service] = [stage.made(BAD, 60, each) for each in numbers]
    bad = await read(agent, service)
    return undo_of(service, good, bad)


def undo_of(service: str, good: Deployment, bad: Deployment) -> Rollback:
    asked = make_rollback()
    target = asked.spec.target_ref.model_copy(update={"name": service})
    changes = {
        "target_ref": target,
        "from_revision": asked.spec.from_revision.model_copy(
            update={"number": bad.revision, "digest": bad.template.digest}
        ),
        "to_revision": asked.spec.from_revision.model_copy(
            update={"number": good.revision, "digest": good.template.digest}
        ),
    }
    metadata = asked.metadata.model_copy(update={"namespace": "proj"})
    return asked.model_copy(
        update={"metadata": metadata, "spec": asked.spec.model_copy(update=changes)}
    )


def restored(stage: Stage, undo: Rollback, second: int, number: int, **changes: Any) -> Any:
    assert undo.spec.to_revision is not None
    labels = {REVISION_LABEL: undo.spec.to_revision.digest}
    return stage.made(GOOD, second, number, labels=labels, **changes)


Left = Callable[[Stage, Rollback], list[Any]]
"""What an `up` that was cut off has left."""


@pytest.mark.parametrize(
    "left",
    [
        lambda stage, undo: [stage.made(BAD, 60, n, state=ENDED) for n in (1, 2)],
        lambda stage, undo: [
            stage.made(BAD, 60, 1, state=ENDED),
            stage.made(BAD, 60, 2, state=ENDED),
            restored(stage, undo, 90, 1, state=CREATED),
        ],
        lambda stage, undo: [restored(stage, undo, 90, n, state=CREATED) for n in (1, 2)],
        lambda stage, undo: [stage.made(BAD, 60, 1), restored(stage, undo, 90, 2)],
        lambda stage, undo: [restored(stage, undo, 90, 1)],
        lambda stage, undo: [
            stage.made(BAD, 60, 1, state=ENDED),
            *(restored(stage, undo, 90, n) for n in (1, 2)),
        ],
    ],
    ids=["ended", "created one", "created all", "replaced one", "started one", "not removed"],
)
@pytest.mark.parametrize("is_restarted", [True, False])
async def test_an_up_that_was_cut_off_is_due_until_it_is_done(
    stage: Stage, left: Left, is_restarted: bool
) -> None:
    agent = stage.agent()
    undo = await bad_after_good(stage, agent, number=2)
    (stage.folder / "fails").touch()
    assert isinstance(await agent.undo(undo, None), Failure)
    stage.engine.of["shop"] = left(stage, undo)
    if is_restarted:
        agent = stage.agent()
    seen = await read(agent)
    assert seen.template.digest == undo.spec.from_revision.digest, "the undo is still due"
    assert seen.replicas == 2, "the number of containers before"
    (stage.folder / "fails").unlink()
    stage.engine.then["shop"] = [restored(stage, undo, 90, n) for n in (1, 2)]
    done = await agent.undo(undo, None)
    assert [line.partition(" up ")[2].split()[-2:] for line in stage.asked] == [
        ["shop=2", "shop"]
    ] * 2
    assert isinstance(done, Deployment)
    assert undo.spec.to_revision is not None
    assert done.template.digest == undo.spec.to_revision.digest
    assert stage.ledger.state.services["shop"].restoring == 0


async def test_an_up_that_ended_without_its_agent_is_not_repeated(stage: Stage) -> None:
    agent = stage.agent()
    undo = await bad_after_good(stage, agent, number=2)
    (stage.folder / "fails").touch()
    await agent.undo(undo, None)
    stage.engine.of["shop"] = [restored(stage, undo, 90, n) for n in (1, 2)]
    seen = await read(stage.agent())
    assert undo.spec.to_revision is not None
    assert seen.template.digest == undo.spec.to_revision.digest, "the undo is done"
    assert len(stage.asked) == 1


async def test_a_rollback_that_ended_before_its_up_leaves_the_service_as_it_is(
    stage: Stage,
) -> None:
    agent = stage.agent()
    undo = await bad_after_good(stage, agent, number=2)
    (stage.folder / "fails").touch()
    await agent.undo(undo, None)
    stage.engine.of["shop"] = [restored(stage, undo, 90, 1)]
    assert agent.give_up("shop") is None
    seen = await read(agent)
    assert undo.spec.to_revision is not None
    assert (seen.template.digest, seen.replicas) == (undo.spec.to_revision.digest, 1)


async def test_a_persons_release_in_the_middle_of_an_up_is_current(stage: Stage) -> None:
    agent = stage.agent()
    undo = await bad_after_good(stage, agent)
    (stage.folder / "fails").touch()
    await agent.undo(undo, None)
    stage.engine.of["shop"] = [stage.made("sha256:" + "c" * 64, 120)]
    seen = await read(agent)
    assert seen.template.images == ("shop:1.0@sha256:" + "c" * 64,)


async def test_the_override_keeps_the_pins_of_services_not_yet_looked_at(stage: Stage) -> None:
    agent = stage.agent()
    first = await bad_after_good(stage, agent, "cart")
    second = await bad_after_good(stage, agent, "shop")
    assert isinstance(await agent.undo(first, None), Deployment)
    stage.engine.of["cart"] = [restored(stage, first, 90, 1)]
    await read(agent, "cart")
    agent = stage.agent()
    assert isinstance(await agent.undo(second, None), Deployment)
    assert set(stage.pinned) == {"cart", "shop"}
    # A person's own `up` of a service ends its pin.
    stage.engine.of["cart"] = [stage.made(BAD, 120)]
    await read(agent, "cart")
    stage.engine.of["shop"] = [restored(stage, second, 90, 1)]
    await read(agent, "shop")
    assert await agent.settle_pins() is None
    assert set(stage.pinned) == {"shop"}
    stage.engine.of["shop"] = [stage.made(BAD, 120)]
    await read(agent, "shop")
    assert await agent.settle_pins() is None
    assert not agent.compose.override.exists()


@pytest.mark.parametrize("is_down", [False, True])
async def test_the_pin_of_a_service_that_no_policy_names_any_more_ends_too(
    stage: Stage, is_down: bool
) -> None:
    agent = stage.agent()
    undo = await bad_after_good(stage, agent, "cart")
    assert isinstance(await agent.undo(undo, None), Deployment)
    stage.engine.of["cart"] = [restored(stage, undo, 90, 1)]
    await read(agent, "cart")
    stage.engine.of["shop"] = [stage.made(GOOD, 0)]
    agent = stage.agent()
    agent.places = {key: place for key, place in agent.places.items() if place.service == "shop"}
    await read(agent, "shop")
    assert await agent.settle_pins() is None
    assert set(stage.pinned) == {"cart"}, "it still runs from it"
    stage.engine.of["cart"] = [] if is_down else [stage.made(BAD, 120)]
    assert await agent.settle_pins() is None
    assert not agent.compose.override.exists()
    assert stage.ledger.state.services["cart"].pinned == ""


async def test_an_up_ends_by_its_own_limit_and_is_repeated_in_time(stage: Stage) -> None:
    compose = stage.agent().compose
    places = [ServicePlace("proj", name, name) for name in NAMES]
    setup = Setup(compose, places, "http://127.0.0.1:9", None, ComposeWords("agent", "compose"))
    parts = wire(setup, stage.ledger, lambda: datetime.fromtimestamp(T0, UTC))
    assert parts.queue.pass_seconds >= PASS_SECONDS + compose.up_seconds, "no pass cuts it off"
    await parts.connections.aclose()
    assert compose.up_seconds < LEAST_BOUND_SECONDS, "the undo is not given up yet"
    text = (Path(__file__).parents[3] / "docs" / "compose.md").read_text()
    assert f"An `up` may take {compose.up_seconds:.0f} s" in text


async def test_while_compose_works_another_service_waits(stage: Stage) -> None:
    agent = stage.agent()
    undo = await bad_after_good(stage, agent)
    agent.acting.add("cart")
    failure = await agent.undo(undo, None)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.UNAVAILABLE
    assert stage.asked == []


COMPOSE = "com.docker.compose"


@pytest.mark.parametrize(
    ("labels", "brought", "said"),
    [
        ({f"{COMPOSE}.config-hash": ""}, {}, "not started by Compose"),
        ({f"{COMPOSE}.container-number": "x"}, {}, "not started by Compose"),
        ({}, {f"{COMPOSE}.config-hash": HASH}, "its labels are those of its image"),
        ({f"{COMPOSE}.project.working_dir": "/srv/other"}, {}, "of the project in /srv/other"),
    ],
)
async def test_containers_of_others_are_named_and_no_undo_changes_them(
    stage: Stage, labels: dict[str, str], brought: dict[str, str], said: str
) -> None:
    agent = stage.agent()
    undo = await bad_after_good(stage, agent)
    other = "sha256:" + "d" * 64
    stage.engine.images[other] = image(Config={"Labels": brought})
    foreign = {**stage.made(other, 90, 2, labels=labels), "Name": "/debug"}
    stage.engine.of["shop"].append(foreign)
    seen = await read(agent)
    assert seen.template.digest == undo.spec.from_revision.digest
    assert seen.replicas == 1
    assert seen.owner is not None
    assert "debug (" in seen.owner.evidence
    assert said in seen.owner.evidence
    refused = await agent.undo(undo, None)
    assert isinstance(refused, Failure)
    assert refused.kind is FailureKind.REJECTED
    assert stage.asked == []


@pytest.mark.parametrize(("edited", "is_reported"), [(570, True), (571, False)])
async def test_an_edit_is_reported_once_it_is_not_about_to_be_deployed(
    stage: Stage, edited: int, is_reported: bool
) -> None:
    os.utime(stage.folder / "docker-compose.yml", (T0 + edited, T0 + edited))
    labels = {f"{COMPOSE}.config-hash": OTHER_HASH}
    stage.engine.of["shop"] = [stage.made(GOOD, 0, labels=labels)]
    owner = (await read(stage.agent())).owner
    assert (owner is not None) is is_reported


async def test_where_all_containers_are_of_others_that_is_said(stage: Stage) -> None:
    labels = {f"{COMPOSE}.project.working_dir": "/srv/other"}
    stage.engine.of["shop"] = [stage.made(GOOD, 0, labels=labels)]
    failure = await stage.agent().inspect("proj", "shop")
    assert isinstance(failure, Failure)
    assert "never had a container" in failure.message
    assert "of the project in /srv/other" in failure.message


@pytest.mark.parametrize(
    ("labels", "brought"),
    [
        # Compose has started an image that `docker commit` made of one of its containers.
        ({}, {f"{COMPOSE}.config-hash": "another"}),
        ({f"{COMPOSE}.image": "new"}, {f"{COMPOSE}.config-hash": HASH, f"{COMPOSE}.image": "old"}),
        # `--project-directory`.
        ({f"{COMPOSE}.project.working_dir": "/srv", f"{COMPOSE}.project.config_files": "FILE"}, {}),
        # Compose before 1.25.
        ({f"{COMPOSE}.project.working_dir": ""}, {}),
    ],
)
async def test_containers_of_the_project_are_its_own(
    stage: Stage, labels: dict[str, str], brought: dict[str, str]
) -> None:
    file = str(stage.folder / "docker-compose.yml")
    made = {key: value.replace("FILE", file) for key, value in labels.items()}
    stage.engine.images[BAD] = image(Config={"Labels": brought})
    stage.engine.of["shop"] = [stage.made(BAD, 0, labels=made)]
    assert (await read(stage.agent())).owner is None
