"""Floors and vetoes, which keep evidence from being proof.

A floor requires more evidence. A veto attributes a fault to something other than the release:
people are notified, and no rollback follows.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.baseline import Control, history_on, longest_span_rate, mean_rate
from rollback_operator.evidence.limits import (
    AFFECTED_RATE,
    ALIKE_COUNTS,
    CEILING_TIMES,
    EXPECTED_ERRORS,
    LATE_REQUESTS,
    LATE_SCRAPE_SECONDS,
    LEAST_ERRORS,
    LEAST_PODS,
    LEAST_REQUESTS,
    LEAST_SAMPLES,
    LEAST_SPAN_REQUESTS,
    NEARLY_ALL,
    POD_SETTLED_SECONDS,
    POD_START_SECONDS,
    POD_START_SHARE,
    SPIKE_TIMES,
)
from rollback_operator.judge.affected import AffectedPods
from rollback_operator.judge.prior_failure import is_alike
from rollback_operator.model.verdict import CEASED
from rollback_operator.stats.windows import COARSE_SECONDS, Increment, by_route, on, total


def unmet_floor(arms: Arms, new: Sequence[Increment], pods: AffectedPods) -> str:
    """Describe the first floor that is not met; empty: all are met."""
    requests, errors = total(new)
    if requests < LEAST_REQUESTS:
        return f"{requests:.0f} of {LEAST_REQUESTS} requests"
    if errors < LEAST_ERRORS and not 0 < requests <= errors:
        return f"{errors:.0f} of {LEAST_ERRORS} errors"
    served = [increment for increment in new if increment.requests > 0]
    if len({increment.end for increment in served}) < LEAST_SAMPLES:
        return "only one sample"
    wanted = min(LEAST_PODS, len(arms.living_new))
    if wanted > 1 and not pods.is_shared and not pods.few:
        return "too few errors on pods other than the worst, or on other nodes"
    # Pods that never had the fault are read at other times: they do not show its end.
    having = [
        increment for increment in served if increment.pod in pods.bad & arms.living_new
    ] or served
    rate = _share([total(having)])
    if any(_has_ceased(sample, rate) for sample in _newest_samples(arms, having)):
        return CEASED
    return "" if _fails_on(arms, served) else "the pods have only started to serve"


def _has_ceased(sample: tuple[float, float], rate: float) -> bool:
    """Return whether a sample without an error is a surprise while the fault lasts."""
    requests, errors = sample
    return errors <= 0 and requests * rate >= EXPECTED_ERRORS


def _newest_samples(arms: Arms, served: Sequence[Increment]) -> list[tuple[float, float]]:
    """Add up the two newest samples: the errors of a warm-up cease without a change.

    Reads between scrapes are joined until errors are expected in them, or they are as long as a
    scrape interval: half a second without an error is no sign that errors have ceased.
    """
    times: dict[float, tuple[float, float]] = {}
    for increment in served:
        known = times.get(increment.end, (0.0, 0.0))
        times[increment.end] = known[0] + increment.requests, known[1] + increment.errors
    requests, errors = total(served)
    enough = EXPECTED_ERRORS * requests / errors if arms.read and errors else 0.0
    samples: list[tuple[float, float]] = []
    newest, sample = math.inf, (0.0, 0.0)
    for end in sorted(times, reverse=True):
        newest = end if not sample[0] else newest
        sample = sample[0] + times[end][0], sample[1] + times[end][1]
        if sample[0] >= enough or end <= newest - arms.interval:
            samples.append(sample)
            sample = (0.0, 0.0)
        if len(samples) == LEAST_SAMPLES:
            return samples
    return samples or [sample]


def _fails_on(arms: Arms, served: Sequence[Increment]) -> bool:
    """Return whether pods that are read in their first seconds continue to fail.

    A scrape is an average over seconds; a read in the first seconds of a warm-up is not. In a
    warm-up some requests soon pass: here hardly any may.
    """
    begins: dict[str, float] = {}
    for increment in served:
        begins[increment.pod] = min(increment.start, begins.get(increment.pod, increment.start))
    ages = [
        ((increment.start + increment.end) / 2 - begins[increment.pod], increment)
        for increment in served
    ]
    oldest = max((age for age, _ in ages), default=0.0)
    if not arms.read or not arms.has_warm_up or oldest >= POD_SETTLED_SECONDS:
        return True
    late = min(oldest / 2, POD_START_SECONDS)
    requests, errors = total(increment for age, increment in ages if age >= late)
    return requests >= LATE_REQUESTS and errors >= POD_START_SHARE * requests


def veto_by_history(
    arms: Arms,
    control: Control,
    new: Sequence[Increment],
    route: str | None,
    together: Sequence[str],
) -> Reason | None:
    """Find the reason why a fault, compared with history only, is not that of the release.

    Args:
        arms: the counts of both revisions.
        control: the history of the old revision.
        new: the release's counts in the scope, not empty.
        route: the scope; None: all routes.
        together: the routes that fail; their fault began on all at once.
    """
    shown = min(increment.start for increment in new)
    since = [increment for increment in arms.new if increment.end > shown]
    # The revision that ran before may not be the control. Its pods count as well: a fault that
    # began on them does not come from this release.
    begin = min((increment.start for increment in on(arms.new, route)), default=0.0)
    counted = {name: total(counts) for name, counts in by_route(since).items()}
    is_seen = False
    for side in (arms.replaced, arms.old):
        # All the time in which they served beside the new pods, whenever the fault shows best.
        last = [increment for increment in side if increment.end > begin - COARSE_SECONDS]
        is_seen = is_seen or total(last)[0] >= LEAST_SPAN_REQUESTS
        if not is_seen:
            # Few requests: what is known of the minutes before says more, but nothing of a target
            # that stopped before its successor had so many.
            last = list(side)
        if route is None:
            # Any single route is enough: the worst may be chance.
            every = frozenset({*counted, *(increment.route for increment in last)})
            scopes = [every, *(frozenset({name}) for name in _failing_alone(last))]
        else:
            scopes = list(dict.fromkeys((frozenset({route}), frozenset(together))))
        if any(_failed_alike(last, counted, control, scope) for scope in scopes):
            return Reason.OLD_REVISION_FAILS_TOO
    seconds = max(increment.end for increment in since) - shown
    requests, errors = total(new)
    is_total = errors >= NEARLY_ALL * requests
    pace = max(total(since)[0] / max(1.0, seconds), _pace(arms, since))
    is_spike = 0 < SPIKE_TIMES * control.busiest_minute < pace
    return Reason.TRAFFIC_SPIKE if is_spike and not is_total else None


def _failing_alone(last: Sequence[Increment]) -> list[str]:
    """Name the routes with enough counts that hold errors: of a thousand routes, a few."""
    failed = Counter(
        increment.route for increment in last if increment.errors > 0 and increment.requests > 0
    )
    return sorted(name for name, counts in failed.items() if counts >= ALIKE_COUNTS)


def _failed_alike(
    last: Sequence[Increment],
    since: Mapping[str, tuple[float, float]],
    control: Control,
    scope: frozenset[str],
) -> bool:
    """Return whether old pods failed like the release, on some routes, before they stopped."""
    rate = _share(counts for name, counts in since.items() if name in scope)
    known = _known(control, next(iter(scope)) if len(scope) == 1 else None, rate)
    beside = _share(counts for name, counts in since.items() if name not in scope)
    return is_alike([each for each in last if each.route in scope], rate, known, beside)


def _known(control: Control, route: str | None, rate: float) -> tuple[float, float]:
    """Give the mean and the worst error rate of the control.

    A rate that lasted for minutes before the release is no new outage. Nor is its worst minute,
    where the release fails several times as much: a rollback helps then.
    """
    least = max(AFFECTED_RATE, mean_rate(control, route))
    worst = min(history_on(control, route).worst_earlier, rate / CEILING_TIMES)
    return least, max(least, longest_span_rate(control, route), worst)


def _pace(arms: Arms, since: Sequence[Increment]) -> float:
    """Give the requests a second of the pods in their newest scrape interval.

    Over the whole time since the release, a later spike shows only when it has lasted.
    """
    newest: dict[str, float] = {}
    for increment in since:
        newest[increment.pod] = max(increment.end, newest.get(increment.pod, 0.0))
    oldest = max(newest.values(), default=0.0) - 2 * arms.interval
    begins = {pod: end - arms.interval for pod, end in newest.items() if end > oldest}
    requests: dict[str, float] = dict.fromkeys(begins, 0.0)
    starts = dict(begins)
    for increment in since:
        if increment.pod in begins and increment.end > begins[increment.pod] + LATE_SCRAPE_SECONDS:
            requests[increment.pod] += increment.requests
            starts[increment.pod] = min(increment.start, starts[increment.pod])
    if sum(requests.values()) < LEAST_REQUESTS:
        return 0.0
    return sum(served / (newest[pod] - starts[pod]) for pod, served in requests.items())


def _share(counted: Iterable[tuple[float, float]]) -> float:
    """Give the share of errors in several counts of (requests, errors)."""
    requests = errors = 0.0
    for served, failed in counted:
        requests, errors = requests + served, errors + failed
    return errors / requests if requests else 0.0
