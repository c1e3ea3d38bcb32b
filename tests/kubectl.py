"""`kubectl rollback` in a terminal of its own, on a cluster kept in memory."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rollback_operator.api.v1alpha1 import API_VERSION, Resource
from rollback_operator.cli.plugin.asked import OpenScreen, Terminal
from rollback_operator.cli.plugin.connection import Connection, Login
from rollback_operator.cli.plugin.entry import main
from rollback_operator.cli.plugin.record import Record
from rollback_operator.model.workload import Workload
from rollback_operator.ports.failure import Failure
from tests.builders import NAMESPACE, at, make_workload
from tests.fakes.failures import GONE, Failures


def stored(resource: Resource, **status: Any) -> Record:
    """Show a resource as the API server does; `status` adds fields that no model knows."""
    raw = resource.model_dump(by_alias=True, exclude_none=True, mode="json")
    raw["metadata"]["creationTimestamp"] = "2027-01-15T08:00:00Z"
    raw["status"] |= status
    return Record({"apiVersion": API_VERSION, "kind": resource.KIND, **raw})


@dataclass
class FakeCluster(Failures):
    """An API server: what is in it, and what was asked."""

    objects: dict[tuple[str, str, str], Record] = field(default_factory=dict)
    workload: Workload = field(default_factory=make_workload)
    templates: dict[str, Record] = field(default_factory=dict)
    places: list[str] = field(default_factory=lambda: [NAMESPACE, "staging", "else"])

    def put(self, plural: str, one: Record) -> None:
        self.objects[plural, one.namespace, one.name] = one

    async def list(self, plural: str, namespace: str) -> list[Record] | Failure:
        return self.take("list") or [
            one
            for (kind, place, _), one in self.objects.items()
            if kind == plural and namespace in ("", place)
        ]

    async def read(self, plural: str, namespace: str, name: str) -> Record | Failure:
        return self.take("read") or self.objects.get((plural, namespace, name), GONE)

    async def create(self, plural: str, made: Record) -> Record | Failure:
        failure = self.take("create")
        if failure is not None:
            return failure
        prefix = made.text("metadata.generateName")
        metadata = {**made.part("metadata").raw, "name": f"{prefix}x7k2p"}
        one = Record({**made.raw, "metadata": metadata})
        self.put(plural, one)
        return one

    async def rehearse(self, plural: str, made: Record) -> Record | Failure:
        return self.take("rehearse") or made

    async def patch(self, plural: str, seen: Record, path: str, value: object) -> Record | Failure:
        failure = self.take("patch")
        if failure is not None:
            return failure
        _, part, name = path.split("/")
        changed = {**seen.part(part).raw, name: value}
        one = Record({**seen.raw, part: changed})
        self.put(plural, one)
        return one

    async def namespaces(self) -> list[str] | Failure:
        return self.take("namespaces") or self.places

    async def user(self) -> str | Failure:
        return self.take("user") or "ann"

    async def inspect(self, namespace: str, name: str) -> Workload | Failure:
        return self.take("inspect") or self.workload

    async def template(self, plural: str, namespace: str, name: str) -> Record | Failure:
        return self.take("template") or self.templates.get(f"{plural}/{name}", GONE)


@dataclass
class Shell:
    """A person's terminal."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    shows_colours: bool = False
    now: datetime = field(default_factory=lambda: at(300))
    logins: list[Login] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None
    open_screen: OpenScreen | None = None
    out: str = ""
    err: str = ""

    def run(self, *words: str) -> int:
        out, err = io.StringIO(), io.StringIO()
        terminal = Terminal(
            out, err, self.shows_colours, lambda: self.now, self._sleep, self._connect,
            self.open_screen,
        )  # fmt: skip
        try:
            return main(words, terminal)
        finally:
            self.out, self.err = out.getvalue(), err.getvalue()

    async def _sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.on_sleep()

    @asynccontextmanager
    async def _connect(self, login: Login) -> AsyncIterator[Connection]:
        self.logins.append(login)
        yield Connection(self.cluster, login.namespace or NAMESPACE)
