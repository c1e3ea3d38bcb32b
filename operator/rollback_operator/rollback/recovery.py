"""Whether errors and latency of the restored revision have recovered after an act.

Pure. Only requests after the act count, without the warm-up of new pods. Latency is compared with
the restored revision's hour before the bad release, by the same bounds on quantiles as the
verdict's (stats/histogram.py). Warm-up can only make pods look slower, so an early pass counts,
and a failure counts only for requests after the warm-up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import FlagTaking
from rollback_operator.api.v1alpha1 import Outcome, RemedyType, Rollback, StepName
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.baseline import plausible
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.limits import LEAST_REQUESTS, LEAST_TIMED_REQUESTS
from rollback_operator.judge.latency import seconds
from rollback_operator.judge.warm_up import without_warm_up
from rollback_operator.model.check import Check, failed, passed, unknown
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Missing
from rollback_operator.model.verdict import SUSPECT_ODDS
from rollback_operator.releases.revision_health import RECENT_SECONDS
from rollback_operator.remedies.flags import is_variable
from rollback_operator.remedies.progress import Next, RollbackEnd, Wait, is_out_of_time, step_status
from rollback_operator.rollback.verification import LATENCY, NO_METRICS_SECONDS
from rollback_operator.stats.histogram import Histogram, added
from rollback_operator.stats.sequential import against_ceiling
from rollback_operator.stats.windows import Increment, in_order, total

UNKNOWN_CEILING = 0.05
"""The runbook's limit, where an outage left no counts to compare with."""
MOUNT_SECONDS = 120.0
"""Time in which the kubelet renews a mounted ConfigMap: every 60 to 90 s by default."""
MOST_NAMED_SILENT = 3

_UNPROVED = "recovery is not proved"
_NO_REQUEST = f"no request to the serving pods was counted: {_UNPROVED}"


@dataclass(frozen=True, slots=True)
class Served:
    """What is read of the requests since an act."""

    evidence: Evidence
    missing: Missing | None = None
    """The reason why the last read failed; None: it succeeded."""


def verify(rollback: Rollback, served: Served, pods: tuple[Pod, ...], now: datetime) -> Next:
    """Judge whether the errors have ceased on the pods that serve now.

    Args:
        rollback: the rollback, for the control's error rate and for the time limit.
        served: counts since the act.
        pods: the pods of the restored revision.
        now: the current time.
    """
    counted = _serving(rollback, served.evidence, pods)
    recent = _recent(counted)
    requests, errors = total(recent)
    ceiling = _ceiling(rollback)
    message = f"{errors:.0f} of {requests:.0f} requests failed on the serving pods"
    ends = sorted({increment.end for increment in recent})
    # Errors from the old pods' last seconds, or the new pods' first, cease without action.
    goes_on = all(
        any(increment.errors > 0 for increment in recent if increment.end == end)
        for end in ends[-2:]
    )
    is_enough = requests >= LEAST_REQUESTS and len(ends) >= 2  # noqa: PLR2004
    odds = against_ceiling(in_order(recent), ceiling)
    if is_enough and goes_on and odds.value >= SUSPECT_ODDS:
        return RollbackEnd(Outcome.NOT_RECOVERED, Reason.STILL_FAILING, message)
    is_over = is_out_of_time(rollback, StepName.VERIFY, now)
    if is_enough and errors <= ceiling * requests:
        silent = _silent(counted, pods)
        message += _silence(silent, pods)
        if not is_over and _is_awaited(silent, now):
            return Wait(message)
        return RollbackEnd(Outcome.VERIFIED, Reason.RECOVERED, message)
    if not is_over:
        return Wait()
    if is_enough:
        return RollbackEnd(Outcome.NOT_RECOVERED, Reason.STILL_FAILING, message)
    return RollbackEnd(
        Outcome.UNKNOWN,
        Reason.TOO_FEW_REQUESTS,
        f"{_lacking(message if requests else '', served.missing)}; the rollout is complete",
    )


def _lacking(counted: str, missing: Missing | None) -> str:
    """Say what is missing for a proof: requests, or answers of the metrics' source."""
    if missing is not None:
        known = f"; before that, {counted}" if counted else ""
        return f"{_UNPROVED}, because requests could not be counted: {missing.message}{known}"
    return f"{counted}: too few to prove recovery" if counted else _NO_REQUEST


def _serving(rollback: Rollback, evidence: Evidence, pods: tuple[Pod, ...]) -> list[Increment]:
    """Select the counts that are proof: since the act, without the pods' warm-up."""
    starts = {pod.name: (pod.created, pod.started or pod.created) for pod in pods}
    since = proof_begins(rollback)
    counted = [
        increment
        for increment in evidence.increments
        if (increment.pod in starts or increment.pod == aggregate.POD)
        and increment.start >= since
        and increment.requests > 0
    ]
    return without_warm_up(counted, starts)


def _silent(counted: Sequence[Increment], pods: tuple[Pod, ...]) -> list[Pod]:
    """List the ready pods without a counted request, though other pods have some.

    Pods that are not ready fail RolloutComplete; series without a pod show nothing of this.
    """
    heard = {increment.pod for increment in counted}
    if aggregate.POD in heard:
        return []
    return [pod for pod in pods if pod.ready and not pod.terminating and pod.name not in heard]


def _is_awaited(silent: Sequence[Pod], now: datetime) -> bool:
    """Return whether pods may be silent because they are late.

    A request reaches a late pod later, and is scraped later. After that it is silent by chance, or
    because clients keep their connections to other pods: the message names it.
    """
    ready = [pod.ready_since or pod.created for pod in silent]
    return bool(ready) and now.timestamp() - max(ready) < NO_METRICS_SECONDS


