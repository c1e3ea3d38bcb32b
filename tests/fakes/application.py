"""The application that is rolled back: its answers, its logs, its database."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.safety import PodCommand
from rollback_operator.api.verification import HttpProbe
from rollback_operator.model.pod import Endpoint
from rollback_operator.model.samples import Missing
from rollback_operator.model.schema import Applied, SchemaHistory
from rollback_operator.ports.application import (
    CommandOutput,
    LogQuery,
    Logs,
    PodTools,
    Probes,
    Schemas,
)
from rollback_operator.ports.failure import Failure
from rollback_operator.rollback.integrity import Answers, QueryFailure, QueryRows
from rollback_operator.rollback.probing import LineCount, ProbeResponse, Reply, Silence


@dataclass
class FakeProbes:
    """The restored service and its pods: gives what a test puts in, and notes what was asked."""

    replies: dict[str, deque[Reply]] = field(default_factory=dict)
    """By a probe's name, or by a path of a pod's; the last one stands."""
    sent: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    delay: float = 0.0

    def answer(self, name: str, *replies: Reply) -> None:
        self.replies[name] = deque(replies)

    async def send(self, namespace: str, probe: HttpProbe) -> Reply:
        self.sent.append(probe.name)
        await asyncio.sleep(self.delay)
        return self._next(probe.name)

    async def ask(self, namespace: str, address: str, endpoint: Endpoint) -> Reply:
        self.asked.append(f"{address}{endpoint.path}")
        return self._next(endpoint.path)

    def _next(self, name: str) -> Reply:
        waiting = self.replies.get(name)
        if not waiting:
            return ProbeResponse(200)
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


@dataclass
class FakeLogs:
    """Logs: lines by pod, none where a test puts in none."""

    counts: dict[str, LineCount | Silence] = field(default_factory=dict)
    queries: list[LogQuery] = field(default_factory=list)

    async def count(self, query: LogQuery) -> LineCount | Silence:
        self.queries.append(query)
        return self.counts.get(query.pod, LineCount(0))


@dataclass
class FakeSchemas:
    """A policy's database: gives what a test puts in, and counts the reads."""

    found: SchemaHistory = field(default_factory=lambda: Applied(()))
    passing: list[SchemaHistory] = field(default_factory=list)
    """Given before: an answer for each read."""
    delay: float = 0.0
    reads: int = 0
    answers: Mapping[str, QueryRows | QueryFailure] | Missing = field(default_factory=dict)
    """To questions, by name; a count of zero where a test puts in none."""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def read(self, namespace: str, database: DatabaseSpec) -> SchemaHistory:
        self.reads += 1
        await asyncio.sleep(self.delay)
        return self.passing.pop(0) if self.passing else self.found

    async def ask(
        self, namespace: str, database: DatabaseSpec, questions: Mapping[str, str]
    ) -> Answers | Missing:
        self.asked.append(tuple(questions))
        await asyncio.sleep(self.delay)
        if isinstance(self.answers, Missing):
            return self.answers
        return {name: self.answers.get(name, QueryRows(('{"count":0}',))) for name in questions}


@dataclass
class FakePodTools:
    """Pods: a command says what a test puts in, and takes as long."""

    output: CommandOutput | Failure = field(default_factory=lambda: CommandOutput("done"))
    usage: Mapping[str, int] | Failure = field(default_factory=dict)
    delay: float = 0.0
    ran: list[tuple[str, PodCommand]] = field(default_factory=list)

    async def run(self, namespace: str, pod: str, command: PodCommand) -> CommandOutput | Failure:
        self.ran.append((pod, command))
        await asyncio.sleep(self.delay)
        return self.output

    async def memory(self, namespace: str) -> Mapping[str, int] | Failure:
        return self.usage


if TYPE_CHECKING:
    # The type checker holds the fakes against the ports.
    _schemas: Schemas = FakeSchemas()
    _probes: Probes = FakeProbes()
    _logs: Logs = FakeLogs()
    _tools: PodTools = FakePodTools()
