"""What keeps evidence from being proof: floors that are not met yet, and vetoes.

A floor asks for more of the same. A veto says that something is wrong but that this release is not
shown to be the cause: people are told, nothing is rolled back.
"""

import math
from collections.abc import Mapping, Sequence

from rollback_operator.api.reasons import Reason
from rollback_operator.core.arms import LEAST_REQUESTS, Arms, ceiling, in_order, on, total
from rollback_operator.core.evidence import COARSE_SECONDS, Increment
from rollback_operator.core.model import Control
from rollback_operator.core.sequential import against_ceiling

LEAST_ERRORS = 10
NEARLY_ALL = 0.9
SAMPLES = 2
EXPECTED_ERRORS = 3.0
SETTLED_SECONDS = 10.0
LATE_REQUESTS = 10
SPIKE_TIMES = 3.0
LEAST_RATE = 0.001
CLEAN_REQUESTS = 50
"""A pod that has served so many and does not fail is known not to."""
Pods = Mapping[str, tuple[float, float]]


def by_pod(new: Sequence[Increment]) -> Pods:
    """Add up (requests, errors) of each pod that has served."""
    found: dict[str, list[float]] = {}
    for one in new:
        if one.requests > 0:
            known = found.setdefault(one.pod, [0.0, 0.0])
            known[0] += one.requests
            known[1] += one.errors
    return {pod: (requests, errors) for pod, (requests, errors) in found.items()}


def failing(pods: Pods, expected: float) -> frozenset[str]:
    """Name the pods whose own errors are more than chance makes of the expected rate."""
    rate = max(LEAST_RATE, expected)
    return frozenset(
        pod
        for pod, (requests, errors) in pods.items()
        if 0 < requests <= errors or errors > requests * rate + 3 * math.sqrt(requests * rate) + 1
    )


def unmet(arms: Arms, new: Sequence[Increment], pods: Pods, bad: frozenset[str]) -> str:
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
    if len(bad) < wanted and not _is_on_few(arms, pods, bad):
        return f"errors on {len(bad)} of {wanted} pods needed"
    if not all(failed > 0 for failed in _newest_samples(arms, served)):
        return "no error in one of the two newest samples"
    return "" if _fails_on(arms, served) else "the pods have only begun to serve"


def _newest_samples(arms: Arms, served: Sequence[Increment]) -> list[float]:
    """Count the errors in each of the two newest samples: a warm-up's cease by themselves.

    Reads between scrapes are put together until one has errors to be expected in it, or is as long
    as a scrape: half a second without an error is no sign that they have ceased.
    """
    times: dict[float, tuple[float, float]] = {}
    for one in served:
        known = times.get(one.end, (0.0, 0.0))
        times[one.end] = known[0] + one.requests, known[1] + one.errors
    requests, errors = total(served)
    enough = EXPECTED_ERRORS * requests / errors if arms.read and errors else 0.0
    found: list[float] = []
    newest, sample = math.inf, (0.0, 0.0)
    for end in sorted(times, reverse=True):
        newest = end if not sample[0] else newest
        sample = sample[0] + times[end][0], sample[1] + times[end][1]
        if sample[0] >= enough or end <= newest - arms.interval:
            found.append(sample[1])
            sample = (0.0, 0.0)
        if len(found) == SAMPLES:
            return found
    return found or [sample[1]]


def _fails_on(arms: Arms, served: Sequence[Increment]) -> bool:
    """Tell whether pods that are read in their first seconds fail on as they have begun.

    A scrape is an average over seconds; a read in the first of a warm-up is not.
    """
    begins: dict[str, float] = {}
    for one in served:
        begins[one.pod] = min(one.start, begins.get(one.pod, one.start))
    ages = [((one.start + one.end) / 2 - begins[one.pod], one) for one in served]
    oldest = max((age for age, _ in ages), default=0.0)
    if not arms.read or oldest >= SETTLED_SECONDS:
        return True
    requests, errors = total(one for age, one in ages if age >= oldest / 2)
    return requests >= LATE_REQUESTS and errors >= NEARLY_ALL * requests


def _is_on_few(arms: Arms, pods: Pods, bad: frozenset[str]) -> bool:
    """Tell whether one pod, or the pods of one node, have the fault and others surely not."""
    clean = {
        pod
        for pod in arms.living_new
        if pod not in bad and pods.get(pod, (0, 0))[0] >= CLEAN_REQUESTS
    }
    if not bad or not clean:
        return False
    nodes = {arms.nodes.get(pod, "") for pod in bad}
    is_one_node = len(nodes) == 1 and all(arms.nodes.get(pod, "") not in nodes for pod in clean)
    return len(bad) == 1 or (is_one_node and "" not in nodes)


def veto(arms: Arms, pods: Pods, bad: frozenset[str]) -> Reason | None:
    """Tell why the release is not to blame, whatever it is compared with."""
    return Reason.FEW_PODS_AFFECTED if _is_on_few(arms, pods, bad) else None


def veto_by_history(
    arms: Arms, control: Control, new: Sequence[Increment], route: str | None
) -> Reason | None:
    """Tell why a fault that only history speaks against is not the release's."""
    # Old pods that had begun to fail alike before they went: the fault is not the release's.
    begin = min(one.start for one in new)
    last = [one for one in on(arms.old, route) if one.end > begin - COARSE_SECONDS]
    # Of all routes together any one of them: which of them the new pods fail most on may be chance.
    for one in sorted({increment.route for increment in last}):
        odds = against_ceiling(in_order(on(last, one)), ceiling(control, one))
        if odds.value >= arms.odds.suspect:
            return Reason.OLD_REVISION_FAILS_TOO
    since = [one for one in arms.new if one.end > begin]
    seconds = max(one.end for one in since) - begin
    requests, errors = total(new)
    is_total = errors >= NEARLY_ALL * requests
    is_spike = 0 < SPIKE_TIMES * control.busiest_minute < total(since)[0] / max(1.0, seconds)
    return Reason.TRAFFIC_SPIKE if is_spike and not is_total else None
