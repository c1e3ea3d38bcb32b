"""Progress of a rollback: the next step, and the result of each look at the target.

Pure. The stored Rollback records which steps have begun and ended; the live Deployment shows the
actual state. A step whose work is done is complete, so that a replay is harmless.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName, StepStatus
from rollback_operator.api.verification import VerificationCheck
from rollback_operator.model.conditions import find
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.remedies import gitops
from rollback_operator.remedies.database.migration_order import MIGRATION_STEPS
from rollback_operator.remedies.rollouts import may_have_run, runs_target, was_another_between
from rollback_operator.remedies.steps import keeps_release, steps_of

EXPRESS_SURGE = "100%"
LEAST_BOUND_SECONDS = 900.0
"""An act that is delayed for longer is no longer done: its decision is outdated."""
FURTHEST_AHEAD = timedelta(hours=1)
"""A recorded time further in the future is from another clock, and is ignored: a wait from it
would never end."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
NOTHING_DONE = (Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED)
"""Outcomes of a rollback that did not act, unless its steps show that it did."""
RESTORING = (StepName.RESTORE_STRATEGY, StepName.RESTORE_TRAFFIC)
_TEMPLATE_ACTS = (StepName.UNDO, StepName.PIN_IMAGE)
_BEFORE_ACT = (
    StepName.AWAITING_APPROVAL,
    StepName.SUSPEND_OWNER,
    *MIGRATION_STEPS,
    StepName.RESTORE_CONFIGURATION,
    StepName.DIAGNOSE,
    StepName.STOP_TRAFFIC,
    StepName.ASSESS_DAMAGE,
)


@dataclass(frozen=True, slots=True)
class Act:
    """A write to the Deployment is due."""

    step: StepName


@dataclass(frozen=True, slots=True)
class Done:
    """The step is complete."""

    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """No action until the next look."""

    message: str = ""
    """What a verification waits for, if that is more than requests."""


@dataclass(frozen=True, slots=True)
class RollbackEnd:
    """The rollback is over."""

    outcome: Outcome
    reason: Reason
    message: str
    checks: tuple[VerificationCheck, ...] = ()
    """Results of the checks whether it helped."""


Next = Act | Done | Wait | RollbackEnd


def next_step(rollback: Rollback) -> StepName | None:
    """Find the step that is open or due; None: all are done."""
    approval = step_status(rollback, StepName.AWAITING_APPROVAL)
    if approval is not None and approval.finished_time is None:
        return StepName.AWAITING_APPROVAL
    finished = {step.name for step in rollback.status.steps if step.finished_time is not None}
    steps = steps_of(rollback.spec, rollback.status.migrations)
    return next((step for step in steps if step not in finished), None)


def has_acted(rollback: Rollback) -> bool:
    """Return whether a step other than a person's approval has begun."""
    return any(step.name is not StepName.AWAITING_APPROVAL for step in rollback.status.steps)


def acting_since(rollback: Rollback, decided: datetime) -> datetime:
    """Return when the first step after an approval began: not before the time of the decision."""
    steps = (step for step in rollback.status.steps if step.name is not StepName.AWAITING_APPROVAL)
    return max(decided, min((step.started_time for step in steps), default=decided))


def was_done(rollback: Rollback) -> bool:
    """Return whether the act was carried out, according to the record, whatever the outcome.

    A rollback abandoned after its act still has replaced the release. The end also closes an open
    step: it bears the end's time, and no step follows it. Whether that act was carried out cannot
    be determined once the Deployment is gone: it may have been.
    """
    act = gitops.act_of(rollback)
    if act is None:
        return False
    if any(step.name not in (*_BEFORE_ACT, act.name) for step in rollback.status.steps):
        return True
    ended = rollback.status.finished_time
    if act.finished_time is not None and act.finished_time != ended:
        return True
    done = find(rollback.status.conditions, ConditionType.COMPLETE)
    return ended is not None and done is not None and done.reason == Reason.TARGET_DELETED


