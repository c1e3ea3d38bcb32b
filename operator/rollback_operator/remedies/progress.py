"""How a rollback goes on: which step is next, and what a look at the target means for it.

Pure. The stored Rollback says what has begun and what is done; the live Deployment says what is
true. A step that finds its work done is done: replayed, it does no harm.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import Outcome, Rollback, StepName, StepStatus
from rollback_operator.api.verification import VerificationCheck, VerificationResult
from rollback_operator.model.conditions import find
from rollback_operator.model.workload import Deployment, Workload
from rollback_operator.remedies import gitops
from rollback_operator.remedies.steps import steps_of

EXPRESS_SURGE = "100%"
LEAST_BOUND_SECONDS = 900.0
"""An act that has been held up for longer is not done any more: what it was decided on is old."""
FURTHEST_AHEAD = timedelta(hours=1)
"""A time on record that is further ahead of the clock is another clock's, and says nothing: what
lasts from it on would last for ever."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
NOTHING_DONE = (Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED)
"""Outcomes of a rollback that did not act, unless its steps show that it did."""
_TEMPLATE_ACTS = (StepName.UNDO, StepName.PIN_IMAGE)
_BEFORE_ACT = (StepName.AWAITING_APPROVAL, StepName.SUSPEND_OWNER)


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
class RollbackEnd:
    """The rollback is over."""

    outcome: Outcome
    reason: Reason
    message: str
    checks: tuple[VerificationCheck, ...] = ()
    """What was looked at to see whether it helped."""


Next = Act | Done | Wait | RollbackEnd


def next_step(rollback: Rollback) -> StepName | None:
    """Find the step that is open or due; None: all are done."""
    asked = step_status(rollback, StepName.AWAITING_APPROVAL)
    if asked is not None and asked.finished_time is None:
        return StepName.AWAITING_APPROVAL
    finished = {one.name for one in rollback.status.steps if one.finished_time is not None}
    return next((one for one in steps_of(rollback.spec) if one not in finished), None)


def has_acted(rollback: Rollback) -> bool:
    """Return whether more has begun than to ask a person."""
    return any(one.name is not StepName.AWAITING_APPROVAL for one in rollback.status.steps)


def was_done(rollback: Rollback) -> bool:
    """Return whether the act was carried out, as far as is on record, whatever became of it then.

    A rollback that is given up after its act has led away from the release all the same. The end
    closes a step that is open, too: it bears the end's time, and no step follows it. Whether that
    act was carried out nobody can see any more where the Deployment is gone: it may have been.
    """
    act = gitops.act_of(rollback)
    if act is None:
        return False
    if any(one.name not in (*_BEFORE_ACT, act.name) for one in rollback.status.steps):
        return True
    ended = rollback.status.finished_time
    if act.finished_time is not None and act.finished_time != ended:
        return True
    done = find(rollback.status.conditions, ConditionType.COMPLETE)
    return ended is not None and done is not None and done.reason == Reason.TARGET_DELETED


def step_status(rollback: Rollback, step: StepName) -> StepStatus | None:
    """Find what is stored of a step; None: it has not begun."""
    return next((one for one in rollback.status.steps if one.name is step), None)


def compare(rollback: Rollback, step: StepName, deployment: Deployment, now: datetime) -> Next:
    """Compare the step's aim with the live Deployment, just before any damage."""
    match step:
        case StepName.SUSPEND_OWNER:
            return _compare_owner(rollback, deployment)
        case StepName.ROLLOUT_COMPLETE:
            return _compare_rollout(rollback, deployment, now)
        case StepName.RESTORE_STRATEGY:
            return _compare_strategy(rollback, deployment)
        case StepName.VERIFY:
            return moved(rollback, deployment) if has_moved(rollback, deployment) else Wait()
        case StepName.AWAITING_APPROVAL:
            return Wait()
        case _:
            found = _compare_act(rollback, step, deployment)
            is_paused = deployment.paused and not deployment.is_held
            is_stopped = is_paused and isinstance(found, Act) and step is not StepName.DISABLE_FLAG
            return _stopped(rollback, step, now) if is_stopped else found


def _stopped(rollback: Rollback, step: StepName, now: datetime) -> Next:
    """Respect a person's pause. Not at once for good: a patch that is on its way may still land."""
    if not is_out_of_time(rollback, step, now):
        return Wait()
    seconds = rollback.spec.verification.timeout_seconds
    message = f"another client paused the Deployment, and it could not be changed for {seconds} s"
    return RollbackEnd(Outcome.ABANDONED, Reason.TARGET_PAUSED, message)


