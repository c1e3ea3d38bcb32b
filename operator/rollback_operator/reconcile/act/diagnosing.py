"""Collects a diagnosis from the pods of a bad release before they are replaced.

It never fails a rollback, and delays it by no more than the command's own time limit: also after a
crash, since the limit counts from the begin of the step.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.safety import DiagnosisRecord, PodCommand
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import Rollback, StepName
from rollback_operator.model.pod import Pod
from rollback_operator.model.workload import Workload
from rollback_operator.ports.application import CommandOutput, PodTools
from rollback_operator.ports.failure import Failure
from rollback_operator.reconcile.act.recording import Acted
from rollback_operator.remedies import progress
from rollback_operator.remedies.progress import Done

MEMORY_SECONDS = 2.0
LONGEST_OUTPUT = 2048


@dataclass
class Diagnoser:
    """Runs the command of a plan in one pod, and reads the memory of all."""

    tools: PodTools
    clock: Callable[[], datetime]

    async def collect(self, rollback: Rollback, workload: Workload) -> Acted:
        """Store what the command and the metrics-server say."""
        command, now = rollback.spec.diagnosis, self.clock()
        assert command is not None  # or there would be no such step
        first = next(iter(workload.deployment.template.containers), None)
        command = command.model_copy(update={"container": command.container or first})
        pods = [pod for pod in workload.current_of(workload.pods) if not pod.terminating]
        left = command.timeout_seconds - progress.seconds_in(rollback, StepName.DIAGNOSE, now)
        # The oldest has leaked the longest.
        pod = min((each for each in pods if each.started), key=_start, default=None)
        namespace = rollback.metadata.namespace
        memory, ran = await asyncio.gather(
            self._memory(namespace, pods), self._run(namespace, pod, command, left)
        )
        record = DiagnosisRecord(
            pod=pod.name if pod is not None else "",
            time=self.clock(),
            message=clipped(_message(ran), 512),
            output=ran.text[-LONGEST_OUTPUT:] if isinstance(ran, CommandOutput) else "",
            memory=clipped(memory, 1024),
        )
        status = rollback.status.model_copy(update={"diagnosis": record})
        changed = rollback.model_copy(update={"status": status})
        return Acted(changed, workload.deployment, Done(record.message))

    async def _run(
        self, namespace: str, pod: Pod | None, command: PodCommand, left: float
    ) -> CommandOutput | str:
        if pod is None:
            return "no pod of the release runs"
        if left <= 0:
            return "not run again after a crash of the operator: its time is over"
        try:
            async with asyncio.timeout(left):
                ran = await self.tools.run(namespace, pod.name, command)
        except TimeoutError:
            return f"the command in {pod.name} takes longer than {command.timeout_seconds} s"
        return ran.message if isinstance(ran, Failure) else ran

    async def _memory(self, namespace: str, pods: list[Pod]) -> str:
        try:
            async with asyncio.timeout(MEMORY_SECONDS):
                read = await self.tools.memory(namespace)
        except TimeoutError:
            return f"not known: no answer within {MEMORY_SECONDS:.0f} s"
        if isinstance(read, Failure):
            return f"not known: {read.message}"
        known = [pod for pod in pods if pod.name in read]
        # Of a container that has just been restarted, the metrics-server has none for a while.
        none = "not known: the metrics-server has no numbers of the release's pods"
        return ", ".join(f"{pod.name} {read[pod.name] / 2**20:.0f} MiB" for pod in known) or none


def _start(pod: Pod) -> float:
    return pod.started or 0.0


def _message(ran: CommandOutput | str) -> str:
    if isinstance(ran, str):
        return ran
    return f"the command failed: {ran.fault}" if ran.fault else "the command succeeded"
