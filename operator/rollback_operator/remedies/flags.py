"""A flag instead of an undo: whether it can be the remedy, and its steps. Pure.

The order of remedies follows from the observed state, not from a counter: a flag that is already
set, or was tried on this release, cannot help, so the policy's next remedy follows.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import LONGEST_VALUE, Flag, FlagPlan, FlagTaking, GitOps
from rollback_operator.api.v1alpha1 import (
    Mode,
    Outcome,
    Remedy,
    Response,
    Rollback,
    RollbackPolicy,
    StepName,
)
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Case, is_active
from rollback_operator.model.controllers import Owner
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import ConfigRead, Deployment, FlagState, Workload
from rollback_operator.remedies.attempts import is_unbegun
from rollback_operator.remedies.progress import (
    NOTHING_DONE,
    Act,
    Done,
    RollbackEnd,
    ended_time,
    was_done,
)

NOT_READ = "no container of the release reads it from the ConfigMap"
_NOT_SET = (Outcome.OBSERVED, *NOTHING_DONE)


def is_flag(rollback: Rollback) -> bool:
    """Return whether a rollback sets a flag instead of replacing the release."""
    return rollback.spec.remedy.flag is not None


def is_variable(rollback: Rollback) -> bool:
    """Return whether a rollback sets a flag in the pod template, which makes a new release."""
    flag = rollback.spec.remedy.flag
    return flag is not None and flag.env is not None


def left(rollbacks: Iterable[Rollback]) -> frozenset[str]:
    """List the releases whose flag a rollback has set."""
    return frozenset(
        rollback.spec.from_revision.release
        for rollback in rollbacks
        if is_flag(rollback) and rollback.spec.mode is Mode.ENFORCE and was_done(rollback)
    )


def named(flag: Flag) -> str:
    """Name the flag and its new value."""
    place, name = flag.key
    where = f"ConfigMap {place}" if flag.config_map_ref is not None else place
    return f"{name}={flag.value} in {where}"


def wanted(remedies: Sequence[Remedy]) -> tuple[Flag, ...]:
    """List the flags that a policy's remedies name."""
    return tuple(remedy.flag for remedy in remedies if remedy.flag is not None)


# -- beforehand ------------------------------------------------------------------------------------


def obstacle(
    policy: RollbackPolicy, deployment: Deployment, flag: Flag, state: FlagState | Missing
) -> str:
    """Explain in advance why a flag could not be set; empty: no obstacle is known.

    A flag that has the value already is no fault: the feature may be off for now.

    Args:
        policy: names the flag.
        deployment: its target.
        flag: of a remedy.
        state: its current state; Missing: why no value could be set.
    """
    if isinstance(state, Missing):
        return state.message
    if state.value is None:
        return state.obstacle or _no_key(flag)
    against = _change_obstacle(state)
    return against or _owner_obstacle(state.owner, policy, deployment)


def helpless(policy: RollbackPolicy, unusable: Collection[Flag]) -> tuple[str, ...]:
    """List the severities whose only remedies are flags that cannot be set."""
    ruled = {rule.severity for rule in policy.spec.matrix if rule.response is Response.ROLLBACK}
    severities = []
    for severity in sorted(ruled):
        remedies = [remedy for remedy in policy.spec.remedies if remedy.applies_to(severity)]
        if remedies and all(
            remedy.flag is not None and remedy.flag in unusable for remedy in remedies
        ):
            severities.append(str(severity))
    return tuple(severities)


def no_right(flag: Flag) -> str:
    """Report the missing right to set a flag, and how to grant it."""
    name = flag.key[0]
    return f"the operator has no permission to patch ConfigMap {name}: list it in patchConfigMaps"


def _no_key(flag: Flag) -> str:
    return f"the ConfigMap has no key {flag.name}"


def _change_obstacle(state: FlagState) -> str:
    """Explain why a ConfigMap cannot be changed as required; empty: it can."""
    if state.is_immutable:
        return "the ConfigMap is immutable"
    if len(state.value or "") > LONGEST_VALUE:
        return "its value is too long to store"
    return ""


# -- the decision ----------------------------------------------------------------------------------


def unfit(case: Case, flag: Flag, now: datetime) -> str:
    """Explain why a flag cannot help, or must not be set; empty: it may be set."""
    state = case.flags.get(flag.key)
    if isinstance(state, FlagState):
        return next(_reasons_against(case, flag, state, now), "")
    return state.message if state is not None else "its ConfigMap was not read"


