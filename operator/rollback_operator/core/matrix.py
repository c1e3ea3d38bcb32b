"""Verdict -> rule of the severity matrix. First match from the top wins."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rollback_operator.api.v1alpha1 import (
    MatrixCondition,
    MatrixRule,
    RouteSet,
    SignalName,
)
from rollback_operator.core.verdict import ScopeVerdict, Verdict


@dataclass(frozen=True, slots=True)
class Match:
    """The rule that is met, and the evidence that meets it (None: Kubernetes shows it)."""

    rule: MatrixRule
    scope: ScopeVerdict | None = None


def classify(rules: Sequence[MatrixRule], verdict: Verdict, needed_odds: float) -> Match | None:
    """Find the rule that the verdict meets; None: no symptom of the matrix is proved.

    Args:
        rules: the policy's matrix.
        verdict: what the judge says.
        needed_odds: below these the evidence on a rate does not count.
    """
    for rule in rules:
        for condition in rule.when:
            if condition.signal is SignalName.UNAVAILABLE and verdict.is_unavailable:
                return Match(rule)
            if condition.signal is SignalName.STUCK_ROLLOUT and verdict.is_stuck:
                return Match(rule)
            proved = _proved(condition, verdict, needed_odds)
            if proved is not None:
                return Match(rule, proved)
    return None


def _proved(
    condition: MatrixCondition, verdict: Verdict, needed_odds: float
) -> ScopeVerdict | None:
    if condition.signal is not SignalName.ERROR_RATE:
        return None
    found = (
        one
        for one in _scopes(condition, verdict)
        if one.is_proved and one.odds >= needed_odds and _exceeds(condition, one)
    )
    return max(found, key=lambda one: one.rate_lower_bound, default=None)


def _scopes(condition: MatrixCondition, verdict: Verdict) -> Iterator[ScopeVerdict]:
    is_purchase = condition.routes is RouteSet.PURCHASE
    return (one for one in verdict.scopes if (one.route is not None) is is_purchase)


def _exceeds(condition: MatrixCondition, one: ScopeVerdict) -> bool:
    if condition.above is not None:
        return one.rate_lower_bound > float(condition.above)
    least = float(condition.at_least or 0)
    return one.rate_lower_bound >= least or one.has_all_failed


def deadline(match: Match, verdict: Verdict) -> float | None:
    """Compute until when the rule waits for more evidence; None: it has no deadline.

    For an error rate it shrinks as the rate grows: the same harm is allowed, not the same time.
    """
    rule, scope = match.rule, match.scope
    if rule.within_seconds is None or verdict.first_bad is None:
        return None
    limits = [float(one.above) for one in rule.when if one.above is not None]
    if scope is None or not limits or scope.rate_lower_bound <= 0:
        return verdict.first_bad + rule.within_seconds
    share = min(1.0, min(limits) / scope.rate_lower_bound)
    return verdict.first_bad + rule.within_seconds * share


def faults(rules: Sequence[MatrixRule]) -> list[str]:
    """Find what can never match in a matrix; each fault names its field and the remedy."""
    found: list[str] = []
    above: list[tuple[str, MatrixCondition]] = []
    for index, rule in enumerate(rules):
        here = [
            (f"spec.matrix[{index}].when[{number}]", one) for number, one in enumerate(rule.when)
        ]
        for field, condition in here:
            hiding = next((path for path, one in above if _hides(one, condition)), None)
            if hiding is not None:
                found.append(
                    f"{field} can never match, since {hiding} matches first whenever it would: "
                    "thresholds must fall from the worst severity to the mildest"
                )
        above += here
    return found


def _hides(upper: MatrixCondition, lower: MatrixCondition) -> bool:
    if upper.signal is not lower.signal:
        return False
    if upper.signal is not SignalName.ERROR_RATE:
        return True
    return upper.routes is lower.routes and _threshold(upper) <= _threshold(lower)


def _threshold(condition: MatrixCondition) -> float:
    return float(condition.above or condition.at_least or 0)
