"""The operator is killed at each write by which an autoscaler's bounds are raised and put back.

Whatever the moment: raised once, put back once as they were, and the Deployment never written to.
That holds, too, where the Rollback is deleted, with which the record of what they were would go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from tests.integration.api import rollbacks
from tests.integration.operator_process import Zygote
from tests.integration.stand import Stand
from tests.integration.test_autoscaler import ask_to_put_back, autoscale, bounds, condition
from tests.integration.test_crash_walk import SCALE, Walk, is_act, side_by_side
from tests.integration.writes import BY_CUTTING, Cutting, Point, chosen, kind

pytestmark = [pytest.mark.xdist_group("crash-walk"), pytest.mark.timeout(1200)]

BEFORE = (3, 8)


@dataclass
class AutoscaledWalk(Walk):
    """One release that is helped by more replicas, through an autoscaler."""

    CUTS: ClassVar[tuple[Point, ...]] = (
        ("rollbacks/status: Scale begun", 1),
        ("rollbacks/status: Scale begun", 2),
        ("horizontalpodautoscalers: raised", 1),
        ("rollbacks/status: Scale ended", 1),
        ("rollbacks/status: over", 1),
        ("horizontalpodautoscalers: put back", 1),
        ("rollbacks/status: over", 2),
    )
    SHORT: ClassVar[tuple[Point, ...]] = (("horizontalpodautoscalers: raised", 1),)

    seconds: float = 240.0
    changes: int = 0

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        autoscale(self.service, *BEFORE)
        yield

    def is_over(self) -> bool:
        if not super().is_over():
            return False
        ended = self.service.rollbacks()[-1]
        ask_to_put_back(self.service, ended)
        return condition(ended)[0] == "False"

    def left_wrong(self) -> Iterator[str]:
        yield from super().left_wrong()
        yield from self.bounds_left_wrong()

    def bounds_left_wrong(self) -> Iterator[str]:
        """List what is not as it has to be with the autoscaler, and what is not told."""
        done = [one for one in self.proxy.calls if one.status == 200 and one.is_write]
        changes = [kind(one) for one in done if one.resource == "horizontalpodautoscalers"]
        wanted = ["horizontalpodautoscalers: raised", "horizontalpodautoscalers: put back"]
        if changes != wanted:
            yield f"changes of the autoscaler: {changes}"
        if bounds(self.service) != BEFORE:
            yield f"the bounds are not as they were: {bounds(self.service)}"
        told = {one.partition(":")[0] for one in self.service.events()}
        if not {"BoundsRaised", "BoundsRestored"} <= told:
            yield f"told is only {told}"


@dataclass
class DeletedWalk(AutoscaledWalk):
    """The same, and a person deletes the Rollback instead of asking for the bounds."""

    CUTS: ClassVar[tuple[Point, ...]] = (
        ("rollbacks: guarded", 1),
        ("rollbacks: guarded", 2),
        ("horizontalpodautoscalers: put back", 1),
        ("rollbacks/status: over", 2),
        ("rollbacks: finalizer off", 1),
    )
    SHORT: ClassVar[tuple[Point, ...]] = (("horizontalpodautoscalers: put back", 1),)

    is_deleted: bool = False

    def is_over(self) -> bool:
        found = self.service.rollbacks()
        if self.is_deleted:
            return not found
        if found and Walk.is_over(self):
            path = f"{rollbacks(self.service.namespace)}/{found[0]['metadata']['name']}"
            self.service.stand.api.delete(path)
            self.is_deleted = True
        return False

    def left_wrong(self) -> Iterator[str]:
        if self.service.image != "v2":
            yield f"image {self.service.image}"
        if acts := [one for one in self.proxy.calls if one.status == 200 and is_act(one)]:
            yield f"{len(acts)} changes of the Deployment"
        yield from self.bounds_left_wrong()


@BY_CUTTING
def test_no_crash_about_an_autoscaler_loses_or_repeats_anything(
    stand: Stand, zygote: Zygote, tmp_path: Path, cutting: Cutting
) -> None:
    """A person asks for the bounds, or the Rollback is deleted."""
    done = side_by_side(
        walk(stand, zygote, tmp_path, SCALE, number, is_before, point)
        for walk in (AutoscaledWalk, DeletedWalk)
        for point, number, is_before in chosen(cutting, walk.CUTS, walk.SHORT)
    )

    assert [one.row for one in done if one.faults or one.proxy.died_at is None] == []
