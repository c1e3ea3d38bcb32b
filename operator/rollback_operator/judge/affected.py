"""The pods that have the fault, and those that surely do not, each by its own counts."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.baseline import plausible
from rollback_operator.evidence.limits import (
    AFFECTED_RATE,
    CEILING_TIMES,
    CLEAN_ODDS,
    LEAST_CEILING,
    LEAST_REQUESTS,
    SHARED_ODDS,
    STEADY_TIMES,
    SURELY_BAD_ODDS,
)
from rollback_operator.stats.windows import Increment, by_route, total

Pods = Mapping[str, tuple[float, float]]
Routes = Mapping[str, Pods]


def pod_counts_by_route(new: Sequence[Increment]) -> Routes:
    """Add up (requests, errors) of each pod that has served, route by route."""
    counts: dict[str, dict[str, list[float]]] = {}
    for increment in new:
        pods = counts.get(increment.route)
        if pods is None:
            pods = counts[increment.route] = {}
        known = pods.get(increment.pod)
        if known is None:
            pods[increment.pod] = [increment.requests, increment.errors]
        else:
            known[0] += increment.requests
            known[1] += increment.errors
    # Errors may be sampled at other times than requests: only their sums show who has served.
    return {
        route: {pod: (served, failed) for pod, (served, failed) in pods.items() if served > 0}
        for route, pods in counts.items()
    }


def pod_counts(routes: Routes) -> Pods:
    """Add up (requests, errors) of each pod on all routes."""
    counts: dict[str, tuple[float, float]] = {}
    for pods in routes.values():
        for pod, (requests, errors) in pods.items():
            before = counts.get(pod, (0.0, 0.0))
            counts[pod] = before[0] + requests, before[1] + errors
    return counts


def failing(pods: Pods, expected: float) -> frozenset[str]:
    """Name the pods whose own errors are more than chance makes of the expected rate."""
    rate = max(AFFECTED_RATE, expected)
    return frozenset(
        pod
        for pod, (requests, errors) in pods.items()
        if 0 < requests <= errors or errors > requests * rate + 3 * math.sqrt(requests * rate) + 1
    )


@dataclass(frozen=True, slots=True)
class AffectedPods:
    """The pods that have the fault."""

    bad: frozenset[str] = frozenset()
    few: frozenset[str] = frozenset()
    """One pod, or the pods of one node, that have it while the others surely do not."""
    is_shared: bool = False
    """Whether it shows without any single pod, and without the pods of any single node."""


def affected(
    arms: Arms, routes: Routes, route: str | None, usual: Mapping[str, float]
) -> AffectedPods:
    """Find the pods that have a fault, and whether they are only a few.

    Args:
        arms: the counts of both revisions.
        routes: the release's counts in the scope.
        route: None: of all routes together. A fault on one of them counts, others dilute it.
        usual: the control's error rate by route; under "" that of all together.
    """
    parts = _parts(routes, route, usual)
    each = [_split(pods, rate) for pods, rate in parts]
    bad = frozenset().union(*(split.bad for split in each))
    if _is_shared(arms, parts):
        return AffectedPods(bad, is_shared=True)
    shown = [split.clean for split in each if split.bad]
    clean = frozenset.intersection(*shown) - bad if shown else frozenset()
    return AffectedPods(bad, _on_few(arms, _PodSplit(bad, clean)) or _concentrated(arms, *parts[0]))


def _parts(
    routes: Routes, route: str | None, usual: Mapping[str, float]
) -> list[tuple[Pods, float]]:
    """List the counts in which a fault may show, each with the control's errors there."""
    parts = [(pod_counts(routes), usual.get(route or "", 0.0))]
    if route is None:
        parts += [(pods, usual.get(name, 0.0)) for name, pods in sorted(routes.items())]
    return parts


class _PodSplit(NamedTuple):
    """The pods that have the fault, and those that surely do not."""

    bad: frozenset[str]
    clean: frozenset[str]


def _split(pods: Pods, usual: float) -> _PodSplit:
    """Separate the pods that fail more than usual from those whose counts speak against the fault.

    A pod with a few occasional errors is healthy beside a pod that fails entirely.
    """
    suspected = failing(pods, usual)
    requests = sum(pods[name][0] for name in suspected)
    errors = sum(pods[name][1] for name in suspected)
    high = min(1 - AFFECTED_RATE, errors / requests) if requests else 0.0
    low = min(plausible(usual), high / CEILING_TIMES)
    if low <= 0:
        return _PodSplit(suspected, frozenset())
    clean = frozenset(
        name
        for name, (served, failed) in pods.items()
        if _nats((served, failed), low, high) >= math.log(CLEAN_ODDS)
    )
    return _PodSplit(suspected - clean, clean)