def step_status(rollback: Rollback, step: StepName) -> StepStatus | None:
    """Find the stored status of a step; None: it has not begun."""
    return next((status for status in rollback.status.steps if status.name is step), None)


def seconds_in(rollback: Rollback, step: StepName, now: datetime) -> float:
    """Return the duration of a step so far; 0: it has not begun."""
    begun = step_status(rollback, step)
    return 0.0 if begun is None else (now - begun.started_time).total_seconds()


def is_out_of_time(rollback: Rollback, step: StepName, now: datetime) -> bool:
    """Return whether a step has lasted longer than the verification may take."""
    return seconds_in(rollback, step, now) > rollback.spec.verification.timeout_seconds


def last_time(rollback: Rollback, now: datetime) -> datetime:
    """Return the newest recorded time at which a rollback made progress.

    A deadline counts too: until then the operator waits for a person. Times after `now` are from
    another clock, and are ignored.
    """
    status = rollback.status
    times = [rollback.spec.trigger.decided_time]
    times += [step.started_time for step in status.steps]
    other_times = (status.approval_deadline_time, status.escalated_time)
    finished = (step.finished_time for step in status.steps)
    times += [time for time in (*finished, *other_times) if time is not None]
    is_waiting = next_step(rollback) is StepName.AWAITING_APPROVAL
    deadline = status.approval_deadline_time
    longest = now + timedelta(seconds=rollback.spec.approval_policy.timeout_seconds)
    if is_waiting and deadline is not None and deadline > now and is_believed(deadline, longest):
        return now
    return max((time for time in times if time <= now), default=now)


def is_believed(time: datetime, now: datetime) -> bool:
    """Return whether a recorded time is plausible: not far in the future."""
    return time - now <= FURTHEST_AHEAD


def decided_time(rollback: Rollback, now: datetime) -> datetime:
    """Return the time of the decision, as far as the record is plausible."""
    return _first_plausible((rollback.spec.trigger.decided_time,), rollback, now)


def ended_time(rollback: Rollback, now: datetime) -> datetime:
    """Return the time at which a rollback ended, as far as it is plausible; now: it is open."""
    finished = rollback.status.finished_time
    if finished is None:
        return now
    steps = [step.finished_time or step.started_time for step in reversed(rollback.status.steps)]
    return _first_plausible((finished, *steps, rollback.spec.trigger.decided_time), rollback, now)


def _first_plausible(times: Iterable[datetime], rollback: Rollback, now: datetime) -> datetime:
    """Return the first plausible time; else the object's creation, set by the API server."""
    candidates = (*times, rollback.metadata.creation_timestamp or LONG_AGO)
    return next((time for time in candidates if is_believed(time, now)), LONG_AGO)


def is_stale(rollback: Rollback, now: datetime) -> bool:
    """Return whether a rollback has made no progress for longer than any of its steps may take.

    The operator was down, the API server refused for so long, or the record was restored from a
    backup: the old decision is not carried out now.
    """
    bound = max(LEAST_BOUND_SECONDS, rollback.spec.verification.timeout_seconds)
    return now - last_time(rollback, now) > timedelta(seconds=bound)


def is_never_late(rollback: Rollback, step: StepName) -> bool:
    """Return whether a step restores something, or has a limit of its own since it began."""
    is_begun = step in MIGRATION_STEPS and step_status(rollback, step) is not None
    return is_begun or step in RESTORING


def stale(rollback: Rollback, now: datetime) -> RollbackEnd:
    """End a rollback whose act was not done in time."""
    since = last_time(rollback, now)
    message = (
        f"no progress since {since:%Y-%m-%d %H:%M:%S} UTC, which is too long ago to continue. The "
        "release is evaluated again"
    )
    return RollbackEnd(Outcome.ABANDONED, Reason.ROLLBACK_STALE, message)


