"""A policy's status in one word, for a column: what a person on call wants to know first.

It repeats what conditions, verdict and Rollbacks say, and nothing is decided by it.
"""

from collections.abc import Sequence

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Condition,
    Hold,
    Rollback,
    Severity,
    StepName,
    VerdictValue,
)
from rollback_operator.model.conditions import find
from rollback_operator.model.context import is_active

ROLLING_BACK = "RollingBack"
AWAITING_APPROVAL = "AwaitingApproval"
HELD = "Held"
DEGRADED = "Degraded"
"""Releases are watched, and the metrics to judge them by are missing."""
_SHORT = {
    Reason.TARGET_PAUSED: "Paused",
    Reason.TARGET_SCALED_TO_ZERO: "ScaledToZero",
}

WORDS = frozenset({ROLLING_BACK, AWAITING_APPROVAL, HELD, DEGRADED, *_SHORT.values()})
"""Those that are neither a verdict nor a reason."""


def summary(
    conditions: Sequence[Condition],
    judged: tuple[VerdictValue, Severity],
    hold: Hold | None,
    rollbacks: Sequence[Rollback],
) -> str:
    """Give the word.

    Args:
        conditions: of the policy, as they are now.
        judged: verdict and severity of the running release.
        hold: of its rollout.
        rollbacks: that the policy has decided.
    """
    ready = find(conditions, ConditionType.READY)
    if ready is not None and ready.reason == Reason.SUSPENDED:
        return Reason.SUSPENDED.value
    active = [one for one in rollbacks if is_active(one)]
    if active:
        is_asked = all(one.status.step is StepName.AWAITING_APPROVAL for one in active)
        return AWAITING_APPROVAL if is_asked else ROLLING_BACK
    if ready is not None and ready.status == "False":
        known = next((one for one in _SHORT if one == ready.reason), None)
        return _SHORT[known] if known is not None else ready.reason
    if hold is not None and hold.is_open:
        return HELD
    verdict, severity = judged
    if verdict is VerdictValue.BAD or severity is not Severity.NONE:
        return verdict.value
    metrics = find(conditions, ConditionType.METRICS_AVAILABLE)
    return DEGRADED if metrics is not None and metrics.status == "False" else verdict.value
