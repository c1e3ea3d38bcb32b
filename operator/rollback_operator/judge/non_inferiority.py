"""Sequential non-inferiority test for staged rollouts: odds that the new pods are no worse.

Null: the error rate of the new revision is at least that of the old revision plus a margin. The
odds are a universal-inference e-process (Wasserman, Ramdas and Balakrishnan, PNAS 2020): the
likelihood of the counts under one common rate, averaged over a prior, against the highest that the
null allows. While rates are constant, a release that is worse by the margin ever reaches 100 : 1
with a probability of 1 % at most, however often the odds are read; a worse release far more seldom.
Errors that hit both revisions alike raise both rates and change nothing.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from rollback_operator.api.v1alpha1 import MatrixRule, Response, SignalName
from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.limits import DEFAULT_MARGIN, MOST_MARGIN, ROUTE_MARGIN_TIMES
from rollback_operator.evidence.overlap import cells
from rollback_operator.judge.warm_up import without_warm_up
from rollback_operator.stats.sequential import Cell
from rollback_operator.stats.windows import on

PRIORS = ((0.9, 0.5, 50.0), (0.1, 1.0, 1.0))
"""Weight and Beta prior of the common rate: about 1 %, or, where both revisions fail, any."""
_STEPS = 80
_MOST = 600.0


def non_inferiority_odds(arms: Arms, routes: Sequence[str], margin: float) -> float:
    """Compute the odds that the new pods are as good as the living old pods in the same seconds.

    All routes together and each served route of `routes` need the proof: the least odds count.

    Args:
        arms: the counts of both revisions.
        routes: the purchase routes.
        margin: by how much a release that is worse fails more, of all requests.
    """
    pooled = _proof(arms, None, margin)
    wider = min(MOST_MARGIN, ROUTE_MARGIN_TIMES * margin)
    served = {increment.route for increment in (*arms.new, *arms.old)}
    return min([pooled, *(_proof(arms, name, wider) for name in routes if name in served)])


def margin_of(matrix: Iterable[MatrixRule]) -> float:
    """Give the least error rate of all requests that a policy's matrix would have undone."""
    thresholds = [
        float(condition.above or condition.at_least or 0)
        for rule in matrix
        if rule.response is Response.ROLLBACK
        for condition in rule.when
        if condition.signal is SignalName.ERROR_RATE and condition.routes is None
    ]
    return min((threshold for threshold in thresholds if threshold > 0), default=DEFAULT_MARGIN)


def _proof(arms: Arms, route: str | None, margin: float) -> float:
    new = without_warm_up(on(arms.new, route), arms.starts)
    old = [increment for increment in on(arms.old, route) if increment.pod in arms.living_old]
    read = [arms.seen[pod] for pod in arms.living_old if pod in arms.seen]
    if not new or not read:
        return 0.0
    overlap = cells(new, old, min(read), arms.interval)
    return odds_against_worse(overlap, margin)


def odds_against_worse(counted: Iterable[Cell], margin: float) -> float:
    """Compute the odds of one common error rate against a new rate that is higher by `margin`.

    Args:
        counted: the counts of both revisions; cells without requests of both are left out.
        margin: in (0, 1).
    """
    shared = [cell for cell in counted if cell.new_requests > 0 and cell.old_requests > 0]
    if not shared:
        return 0.0
    new = _total((cell.new_requests, cell.new_errors) for cell in shared)
    old = _total((cell.old_requests, cell.old_errors) for cell in shared)
    common = _common(new[0] + old[0], new[1] + old[1])
    return math.exp(min(_MOST, common - _worse(new, old, margin)))


def _total(counts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Add up errors and requests; errors spread over time may exceed their requests by a hair."""
    pairs = list(counts)
    requests = sum(count for count, _ in pairs)
    return min(requests, sum(count for _, count in pairs)), requests


def _common(errors: float, requests: float) -> float:
    """Compute the log-likelihood under one rate, averaged over the prior (beta-binomial)."""
    logs = [
        math.log(weight) + _log_beta(a + errors, b + requests - errors) - _log_beta(a, b)
        for weight, a, b in PRIORS
    ]
    most = max(logs)
    return most + math.log(sum(math.exp(nats - most) for nats in logs))


def _worse(new: tuple[float, float], old: tuple[float, float], margin: float) -> float:
    """Compute the highest log-likelihood with a new rate of at least the old one plus `margin`."""

    def at(old_rate: float, new_rate: float) -> float:
        return _log_likelihood(*new, new_rate) + _log_likelihood(*old, old_rate)

    free = old[0] / old[1], new[0] / new[1]
    if free[1] >= free[0] + margin:
        return at(*free)
    # The likelihood has one peak; outside the null, the null's highest point lies on its border.
    return _highest(lambda rate: at(rate, rate + margin), 0.0, 1.0 - margin)


def _highest(value: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(_STEPS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if value(left) < value(right):
            low = left
        else:
            high = right
    return max(value(low), value(high))


def _log_likelihood(errors: float, requests: float, rate: float) -> float:
    passed = requests - errors
    return (errors * math.log(max(rate, 1e-300)) if errors > 0 else 0.0) + (
        passed * math.log(max(1 - rate, 1e-300)) if passed > 0 else 0.0
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
