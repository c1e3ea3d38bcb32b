"""How the operator begins, and how its command ends as a process."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import rollback_operator
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.cache import ObjectVersion
from rollback_operator.runtime.bootstrap import Parts
from rollback_operator.runtime.main import Delivered, settle
from rollback_operator.runtime.settings import Settings
from tests.fakes.failures import OUTAGE


@dataclass
class Lists:
    """An API server that lists two objects of each kind, once it answers."""

    answers: list[Failure] = field(default_factory=lambda: [OUTAGE])
    heard: list[str] = field(default_factory=list)

    async def list_metadata(self, path: object) -> list[dict[str, Any]] | Failure:
        self.heard.append(str(path))
        if self.answers:
            return self.answers.pop()
        return [
            {"namespace": "production", "name": f"shop-{number}", "uid": f"{path} {number}"}
            for number in (1, 2)
        ]


@dataclass
class Read:
    """What the comparison of once a minute has read."""

    uids: dict[tuple[str, str], str] = field(default_factory=dict)

    def version(self, plural: str, key: tuple[str, str]) -> ObjectVersion | None:
        uid = self.uids.get((plural, key[1]))
        return ObjectVersion(uid, "7") if uid is not None else None


@dataclass
class Intake:
    cache: Read = field(default_factory=Read)


@dataclass
class Known:
    """As much of the operator as is asked."""

    api: Lists
    intake: Intake = field(default_factory=Intake)


async def test_it_is_not_ready_before_the_watches_have_delivered_what_is_there() -> None:
    lists, delivered, ready = Lists(), Delivered(), asyncio.Event()
    parts = cast("Parts", Known(lists))
    waiting = asyncio.create_task(settle(parts, Settings(), delivered, ready))
    async with asyncio.timeout(20):
        while len(lists.heard) < 4:  # noqa: ASYNC110 (the lists have no event)
            await asyncio.sleep(0.01)
        assert not ready.is_set()
        while not ready.is_set():
            for path in set(lists.heard):
                for number in (1, 2):
                    delivered.mark(f"{path} {number}")
            await asyncio.sleep(0.01)
    await waiting

    assert delivered.uids is None


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    begun = subprocess.Popen(
        [sys.executable, "-m", "rollback_operator", "crd"],
        env={**os.environ, "PYTHONPATH": str(Path(rollback_operator.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert begun.stdout is not None
    assert begun.stderr is not None
    begun.stdout.close()

    assert begun.stderr.read() == b""
    assert begun.wait() == 0
    begun.stderr.close()


async def test_what_a_dead_watch_does_not_deliver_may_be_read_without_it() -> None:
    known, ready = Known(Lists(answers=[])), asyncio.Event()
    parts = cast("Parts", known)
    waiting = asyncio.create_task(settle(parts, Settings(), Delivered(), ready))
    async with asyncio.timeout(20):
        while len(known.api.heard) < 2:  # noqa: ASYNC110 (the lists have no event)
            await asyncio.sleep(0.01)
        assert not ready.is_set()
        while not ready.is_set():
            for path in set(known.api.heard):
                plural = path.rsplit("/", 1)[-1]
                for number in (1, 2):
                    known.intake.cache.uids[plural, f"shop-{number}"] = f"{path} {number}"
            await asyncio.sleep(0.01)
    await waiting
