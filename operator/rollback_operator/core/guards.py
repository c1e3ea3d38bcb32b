"""What keeps a bad release from being rolled back, asked in the order in which it is told."""

from collections.abc import Callable
from datetime import datetime, timedelta

from rollback_operator.api.reasons import Reason
from rollback_operator.api.shape import fitted
from rollback_operator.api.v1alpha1 import MatrixSeverity, Mode, Outcome, Rollback, StepName
from rollback_operator.core import attempts, flags, gitops
from rollback_operator.core.case import Case, Refusal, is_active
from rollback_operator.core.freeze import frozen
from rollback_operator.core.progress import decided_time, ended_time, step_status
from rollback_operator.core.workload import Template

_NOTHING_DONE = (Outcome.ABANDONED, Outcome.BLOCKED, Outcome.REJECTED)


def refusal(case: Case, severity: MatrixSeverity, now: datetime) -> Refusal | None:
    """Tell what keeps the operator from acting by itself; None: nothing does."""
    for guard in _GUARDS:
        refused = guard(case, now)
        if refused is not None:
            return refused
    decided = _rejected(case, severity, now)
    if decided is not None:
        return decided
    cold = frozen(case.policy.spec.safety.freeze, now, severity)
    if cold is None:
        return None
    return Refusal(
        Reason.FREEZE_ACTIVE,
        f"spec.safety.freeze: {cold}; kubectl rollback undo acts in it all the same",
    )


def obstacle(case: Case, now: datetime) -> Refusal | None:
    """Tell what stands in the way of a person too: others' rollouts, and a rollback that runs."""
    refusals = (guard(case, now) for guard in (_owner, _active))
    return next((one for one in refusals if one is not None), None)


def is_restored(case: Case, now: datetime) -> bool:
    """Tell whether the running revision is one that a rollback has just gone back to."""
    return _restored(case, now) is not None


def _recorded(case: Case, now: datetime) -> Refusal | None:
    """The name only arbitrates: once-only comes from looking whether it is there.

    What the checklist has blocked is tried again after a while, a bounded number of times.
    """
    for last in (attempts.of_revision(case), flags.standing(case)):
        if last is not None and attempts.following(last, now) is None:
            return Refusal(Reason.ALREADY_ROLLED_BACK, attempts.told(last))
    return None


def _owner(case: Case, _: datetime) -> Refusal | None:
    owner = case.workload.deployment.owner
    refused = gitops.refusal(owner, case.policy.spec.safety.git_ops) if owner is not None else None
    return None if refused is None else Refusal(*refused)


def _restored(case: Case, now: datetime) -> Refusal | None:
    """A rollback is never rolled back: it would go on to older and older revisions.

    By the release: a restart of what was restored leaves it restored.
    """
    release = case.workload.deployment.template.release
    span = timedelta(seconds=case.policy.spec.safety.watch_seconds)
    for one in case.rollbacks:
        target = one.spec.to_revision
        restored = target.release == release if target is not None else _is_pinned(one, case)
        if restored and one.spec.mode is Mode.ENFORCE and now - ended_time(one, now) < span:
            # Others may have gone back to it where the operator was kept from it: the same holds.
            how = "is what" if one.status.outcome in _NOTHING_DONE else "was restored by"
            what = " was to restore" if one.status.outcome in _NOTHING_DONE else ""
            said = f"this revision {how} {one.metadata.name}{what}; it is not rolled back again"
            return Refusal(Reason.IS_A_ROLLBACK, said)
    return None


def _is_pinned(rollback: Rollback, case: Case) -> bool:
    """Tell whether the running release is what a PinImage has made of the one that it left.

    By the images, and of those that have them the first since the act: what people have changed
    besides is a release of theirs.
    """
    if rollback.spec.remedy.image is None or rollback.status.outcome in _NOTHING_DONE:
        return False
    running = case.workload.deployment.template
    if not _has_images(rollback, running):
        return False
    act = step_status(rollback, StepName.PIN_IMAGE)
    began = act.revision if act is not None else None
    made = [
        one
        for one in case.workload.replica_sets
        if began is not None and one.revision > began and _has_images(rollback, one.template)
    ]
    first = min(made, key=lambda one: one.revision, default=None)
    return first is None or first.template.release == running.release


