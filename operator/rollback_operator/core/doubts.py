"""What keeps evidence from being proof: floors that are not met yet, and vetoes.

A floor asks for more of the same. A veto says that something is wrong but that this release is not
shown to be the cause: people are told, nothing is rolled back.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollback_operator.api.reasons import Reason
from rollback_operator.core.alike import is_alike
from rollback_operator.core.arms import (
    CEILING_TIMES,
    LEAST_REQUESTS,
    Arms,
    lasting,
    mean,
    on,
    past,
    plausible,
    total,
)
from rollback_operator.core.control import Control
from rollback_operator.core.increments import COARSE_SECONDS, Increment

LEAST_ERRORS = 10
NEARLY_ALL = 0.9
SAMPLES = 2
EXPECTED_ERRORS = 3.0
"""So many expected errors that do not come are a surprise: 20 : 1 (Poisson)."""
SETTLED_SECONDS = 10.0
LATE_REQUESTS = 10
MOMENT_SECONDS = 1.0
"""Scrapes are so much late now and then: the interval before is none of the newest."""
SPIKE_TIMES = 3.0
LEAST_RATE = 0.001
CLEAN_ODDS = 100.0
"""Odds against the failing pods' rate from which a pod is known to be well."""
SURELY_BAD_ODDS = 10_000.0
"""Odds from which a pod is known to have the fault by its own counts."""
EARLY_ALL = 0.98
EARLY_SECONDS = 0.5
"""So long after a pod's first request what it fails is no accident of its start alone."""
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


def unmet(arms: Arms, new: Sequence[Increment], pods: Affected) -> str:
    """Tell the first floor that is not met, in words; empty when all are."""
    requests, errors = total(new)
    if requests < LEAST_REQUESTS:
        return f"{requests:.0f} of {LEAST_REQUESTS} requests"
    if errors < LEAST_ERRORS and not 0 < requests <= errors:
        return f"{errors:.0f} of {LEAST_ERRORS} errors"
    served = [one for one in new if one.requests > 0]
    if len({one.end for one in served}) < SAMPLES:
        return "only one sample"
    wanted = min(2, len(arms.living_new))
    if len(pods.bad) < wanted and not _is_on_few(arms, pods):
        return f"errors on {len(pods.bad)} of {wanted} pods needed"
    # Pods that never had the fault are read at times of their own: they do not show its end.
    having = [one for one in served if one.pod in pods.bad & arms.living_new] or served
    rate = _rate(having)
    if any(_has_ceased(sample, rate) for sample in _newest_samples(arms, having)):
        return "no error in one of the two newest samples"
    return "" if _fails_on(arms, served) else "the pods have only begun to serve"


def _has_ceased(sample: tuple[float, float], rate: float) -> bool:
    """Tell whether a sample without an error is a surprise while the fault lasts."""
    requests, errors = sample
    return errors <= 0 and requests * rate >= EXPECTED_ERRORS


def _newest_samples(arms: Arms, served: Sequence[Increment]) -> list[tuple[float, float]]:
    """Add up the two newest samples: the errors of a warm-up cease by themselves.

    Reads between scrapes are put together until one has errors to be expected in it, or is as long
    as a scrape: half a second without an error is no sign that they have ceased.
    """
    times: dict[float, tuple[float, float]] = {}
    for one in served:
        known = times.get(one.end, (0.0, 0.0))
        times[one.end] = known[0] + one.requests, known[1] + one.errors
    requests, errors = total(served)
    enough = EXPECTED_ERRORS * requests / errors if arms.read and errors else 0.0
    found: list[tuple[float, float]] = []
    newest, sample = math.inf, (0.0, 0.0)
    for end in sorted(times, reverse=True):
        newest = end if not sample[0] else newest
        sample = sample[0] + times[end][0], sample[1] + times[end][1]
        if sample[0] >= enough or end <= newest - arms.interval:
            found.append(sample)
            sample = (0.0, 0.0)
        if len(found) == SAMPLES:
            return found
    return found or [sample]


def _fails_on(arms: Arms, served: Sequence[Increment]) -> bool:
    """Tell whether pods that are read in their first seconds fail on as they have begun.

    A scrape is an average over seconds; a read in the first of a warm-up is not. Of a warm-up some
    requests pass soon: here hardly one may.
    """
    begins: dict[str, float] = {}
    for one in served:
        begins[one.pod] = min(one.start, begins.get(one.pod, one.start))
    ages = [((one.start + one.end) / 2 - begins[one.pod], one) for one in served]
    oldest = max((age for age, _ in ages), default=0.0)
    if not arms.read or oldest >= SETTLED_SECONDS:
        return True
    late = min(oldest / 2, EARLY_SECONDS)
    requests, errors = total(one for age, one in ages if age >= late)
    return requests >= LATE_REQUESTS and errors >= EARLY_ALL * requests


