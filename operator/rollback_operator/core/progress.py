"""How a rollback goes on: which step is next, what a look at the target means for it, how it ends.

Pure. The stored Rollback says what has begun and what is done; the live Deployment says what is
true. A step that finds its work done is done: replayed, it does no harm.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rollback_operator.api.flags import FlagTaking
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Outcome,
    Rollback,
    RollbackStatus,
    StepName,
    StepStatus,
    StoredStrategy,
)
from rollback_operator.api.verification import VerificationCheck, VerificationResult
from rollback_operator.core import conditions, gitops, podless
from rollback_operator.core.arms import (
    LEAST_REQUESTS,
    in_order,
    plausible,
    total,
)
from rollback_operator.core.evidence import Evidence, Increment
from rollback_operator.core.pod import Pod
from rollback_operator.core.scope import without_warm_up
from rollback_operator.core.sequential import against_ceiling
from rollback_operator.core.steps import steps_of
from rollback_operator.core.verdict import SUSPECT_ODDS
from rollback_operator.core.workload import Deployment, Workload

EXPRESS_SURGE = "100%"
RECENT_SECONDS = 60.0
UNKNOWN_CEILING = 0.05
"""The runbook's limit, where an outage left no counts to compare with."""
MOUNT_SECONDS = 120.0
"""In which the kubelet has renewed a mounted ConfigMap: it does so every 60 to 90 s by default."""
_TEMPLATE_ACTS = (StepName.UNDO, StepName.PIN_IMAGE)


@dataclass(frozen=True, slots=True)
class Act:
    """A write to the Deployment is due."""

    step: StepName


@dataclass(frozen=True, slots=True)
class Done:
    """The step has reached its end."""

    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but to look again."""


@dataclass(frozen=True, slots=True)
class End:
    """The rollback is over."""

    outcome: Outcome
    reason: Reason
    message: str
    checks: tuple[VerificationCheck, ...] = ()
    """What was looked at to see whether it helped."""


Next = Act | Done | Wait | End


def next_step(rollback: Rollback) -> StepName | None:
    """Find the step that is open or due; None: all are done."""
    asked = step_status(rollback, StepName.AWAITING_APPROVAL)
    if asked is not None and asked.finished_time is None:
        return StepName.AWAITING_APPROVAL
    finished = {one.name for one in rollback.status.steps if one.finished_time is not None}
    return next((one for one in steps_of(rollback.spec) if one not in finished), None)


def has_acted(rollback: Rollback) -> bool:
    """Tell whether more has begun than to ask a person."""
    return any(one.name is not StepName.AWAITING_APPROVAL for one in rollback.status.steps)


def step_status(rollback: Rollback, step: StepName) -> StepStatus | None:
    """Find what is stored of a step; None: it has not begun."""
    return next((one for one in rollback.status.steps if one.name is step), None)


def look(rollback: Rollback, step: StepName, deployment: Deployment, now: datetime) -> Next:
    """Compare the step's aim with the live Deployment, just before any damage."""
    match step:
        case StepName.SUSPEND_OWNER:
            return _look_owner(rollback, deployment)
        case StepName.ROLLOUT_COMPLETE:
            return _look_rollout(rollback, deployment, now)
        case StepName.RESTORE_STRATEGY:
            return _look_strategy(rollback, deployment)
        case StepName.VERIFY:
            return moved(rollback, deployment) if has_moved(rollback, deployment) else Wait()
        case StepName.AWAITING_APPROVAL:
            return Wait()
        case _:
            found = _look_act(rollback, step, deployment)
            is_paused = deployment.paused and not deployment.is_held
            is_stopped = is_paused and isinstance(found, Act) and step is not StepName.DISABLE_FLAG
            return _stopped(rollback, step, now) if is_stopped else found


def _stopped(rollback: Rollback, step: StepName, now: datetime) -> Next:
    """Respect a person's pause. Not at once for good: a patch that is on its way may still land."""
    if not _is_out_of_time(rollback, step, now):
        return Wait()
    seconds = rollback.spec.verification.timeout_seconds
    said = f"somebody has paused the Deployment, and for {seconds} s it could not be changed"
    return End(Outcome.ABANDONED, Reason.TARGET_PAUSED, said)


