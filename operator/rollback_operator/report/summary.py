"""A policy's status in one word, for a column of `kubectl get`.

It repeats conditions, verdict and Rollbacks; no decision depends on it.
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
"""A release is watched, and its metrics are missing."""
_SHORT = {
    Reason.TARGET_PAUSED: "Paused",
    Reason.TARGET_SCALED_TO_ZERO: "ScaledToZero",
}

WORDS = frozenset({ROLLING_BACK, AWAITING_APPROVAL, HELD, DEGRADED, *_SHORT.values()})
"""The summaries that are neither a verdict nor a reason."""


def severity_of_all(judged: Severity, rollbacks: Sequence[Rollback]) -> Severity:
    """Return the worst severity of the running release and of the rollbacks in progress.

    Args:
        judged: of the running release.
        rollbacks: of the policy; a manual rollback has no severity.
    """
    active = [item for item in rollbacks if is_active(item) and not item.is_by_hand]
    known = [Severity(item.status.severity or item.spec.severity) for item in active]
    return min(known if judged is Severity.NONE else [judged, *known], default=Severity.NONE)


def summary(
    conditions: Sequence[Condition],
    judged: tuple[VerdictValue, Severity],
    hold: Hold | None,
    rollbacks: Sequence[Rollback],
) -> str:
    """Return the summary.

    Args:
        conditions: of the policy.
        judged: verdict and severity of the running release.
        hold: of its rollout.
        rollbacks: of the policy.
    """
    ready = find(conditions, ConditionType.READY)
    if ready is not None and ready.reason in (Reason.SUSPENDED, Reason.EVERYTHING_SUSPENDED):
        return ready.reason
    active = [item for item in rollbacks if is_active(item)]
    if active:
        is_asked = all(item.status.step is StepName.AWAITING_APPROVAL for item in active)
        return AWAITING_APPROVAL if is_asked else ROLLING_BACK
    if ready is not None and ready.status == "False":
        known = next((item for item in _SHORT if item == ready.reason), None)
        return _SHORT[known] if known is not None else ready.reason
    if hold is not None and hold.is_in_effect:
        return HELD
    verdict, severity = judged
    if verdict is VerdictValue.BAD or severity is not Severity.NONE:
        return verdict.value
    metrics = find(conditions, ConditionType.METRICS_AVAILABLE)
    return DEGRADED if metrics is not None and metrics.status == "False" else verdict.value
