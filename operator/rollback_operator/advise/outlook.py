"""Time to detect faults of three sizes with the present traffic."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rollback_operator.advise.survey import Survey
from rollback_operator.api.v1alpha1 import MatrixRule, RouteSet, SignalName
from rollback_operator.evidence.baseline import Ceiling, ceilings, mean_rate
from rollback_operator.evidence.limits import LEAST_CEILING
from rollback_operator.judge.time_to_detect import (
    DISCOVERY_SECONDS,
    Reach,
    Sampling,
    Traffic,
    against_history,
    against_old_pods,
    reach,
)
from rollback_operator.model.samples import Missing
from rollback_operator.stats.sequential import wilson_lower

FAULTS = (1.0, 0.20, 0.05)
POD_METRICS_SECONDS = 0.5
MOST_REQUESTS = 10_000_000


@dataclass(frozen=True, slots=True)
class Outlook:
    """The time to prove a fault in a scope."""

    route: str | None
    """None: all requests."""
    rate: float
    """Requests a second."""
    fault: float
    severity: str
    """By the policy's matrix; empty: no rule covers this fault."""
    within_seconds: int | None
    by_prometheus: Reach
    """Without old pods: compared with the last hour."""
    by_pods: Reach | None
    """The same with the metrics pages of the pods; None: series have no pod label."""
    beside_old_pods: Reach | None
    """With half of the requests on the new pods; None: series have no pod label."""


def outlook(survey: Survey) -> tuple[Outlook, ...]:
    """Compute all scopes: all requests, and each purchase route with traffic."""
    return tuple(_outlooks(survey)) if survey.rate > 0 else ()


def _outlooks(survey: Survey) -> Iterator[Outlook]:
    spec, routes = survey.policy.spec, survey.routes
    purchase = [item for item in spec.signals.purchase_routes if routes.get(item)]
    # The bound is divided among all scopes.
    odds = float(spec.safety.bad_odds) * (1 + len(purchase))
    has_pods = bool(spec.signals.labels.pod)
    # A gateway is already scraped; a new pod must be discovered first.
    prometheus = Sampling(survey.interval or 15.0, DISCOVERY_SECONDS if has_pods else 0.0)
    pods = Sampling(POD_METRICS_SECONDS, discovery=POD_METRICS_SECONDS)
    for route in (None, *purchase):
        rate = survey.rate if route is None else routes[route]
        traffic = _traffic(survey, route, rate)
        for fault in FAULTS:
            rule, threshold = _rule(spec.matrix, fault, is_purchase=route is not None)
            least = _shown_above(fault, threshold)
            history = max(against_history(fault, traffic, odds), least)
            beside = max(against_old_pods(fault, traffic, odds), least)
            half = replace(traffic, rate=rate / 2)
            yield Outlook(
                route=route,
                rate=rate,
                fault=fault,
                severity=rule.severity if rule else "",
                within_seconds=rule.within_seconds if rule else None,
                by_prometheus=reach(history, fault, traffic, prometheus),
                by_pods=reach(history, fault, traffic, pods) if has_pods else None,
                beside_old_pods=reach(beside, fault, half, prometheus) if has_pods else None,
            )


def _traffic(survey: Survey, route: str | None, rate: float) -> Traffic:
    pods = len(survey.pods) if survey.policy.spec.signals.labels.pod else 1
    if isinstance(survey.control, Missing):
        return Traffic(rate, 0.0, (Ceiling(0.0, LEAST_CEILING),), pods)
    return Traffic(rate, mean_rate(survey.control, route), ceilings(survey.control, route), pods)


def _rule(
    matrix: Sequence[MatrixRule], fault: float, *, is_purchase: bool
) -> tuple[MatrixRule | None, float]:
    """Return the rule that an error rate meets, and the rate that must be proved for it."""
    for rule in matrix:
        for condition in rule.when:
            is_meant = (condition.routes is RouteSet.PURCHASE) == is_purchase
            if condition.signal is not SignalName.ERROR_RATE or not is_meant:
                continue
            if condition.at_least is not None and fault >= float(condition.at_least):
                return rule, 0.0 if fault >= 1 else float(condition.at_least)
            if condition.above is not None and fault > float(condition.above):
                return rule, float(condition.above)
    return None, 0.0


def _shown_above(fault: float, threshold: float) -> float:
    """Return the number of requests from which the rate's lower bound is above a threshold."""
    low, high = 1, MOST_REQUESTS
    while low < high:
        middle = (low + high) // 2
        if wilson_lower(middle, fault * middle) > threshold:
            high = middle
        else:
            low = middle + 1
    return float(low)