def has_gone_on(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether another template was rolled out since the judgement, or the same again."""
    is_other = deployment.template.digest != rollback.spec.from_revision.digest
    is_again = is_rolled_out_again(rollback, deployment)
    return is_other or is_again or gitops.is_reverted(rollback, deployment)


def is_rolled_out_again(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether the judged template was replaced and came back before the act began.

    A decision is about one revision. A later revision with the same template was never judged: a
    person has fixed its dependency and rolled it out again, or a backup has restored both the
    template and the intent. The controller may number a rollout only after its judgement, so the
    next number is still that rollout; from the number after that on, another was in between.
    """
    judged, act = rollback.spec.from_revision, gitops.act_of(rollback)
    begins = deployment.revision if act is None or act.revision is None else act.revision
    is_same = deployment.template.digest == judged.digest
    return is_same and 0 < judged.number < begins - 1


def has_moved(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether another release was rolled out since the act; a restart does not count."""
    remedy, target = rollback.spec.remedy, rollback.spec.to_revision
    if gitops.is_reverted(rollback, deployment):
        return True
    if target is not None:
        return not runs_target(rollback, deployment.template)
    if remedy.image is not None:
        return deployment.template.image_of(remedy.container) != remedy.image
    wanted = rollback.spec.flag_digest or rollback.spec.from_revision.bare
    return deployment.template.bare != wanted


def moved(rollback: Rollback, deployment: Deployment) -> RollbackEnd:
    """End a rollback whose target another client has changed: that change remains.

    A reverted act is reported as such, and counts as tried: it is not repeated.
    """
    if gitops.is_reverted(rollback, deployment):
        message = gitops.reverted(rollback, deployment)
        return RollbackEnd(Outcome.FAILED, Reason.UNDO_REVERTED, message)
    if is_rolled_out_again(rollback, deployment):
        return _rolled_out_again(rollback, deployment)
    message = (
        "another client changed the pod template since it was evaluated "
        f"({rollback.spec.from_revision.digest}): the change is kept"
    )
    if was_done(rollback):
        # Its images, because the controller may not have numbered the revision yet.
        images = ", ".join(deployment.template.images)
        message = (
            f"{_what_was_done(rollback)}. Then another client rolled out {images}, which stays"
        )
    return RollbackEnd(Outcome.ABANDONED, Reason.TARGET_MOVED, message)


def _what_was_done(rollback: Rollback) -> str:
    spec = rollback.spec
    if keeps_release(spec.remedy.type):
        return f"the remedy {spec.remedy.type} was applied to revision {spec.from_revision.number}"
    images = ", ".join(spec.from_revision.images)
    return f"revision {spec.from_revision.number} ({images}) was rolled back"


def overtaken(rollback: Rollback, step: StepName, workload: Workload) -> RollbackEnd | None:
    """End an act that a later revision has overtaken: it was never done, and no longer can be.

    A later revision proves an act with a lost answer only if the act's template has run since: the
    controller numbers a ReplicaSet anew whenever the Deployment bears its template. A restart of
    the bad release in between is a later revision too. It is then judged as any other release, and
    not reported as a reverted undo. A patch in flight fails by the revision that it tests.

    Args:
        rollback: the rollback, with the revision at which the step began.
        step: the open or due step.
        workload: the target; its ReplicaSets were read after the Deployment.
    """
    act = step_status(rollback, step)
    is_variable = step is StepName.DISABLE_FLAG and rollback.spec.flag_digest is not None
    is_template = step in _TEMPLATE_ACTS or is_variable
    if not is_template or act is None or act.finished_time is not None:
        return None
    if act.revision is None:
        return None
    if was_another_between(rollback, act.revision, workload):
        return _rolled_out_again(rollback, workload.deployment)
    if not gitops.is_reverted(rollback, workload.deployment):
        return None
    if may_have_run(rollback, act.revision, workload):
        return None
    return _rolled_out_again(rollback, workload.deployment)


def _rolled_out_again(rollback: Rollback, deployment: Deployment) -> RollbackEnd:
    number, runs = rollback.spec.from_revision.number, deployment.revision
    return RollbackEnd(
        Outcome.ABANDONED,
        Reason.TARGET_MOVED,
        f"the release of revision {number} was rolled out again as revision {runs} before any "
        "change. It is evaluated again",
    )