def _has_images(rollback: Rollback, template: Template) -> bool:
    bad, remedy = rollback.spec.from_revision, rollback.spec.remedy
    images = fitted(template.images_from(remedy.container))
    wanted = fitted([remedy.image, *bad.images[1:]]), bad.init_images
    return bool((images, fitted(list(template.init_images))) == wanted)


def _rejected(case: Case, severity: MatrixSeverity, now: datetime) -> Refusal | None:
    """A person has decided on this release: a restart asks nobody again, unless it is worse."""
    release = case.workload.deployment.template.release
    span = timedelta(seconds=case.policy.spec.safety.watch_seconds)
    for one in case.rollbacks:
        is_it = one.status.outcome is Outcome.REJECTED and one.spec.from_revision.release == release
        is_worse = severity < (one.status.severity or one.spec.severity)
        if is_it and not is_worse and not one.is_by_hand and now - ended_time(one, now) < span:
            said = f"a person has rejected {one.metadata.name} for this release"
            return Refusal(Reason.ALREADY_ROLLED_BACK, said)
    return None


def _active(case: Case, _: datetime) -> Refusal | None:
    one = next((one for one in case.rollbacks if is_active(one)), None)
    if one is None:
        return None
    return Refusal(Reason.ROLLBACK_ACTIVE, f"{one.metadata.name} is still running")


def _cooldown(case: Case, now: datetime) -> Refusal | None:
    deployment = case.workload.deployment
    release = deployment.template.release
    by = f", brought by {deployment.changed_by}" if deployment.changed_by else ""
    span = timedelta(seconds=case.policy.spec.safety.cooldown_seconds)
    # Whichever policy did it: one that is made anew must not do it all over again.
    for one in _done(case):
        if flags.is_flag(one):
            continue  # the release was left as it was: what follows is the next remedy
        if one.spec.from_revision.release == release and now - ended_time(one, now) < span:
            return Refusal(
                Reason.COOLDOWN_ACTIVE,
                f"{one.metadata.name} has rolled this release back already and it has come back"
                f"{by}: remove it at its source; it is not rolled back by itself again before "
                f"{(ended_time(one, now) + span):%Y-%m-%d %H:%M:%S} UTC",
            )
    return None


def _budget(case: Case, now: datetime) -> Refusal | None:
    # By the name: a policy that is made anew has the same one, and no new budget.
    name = case.policy.metadata.name
    own = [one for one in _done(case) if one.spec.policy_ref.name == name and not one.is_by_hand]
    day = [one for one in own if now - decided_time(one, now) < timedelta(days=1)]
    most = case.policy.spec.safety.max_rollbacks_per_day
    if len(day) < most:
        return None
    return Refusal(
        Reason.BUDGET_EXHAUSTED,
        f"{len(day)} rollbacks in the last 24 hours, spec.safety.maxRollbacksPerDay is {most}",
    )


def _cluster(case: Case, _: datetime) -> Refusal | None:
    said = case.load.exhausted if case.policy.spec.mode is Mode.ENFORCE else ""
    return Refusal(Reason.CLUSTER_BUDGET_EXHAUSTED, said) if said else None


_GUARDS: tuple[Callable[[Case, datetime], Refusal | None], ...] = (
    _recorded,
    _owner,
    _active,
    _restored,
    _cooldown,
    _budget,
    _cluster,
)


def _done(case: Case) -> list[Rollback]:
    mode = case.policy.spec.mode
    return [
        one
        for one in case.rollbacks
        if one.spec.mode is mode and one.status.outcome not in _NOTHING_DONE
    ]
