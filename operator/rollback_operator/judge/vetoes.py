"""What keeps evidence from being proof: floors that are not met yet, and vetoes.

A floor asks for more of the same. A veto says that something is wrong but that this release is not
shown to be the cause: people are told, nothing is rolled back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollback_operator.api.reasons import Reason
from rollback_operator.evidence.arms import Arms, lasting, mean, on, past, total
from rollback_operator.evidence.baseline import Control
from rollback_operator.evidence.limits import (
    AFFECTED_RATE,
    CEILING_TIMES,
    EXPECTED_ERRORS,
    LATE_REQUESTS,
    LATE_SCRAPE_SECONDS,
    LEAST_ERRORS,
    LEAST_REQUESTS,
    LEAST_SAMPLES,
    NEARLY_ALL,
    POD_SETTLED_SECONDS,
    POD_START_SECONDS,
    POD_START_SHARE,
    SPIKE_TIMES,
)
from rollback_operator.judge.affected import AffectedPods
from rollback_operator.judge.prior_failure import is_alike
from rollback_operator.model.verdict import CEASED
from rollback_operator.stats.windows import COARSE_SECONDS, Increment


def unmet(arms: Arms, new: Sequence[Increment], pods: AffectedPods) -> str:
    """Tell the first floor that is not met, in words; empty when all are."""
    requests, errors = total(new)
    if requests < LEAST_REQUESTS:
        return f"{requests:.0f} of {LEAST_REQUESTS} requests"
    if errors < LEAST_ERRORS and not 0 < requests <= errors:
        return f"{errors:.0f} of {LEAST_ERRORS} errors"
    served = [one for one in new if one.requests > 0]
    if len({one.end for one in served}) < LEAST_SAMPLES:
        return "only one sample"
    wanted = min(2, len(arms.living_new))
    if wanted > 1 and not pods.is_shared and not pods.few:
        return "too few errors on other pods, or other nodes, than the worst"
    # Pods that never had the fault are read at times of their own: they do not show its end.
    having = [one for one in served if one.pod in pods.bad & arms.living_new] or served
    rate = _rate(having)
    if any(_has_ceased(sample, rate) for sample in _newest_samples(arms, having)):
        return CEASED
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
        if len(found) == LEAST_SAMPLES:
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
    if not arms.read or oldest >= POD_SETTLED_SECONDS:
        return True
    late = min(oldest / 2, POD_START_SECONDS)
    requests, errors = total(one for age, one in ages if age >= late)
    return requests >= LATE_REQUESTS and errors >= POD_START_SHARE * requests


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
        _had_come_to_fail(side, _JudgedFault(arms, control, since, route, together))
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
class _JudgedFault:
    """What a release fails, for which old pods are asked."""

    arms: Arms
    control: Control
    since: Sequence[Increment]
    """Its counts since the fault shows."""
    route: str | None
    together: Sequence[str]


def _had_come_to_fail(old: Sequence[Increment], fault: _JudgedFault) -> bool:
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
    least = max(AFFECTED_RATE, mean(control, route))
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
        if one.pod in begins and one.end > begins[one.pod] + LATE_SCRAPE_SECONDS:
            requests[one.pod] += one.requests
            starts[one.pod] = min(one.start, starts[one.pod])
    if sum(requests.values()) < LEAST_REQUESTS:
        return 0.0
    return sum(served / (newest[pod] - starts[pod]) for pod, served in requests.items())


def _rate(counted: Sequence[Increment]) -> float:
    requests, errors = total(counted)
    return errors / requests if requests else 0.0