def _silence(silent: Sequence[Pod], pods: tuple[Pod, ...]) -> str:
    """Name the pods without a counted request; empty: there are none."""
    if not silent:
        return ""
    names = sorted(pod.name for pod in silent)
    named = ", ".join(names[:MOST_NAMED_SILENT]) + (", ..." if names[MOST_NAMED_SILENT:] else "")
    serving = sum(pod.ready and not pod.terminating for pod in pods)
    return f"; no request to {len(silent)} of {serving} ready pods was counted: {named}"


def _recent(counted: Sequence[Increment]) -> Sequence[Increment]:
    """Restrict counts to the last minute if it has enough requests."""
    newest = max((increment.end for increment in counted), default=0.0)
    recent = [increment for increment in counted if increment.end > newest - RECENT_SECONDS]
    is_enough = (
        total(recent)[0] >= LEAST_REQUESTS and len({increment.end for increment in recent}) > 1
    )
    return recent if is_enough else counted


def _ceiling(rollback: Rollback) -> float:
    """Return the error rate up to which a release is as good as the control."""
    trigger = rollback.spec.trigger
    if not trigger.control_requests:
        return UNKNOWN_CEILING
    return plausible(trigger.control_errors / trigger.control_requests)


def without_evidence(rollback: Rollback, blind: str, now: datetime) -> Next:
    """Wait for evidence on the restored revision, up to a limit.

    Args:
        rollback: its verification has begun.
        blind: the reason why there are no counts; empty: the next look may have some.
        now: the current time.
    """
    if is_out_of_time(rollback, StepName.VERIFY, now):
        message = "the rollout is complete; no metric shows whether it helped"
        full_message = f"{message}: {blind}" if blind else message
        return RollbackEnd(Outcome.UNKNOWN, Reason.NOT_YET_READ, full_message)
    return Wait()


def proof_begins(rollback: Rollback) -> float:
    """Return the time from which requests are proof.

    The pods of an undo are new, those of a scaled release are not. Pods that read a flag as a file
    have it only after the kubelet has renewed the file.
    """
    spec = rollback.spec
    match spec.remedy.type:
        case RemedyType.DISABLE_FLAG if spec.flag is not None and (
            spec.flag.taken_by is FlagTaking.MOUNT
        ):
            status = step_status(rollback, StepName.DISABLE_FLAG)
            return status.started_time.timestamp() + MOUNT_SECONDS if status else math.inf
        case RemedyType.DISABLE_FLAG if is_variable(rollback):
            step = StepName.DISABLE_FLAG
        case RemedyType.DISABLE_FLAG:
            step = StepName.RESTART_PODS
        case RemedyType.SCALE:
            step = StepName.VERIFY
        case RemedyType.UNDO | RemedyType.PIN_IMAGE:
            step = StepName.UNDO
        case remedy:
            assert_never(remedy)
    status = step_status(rollback, step)
    return status.started_time.timestamp() if status is not None else 0.0


LEVEL_TIMES = 1.5
"""Quantiles come from buckets, and caches are cold: up to this multiple, the level is unchanged.
The matrix calls a release slow from twice the past on."""

Counted = Mapping[str, Histogram]
"""By pod."""


def since_base(
    read: Mapping[str, Histogram], bases: Mapping[str, Histogram]
) -> dict[str, Histogram]:
    """Return the pods' counts since their bases; a pod without a base is new: from zero."""
    return {
        name: histogram.minus(bases[name]) if name in bases else histogram
        for name, histogram in read.items()
        if histogram.total > 0
    }


def latency(spans: Sequence[Counted], past: Histogram, q: float, warm: Sequence[Counted]) -> Check:
    """Compare the quantile with the past's upper bound.

    Args:
        spans: the counts of each serving pod: of late, and since the rollback.
        past: of the same revision, in the hour before the bad release.
        q: the quantile, as 0.99.
        warm: the same spans without the pods' warm-up; none: they are still warming up.
    """
    reference = past.at_most(q)
    if reference is None or past.total < LEAST_TIMED_REQUESTS:
        message = f"{past.total:.0f} requests before the release are too few to compare with"
        return unknown(LATENCY, message)
    limit = LEVEL_TIMES * reference
    enough = _enough(spans)
    if not enough:
        counted = max((added(span.values()).total for span in spans), default=0.0)
        message = f"{counted:.0f} requests since the rollback are too few for p{100 * q:g}"
        return unknown(LATENCY, message)
    # A slow warm-up affects the longer spans for long: a single span within the limit is enough.
    value, total = min(((histogram.quantile(q) or 0.0), histogram.total) for histogram in enough)
    message = (
        f"p{100 * q:g} is {seconds(value)} over {total:.0f} requests, "
        f"{seconds(reference)} at most in the hour before the release"
    )
    if value <= limit:
        return passed(LATENCY, message)
    proof = _enough(warm)
    if not proof:
        why = "too few requests after the warm-up" if warm else "the pods are still warming up"
        return unknown(LATENCY, f"{message}: {why}")
    if all((histogram.at_least(q) or 0.0) > limit for histogram in proof):
        return failed(LATENCY, message)
    return unknown(LATENCY, f"{message}: too uncertain to decide")


def _enough(spans: Sequence[Counted]) -> list[Histogram]:
    counted = (added(span.values()) for span in spans)
    return [histogram for histogram in counted if histogram.total >= LEAST_TIMED_REQUESTS]
