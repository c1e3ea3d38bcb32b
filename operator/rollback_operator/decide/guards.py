"""What keeps a bad release from being rolled back, asked in the order in which it is told."""

from collections.abc import Callable
from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import MatrixSeverity, Mode, Outcome, Rollback, StepName
from rollback_operator.decide.freeze import frozen
from rollback_operator.model import commands
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Case, Refusal, is_active
from rollback_operator.releases import records
from rollback_operator.remedies import attempts, flags, gitops


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
    meta = case.policy.metadata
    return Refusal(
        Reason.FREEZE_ACTIVE,
        f"spec.safety.freeze: {cold}; what a person asks for is done all the same: "
        f"{commands.undo(meta.name, meta.namespace)}",
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
    names = attempts.names_of_revision(case)
    gone = next((one for one in case.past if one.name in names and not one.retryable), None)
    if gone is None:
        return None
    return Refusal(Reason.ALREADY_ROLLED_BACK, f"{gone.name} has dealt with this revision")


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
    for one in records.of_target(case, now):
        restored = one.to_release == release and one.mode is Mode.ENFORCE
        if restored and now - records.ended(one) < span:
            # Others may have gone back to it where the operator was kept from it: the same holds.
            how = "was restored by" if records.is_done(one) else "is what"
            what = "" if records.is_done(one) else " was to restore"
            said = f"this revision {how} {one.name}{what}; it is not rolled back again"
            return Refusal(Reason.IS_A_ROLLBACK, said)
    return None


def _rejected(case: Case, severity: MatrixSeverity, now: datetime) -> Refusal | None:
    """A person has decided on this release: a restart asks nobody again, unless it is worse."""
    release = case.workload.deployment.template.release
    span = timedelta(seconds=case.policy.spec.safety.watch_seconds)
    for one in records.of_target(case, now):
        is_it = one.outcome is Outcome.REJECTED and one.from_release == release
        is_worse = severity < one.severity
        if is_it and not is_worse and not one.by_hand and now - records.ended(one) < span:
            said = f"a person has rejected {one.name} for this release"
            return Refusal(Reason.ALREADY_ROLLED_BACK, said)
    return None


def _active(case: Case, _: datetime) -> Refusal | None:
    one = next((one for one in case.rollbacks if is_active(one)), None)
    if one is None:
        return None
    return Refusal(Reason.ROLLBACK_ACTIVE, _standing(one))


def _standing(active: Rollback) -> str:
    """Say how far a rollback is that stands in the way, and what a person does about it."""
    name = active.metadata.name
    if active.status.step is not StepName.AWAITING_APPROVAL:
        return f"{name} is still running"
    asked = find(active.status.conditions, ConditionType.APPROVED)
    if asked is not None and asked.reason == Reason.APPROVAL_UNPROTECTED:
        return f"{name} waits for approval: {asked.message}"
    decide = commands.approve(name, active.metadata.namespace)
    return f"{name} waits for approval: approve or reject it first ({decide})"


def _cooldown(case: Case, now: datetime) -> Refusal | None:
    deployment = case.workload.deployment
    release = deployment.template.release
    by = f", brought by {deployment.changed_by}" if deployment.changed_by else ""
    span = timedelta(seconds=case.policy.spec.safety.cooldown_seconds)
    # Whichever policy did it: one that is made anew must not do it all over again.
    for one in records.of_target(case, now):
        if one.flag is not None or one.mode is not case.policy.spec.mode:
            continue  # the release was left as it was: what follows is the next remedy
        is_back = one.from_release == release and records.is_done(one)
        if is_back and now - records.ended(one) < span:
            return Refusal(
                Reason.COOLDOWN_ACTIVE,
                f"{one.name} has rolled this release back already and it has come back"
                f"{by}: remove it at its source; it is not rolled back by itself again before "
                f"{(records.ended(one) + span):%Y-%m-%d %H:%M:%S} UTC",
            )
    return None


def _budget(case: Case, now: datetime) -> Refusal | None:
    # Whatever it watched: made anew, or another for a while, a target gives no new budget.
    own = [one for one in records.of_policy(case, now) if one.mode is case.policy.spec.mode]
    day = [one for one in own if records.is_counted(one, now)]
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