def _is_on_few(arms: Arms, pods: Affected) -> bool:
    """Tell whether one pod, or the pods of one node, have the fault and others surely not."""
    clean = pods.clean & arms.living_new
    if not pods.bad or not clean:
        return False
    nodes = {arms.nodes.get(pod, "") for pod in pods.bad}
    is_one_node = len(nodes) == 1 and all(arms.nodes.get(pod, "") not in nodes for pod in clean)
    return len(pods.bad) == 1 or (is_one_node and "" not in nodes)


def _is_concentrated(arms: Arms, pods: Pods, usual: float) -> bool:
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


def veto(arms: Arms, pods: Affected, served: Pods, usual: float) -> Reason | None:
    """Tell why the release is not to blame, whatever it is compared with.

    Args:
        arms: the counts of both revisions.
        pods: which pods have the fault.
        served: (requests, errors) of each pod in the scope.
        usual: the control's error rate there.
    """
    is_on_few = _is_on_few(arms, pods) or _is_concentrated(arms, served, usual)
    return Reason.FEW_PODS_AFFECTED if is_on_few else None


def veto_by_history(
    arms: Arms,
    control: Control,
    new: Sequence[Increment],
    route: str | None,
    together: Sequence[str],
) -> Reason | None:
    """Tell why a fault that only history speaks against is not the release's.

    Args:
        arms: the counts of both revisions.
        control: the old revision's past.
        new: the release's counts in the scope, at least one.
        route: the scope; None: all routes.
        together: the routes that fail; one fault began on all of them.
    """
    shown = min(one.start for one in new)
    since = [one for one in arms.new if one.end > shown]
    # What ran before may be another revision than the control: it is asked as well, since what
    # began on its pods is nothing that this release has brought.
    if any(
        _had_come_to_fail(side, _Fault(arms, control, since, route, together))
        for side in (arms.old, arms.replaced)
    ):
        return Reason.OLD_REVISION_FAILS_TOO
    seconds = max(one.end for one in since) - shown
    requests, errors = total(new)
    is_total = errors >= NEARLY_ALL * requests
    pace = max(total(since)[0] / max(1.0, seconds), _pace(arms, since))
    is_spike = 0 < SPIKE_TIMES * control.busiest_minute < pace
    return Reason.TRAFFIC_SPIKE if is_spike and not is_total else None


@dataclass(frozen=True, slots=True)
class _Fault:
    """What a release fails, for which old pods are asked."""

    arms: Arms
    control: Control
    since: Sequence[Increment]
    """Its counts since the fault shows."""
    route: str | None
    together: Sequence[str]


def _had_come_to_fail(old: Sequence[Increment], fault: _Fault) -> bool:
    """Tell whether old pods had come to fail like the release before they went.

    All the time counts in which they served beside the new ones, whenever the fault shows best. Of
    all routes together any one of them: which one fails most may be chance.
    """
    route, since = fault.route, fault.since
    begin = min((one.start for one in on(fault.arms.new, route)), default=0.0)
    last = [one for one in old if one.end > begin - COARSE_SECONDS]
    if route is None:
        scopes = [frozenset({one.route for one in (*since, *last)})]
        scopes += [frozenset({one}) for one in sorted({increment.route for increment in last})]
    else:
        scopes = list(dict.fromkeys((frozenset({route}), frozenset(fault.together))))
    for scope in scopes:
        rate = _rate([one for one in since if one.route in scope])
        known = _known(fault.control, next(iter(scope)) if len(scope) == 1 else None, rate)
        beside = _rate([one for one in since if one.route not in scope])
        if is_alike([one for one in last if one.route in scope], rate, known, beside):
            return True
    return False


def _known(control: Control, route: str | None, rate: float) -> tuple[float, float]:
    """Give the control's own error rate, as a rule and at its worst.

    What had failed for minutes before the release is not what the release came upon. Nor is its
    worst minute, where the release fails several times as much: going back helps then.
    """
    least = max(LEAST_RATE, mean(control, route))
    worst = min(past(control, route).worst_earlier, rate / CEILING_TIMES)
    return least, max(least, lasting(control, route), worst)


def _pace(arms: Arms, since: Sequence[Increment]) -> float:
    """Tell how many requests a second the pods have had in their newest scrape interval.

    On the whole time since the release a spike that began later shows only when it has lasted.
    """
    newest: dict[str, float] = {}
    for one in since:
        newest[one.pod] = max(one.end, newest.get(one.pod, 0.0))
    oldest = max(newest.values(), default=0.0) - 2 * arms.interval
    begins = {pod: end - arms.interval for pod, end in newest.items() if end > oldest}
    requests: dict[str, float] = dict.fromkeys(begins, 0.0)
    starts = dict(begins)
    for one in since:
        if one.pod in begins and one.end > begins[one.pod] + MOMENT_SECONDS:
            requests[one.pod] += one.requests
            starts[one.pod] = min(one.start, starts[one.pod])
    if sum(requests.values()) < LEAST_REQUESTS:
        return 0.0
    return sum(served / (newest[pod] - starts[pod]) for pod, served in requests.items())


def _rate(counted: Sequence[Increment]) -> float:
    requests, errors = total(counted)
    return errors / requests if requests else 0.0
