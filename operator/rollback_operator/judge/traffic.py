"""A release that nobody reaches, or no more: ready pods, and hardly a request of many.

What is expected is the quietest minute of the hour before: a service whose requests come in bursts
has minutes without any, and is never said to have lost them.
"""

import math
from collections.abc import Mapping

from rollback_operator.evidence.arms import Arms, total
from rollback_operator.evidence.limits import (
    LEAST_EXPECTED,
    LEAST_SAMPLES,
    LOST_SHARE,
    TRAFFIC_SECONDS,
)
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.verdict import Cause, EvidentFault
from rollback_operator.model.workload import Workload


def traffic_lost(watch: Watch, workload: Workload, arms: Arms) -> EvidentFault | None:
    """Tell whether a release has been without traffic from its beginning; None: it is not shown.

    Only from the beginning: traffic that ceases later may have been stopped by anybody.
    """
    span = _span(workload, arms)
    if span is None or arms.control is None:
        return None
    begin, until = span
    pace = arms.control.quietest_minute
    expected = pace * (until - begin)
    looks = (until - begin) / max(1.0, watch.evidence.interval)
    if expected < LEAST_EXPECTED or looks < LEAST_SAMPLES:
        return None
    requests, _ = arms.counted.since(-math.inf)
    if requests >= LOST_SHARE * expected or _had_ceased(arms, pace):
        return None
    return EvidentFault(
        Cause.TRAFFIC_LOST,
        f"all {len(ready_since(workload))} new pods are ready and have had {requests:.0f} requests "
        f"in {until - begin:.0f} s; in its quietest minute of the hour before the service had "
        f"{pace:.3g} a second, so {expected:.0f} were to be expected",
        begin,
    )


def traffic_ceased(watch: Watch, workload: Workload, arms: Arms) -> EvidentFault | None:
    """Tell whether the requests that a release had have ceased since; None: it is not shown.

    It has served, so it can be reached: whose doing it is a person has to say.
    """
    span = _span(workload, arms)
    if span is None or arms.control is None or not arms.control.quietest_minute:
        return None
    begin, until = span
    pace = arms.control.quietest_minute
    seconds = max(LEAST_EXPECTED / pace, LEAST_SAMPLES * watch.evidence.interval, TRAFFIC_SECONDS)
    since = until - seconds
    requests, _ = arms.counted.since(since)
    if since < begin or requests >= LOST_SHARE * pace * seconds or _had_ceased(arms, pace):
        return None
    return EvidentFault(
        Cause.UNATTRIBUTED,
        f"the new pods have served, and have had {requests:.0f} requests in the last "
        f"{seconds:.0f} s; in its quietest minute of the hour before the service had {pace:.3g} a "
        f"second, so {pace * seconds:.0f} were to be expected: see what sends them",
        since,
    )


def _span(workload: Workload, arms: Arms) -> tuple[float, float] | None:
    """Give since and until when all requests could only come to new pods; None: they need not."""
    ready = ready_since(workload)
    if arms.control is None or not arms.control.is_sufficient or not ready or arms.living_old:
        return None
    if not workload.deployment.is_rolled_out or any(name not in arms.seen for name in ready):
        return None
    return max(ready.values()), min(arms.seen[name] for name in ready)


def _had_ceased(arms: Arms, pace: float) -> bool:
    """Tell whether the old pods, too, had hardly a request any more before they went.

    Then it was not the release that nobody reached: the requests had ceased at their source.
    """
    end = max((one.end for one in arms.old), default=0.0)
    last = [one for one in arms.old if one.end > end - TRAFFIC_SECONDS]
    seconds = end - min((one.start for one in last), default=end)
    if seconds < LEAST_SAMPLES * arms.interval:
        return False
    return total(last)[0] < LOST_SHARE * pace * seconds


def ready_since(workload: Workload) -> Mapping[str, float]:
    """Since when each pod has been ready; empty unless all are new and ready."""
    living = [pod for pod in workload.pods if not pod.terminating]
    new = {pod.name for pod in workload.current_of(living)}
    if not living or any(
        pod.name not in new or not pod.ready or pod.ready_since is None for pod in living
    ):
        return {}
    return {pod.name: pod.ready_since for pod in living if pod.ready_since is not None}
