"""What a write of the operator stores: a crash walk cuts each kind, however often it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from rollback_operator.api.v1alpha1 import BOUNDS_FINALIZER, OWNER_FINALIZER, TRAFFIC_FINALIZER
from tests.integration.api_proxy import Call

UNDO = frozenset(
    {
        "rollbacks: intent",
        "rollbacks/status: Undo begun",
        "deployments: template",
        "rollbacks/status: Undo ended",
        "rollbacks/status: RolloutComplete begun",
        "rollbacks/status: RolloutComplete ended",
        "rollbacks/status: RestoreStrategy begun",
        "deployments: strategy",
        "rollbacks/status: RestoreStrategy ended",
        "rollbacks/status: Verify begun",
        "rollbacks/status: over",
        "rollbacks: finalizer off",
        "rollbackpolicies/status: rollback over",
    }
)
"""Without one of these no release is taken back at express pace. Holds, too, are written then, but
only if there is time for a suspicion: they are cut where they are, and always in a walk of holds.
"""
HOLD = frozenset(
    {
        "rollbackpolicies: finalizer on",
        "rollbackpolicies/status: hold begun",
        "deployments: pause",
        "rollbackpolicies/status: held",
        "deployments: resume",
        "rollbackpolicies/status: let go",
        "rollbackpolicies: finalizer off",
    }
)
"""Without one of these no rollout is held and let go."""


RAISED = 6
"""From here on an autoscaler's lower bound is one that was raised."""


def kind(call: Call) -> str:
    """Name what a write stores; the first of a kind is the one that stores it anew."""
    if call.verb == "create":
        return f"{call.resource}: intent"
    values = {one["path"]: one for one in call.body or [] if one["op"] != "test"}
    status = values.get("/status", {}).get("value", {})
    match call.resource:
        case "rollbacks/status":
            stored = _of_rollback(status)
        case "rollbackpolicies/status":
            stored = _of_policy(status)
        case "configmaps":
            stored = "content" if "/data" in values else "flag"
        case "deployments":
            stored = _of_deployment(values)
        case "horizontalpodautoscalers":
            # No test scales below what there was before.
            stored = "raised" if values["/spec/minReplicas"]["value"] >= RAISED else "put back"
        case "services":
            stored = "stopped" if "add" in {one["op"] for one in values.values()} else "restored"
        case "applications":
            change = values.get("/spec/syncPolicy/automated") or {"op": "none"}
            stored = "suspended" if change["op"] == "remove" else "released"
        case _:
            finalizers = values.get("/metadata/finalizers", {}).get("value")
            if {BOUNDS_FINALIZER, OWNER_FINALIZER, TRAFFIC_FINALIZER} & set(finalizers or ()):
                return f"{call.resource}: guarded"
            stored = "finalizer on" if finalizers else "finalizer off"
    return f"{call.resource}: {stored}"


Point = tuple[str, int]
"""A kind of write, or its resource, and the how-manieth of it."""
CutPoint = tuple[str, int, bool]
"""A point, and whether the operator is killed before the write is sent."""
Cutting = Callable[[Iterable[Point]], list[CutPoint]]


def once(points: Iterable[Point]) -> list[CutPoint]:
    """Cut the first of each kind: before it is answered and before it is sent by turns.

    What is stored and unanswered is what could be repeated: a list of one cuts that.
    """
    first: dict[str, int] = {}
    for kind_or_resource, number in points:
        first.setdefault(kind_or_resource, number)
    return [(*point, place % 2 == 1) for place, point in enumerate(first.items())]


def twice(points: Iterable[Point]) -> list[CutPoint]:
    """Cut each of them both before it is sent and before it is answered."""
    return [(*point, is_before) for point in points for is_before in (True, False)]


def chosen(cutting: Cutting, points: Iterable[Point], short: Iterable[Point]) -> list[CutPoint]:
    """Cut all points, or, of a walk that takes minutes, few in the short tier."""
    return cutting(short if cutting is once else points)


BY_CUTTING = pytest.mark.parametrize(
    "cutting", [once, pytest.param(twice, marks=pytest.mark.extended)], ids=["once", "twice"]
)


def points(writes: Iterable[Call]) -> Iterator[Point]:
    """List each write by its kind, and as the how-manieth of it."""
    seen: Counter[str] = Counter()
    for one in map(kind, writes):
        seen[one] += 1
        yield one, seen[one]


def _of_rollback(status: Mapping[str, Any]) -> str:
    steps: Sequence[Mapping[str, Any]] = status.get("steps", [])
    if status.get("outcome", "None") != "None":
        return "over"
    if not steps:
        return "noted"
    return f"{steps[-1]['name']} {'ended' if 'finishedTime' in steps[-1] else 'begun'}"


def _of_policy(status: Mapping[str, Any]) -> str:
    last = status.get("lastRollback")
    if last:
        is_open = last.get("outcome", "None") == "None"
        return "rollback known" if is_open else "rollback over"
    hold = status.get("hold")
    if not hold:
        return "watching"
    if "releasedTime" in hold:
        return "let go"
    return "held" if "pausedTime" in hold else "hold begun"


def _of_deployment(values: Mapping[str, Mapping[str, Any]]) -> str:
    for start, stored in (
        ("/spec/template", "template"),
        ("/spec/replicas", "replicas"),
        ("/spec/strategy", "strategy"),
        ("/metadata/annotations", "change-cause"),
    ):
        if any(path.startswith(start) for path in values):
            return stored
    return "resume" if values["/spec/paused"]["op"] == "remove" else "pause"