def _reasons_against(case: Case, flag: Flag, state: FlagState, now: datetime) -> Iterator[str]:
    """List the reasons against a flag, starting with those that nobody can resolve."""
    if state.value is None:
        yield state.obstacle or _no_key(flag)
    if state.value == flag.value:
        yield f"it is already {flag.value!r}"
    tried = _tried(case, flag, now)
    if tried is not None:
        yield f"{tried.metadata.name} tried it on this release ({tried.status.outcome})"
    elif earlier := _tried_before(case, flag, now):
        yield f"{earlier} tried it on this release"
    if against := _change_obstacle(state):
        yield against
    if taking(case.workload, flag) is None:
        yield NOT_READ
    if owner_obstacle := _owner_obstacle(state.owner, case.policy, case.workload.deployment):
        yield owner_obstacle


def _tried(case: Case, flag: Flag, now: datetime) -> Rollback | None:
    """Find the recent rollback that set a flag of this release, or was kept from it."""
    policy, release = case.policy, case.workload.deployment.template.release
    span = timedelta(seconds=policy.spec.safety.cooldown_seconds)
    return next(
        (
            rollback
            for rollback in case.rollbacks
            if rollback.spec.remedy.flag == flag
            and rollback.spec.mode is policy.spec.mode
            and rollback.spec.from_revision.release == release
            and _allows_next_remedy(rollback)
            and now - ended_time(rollback, now) < span
        ),
        None,
    )


def _tried_before(case: Case, flag: Flag, now: datetime) -> str:
    """Name the rollback that set a flag of this release, and is not on record; empty: none."""
    policy, release = case.policy, case.workload.deployment.template.release
    span = timedelta(seconds=policy.spec.safety.cooldown_seconds)
    tried = (
        record.name
        for record in case.past
        if (record.flag, record.mode, record.from_release) == (flag, policy.spec.mode, release)
        and record.deployment == case.workload.deployment.name
        and not _is_unset(record.outcome, record.done, record.retryable)
        and now - (record.finished_time or record.decided_time) < span
    )
    return next(tried, "")


def _allows_next_remedy(rollback: Rollback) -> bool:
    """Return whether a flag's rollback ended so that another remedy may follow."""
    done = find(rollback.status.conditions, ConditionType.COMPLETE)
    is_theirs = done is not None and done.reason == Reason.FLAG_CHANGED
    is_unset = _is_unset(rollback.status.outcome, was_done(rollback), is_unbegun(rollback))
    return is_theirs or not (is_active(rollback) or is_unset)


def _is_unset(outcome: Outcome | None, is_done: bool, is_retryable: bool) -> bool:
    """Return whether a rollback ended without trying its flag, so that no other remedy follows.

    Stricter than `attempts.is_left`: an observed flag was not tried, and a flag that is set but
    whose pods could not be restarted is tried again.
    """
    return outcome in _NOT_SET and (is_retryable or not is_done)


def blocking_rollback(case: Case) -> Rollback | None:
    """Find a flag's rollback of this very revision without any action, now or later.

    Observed, blocked by the checklist, rejected by a person, not answered: no other remedy follows.
    """
    policy, deployment = case.policy, case.workload.deployment
    revision = deployment.template.digest, deployment.revision
    return next(
        (
            rollback
            for rollback in case.rollbacks
            if is_flag(rollback)
            and rollback.spec.policy_ref.uid == policy.metadata.uid
            and rollback.spec.mode is policy.spec.mode
            and (rollback.spec.from_revision.digest, rollback.spec.from_revision.number) == revision
            # A proposal without an approval does not block a later decision.
            and not rollback.spec.requires_approval
            and not _allows_next_remedy(rollback)
        ),
        None,
    )


def cured(case: Case) -> Rollback | None:
    """Find the rollback whose flag has cured the running pods, without replacing them.

    Their earlier errors do not count any more.
    """
    digest = case.workload.deployment.template.digest
    rollbacks = (
        rollback
        for rollback in case.rollbacks
        if is_flag(rollback)
        and rollback.status.outcome is Outcome.VERIFIED
        and rollback.spec.from_revision.digest == digest
    )
    return max(rollbacks, key=lambda rollback: rollback.spec.trigger.decided_time, default=None)


def taking(workload: Workload, flag: Flag) -> FlagTaking | None:
    """Return how the running pods receive a new value; None: they do not read it."""
    if flag.env is not None:
        return FlagTaking.TEMPLATE
    current = workload.current
    reads: Sequence[ConfigRead] = current.reads if current is not None else ()
    matching = [read for read in reads if read.takes(*flag.key)]
    if not matching:
        return None
    return FlagTaking.MOUNT if all(read.is_mounted for read in matching) else FlagTaking.RESTART


