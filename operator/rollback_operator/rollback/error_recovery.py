"""Whether the errors have ceased on the pods that serve after an act: what their counters show.

Pure. Only what came after the act counts, and not the new pods' warm-up.
"""

import math
from collections.abc import Sequence
from datetime import datetime

from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import FlagTaking
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName
from rollback_operator.evidence import aggregate
from rollback_operator.evidence.arms import in_order, plausible, total
from rollback_operator.evidence.counters import Evidence
from rollback_operator.evidence.limits import LEAST_REQUESTS
from rollback_operator.judge.warm_up import without_warm_up
from rollback_operator.model.pod import Pod
from rollback_operator.model.verdict import SUSPECT_ODDS
from rollback_operator.releases.revision_health import RECENT_SECONDS
from rollback_operator.remedies.progress import Next, RollbackEnd, Wait, is_out_of_time, step_status
from rollback_operator.stats.sequential import against_ceiling
from rollback_operator.stats.windows import Increment

UNKNOWN_CEILING = 0.05
"""The runbook's limit, where an outage left no counts to compare with."""
MOUNT_SECONDS = 120.0
"""In which the kubelet has renewed a mounted ConfigMap: it does so every 60 to 90 s by default."""


def verify(rollback: Rollback, evidence: Evidence, pods: tuple[Pod, ...], now: datetime) -> Next:
    """Judge whether the errors have ceased on the pods that serve now.

    Args:
        rollback: the rollback, for the control's error rate and for the time limit.
        evidence: counts since the act.
        pods: the pods of the restored revision.
        now: the time of the look.
    """
    recent = _recent(_serving(rollback, evidence, pods))
    requests, errors = total(recent)
    ceiling = _ceiling(rollback)
    said = f"{errors:.0f} of {requests:.0f} requests have failed on the pods that serve now"
    ends = sorted({one.end for one in recent})
    # Errors of the old pods' last seconds, or of the new ones' first, end by themselves.
    goes_on = all(any(one.errors > 0 for one in recent if one.end == end) for end in ends[-2:])
    is_enough = requests >= LEAST_REQUESTS and len(ends) >= 2  # noqa: PLR2004
    odds = against_ceiling(in_order(recent), ceiling)
    if is_enough and goes_on and odds.value >= SUSPECT_ODDS:
        return RollbackEnd(Outcome.NOT_RECOVERED, Reason.STILL_FAILING, said)
    if is_enough and errors <= ceiling * requests:
        return RollbackEnd(Outcome.VERIFIED, Reason.RECOVERED, said)
    if not is_out_of_time(rollback, StepName.VERIFY, now):
        return Wait()
    if is_enough:
        return RollbackEnd(Outcome.NOT_RECOVERED, Reason.STILL_FAILING, said)
    return RollbackEnd(
        Outcome.UNKNOWN,
        Reason.TOO_FEW_REQUESTS,
        f"{said}: too few to prove that it helped; the rollout itself is complete",
    )


def _serving(rollback: Rollback, evidence: Evidence, pods: tuple[Pod, ...]) -> list[Increment]:
    """Choose the counts that prove something: since the act, without the pods' warm-up."""
    starts = {pod.name: (pod.created, pod.started or pod.created) for pod in pods}
    since = proof_begins(rollback)
    counted = [
        one
        for one in evidence.increments
        if (one.pod in starts or one.pod == aggregate.POD)
        and one.start >= since
        and one.requests > 0
    ]
    return without_warm_up(counted, starts)


def _recent(counted: Sequence[Increment]) -> Sequence[Increment]:
    """Narrow down to the last minute, if enough was served in it."""
    newest = max((one.end for one in counted), default=0.0)
    recent = [one for one in counted if one.end > newest - RECENT_SECONDS]
    is_enough = total(recent)[0] >= LEAST_REQUESTS and len({one.end for one in recent}) > 1
    return recent if is_enough else counted


def _ceiling(rollback: Rollback) -> float:
    """Give the error rate up to which a release is as well as the control was."""
    trigger = rollback.spec.trigger
    if not trigger.control_requests:
        return UNKNOWN_CEILING
    return plausible(trigger.control_errors / trigger.control_requests)


def without_evidence(rollback: Rollback, blind: str, now: datetime) -> Next:
    """Wait for evidence on the restored revision, and not for ever.

    Args:
        rollback: its verification has begun.
        blind: why nothing is counted; empty: something may be by the next look.
        now: the time of the look.
    """
    if is_out_of_time(rollback, StepName.VERIFY, now):
        said = "the rollout is complete; whether it helped was not seen in any metric"
        told = f"{said}: {blind}" if blind else said
        return RollbackEnd(Outcome.UNKNOWN, Reason.NOT_YET_READ, told)
    return Wait()


def proof_begins(rollback: Rollback) -> float:
    """Give the time from which requests prove something.

    The pods of an undo are new, those of a scaled release are not. Those that read a flag as a file
    have it only when the kubelet has renewed that.
    """
    spec = rollback.spec
    if spec.flag is not None and spec.flag.taken_by is FlagTaking.MOUNT:
        known = step_status(rollback, StepName.DISABLE_FLAG)
        return known.started_time.timestamp() + MOUNT_SECONDS if known is not None else math.inf
    step = StepName.UNDO
    if spec.remedy.replicas is not None:
        step = StepName.VERIFY
    elif spec.remedy.flag is not None:
        step = StepName.RESTART_PODS
    known = step_status(rollback, step)
    return known.started_time.timestamp() if known is not None else 0.0