def _compare_act(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    match step:
        case StepName.DISABLE_FLAG | StepName.RESTART_PODS:
            return _compare_pods(rollback, step, deployment)
        case StepName.UNDO:
            return _compare_undo(rollback, deployment)
        case _:
            return _compare_in_place(rollback, deployment)


def _compare_owner(rollback: Rollback, deployment: Deployment) -> Next:
    """See that there is something left to be done, for which somebody is suspended."""
    is_judged = deployment.template.digest == rollback.spec.from_revision.digest
    is_done = not has_moved(rollback, deployment)
    return Act(StepName.SUSPEND_OWNER) if is_judged or is_done else moved(rollback, deployment)


def _compare_pods(rollback: Rollback, step: StepName, deployment: Deployment) -> Next:
    """See that the pods are those that were judged; another template has others made.

    The flag itself is looked at by who sets it.
    """
    judged, now = rollback.spec.from_revision, deployment.template
    if now.digest == judged.digest:
        return Act(step)
    if step is StepName.RESTART_PODS and now.release == judged.release:
        return Done("the pods of the release are replaced")
    return moved(rollback, deployment)


def _compare_undo(rollback: Rollback, deployment: Deployment) -> Next:
    spec = rollback.spec
    if spec.to_revision is not None and deployment.template.release == spec.to_revision.release:
        return Done(f"the template is that of revision {spec.to_revision.number}")
    if has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    return Act(StepName.UNDO)


def _compare_in_place(rollback: Rollback, deployment: Deployment) -> Next:
    remedy = rollback.spec.remedy
    if remedy.replicas is not None:
        if deployment.replicas >= remedy.replicas:
            return Done(f"{deployment.replicas} replicas are set")
        is_ours = deployment.template.release == rollback.spec.from_revision.release
        return Act(StepName.SCALE) if is_ours else moved(rollback, deployment)
    if deployment.template.image_of(remedy.container) == remedy.image:
        return Done(f"{remedy.container} is set to {remedy.image}")
    if has_gone_on(rollback, deployment):
        return moved(rollback, deployment)
    return Act(StepName.PIN_IMAGE)


def _compare_rollout(rollback: Rollback, deployment: Deployment, now: datetime) -> Next:
    if has_moved(rollback, deployment):
        return moved(rollback, deployment)
    if deployment.is_rolled_out:
        return Done(f"{deployment.available} of {deployment.replicas} replicas are available")
    if is_out_of_time(rollback, StepName.ROLLOUT_COMPLETE, now):
        message = f"{deployment.available} of {deployment.replicas} replicas are available"
        name = StepName.ROLLOUT_COMPLETE.value
        return RollbackEnd(
            Outcome.NOT_RECOVERED,
            Reason.ROLLOUT_TIMED_OUT,
            f"the rollout did not complete in {rollback.spec.verification.timeout_seconds} s: "
            f"{message}",
            (VerificationCheck(name=name, result=VerificationResult.FAILED, message=message),),
        )
    return Wait()


def seconds_in(rollback: Rollback, step: StepName, now: datetime) -> float:
    """Tell for how long a step has been going on; 0: it has not begun."""
    begun = step_status(rollback, step)
    return 0.0 if begun is None else (now - begun.started_time).total_seconds()


def is_out_of_time(rollback: Rollback, step: StepName, now: datetime) -> bool:
    """Return whether a step has been going on for longer than the verification may take."""
    return seconds_in(rollback, step, now) > rollback.spec.verification.timeout_seconds


def last_time(rollback: Rollback, now: datetime) -> datetime:
    """Return the newest time on record at which a rollback has come further.

    A deadline counts as one: up to then a person is waited for. Times after `now` are of another
    clock, and say nothing.
    """
    status = rollback.status
    times = [rollback.spec.trigger.decided_time]
    times += [one.started_time for one in status.steps]
    others = (status.approval_deadline_time, status.escalated_time)
    finished = (one.finished_time for one in status.steps)
    times += [one for one in (*finished, *others) if one is not None]
    is_waiting = next_step(rollback) is StepName.AWAITING_APPROVAL
    deadline = status.approval_deadline_time
    longest = now + timedelta(seconds=rollback.spec.approval_policy.timeout_seconds)
    if is_waiting and deadline is not None and deadline > now and is_believed(deadline, longest):
        return now
    return max((one for one in times if one <= now), default=now)


def is_believed(time: datetime, now: datetime) -> bool:
    """Return whether a time on record may be that of an event: it is not far ahead."""
    return time - now <= FURTHEST_AHEAD


def decided_time(rollback: Rollback, now: datetime) -> datetime:
    """Return the time of the decision, as far as what is on record is believed."""
    return _believed((rollback.spec.trigger.decided_time,), rollback, now)


def ended_time(rollback: Rollback, now: datetime) -> datetime:
    """Return the time at which a rollback has ended, as far as it is believed; now: it goes on."""
    finished = rollback.status.finished_time
    if finished is None:
        return now
    steps = [one.finished_time or one.started_time for one in reversed(rollback.status.steps)]
    return _believed((finished, *steps, rollback.spec.trigger.decided_time), rollback, now)


def _believed(times: Iterable[datetime], rollback: Rollback, now: datetime) -> datetime:
    """Return the first time that is; else that of the object, which the API server has set."""
    known = (*times, rollback.metadata.creation_timestamp or LONG_AGO)
    return next((one for one in known if is_believed(one, now)), LONG_AGO)


def is_stale(rollback: Rollback, now: datetime) -> bool:
    """Return whether a rollback has come no further for longer than any of its steps may take.

    The operator was down, the API server refused for so long, or the record was restored from a
    backup: what was decided then is not done now.
    """
    bound = max(LEAST_BOUND_SECONDS, rollback.spec.verification.timeout_seconds)
    return now - last_time(rollback, now) > timedelta(seconds=bound)


def stale(rollback: Rollback, now: datetime) -> RollbackEnd:
    """End a rollback whose act was not done in time."""
    since = last_time(rollback, now)
    message = (
        f"no progress since {since:%Y-%m-%d %H:%M:%S} UTC, which is too long ago to continue. The "
        "release is evaluated again"
    )
    return RollbackEnd(Outcome.ABANDONED, Reason.ROLLBACK_STALE, message)


def _compare_strategy(rollback: Rollback, deployment: Deployment) -> Next:
    stored = rollback.status.strategy
    if stored is None or stored.max_surge == EXPRESS_SURGE:
        return Done("the strategy was not changed")
    if deployment.max_surge != EXPRESS_SURGE:
        return Done("another client changed the strategy since: it stays unchanged")
    return Act(StepName.RESTORE_STRATEGY)


def has_gone_on(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether another template was rolled out since the judgement, or that one once more."""
    is_other = deployment.template.digest != rollback.spec.from_revision.digest
    is_again = is_rolled_out_again(rollback, deployment)
    return is_other or is_again or gitops.is_reverted(rollback, deployment)


def is_rolled_out_again(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether the judged template was replaced and came back before the act began.

    A decision is about one revision. What runs the same template as a later one was never judged:
    somebody has mended what it calls and rolled it out once more, or a backup has brought both the
    template and the intent back. The controller may number a rollout only after it was judged, so
    the next number is that rollout still; from the one after that on, another was in between.
    """
    judged, act = rollback.spec.from_revision, gitops.act_of(rollback)
    begins = deployment.revision if act is None or act.revision is None else act.revision
    is_same = deployment.template.digest == judged.digest
    return is_same and 0 < judged.number < begins - 1


def has_moved(rollback: Rollback, deployment: Deployment) -> bool:
    """Return whether somebody has rolled out another release since the act; a restart is none."""
    remedy, target = rollback.spec.remedy, rollback.spec.to_revision
    if gitops.is_reverted(rollback, deployment):
        return True
    if target is not None:
        return deployment.template.release != target.release
    if remedy.image is not None:
        return deployment.template.image_of(remedy.container) != remedy.image
    return deployment.template.release != rollback.spec.from_revision.release


def moved(rollback: Rollback, deployment: Deployment) -> RollbackEnd:
    """End a rollback whose target somebody else has changed: what they have made of it stands.

    What they have put back is told as such, and counts as tried: it is not done again.
    """
    if gitops.is_reverted(rollback, deployment):
        message = gitops.reverted(rollback, deployment)
        return RollbackEnd(Outcome.FAILED, Reason.UNDO_REVERTED, message)
    if is_rolled_out_again(rollback, deployment):
        return _rolled_out_again(rollback, deployment)
    return RollbackEnd(
        Outcome.ABANDONED,
        Reason.TARGET_MOVED,
        "another client changed the pod template since it was evaluated "
        f"({rollback.spec.from_revision.digest}): the change is kept",
    )


def overtaken(rollback: Rollback, step: StepName, workload: Workload) -> RollbackEnd | None:
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
    if act.revision is None:
        return None
    if _was_another_between(rollback, act.revision, workload):
        return _rolled_out_again(rollback, workload.deployment)
    if not gitops.is_reverted(rollback, workload.deployment):
        return None
    if _may_have_run(rollback, act.revision, workload):
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


def _was_another_between(rollback: Rollback, begun: int, workload: Workload) -> bool:
    """Return whether another template ran after the judgement and before the act began.

    The controller has not numbered the judged one anew yet, as a moment after a restore.
    """
    judged = rollback.spec.from_revision
    return workload.deployment.template.digest == judged.digest and any(
        judged.number < one.revision <= begun and one.template.digest != judged.digest
        for one in workload.replica_sets
    )


def _may_have_run(rollback: Rollback, since: int, workload: Workload) -> bool:
    """Return whether the Deployment may have borne what the act leads to, after a revision."""
    target = rollback.spec.to_revision
    if target is None:
        # The image pinned may be in any template: only where one rollout came, and it is the one
        # that runs, there was none in between.
        current = workload.current
        return current is None or current.revision != since + 1
    known = [one for one in workload.replica_sets if one.template.digest == target.digest]
    return not known or any(one.revision > since for one in known)
