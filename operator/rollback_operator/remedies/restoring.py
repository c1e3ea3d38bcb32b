"""ConfigMaps that are restored with a revision: what changes, and whether it still may. Pure."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import ConfigMapPlan
from rollback_operator.api.shape import clipped
from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.api.v1alpha1 import Rollback, StepName
from rollback_operator.model.workload import ConfigState

CONTENT_BYTES = 64 * 1024
"""The largest content that is stored."""
WITH_RELEASE = timedelta(hours=1)
"""A ConfigMap that changed longer before its release was not changed with it."""
_SHOWN = 64


def compare(item: ConfigMapPlan, state: ConfigState) -> str | None:
    """Compare a ConfigMap with its plan just before it is restored.

    Returns:
        None: it is to be restored; empty: it has the planned content; else why it stays.
    """
    if state.digest == item.digest:
        return ""
    if not state.digest:
        return "it was deleted since the decision"
    by = state.changed_by or "another client"
    if (state.uid, state.digest) != (item.uid, item.previous_digest):
        return f"{by} changed it since the decision"
    return state.obstacle or None


def left_restored(rollback: Rollback, reason: Reason) -> str:
    """State which ConfigMaps were, or may be, restored though the revision was not; empty: none.

    Args:
        rollback: as it is stored before its end.
        reason: of its end; CONFIGURATION_CHANGED proves that none was restored.
    """
    steps = {step.name: step for step in rollback.status.steps}
    restored, undone = steps.get(StepName.RESTORE_CONFIGURATION), steps.get(StepName.UNDO)
    if restored is None or (undone is not None and undone.finished_time is not None):
        return ""
    if restored.finished_time is not None:
        return f". Before, step {restored.name}: {restored.message}"
    if reason is Reason.CONFIGURATION_CHANGED:
        return ""
    names = ", ".join(item.name for item in rollback.spec.config_maps)
    return f"; it had begun to restore ConfigMap {names}, which may have changed: compare it"


def diff(before: str, after: str) -> str:
    """Show the keys that differ between two contents, with their values."""
    old, new = _values(before), _values(after)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return clipped("; ".join(_shown(key, old.get(key), new.get(key)) for key in changed), 1024)


def _values(text: str) -> Mapping[str, str]:
    content = parsed(text) if text else None
    kinds = content if isinstance(content, dict) else {}
    return {
        key: value if kind == "data" else f"base64 {value}"
        for kind, values in kinds.items()
        for key, value in values.items()
    }


def _shown(key: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return f"{key}: {_quoted(old)} -> {_quoted(new)}"
    lines = list(_differing_lines(old, new))
    number, before, after = lines[0]
    if "\n" not in f"{old}{new}":
        return f"{key}: {_quoted(before)} -> {_quoted(after)}"
    more = f" and {len(lines) - 1} more lines" if len(lines) > 1 else ""
    return f"{key}, line {number}: {_quoted(before)} -> {_quoted(after)}{more}"


def _differing_lines(old: str, new: str) -> Iterator[tuple[int, str | None, str | None]]:
    """Compare two texts line by line; a diff of large texts would take too long."""
    left, right = old.split("\n"), new.split("\n")
    for number in range(max(len(left), len(right))):
        before = left[number] if number < len(left) else None
        after = right[number] if number < len(right) else None
        if before != after:
            yield number + 1, before, after


def _quoted(value: str | None) -> str:
    return "none" if value is None else json.dumps(clipped(value, _SHOWN))