def _owner_obstacle(owner: Owner | None, policy: RollbackPolicy, deployment: Deployment) -> str:
    """Name the owner that would revert a flag; empty: none, or the policy permits it."""
    if owner is None:
        return ""
    manages = f"{owner.kind} manages the ConfigMap ({owner.evidence})"
    if owner.is_rollout_tool:
        return f"{manages}: {owner.remedy}"
    match policy.spec.safety.git_ops:
        case GitOps.PROCEED:
            return ""
        case GitOps.SUSPEND:
            target_owner = deployment.owner
            # Only the Deployment's owner is suspended.
            is_same = target_owner is not None and owner.object is not None
            if is_same and target_owner is not None and target_owner.object == owner.object:
                return ""
            return f"{manages} and is not suspended with the Deployment's owner: {owner.remedy}"
        case GitOps.REFUSE:
            return f"{manages} and would revert it: {owner.remedy}"


def planned(case: Case, flag: Flag) -> FlagPlan | None:
    """Record a flag's earlier state; None: it was not read."""
    state, how = case.flags.get(flag.key), taking(case.workload, flag)
    if how is FlagTaking.MOUNT and case.workload.deployment.is_held:
        how = FlagTaking.RESTART  # the restart's patch resumes the rollout
    if not isinstance(state, FlagState) or state.value is None or how is None:
        return None
    uid = state.uid if flag.env is None else None
    digest = state.bare or None
    return FlagPlan(
        config_map_uid=uid, unannotated_digest=digest, old_value=state.value, taken_by=how
    )


# -- the act ---------------------------------------------------------------------------------------


def compare_flag(rollback: Rollback, state: FlagState | None) -> Act | Done | RollbackEnd:
    """Compare the flag with its planned value, just before it is set.

    Args:
        rollback: its step has begun.
        state: the current flag; None: the ConfigMap no longer exists.
    """
    flag, plan = rollback.spec.remedy.flag, rollback.spec.flag
    assert flag is not None
    if state is not None and state.value == flag.value:
        return Done(f"{named(flag)} is set")
    if plan is None or state is None or state.uid != plan.config_map_uid or state.value is None:
        return _flag_changed("it was deleted or recreated since the decision")
    if state.value != plan.old_value:
        by = state.changed_by or "another client"
        return _flag_changed(f"{by} set {flag.name} to {state.value[:64]!r} since the decision")
    if state.is_immutable:
        return _flag_changed("the ConfigMap was made immutable since the decision")
    return Act(StepName.DISABLE_FLAG)


def _flag_changed(message: str) -> RollbackEnd:
    return RollbackEnd(Outcome.ABANDONED, Reason.FLAG_CHANGED, f"{message}: it stays unchanged")


def reverted(rollback: Rollback, state: FlagState | None) -> RollbackEnd | None:
    """Report that a flag was reverted; None: it keeps its value."""
    flag = rollback.spec.remedy.flag
    assert flag is not None
    if state is not None and state.value == flag.value:
        return None
    value = state.value if state is not None else None
    now = f"it is {value[:64]!r}" if value is not None else "it no longer exists"
    by = f" ({state.changed_by})" if state is not None and state.changed_by else ""
    message = (
        f"{named(flag)} was reverted: {now}{by}. It is not set again: correct it at its source"
    )
    return RollbackEnd(Outcome.FAILED, Reason.FLAG_REVERTED, message)


def left_set(rollback: Rollback, reason: Reason) -> str:
    """State that a flag may have been set though its step did not end; empty: it was not.

    Args:
        rollback: as it is stored before its end.
        reason: of its end; FLAG_CHANGED and STEP_REFUSED prove that it was not set.
    """
    flag, steps = rollback.spec.remedy.flag, rollback.status.steps
    is_open = any(step.name is StepName.DISABLE_FLAG and not step.finished_time for step in steps)
    is_known = reason in (Reason.FLAG_CHANGED, Reason.STEP_REFUSED)
    if flag is None or is_variable(rollback) or not is_open or is_known:
        return ""
    return f"; it had begun to set {named(flag)}, which may have changed: compare it"


def is_set(rollback: Rollback) -> bool:
    """Return whether the flag has been set, according to the record."""
    steps = rollback.status.steps
    return any(step.name is StepName.DISABLE_FLAG and step.finished_time for step in steps)