def _is_shared(arms: Arms, counted: Iterable[tuple[Pods, float]]) -> bool:
    """Return whether the fault shows without any single pod, and without those of any single node.

    The errors of the other pods decide, not their distance from the worst pod: a pod that fails
    more does not make the others healthy.
    """
    parts = [_FaultCounts(pods, usual) for pods, usual in counted]
    return all(
        any(part.shows_without(group) for part in parts) for group in _groups(arms, parts[0].pods)
    )


def _groups(arms: Arms, pods: Pods) -> Iterator[frozenset[str]]:
    """List each pod, and the pods of each node outside which a living pod serves."""
    nodes: dict[str, set[str]] = {}
    for name in pods:
        yield frozenset({name})
        nodes.setdefault(arms.nodes.get(name, ""), set()).add(name)
    serving = pods.keys() & arms.living_new
    for node, names in nodes.items():
        if node and len(names) > 1 and serving - names:
            yield frozenset(names)


class _FaultCounts:
    """Counts in which a fault may show, with or without some of the pods."""

    def __init__(self, pods: Pods, usual: float) -> None:
        self.pods = pods
        # Errors in clumps exceed the usual rate itself by chance, and ceilings are higher, too.
        self._usual = max(LEAST_CEILING, STEADY_TIMES * usual)
        self._total = _sum(pods.values())
        # Among many healthy pods the fault of a single pod is diluted.
        self._surely_bad = frozenset(
            name for name, counts in pods.items() if self._shows(counts, SURELY_BAD_ODDS)
        )

    def shows_without(self, group: frozenset[str]) -> bool:
        """Return whether the fault shows on the others."""
        if not self._surely_bad <= group:
            return True
        requests, errors = _sum(self.pods[name] for name in group if name in self.pods)
        return self._shows((self._total[0] - requests, self._total[1] - errors), SHARED_ODDS)

    def _shows(self, counts: tuple[float, float], odds: float) -> bool:
        served, failed = counts
        if not served or failed <= self._usual * served:
            return False  # a server may count errors without requests: they have no rate
        return -_nats(counts, self._usual, failed / served) >= math.log(odds)


def fail_more(counted: Sequence[Increment], others: Sequence[Increment]) -> bool:
    """Return whether pods have a fault that other pods do not have, on a route or on all together.

    Args:
        counted: the counts of the pods.
        others: those of the other pods at the same time.
    """
    beside = by_route(others)
    parts = [(counted, others)]
    parts += [(each, beside.get(route, ())) for route, each in by_route(counted).items()]
    return any(_exceed(total(each), total(rest)) for each, rest in parts)


def _exceed(counts: tuple[float, float], others: tuple[float, float]) -> bool:
    served, failed = counts
    if not served or others[0] < LEAST_REQUESTS:
        return False
    usual = plausible(others[1] / others[0])
    if failed <= usual * served:
        return False
    return -_nats(counts, usual, failed / served) >= math.log(SHARED_ODDS)


def _sum(counts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    requests = errors = 0.0
    for served, failed in counts:
        requests += served
        errors += failed
    return requests, errors


def _on_few(arms: Arms, pods: _PodSplit) -> frozenset[str]:
    """Name the one pod, or the pods of one node, that have the fault while others surely do not."""
    clean = pods.clean & arms.living_new
    if not pods.bad or not clean:
        return frozenset()
    nodes = {arms.nodes.get(pod, "") for pod in pods.bad}
    is_one_node = len(nodes) == 1 and all(arms.nodes.get(pod, "") not in nodes for pod in clean)
    is_few = len(pods.bad) == 1 or (is_one_node and "" not in nodes)
    return pods.bad if is_few else frozenset()


def _concentrated(arms: Arms, pods: Pods, usual: float) -> frozenset[str]:
    """Name the pod, or the pods of one node, that fail, by the counts of all other pods together.

    With many pods, routes and evaluations, a second pod has a few errors by chance now and then;
    that does not make two bad pods.
    """
    errors = sum(failed for _, failed in pods.values())
    requests = sum(served for served, _ in pods.values())
    if not errors or errors >= requests:
        return frozenset()
    rate = errors / requests
    low = min(plausible(usual), rate / CEILING_TIMES)
    worst = max(pods, key=lambda name: pods[name][1])
    node = arms.nodes.get(worst, "")
    beside = frozenset(name for name in pods if node and arms.nodes.get(name, "") == node)
    for group in (frozenset({worst}), beside):
        others = [pods[name] for name in pods if name not in group and name in arms.living_new]
        if sum(_nats(counts, low, rate) for counts in others) >= math.log(CLEAN_ODDS):
            return frozenset(name for name in group if pods[name][1] > 0)
    return frozenset()


def _nats(counts: tuple[float, float], low: float, high: float) -> float:
    """Compute the log-likelihood ratio of an error rate against a higher rate."""
    served, failed = counts
    high = min(1 - AFFECTED_RATE, high)
    if high <= low:
        return 0.0
    passed = max(0.0, served - failed)
    return failed * math.log(low / high) + passed * math.log((1 - low) / (1 - high))
