"""`kubectl rollback` in a terminal of its own, on a cluster kept in memory."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollback_operator.api.v1alpha1 import API_VERSION, Resource
from rollback_operator.plugin.connection import Connection, Login
from rollback_operator.plugin.record import Record
from rollback_operator.plugin.shell import Terminal, main
from rollback_operator.ports import Failure
from tests.builders import NAMESPACE, at
from tests.fakes import GONE, Failures


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


@dataclass
class Shell:
    """A person's terminal."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    shows_colours: bool = False
    now: datetime = field(default_factory=lambda: at(300))
    logins: list[Login] = field(default_factory=list)
    out: str = ""
    err: str = ""

    def run(self, *words: str) -> int:
        out, err = io.StringIO(), io.StringIO()
        terminal = Terminal(out, err, self.shows_colours, lambda: self.now, self._connect)
        try:
            return main(words, terminal)
        finally:
            self.out, self.err = out.getvalue(), err.getvalue()

    @asynccontextmanager
    async def _connect(self, login: Login) -> AsyncIterator[Connection]:
        self.logins.append(login)
        yield Connection(self.cluster, login.namespace or NAMESPACE)
