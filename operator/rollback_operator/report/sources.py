"""Conditions on the sources of evidence: Prometheus, metrics pages of pods, slow signals."""

from collections.abc import Sequence, Set
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
"""For this time after a pod becomes ready, missing series are no fault."""
_UNREAD = frozenset({Reason.NOT_YET_READ})
_UNDECIDED = _UNREAD | {Reason.ERROR_SERIES_MISSING}


def early(workload: Workload | None, now: datetime) -> frozenset[Reason]:
    """Return the reasons for which metrics are not expected yet.

    Series are expected when a pod of the release has been ready for long enough to be scraped.
    """
    pods = workload.current_of(workload.pods) if workload is not None else ()
    since = now.timestamp() - FIRST_SCRAPE_SECONDS
    are_young = all((pod.ready_since or since) > since for pod in pods if pod.ready)
    return _UNREAD | {Reason.NO_SERIES} if pods and are_young else _UNREAD


def metrics(
    verdict: Verdict | None,
    missing: Missing | None,
    folded: str,
    unripe: Set[Reason],
) -> Condition:
    """Report whether the counters of the error rates are readable.

    Args:
        verdict: on the release; None: no release is watched.
        missing: why there are no counters; None: there are.
        folded: the counts that are merged to bound memory; empty: none.
        unripe: reasons for which counters are not expected yet.
    """
    kind = ConditionType.METRICS_AVAILABLE
    if verdict is None:
        return conditions.condition(
            kind, None, Reason.NO_RELEASE_WATCHED, "metrics are read while a release is watched"
        )
    if missing is not None:
        status = None if missing.reason in unripe else False
        message = missing.message
        if missing.reason is Reason.PROVIDER_UNREACHABLE:
            message = f"{message}; the operator retries at least every {LONGEST_REST_SECONDS:.0f} s"
        return conditions.condition(kind, status, missing.reason, message)
    if verdict.reason in (Reason.SAMPLES_STALE, Reason.NO_SERIES, Reason.CLOCK_SKEW):
        return conditions.condition(kind, False, verdict.reason, verdict.message)
    if folded:
        return conditions.condition(kind, True, Reason.COUNTS_FOLDED, folded)
    return conditions.condition(kind, True, Reason.SAMPLES_FRESH)


def still_missing(before: str, sources: Sequence[Condition]) -> str:
    """Return why metrics were reported as missing, until they are readable; empty: they are.

    In between nobody may know, as after a rollout or while no release is watched.
    """
    now = conditions.find(sources, ConditionType.METRICS_AVAILABLE)
    if now is None or now.status == "Unknown":
        return before
    return now.reason if now.status == "False" else ""


def pod_metrics(verdict: Verdict | None, direct: Direct) -> Condition:
    """Report whether the metrics pages of the pods are read in addition to Prometheus."""
    kind, missing = ConditionType.POD_METRICS_AVAILABLE, direct.missing
    if verdict is None:
        message = "pods are read while a release is watched"
        return conditions.condition(kind, None, Reason.NO_RELEASE_WATCHED, message)
    if missing is None:
        message = "the metrics pages of the watched pods are read in addition to Prometheus"
        return conditions.condition(kind, True, Reason.PODS_READ, message)
    status = None if missing.reason in _UNDECIDED else False
    return conditions.condition(kind, status, missing.reason, missing.message)


def slow_signals(
    verdict: Verdict | None,
    trends: Trends,
    unripe: Set[Reason],
) -> Condition:
    """Report whether durations, memory and own queries are readable."""
    kind, missing = ConditionType.SLOW_SIGNALS_AVAILABLE, dict(trends.missing)
    if trends.unread_integrity is not None:
        missing["integrity"] = trends.unread_integrity
    if verdict is None:
        message = "durations, memory and own queries are read while a release is watched"
        return conditions.condition(kind, None, Reason.NO_RELEASE_WATCHED, message)
    if missing:
        message = "; ".join(f"{signal}: {why.message}" for signal, why in sorted(missing.items()))
        late = [why for _, why in sorted(missing.items()) if why.reason not in unripe]
        first = late[0] if late else missing[min(missing)]
        return conditions.condition(kind, False if late else None, first.reason, message)
    if trends.read is None:
        return conditions.condition(kind, None, Reason.NOT_YET_READ)
    message = "all slow signals of the matrix are read"
    return conditions.condition(kind, True, Reason.SLOW_SIGNALS_READ, message)
