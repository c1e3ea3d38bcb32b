"""Which pods have the fault, and which surely have not, each by its own counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollback_operator.core.arms import CEILING_TIMES, Arms, plausible
from rollback_operator.core.increments import Increment

LEAST_RATE = 0.001
"""No error rate is taken for less, and no share of successes."""
CLEAN_ODDS = 100.0
"""Odds against the failing pods' rate from which a pod is known to be well."""
SURELY_BAD_ODDS = 10_000.0
"""Odds from which a pod is known to have the fault by its own counts."""
Pods = Mapping[str, tuple[float, float]]
Routes = Mapping[str, Pods]


def by_route(new: Sequence[Increment]) -> Routes:
    """Add up (requests, errors) of each pod that has served, route by route."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in new:
        if one.requests > 0:
            pods = found.get(one.route)
            if pods is None:
                pods = found[one.route] = {}
            known = pods.get(one.pod)
            if known is None:
                pods[one.pod] = [one.requests, one.errors]
            else:
                known[0] += one.requests
                known[1] += one.errors
    return {
        route: {pod: (requests, errors) for pod, (requests, errors) in pods.items()}
        for route, pods in found.items()
    }


def by_pod(routes: Routes) -> Pods:
    """Add up (requests, errors) of each pod on all routes."""
    found: dict[str, tuple[float, float]] = {}
    for pods in routes.values():
        for pod, (requests, errors) in pods.items():
            before = found.get(pod, (0.0, 0.0))
            found[pod] = before[0] + requests, before[1] + errors
    return found


def failing(pods: Pods, expected: float) -> frozenset[str]:
    """Name the pods whose own errors are more than chance makes of the expected rate."""
    rate = max(LEAST_RATE, expected)
    return frozenset(
        pod
        for pod, (requests, errors) in pods.items()
        if 0 < requests <= errors or errors > requests * rate + 3 * math.sqrt(requests * rate) + 1
    )


@dataclass(frozen=True, slots=True)
class Affected:
    """Which pods have the fault, and which surely have not."""

    bad: frozenset[str]
    clean: frozenset[str]


def affected(routes: Routes, route: str | None, usual: Mapping[str, float]) -> Affected:
    """Tell the pods that have a fault from those that have not.

    Args:
        routes: the release's counts in the scope.
        route: None: of all routes together. A fault on one of them counts, others dilute it.
        usual: the control's error rate by route; under "" that of all together.
    """
    parts = [(by_pod(routes), usual.get(route or "", 0.0))]
    if route is None:
        parts += [(pods, usual.get(name, 0.0)) for name, pods in sorted(routes.items())]
    each = [_split(pods, rate) for pods, rate in parts]
    bad = frozenset().union(*(one.bad for one in each))
    shown = [one.clean for one in each if one.bad]
    return Affected(bad, frozenset.intersection(*shown) - bad if shown else frozenset())


def _split(pods: Pods, usual: float) -> Affected:
    """Tell the pods that fail more than usual from those whose counts speak against the fault.

    A pod in which a little fails, as it may now and then, is well beside one that fails entirely.
    """
    suspected = failing(pods, usual)
    requests = sum(pods[name][0] for name in suspected)
    errors = sum(pods[name][1] for name in suspected)
    high = min(1 - LEAST_RATE, errors / requests) if requests else 0.0
    low = min(plausible(usual), high / CEILING_TIMES)
    if low <= 0:
        return Affected(suspected, frozenset())
    clean = frozenset(
        name
        for name, (served, failed) in pods.items()
        if _nats((served, failed), low, high) >= math.log(CLEAN_ODDS)
    )
    return Affected(suspected - clean, clean)


def is_on_few(arms: Arms, pods: Affected) -> bool:
    """Tell whether one pod, or the pods of one node, have the fault and others surely not."""
    clean = pods.clean & arms.living_new
    if not pods.bad or not clean:
        return False
    nodes = {arms.nodes.get(pod, "") for pod in pods.bad}
    is_one_node = len(nodes) == 1 and all(arms.nodes.get(pod, "") not in nodes for pod in clean)
    return len(pods.bad) == 1 or (is_one_node and "" not in nodes)


def is_concentrated(arms: Arms, pods: Pods, usual: float) -> bool:
    """Tell whether what fails is on one pod or node, by what all others have counted together.

    Of many pods, routes and looks one pod fails a little by chance now and then: alone it does not
    make two bad pods of one.
    """
    errors = sum(failed for _, failed in pods.values())
    requests = sum(served for served, _ in pods.values())
    if not errors or errors >= requests:
        return False
    rate = errors / requests
    low = min(plausible(usual), rate / CEILING_TIMES)
    worst = max(pods, key=lambda name: pods[name][1])
    node = arms.nodes.get(worst, "")
    for group in ({worst}, {name for name in pods if node and arms.nodes.get(name, "") == node}):
        others = [pods[name] for name in pods if name not in group and name in arms.living_new]
        nats = sum(_nats(one, low, rate) for one in others)
        own = [-_nats(one, low, one[1] / one[0]) for one in others]
        if nats >= math.log(CLEAN_ODDS) and max(own) < math.log(SURELY_BAD_ODDS):
            return True
    return False


def _nats(counts: tuple[float, float], low: float, high: float) -> float:
    """Compute the log-likelihood ratio of one error rate against a higher one."""
    served, failed = counts
    high = min(1 - LEAST_RATE, high)
    if high <= low:
        return 0.0
    passed = max(0.0, served - failed)
    return failed * math.log(low / high) + passed * math.log((1 - low) / (1 - high))