def _look_act(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    match step:
        case StepName.DISABLE_FLAG | StepName.RESTART_PODS:
            return _look_flag(rollback, step, deployment)
        case StepName.UNDO:
            return _look_undo(rollback, deployment)
        case _:
            return _look_in_place(rollback, deployment)


def _look_owner(rollback: Rollback, deployment: Deployment) -> Next:
    """See that there is something left to be done, for which somebody is suspended."""
    is_judged = deployment.template.digest == rollback.spec.from_revision.digest
    is_done = not has_moved(rollback, deployment)
    return Act(StepName.SUSPEND_OWNER) if is_judged or is_done else moved(rollback, deployment)


def _look_flag(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    """See that the pods are those that were judged; another template has others made.

    The flag itself is looked at by who sets it.
    """
    judged, now = rollback.spec.from_revision, deployment.template
    if now.digest == judged.digest:
        return Act(step)
    if step is StepName.RESTART_PODS and now.release == judged.release:
        return Done("the pods of the release are replaced")
    return moved(rollback, deployment)


def _look_undo(rollback: Rollback, deployment: Deployment) -> Next:
    spec = rollback.spec
    if spec.to_revision is not None and deployment.template.digest == spec.to_revision.digest:
        return Done(f"the template is that of revision {spec.to_revision.number}")
    if has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    return Act(StepName.UNDO)


def _look_in_place(rollback: Rollback, deployment: Deployment) -> Next:
    remedy = rollback.spec.remedy
    if remedy.replicas is not None:
        if deployment.replicas >= remedy.replicas:
            return Done(f"{deployment.replicas} replicas are wanted")
        is_ours = deployment.template.digest == rollback.spec.from_revision.digest
        return Act(StepName.SCALE) if is_ours else moved(rollback, deployment)
    if deployment.template.image_of(remedy.container) == remedy.image:
        return Done(f"{remedy.container} is to run {remedy.image}")
    if has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    return Act(StepName.PIN_IMAGE)


def _look_rollout(rollback: Rollback, deployment: Deployment, now: datetime) -> Next:
    if has_moved(rollback, deployment):
        return moved(rollback, deployment)
    if deployment.is_rolled_out:
        return Done(f"{deployment.available} of {deployment.replicas} replicas are available")
    if _is_out_of_time(rollback, StepName.ROLLOUT_COMPLETE, now):
        said = f"{deployment.available} of {deployment.replicas} replicas are available"
        name = StepName.ROLLOUT_COMPLETE.value
        return End(
            Outcome.NOT_RECOVERED,
            Reason.ROLLOUT_TIMED_OUT,
            f"the rollout was not complete after {rollback.spec.verification.timeout_seconds} s: "
            f"{said}",
            (VerificationCheck(name=name, result=VerificationResult.FAILED, message=said),),
        )
    return Wait()


def seconds_in(rollback: Rollback, step: StepName, now: datetime) -> float:
    """Tell for how long a step has been going on; 0: it has not begun."""
    begun = step_status(rollback, step)
    return 0.0 if begun is None else (now - begun.started_time).total_seconds()


def _is_out_of_time(rollback: Rollback, step: StepName, now: datetime) -> bool:
    return seconds_in(rollback, step, now) > rollback.spec.verification.timeout_seconds


def _look_strategy(rollback: Rollback, deployment: Deployment) -> Next:
    stored = rollback.status.strategy
    if stored is None or stored.max_surge == EXPRESS_SURGE:
        return Done("the strategy was not changed")
    if deployment.max_surge != EXPRESS_SURGE:
        return Done("the strategy is no longer ours: it stays as it was set since")
    return Act(StepName.RESTORE_STRATEGY)


def has_gone_on(rollback: Rollback, deployment: Deployment) -> bool:
    """Tell whether another template was rolled out since the judgement, or that one once more."""
    is_other = deployment.template.digest != rollback.spec.from_revision.digest
    return is_other or gitops.is_reverted(rollback, deployment)


def has_moved(rollback: Rollback, deployment: Deployment) -> bool:
    """Tell whether somebody has rolled out another template since the act."""
    remedy, target = rollback.spec.remedy, rollback.spec.to_revision
    if gitops.is_reverted(rollback, deployment):
        return True
    if target is not None:
        return deployment.template.digest != target.digest
    if remedy.image is not None:
        return deployment.template.image_of(remedy.container) != remedy.image
    if remedy.flag is not None:
        # A restart, ours or another one, leaves the release as it is.
        return deployment.template.release != rollback.spec.from_revision.release
    return deployment.template.digest != rollback.spec.from_revision.digest


def moved(rollback: Rollback, deployment: Deployment) -> End:
    """End a rollback whose target somebody else has changed: what they have made of it stands.

    What they have put back is told as such, and counts as tried: it is not done again.
    """
    if gitops.is_reverted(rollback, deployment):
        said = gitops.reverted(rollback, deployment)
        return End(Outcome.FAILED, Reason.UNDO_REVERTED, said)
    return End(
        Outcome.ABANDONED,
        Reason.TARGET_MOVED,
        "somebody else has changed the pod template since it was judged "
        f"({rollback.spec.from_revision.digest}): theirs stands",
    )


def overtaken(rollback: Rollback, step: StepName, workload: Workload) -> End | None:
    """End an act that others were faster than: it was never carried out, and cannot be any more.

    A later revision shows a lost answer's act as done only where what it leads to has run since:
    the controller numbers a ReplicaSet anew whenever the Deployment bears its template. The bad
    release restarted in between is a later revision too. It is judged as any other release then,
    and not told as an undo that was reverted. A patch that is still on its way fails by the
    revision that it tests.

    Args:
        rollback: the rollback, with the revision at which the step began.
        step: that is open or due.
        workload: the target; its ReplicaSets were read after the Deployment.
    """
    act = step_status(rollback, step)
    if step not in _TEMPLATE_ACTS or act is None or act.finished_time is not None:
        return None
    if act.revision is None or not gitops.is_reverted(rollback, workload.deployment):
        return None
    if _may_have_run(rollback, act.revision, workload):
        return None
    number, runs = rollback.spec.from_revision.number, workload.deployment.revision
    return End(
        Outcome.ABANDONED,
        Reason.TARGET_MOVED,
        f"the release of revision {number} was rolled out once more, as revision {runs}, before "
        "anything was changed: it is judged anew",
    )


def _may_have_run(rollback: Rollback, since: int, workload: Workload) -> bool:
    """Tell whether the Deployment may have borne what the act leads to, after a revision."""
    target = rollback.spec.to_revision
    if target is None:
        # The image pinned may be in any template: only where one rollout came, and it is the one
        # that runs, there was none in between.
        current = workload.current
        return current is None or current.revision != since + 1
    known = [one for one in workload.replica_sets if one.template.digest == target.digest]
    return not known or any(one.revision > since for one in known)


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
        return End(Outcome.NOT_RECOVERED, Reason.STILL_FAILING, said)
    if is_enough and errors <= ceiling * requests:
        return End(Outcome.VERIFIED, Reason.RECOVERED, said)
    if not _is_out_of_time(rollback, StepName.VERIFY, now):
        return Wait()
    if is_enough:
        return End(Outcome.NOT_RECOVERED, Reason.STILL_FAILING, said)
    return End(
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
        if (one.pod in starts or one.pod == podless.POD) and one.start >= since and one.requests > 0
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


def without_evidence(rollback: Rollback, now: datetime) -> Next:
    """Wait for evidence on the restored revision, and not for ever."""
    if _is_out_of_time(rollback, StepName.VERIFY, now):
        return End(
            Outcome.UNKNOWN,
            Reason.NOT_YET_READ,
            "the rollout is complete; whether it helped was not seen in any metric",
        )
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


# -- the only makers of a Rollback's status --------------------------------------------------------


def begun(
    status: RollbackStatus,
    step: StepName,
    now: datetime,
    strategy: StoredStrategy | None = None,
    revision: int | None = None,
) -> RollbackStatus:
    """Store that a step begins, and what it finds; a second time counts it.

    Args:
        status: as it is stored.
        step: that begins.
        now: the time.
        strategy: that it will change; None: it changes none.
        revision: the Deployment's; None: the step does not touch it.
    """
    known = next((one for one in status.steps if one.name is step), None)
    entry = (
        StepStatus(name=step, started_time=now, revision=revision)
        if known is None
        else known.model_copy(update={"attempts": min(1000, known.attempts + 1)})
    )
    steps = [one for one in status.steps if one.name is not step]
    return status.model_copy(
        update={
            "step": step,
            "steps": [*steps, entry],
            "strategy": status.strategy or strategy,
            "conditions": conditions.upsert(
                status.conditions,
                [conditions.condition(ConditionType.COMPLETE, False, Reason.IN_PROGRESS)],
                1,
                now,
            ),
        }
    )


def finished(status: RollbackStatus, step: StepName, message: str, now: datetime) -> RollbackStatus:
    """Store that a step is done."""
    known = next(one for one in status.steps if one.name is step)
    entry = known.model_copy(update={"finished_time": now, "message": message[:1024]})
    steps = [entry if one.name is step else one for one in status.steps]
    return status.model_copy(update={"steps": steps})


def with_checks(status: RollbackStatus, checks: Iterable[VerificationCheck]) -> RollbackStatus:
    """Store what the checks have shown so far."""
    return status.model_copy(update={"verification": list(checks)})


def ended(status: RollbackStatus, end: End, now: datetime) -> RollbackStatus:
    """Store how the rollback ended. An outcome that is stored already stands."""
    if status.outcome is not None:
        return status
    steps = [
        one
        if one.finished_time is not None
        else one.model_copy(update={"finished_time": now, "message": end.message[:1024]})
        for one in status.steps
    ]
    done = conditions.condition(ConditionType.COMPLETE, True, end.reason, end.message)
    return status.model_copy(
        update={
            "steps": steps,
            "verification": list(end.checks) or status.verification,
            "outcome": end.outcome,
            "finished_time": now,
            "conditions": conditions.upsert(status.conditions, [done], 1, now),
        }
    )
