"""Lost traffic: ready pods that no request reaches, from the beginning or later.

The quietest minute of the hour before sets the expectation: a service with bursts of requests has
minutes without any, and never counts as without traffic.
"""

import math
from collections.abc import Mapping

from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.limits import (
    LATE_SCRAPE_SECONDS,
    LEAST_EXPECTED,
    LEAST_SAMPLES,
    LOST_SHARE,
    TRAFFIC_SECONDS,
)
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.verdict import Cause, EvidentFault
from rollback_operator.model.workload import Workload
from rollback_operator.stats.windows import total


def traffic_lost(watch: Watch, workload: Workload, arms: Arms) -> EvidentFault | None:
    """Find a release that has been without traffic from its beginning; None: it is not shown.

    Only from the beginning: traffic that ceases later may end for any reason.
    """
    span = _span(workload, arms)
    if span is None or arms.control is None:
        return None
    begin, until = span
    pace = arms.control.quietest_minute
    expected = pace * (until - begin)
    samples = (until - begin) / max(1.0, watch.evidence.interval)
    if expected < LEAST_EXPECTED or samples < LEAST_SAMPLES:
        return None
    requests, _ = arms.counted.since(-math.inf)
    if requests >= LOST_SHARE * expected or _had_ceased(arms, pace):
        return None
    return EvidentFault(
        Cause.TRAFFIC_LOST,
        f"all {len(ready_since(workload))} new pods are ready and received {requests:.0f} requests "
        f"in {until - begin:.0f} s; {expected:.0f} were expected, from {pace:.3g} a second in the "
        "quietest minute of the hour before the release",
        begin,
    )


def traffic_ceased(watch: Watch, workload: Workload, arms: Arms) -> EvidentFault | None:
    """Find traffic that has ceased since the release served; None: it is not shown.

    The release has served, so it can be reached: only a person can find the cause.
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
        f"the new pods have served, and received {requests:.0f} requests in the last "
        f"{seconds:.0f} s; {pace * seconds:.0f} were expected, from {pace:.3g} a second in the "
        "quietest minute of the hour before the release: check the clients",
        since,
    )


def _span(workload: Workload, arms: Arms) -> tuple[float, float] | None:
    """Give the span in which only new pods could receive requests; None: old pods could, too."""
    ready = ready_since(workload)
    if arms.control is None or not arms.control.is_sufficient or not ready or arms.living_old:
        return None
    if not workload.deployment.is_rolled_out or any(name not in arms.seen for name in ready):
        return None
    return max(ready.values()), min(arms.seen[name] for name in ready)


def _had_ceased(arms: Arms, pace: float) -> bool:
    """Return whether requests to the old pods, too, had ceased before they stopped.

    Then the release is not the cause: the requests ceased at their source. A pod that stops has no
    requests in its last seconds, so that a single sample shows nothing, whatever its length.
    """
    wanted = LEAST_SAMPLES * arms.interval
    end = max((increment.end for increment in arms.old), default=0.0)
    since = end - max(TRAFFIC_SECONDS, wanted)
    last = [increment for increment in arms.old if increment.end > since]
    seconds = end - min((increment.start for increment in last), default=end)
    if seconds < wanted - LATE_SCRAPE_SECONDS:
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
