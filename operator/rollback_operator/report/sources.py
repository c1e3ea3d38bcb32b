"""Conditions on what a release is judged by: Prometheus, pods' own pages, what changes slowly."""

from collections.abc import Set
from datetime import datetime

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Condition
from rollback_operator.evidence.scrape_state import Direct
from rollback_operator.evidence.trends import Trends
from rollback_operator.model import conditions
from rollback_operator.model.samples import LONGEST_REST_SECONDS, Missing
from rollback_operator.model.verdict import Verdict
from rollback_operator.model.workload import Workload

FIRST_SCRAPE_SECONDS = 30.0
"""So long after a pod has become ready its series may be missing with nothing wrong."""
_UNREAD = frozenset({Reason.NOT_YET_READ})
_UNDECIDED = _UNREAD | {Reason.ERROR_SERIES_MISSING}


def early(workload: Workload | None, now: datetime) -> frozenset[Reason]:
    """Give the reasons for which metrics may only not be there yet.

    Series are missed once a pod of the release has been ready for long enough to be scraped.
    """
    pods = workload.current_of(workload.pods) if workload is not None else ()
    since = now.timestamp() - FIRST_SCRAPE_SECONDS
    are_young = all((one.ready_since or since) > since for one in pods if one.ready)
    return _UNREAD | {Reason.NO_SERIES} if pods and are_young else _UNREAD


def metrics(
    verdict: Verdict | None,
    missing: Missing | None,
    folded: str,
    unripe: Set[Reason],
) -> Condition:
    """Tell whether the counters that error rates are made from can be read.

    Args:
        verdict: on the release; None: none is watched.
        missing: why there are none; None: there are.
        folded: what of the counts is no longer told apart; empty: nothing.
        unripe: reasons for which they may only not be there yet.
    """
    kind = ConditionType.METRICS_AVAILABLE
    if verdict is None:
        return conditions.condition(
            kind, None, Reason.NO_RELEASE_WATCHED, "metrics are read while a release is watched"
        )
    if missing is not None:
        status = None if missing.reason in unripe else False
        said = missing.message
        if missing.reason is Reason.PROVIDER_UNREACHABLE:
            said = f"{said}; it is tried again every {LONGEST_REST_SECONDS:.0f} s, or sooner"
        return conditions.condition(kind, status, missing.reason, said)
    if verdict.reason in (Reason.SAMPLES_STALE, Reason.NO_SERIES, Reason.CLOCK_SKEW):
        return conditions.condition(kind, False, verdict.reason, verdict.message)
    if folded:
        return conditions.condition(kind, True, Reason.COUNTS_FOLDED, folded)
    return conditions.condition(kind, True, Reason.SAMPLES_FRESH)


def pod_metrics(verdict: Verdict | None, direct: Direct) -> Condition:
    """Tell whether the pods' own pages are read beside Prometheus."""
    kind, missing = ConditionType.POD_METRICS_AVAILABLE, direct.missing
    if verdict is None:
        said = "pods are read while a release is watched"
        return conditions.condition(kind, None, Reason.NO_RELEASE_WATCHED, said)
    if missing is None:
        said = "the watched pods' own metrics are read beside Prometheus"
        return conditions.condition(kind, True, Reason.PODS_READ, said)
    status = None if missing.reason in _UNDECIDED else False
    return conditions.condition(kind, status, missing.reason, missing.message)


def slow_signals(
    verdict: Verdict | None,
    trends: Trends,
    unripe: Set[Reason],
) -> Condition:
    """Tell whether durations, memory and own queries can be read: else nothing slow is seen."""
    kind, missing = ConditionType.SLOW_SIGNALS_AVAILABLE, trends.missing
    if verdict is None:
        said = "durations, memory and own queries are read while a release is watched"
        return conditions.condition(kind, None, Reason.NO_RELEASE_WATCHED, said)
    if missing:
        said = "; ".join(f"{what}: {one.message}" for what, one in sorted(missing.items()))
        late = [one for _, one in sorted(missing.items()) if one.reason not in unripe]
        first = late[0] if late else missing[min(missing)]
        return conditions.condition(kind, False if late else None, first.reason, said)
    if trends.read is None:
        return conditions.condition(kind, None, Reason.NOT_YET_READ)
    said = "what the matrix asks for beside error rates and Kubernetes is read"
    return conditions.condition(kind, True, Reason.SLOW_SIGNALS_READ, said)
