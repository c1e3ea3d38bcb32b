"""The operator is killed at each write by which it stops the traffic of a release, and restores it.

Whatever the moment: stopped once, undone once, restored once as it was; no row is lost, and the
damage is on record. The database is a real PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from lab.postgres_server import Postgres
from tests.integration.operator_process import Zygote
from tests.integration.service import steps
from tests.integration.stand import Stand
from tests.integration.test_crash_walk import UNDO, Walk, side_by_side
from tests.integration.tickets import ASSESSED, DATABASE, MATRIX, Tickets
from tests.integration.writes import BY_CUTTING, Cutting, Point, chosen, kind

pytestmark = [pytest.mark.xdist_group("crash-walk"), pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as found:
        yield found


@dataclass
class TrafficWalk(Walk):
    """One release that damages data, and loses its pods."""

    CUTS: ClassVar[tuple[Point, ...]] = (
        ("rollbacks: intent", 1),
        ("rollbacks/status: StopTraffic begun", 1),
        ("rollbacks: guarded", 1),
        ("rollbacks/status: StopTraffic begun", 2),
        ("deployments: replicas", 1),
        ("rollbacks/status: StopTraffic begun", 3),
        ("rollbacks/status: StopTraffic ended", 1),
        ("rollbacks/status: AssessDamage begun", 1),
        ("rollbacks/status: AssessDamage ended", 1),
        ("rollbacks/status: Undo begun", 1),
        ("deployments: template", 1),
        ("rollbacks/status: Undo ended", 1),
        ("rollbacks/status: RestoreTraffic begun", 1),
        ("deployments: replicas", 2),
        ("rollbacks/status: RestoreTraffic ended", 1),
        ("rollbacks/status: over", 1),
    )
    SHORT: ClassVar[tuple[Point, ...]] = (
        ("deployments: replicas", 1),
        ("rollbacks/status: RestoreTraffic begun", 1),
    )
    RULES: ClassVar[Mapping[str, str]] = {"stopTraffic": "Replicas"}

    tickets: Tickets | None = None
    seconds: float = 300.0
    changes: int = 3
    flags: tuple[str, ...] = ("--allowed-hosts=127.0.0.1", "--loopback=allowed")

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        assert self.tickets is not None
        namespace = self.service.namespace
        self.service.is_reached_by({"app": "shop"})
        self.selector = self._selector()
        self.tickets.are_named(self.stand, namespace)
        self.whole = self.tickets.rows
        yield

    def adopt(self) -> None:
        rules = {"response": "Proceed", "assess": [ASSESSED], **self.RULES}
        database = {**DATABASE, "onCorruption": rules}
        self.service.adopt(remedies=[UNDO], matrix=MATRIX, database=database)

    def release(self) -> None:
        assert self.tickets is not None
        self.tickets.are_damaged_by("v2", self.service)

    def is_over(self) -> bool:
        assert self.tickets is not None
        if self.service.image == "v1" and self.service.rollbacks():
            self.tickets.are_repaired()
        kept = [one["metadata"].get("finalizers") for one in self.service.rollbacks()]
        return super().is_over() and not any(kept)

    def state(self) -> str:
        """Show what may neither be lost nor changed twice."""
        assert self.tickets is not None
        rows = ", ".join(f"{number} {status}" for number, status in self.tickets.rows)
        replicas = self.service.deployment()["spec"]["replicas"]
        selected = self._selector().get("app", "none")
        return f"{rows}; {self.service.image} x {replicas}; Service selects {selected}"

    def left_wrong(self) -> Iterator[str]:
        assert self.tickets is not None
        yield from super().left_wrong()
        if self.tickets.rows != self.whole:
            yield f"the rows are {self.tickets.rows}"
        if self._selector() != self.selector:
            yield f"the Service selects {self._selector()}"
        (made,) = self.service.rollbacks()
        found = made["status"]["assessment"]
        if [one["rows"] for one in found] != [['{"id":2}']]:
            yield f"the damage on record is {found}"
        if "restoredTime" not in made["status"]["traffic"]:
            yield "the traffic is stopped, by the record"
        told = {one.partition(":")[0] for one in self.service.events()}
        if not {"TrafficStopped", "TrafficRestored"} <= told:
            yield f"told is only {told}"
        names = steps(made)
        if len(set(names)) != len(names):
            yield f"steps are repeated: {names}"

    def _selector(self) -> Mapping[str, str]:
        path = f"/api/v1/namespaces/{self.service.namespace}/services/web"
        found: Mapping[str, str] = self.stand.api.get(path)["spec"]["selector"]
        return found


@dataclass
class SelectorWalk(TrafficWalk):
    """The same, and a Service that selects no pod meanwhile."""

    CUTS: ClassVar[tuple[Point, ...]] = (
        ("rollbacks: guarded", 1),
        ("rollbacks/status: StopTraffic begun", 2),
        ("services: stopped", 1),
        ("rollbacks/status: StopTraffic ended", 1),
        ("deployments: template", 1),
        ("rollbacks/status: RestoreTraffic begun", 1),
        ("services: restored", 1),
        ("rollbacks/status: RestoreTraffic ended", 1),
    )
    SHORT: ClassVar[tuple[Point, ...]] = (("services: restored", 1),)
    RULES: ClassVar[Mapping[str, str]] = {"stopTraffic": "Service", "service": "web"}

    changes: int = 1

    def left_wrong(self) -> Iterator[str]:
        yield from super().left_wrong()
        calls = [one for one in self.proxy.calls if one.resource == "services" and one.is_write]
        changes = [kind(one) for one in calls if one.status == 200]
        if changes != ["services: stopped", "services: restored"]:
            yield f"changes of the Service: {changes}"


@BY_CUTTING
def test_no_crash_about_stopped_traffic_loses_or_repeats_anything(
    stand: Stand, zygote: Zygote, tmp_path: Path, server: Postgres, cutting: Cutting
) -> None:
    """By the replicas, or by the Service."""
    done = side_by_side(
        walk(stand, zygote, tmp_path, UNDO, number, is_before, point, tickets=Tickets(server))
        for walk in (TrafficWalk, SelectorWalk)
        for point, number, is_before in chosen(cutting, walk.CUTS, walk.SHORT)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []
