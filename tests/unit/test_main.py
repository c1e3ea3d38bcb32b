"""How the operator begins, and how its command ends as a process."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

import rollback_operator
from rollback_operator.adapters.kube.apiserver import ApiServer
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.cache import Cache
from rollback_operator.runtime.bootstrap import Parts
from rollback_operator.runtime.intake import Intake, Resync
from rollback_operator.runtime.main import settle
from rollback_operator.runtime.settings import Settings
from tests.fakes.failures import OUTAGE


@dataclass
class Lists:
    """An API server with two objects of each kind, which no version of this operator can read."""

    answers: list[Failure] = field(default_factory=lambda: [OUTAGE])
    heard: list[str] = field(default_factory=list)

    async def list_metadata(self, path: object) -> list[dict[str, Any]] | Failure:
        self.heard.append(str(path))
        return self.answers.pop() if self.answers else self.objects(path)

    async def get(self, path: object, fieldSelector: str) -> dict[str, Any]:  # noqa: N803
        name = fieldSelector.partition("=")[2]
        return {"items": [{"metadata": x} for x in self.objects(path) if x["name"] == name]}

    def objects(self, path: object) -> list[dict[str, Any]]:
        there = {"namespace": "production", "resourceVersion": "7"}
        plural, names = str(path).rpartition("/")[2], ("shop-1", "shop-2")
        return [{**there, "name": name, "uid": f"{plural} {name}"} for name in names]


@dataclass
class Known:
    """As much of the operator as is asked."""

    api: Lists = field(default_factory=Lists)
    intake: Intake = field(default_factory=lambda: Intake(Cache(), lambda *_: None))

    async def watch(self) -> None:
        for path in set(self.api.heard):
            for one in self.api.objects(path):
                self.intake.take(path.rpartition("/")[2], {"metadata": one})

    async def resync(self) -> None:
        """Read what a dead watch does not deliver."""
        await Resync(cast("ApiServer", self.api), self.intake).compare()


@pytest.mark.parametrize("take_in", [Known.watch, Known.resync])
async def test_it_is_not_ready_before_all_that_is_there_was_taken_in(
    take_in: Callable[[Known], Awaitable[None]],
) -> None:
    known, ready = Known(), asyncio.Event()
    waiting = asyncio.create_task(settle(cast("Parts", known), Settings(), ready))
    async with asyncio.timeout(20):
        while len(known.api.heard) < 4:  # noqa: ASYNC110 (the lists have no event)
            await asyncio.sleep(0.01)
        assert not ready.is_set()
        while not ready.is_set():
            await take_in(known)
            await asyncio.sleep(0.01)
    await waiting

    assert known.intake.delivered is None


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
