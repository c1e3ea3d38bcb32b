"""A diagnosis before a slow or leaking release is replaced: kept, bounded, and never a delay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from rollback_operator.api.safety import DiagnosisRecord, PodCommand
from rollback_operator.api.v1alpha1 import Rollback, StepName
from rollback_operator.api.verification import VerificationSpec
from rollback_operator.ports.application import CommandOutput
from rollback_operator.ports.failure import Failure, FailureKind
from tests.builders import make_pods, make_rollback
from tests.carrying import Carried
from tests.fakes.failures import Crash

QUICK = VerificationSpec(timeout_seconds=10)
COMMAND = PodCommand(command=["heap"], timeout_seconds=1)


@dataclass
class World(Carried):
    rollback: Rollback = field(
        default_factory=lambda: make_rollback(diagnosis=COMMAND, verification=QUICK)
    )

    async def found(self) -> DiagnosisRecord:
        done = await self.last()
        assert self.workloads.workload.deployment.template.digest == "digest-v1"
        assert done.status.diagnosis is not None
        return done.status.diagnosis


async def test_it_is_collected_from_the_oldest_pod_before_the_undo() -> None:
    world = World()
    pods = make_pods(2)
    world.tools_of_pods.output = CommandOutput("Rss: 120000 kB")
    world.tools_of_pods.usage = {pods[0].name: 120 * 2**20, "another": 1}

    found = await world.found()

    steps = [step.name for step in world.stored.status.steps]
    assert steps[:2] == [StepName.DIAGNOSE, StepName.UNDO]
    ((pod, command),) = world.tools_of_pods.ran
    assert (pod, command.container) == (pods[0].name, "ticket-service")
    assert (found.output, found.message) == ("Rss: 120000 kB", "the command succeeded")
    assert found.memory == f"{pods[0].name} 120 MiB"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"output": CommandOutput("x" * 9000, "exit code 2")}, "failed: exit code 2"),
        ({"output": Failure(FailureKind.REJECTED, "forbidden")}, "forbidden"),
        ({"delay": 3600.0}, "takes longer than 1 s"),
        ({"usage": Failure(FailureKind.UNKNOWN_KIND, "no metrics-server")}, "succeeded"),
    ],
    ids=["a failure", "no right", "endless", "no metrics-server"],
)
async def test_whatever_it_does_the_rollback_goes_on(changes: dict[str, Any], said: str) -> None:
    world = World()
    for name, value in changes.items():
        setattr(world.tools_of_pods, name, value)

    found = await world.found()

    assert said in found.message
    assert len(found.output) <= 2048


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (Failure(FailureKind.REJECTED, "pods.metrics.k8s.io is forbidden"), "is forbidden"),
        ({"another": 1}, "no numbers of the release's pods"),
    ],
    ids=["no right", "just restarted"],
)
async def test_without_numbers_of_the_memory_it_says_why(usage: Any, said: str) -> None:
    world = World()
    world.tools_of_pods.usage = usage

    found = await world.found()

    assert found.memory.startswith("not known: ")
    assert said in found.memory


async def test_a_crash_gives_it_no_more_time() -> None:
    world = World()
    world.journal.crash_at = len(("post", "write_rollback", "write_rollback")) - 1
    with pytest.raises(Crash):
        await world.last()
    world.executor = world.operator()
    world.seconds += 2
    world.tools_of_pods.ran.clear()

    found = await world.found()

    assert world.tools_of_pods.ran == []
    assert "its time is over" in found.message
